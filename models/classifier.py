"""Any sequence-classification model of the Hugging Face hub or of a folder, and sentiment as one of them judges it.

`Classifier` serves two rooms of settings: sentiment here, and topics by entailment (`models.entailment`). The
sentiment model is named by `VOC_MODEL_SENTIMENT`, with its label map declared in `VOC_MODEL_SENTIMENT_LABELS`, so that
a model with labels of its own ("LABEL_0", "1 star") is never guessed at: a label not in the map stops the start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from models.encoder import Encoder, Text
from models.errors import ModelError
from models.heads import CLASSES


class Classifier:
    """Texts, or pairs of texts, to probabilities of the model's own `labels`. Not for several threads at once."""

    def __init__(self, model: Any, tokenizer: Any, *, token_budget: int, max_tokens: int) -> None:
        # The encoder's batching serves any model that takes ids and a mask and answers with vectors.
        self._batches = Encoder(_Logits(model), tokenizer, token_budget=token_budget, max_tokens=max_tokens)
        self.labels = [str(model.config.id2label[at]) for at in range(model.config.num_labels)]
        self.commit: str | None = getattr(model.config, "_commit_hash", None)  # of the hub; a folder has none

    @classmethod
    def load(
        cls, source: str | Path, of: str, *, revision: str = "main", token_budget: int = 2048, max_tokens: int = 256
    ) -> Classifier:
        """Loads `source`, the model of sentiment or of topics as `of` says. Raises ModelError that names it."""
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        try:
            model = AutoModelForSequenceClassification.from_pretrained(source, revision=revision, dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(source, revision=revision)
            return cls(model.eval(), tokenizer, token_budget=token_budget, max_tokens=max_tokens)
        except Exception as error:  # transformers raises many kinds; all mean the same to the caller
            raise ModelError(f"cannot load the {of} model {source}: {error}") from error

    def probabilities(self, texts: Sequence[Text]) -> NDArray[np.float32]:
        """(texts, labels); each row sums to one."""
        result = np.zeros((len(texts), len(self.labels)), np.float32)
        for batch in self._batches.forward(texts):
            result[batch.rows] = batch.hidden.softmax(-1).numpy()
        return result


class SentimentModel:
    """A classifier whose classes are told in our words. Not for use from several threads at once."""

    def __init__(self, classifier: Classifier, columns: Sequence[int]) -> None:
        self._classifier = classifier
        self._columns = list(columns)

    @classmethod
    def load(
        cls, source: str | Path, labels: Mapping[str, str], *, token_budget: int = 2048, max_tokens: int = 256
    ) -> SentimentModel:
        """Loads `source`; `labels` maps each of its labels to one of ours. Raises ModelError saying what is wrong."""
        classifier = Classifier.load(source, "sentiment", token_budget=token_budget, max_tokens=max_tokens)
        names = classifier.labels
        missing = [name for name in names if name not in labels]
        if missing:
            raise ModelError(f"the sentiment model {source} has the labels {names}: say in VOC_MODEL_SENTIMENT_LABELS "
                             f"what {missing} mean, each one of {list(CLASSES)}")  # fmt: skip
        wrong = [labels[name] for name in names if labels[name] not in CLASSES]
        if wrong:
            raise ModelError(f"VOC_MODEL_SENTIMENT_LABELS maps to {wrong}; allowed are {list(CLASSES)}")
        return cls(classifier, [CLASSES.index(labels[name]) for name in names])

    def probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """(texts, 6) in the order of CLASSES; each row sums to one."""
        result = np.zeros((len(texts), len(CLASSES)), np.float32)
        given = self._classifier.probabilities(texts)
        for column, own in enumerate(self._columns):
            result[:, own] += given[:, column]
        return result


class _Logits:
    """Shows a classifier to `Encoder` as a model whose "token vectors" are its logits."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self.config = model.config

    def eval(self) -> _Logits:
        return self

    def __call__(self, **inputs: torch.Tensor) -> Any:
        output = self._model(**inputs)
        output.last_hidden_state = output.logits
        return output

"""Texts in, token vectors out: one forward pass that sentiment, topics and clauses share.

Loads a Hugging Face folder (the default one comes from `models.convert`). Texts are sorted by length and cut into
batches of a bounded number of tokens, each padded to its own longest text only; threads are pinned. A batch that
does not fit into memory is halved and tried again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoModel, AutoTokenizer
from transformers.utils import logging as transformers_logging

from models.errors import ModelError
from models.precision import lowered, resolve
from models.settings import Precision

Span = tuple[int, int]
Text = str | tuple[str, str]  # the latter: premise and hypothesis, for models that read two texts at once


@dataclass(frozen=True)
class Batch:
    """Some of the texts after the forward pass.

    `rows` are positions in the sequence given to `forward`; `hidden` is (texts, tokens, width); `mask` is
    (texts, tokens), 1 for tokens of the text and 0 for padding; `offsets` is (texts, tokens, 2), the characters
    each token covers, (0, 0) for special tokens and padding.
    """

    rows: list[int]
    hidden: torch.Tensor
    mask: torch.Tensor
    offsets: NDArray[np.int32]


class Encoder:
    """A transformer encoder with its tokenizer. Not for use from several threads at once."""

    def __init__(self, model: Any, tokenizer: Any, *, token_budget: int, max_tokens: int) -> None:
        self.model = model.eval()
        self.width: int = model.config.hidden_size
        self.precision: Precision = "fp32"
        self._pad: int = tokenizer.pad_token_id
        self._budget = token_budget
        self._max = min(max_tokens, model.config.max_position_embeddings, tokenizer.model_max_length)
        # BERT's way to tell the second text of a pair from the first; most others see the separator only.
        told = "token_type_ids" in tokenizer.model_input_names
        self._tells_texts_apart = told and getattr(model.config, "type_vocab_size", 0) > 1
        self._backend = tokenizer.backend_tokenizer
        self._backend.no_padding()
        self._backend.enable_truncation(self._max)

    @classmethod
    def load(cls, source: str | Path, *, threads: int = 1, token_budget: int = 2048, max_tokens: int = 256) -> Encoder:
        """Loads a folder, or a name of the Hugging Face hub. Raises ModelError that names it."""
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # it reports the unused pooler
        torch.set_num_threads(threads)
        try:
            model = AutoModel.from_pretrained(source, dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(source)
        except Exception as error:  # transformers raises many kinds; all mean the same to the caller
            raise ModelError(f"cannot load the encoder {source}: {error}") from error
        if not hasattr(tokenizer, "backend_tokenizer"):
            raise ModelError(f"the encoder {source} has no fast tokenizer (tokenizer.json)")
        return cls(model, tokenizer, token_budget=token_budget, max_tokens=max_tokens)

    def lower(self, precision: Precision, typical: Sequence[str]) -> None:
        """Compute with fewer bits from now on; `typical` texts show int8 what to expect. For good: weights are lost.

        Raises ModelError when this encoder cannot have that precision.
        """
        self.precision = resolve(precision, self.model)
        with torch.inference_mode():
            self.model = lowered(self.model, self.precision, lambda: list(self.forward(typical)))

    def forward(self, texts: Sequence[Text]) -> Iterator[Batch]:
        """Token vectors of `texts`, batch by batch, in no promised order of rows."""
        encodings = self._backend.encode_batch(list(texts))
        order = sorted(range(len(texts)), key=lambda i: len(encodings[i].ids))
        batch: list[int] = []
        for row in order:
            if batch and (len(batch) + 1) * len(encodings[row].ids) > self._budget:
                yield from self._run(batch, encodings)
                batch = []
            batch.append(row)
        if batch:
            yield from self._run(batch, encodings)

    def _run(self, rows: list[int], encodings: Sequence[Any]) -> Iterator[Batch]:
        try:
            yield self._pass(rows, encodings)
        except (MemoryError, torch.OutOfMemoryError, RuntimeError) as error:
            if len(rows) == 1 or not _is_out_of_memory(error):
                raise
            half = len(rows) // 2
            yield from self._run(rows[:half], encodings)
            yield from self._run(rows[half:], encodings)

    def _pass(self, rows: list[int], encodings: Sequence[Any]) -> Batch:
        longest = max(len(encodings[row].ids) for row in rows)
        ids = np.full((len(rows), longest), self._pad, np.int64)
        mask = np.zeros((len(rows), longest), np.int64)
        types = np.zeros((len(rows), longest), np.int64)
        offsets = np.zeros((len(rows), longest, 2), np.int32)
        for at, row in enumerate(rows):
            count = len(encodings[row].ids)
            ids[at, :count] = encodings[row].ids
            mask[at, :count] = 1
            types[at, :count] = encodings[row].type_ids
            offsets[at, :count] = encodings[row].offsets
        with torch.inference_mode():
            attention = torch.from_numpy(mask)
            more = {"token_type_ids": torch.from_numpy(types)} if self._tells_texts_apart else {}
            output = self.model(input_ids=torch.from_numpy(ids), attention_mask=attention, **more)
        return Batch(rows, output.last_hidden_state.float(), attention, offsets)


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "memory" in str(error).lower()


def pool(batch: Batch) -> NDArray[np.float32]:
    """Mean of each text's token vectors, of length 1: (texts, width)."""
    weights = batch.mask.unsqueeze(-1).to(batch.hidden.dtype)
    mean = (batch.hidden * weights).sum(1) / weights.sum(1).clamp(min=1.0)
    normal: NDArray[np.float32] = torch.nn.functional.normalize(mean, dim=-1).numpy()
    return normal


def pool_spans(batch: Batch, at: int, spans: Sequence[Span]) -> NDArray[np.float32]:
    """Mean of the token vectors within each character span of text `at` of the batch: (spans, width), of length 1.

    A span without a token of its own (past the cut of a long text) gets the mean of the whole text.
    """
    starts, ends = batch.offsets[at, :, 0], batch.offsets[at, :, 1]
    real = ends > starts
    inside = np.stack([real & (starts < stop) & (ends > start) for start, stop in spans])
    inside[~inside.any(1)] = batch.mask[at].numpy().astype(bool)
    weights = torch.from_numpy(inside.astype(np.float32))
    sums = weights @ batch.hidden[at]
    normal: NDArray[np.float32] = torch.nn.functional.normalize(sums, dim=-1).numpy()
    return normal


def embed(encoder: Encoder, texts: Sequence[str]) -> NDArray[np.float32]:
    """Pooled vectors of `texts`, in their order: (texts, width)."""
    vectors = np.zeros((len(texts), encoder.width), np.float32)
    for batch in encoder.forward(texts):
        vectors[batch.rows] = pool(batch)
    return vectors

"""Topics as an NLI model of the user's choice finds them, zero-shot: does what is said entail that it is about this?

The premise is a clause of the comment, since such models tell more of a sentence than of several (Laban et al. 2022,
arXiv:2111.09525). The hypothesis is made of the topic's name or description, in the comment's language where it can be
(Yin et al. 2019, arXiv:1909.00161). One forward pass a clause and topic: a thorough judge, and a slow one.

Named by `VOC_MODEL_TOPICS`. The label that means entailment is found by its name, else declared in
`VOC_MODEL_TOPICS_LABELS`; a model without one stops the start. Used by `models.labeler`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.classifier import Classifier
from models.errors import ModelError
from models.installed import revision_of
from models.settings import ModelSettings
from models.taxonomy import Topic

MEANINGS = ("entailment", "neutral", "contradiction")

Floats = NDArray[np.float32]


class EntailedTopics:
    """Topics, each a hypothesis in every language of the templates. Not for use from several threads at once."""

    def __init__(self, classifier: Classifier, topics: Sequence[Topic], settings: ModelSettings) -> None:
        self.ids = [topic.id for topic in topics]
        self.thresholds = np.full(len(topics), settings.topics_threshold, np.float32)
        self._source = settings.topics
        self._classifier = classifier
        self._entailment = _entailment(settings.topics, classifier.labels, settings.topics_labels)
        self._hypotheses = {
            language: [hypothesis(topic, language, settings.topics_templates) for topic in topics]
            for language in settings.topics_templates
        }

        asked = [settings.topics_templates, settings.topics_threshold, self._entailment]
        commit = classifier.commit or revision_of(Path(settings.topics))
        # What is asked changes the answers as much as the model does.
        digest = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
        self.version = f"{settings.topics}{'@' if commit else ''}{commit[:8]}-{digest[:8]}"

    @classmethod
    def load(cls, settings: ModelSettings, topics: Sequence[Topic]) -> EntailedTopics:
        """The model that the settings name, to find `topics`. Raises ModelError saying what is wrong."""
        classifier = Classifier.load(settings.topics, "topics", revision=settings.topics_revision,
                                     token_budget=settings.token_budget, max_tokens=settings.max_tokens)  # fmt: skip
        return cls(classifier, topics, settings)

    def confidence(self, comments: Sequence[Sequence[str]], languages: Sequence[str]) -> list[Floats]:
        """Of each comment, given as its clauses: (clauses, topics) probabilities of entailment, in the order of `ids`.

        A clause that several comments share is judged once. Raises ModelError when the model answers with NaN.
        """
        first = next(iter(self._hypotheses))
        asked = [
            [(clause, one) for clause in clauses for one in self._hypotheses.get(language, self._hypotheses[first])]
            for clauses, language in zip(comments, languages, strict=True)
        ]
        pairs = sorted({pair for of_comment in asked for pair in of_comment})
        found = self._classifier.probabilities(pairs)[:, self._entailment]
        if not np.isfinite(found).all():
            raise ModelError(f"the topics model {self._source} answered with NaN")
        sure = dict(zip(pairs, found, strict=True))
        return [
            np.array([sure[pair] for pair in of_comment], np.float32).reshape(len(clauses), len(self.ids))
            for clauses, of_comment in zip(comments, asked, strict=True)
        ]


def hypothesis(topic: Topic, language: str, templates: Mapping[str, str]) -> str:
    """What is asked about `topic`: in `language`, or where it has no name there, in the first that it has one in."""
    named = [code for code in (language, *templates) if code in topic.name and code in templates]
    code = named[0] if named else language
    words = {"name": topic.name, "description": topic.description}
    told = {field: texts.get(code) or next(iter(texts.values())) for field, texts in words.items()}
    return templates[code].format(**told)


def _entailment(source: str, labels: Sequence[str], declared: Mapping[str, str]) -> int:
    """Which of the model's `labels` means entailment, as declared or by its name."""
    strange = [name for name in declared if name not in labels]
    if strange:
        raise ModelError(f"VOC_MODEL_TOPICS_LABELS tells of {strange}; the topics model {source} has {list(labels)}")
    wrong = [meaning for meaning in declared.values() if meaning not in MEANINGS]
    if wrong:
        raise ModelError(f"VOC_MODEL_TOPICS_LABELS maps to {wrong}; allowed are {list(MEANINGS)}")
    meant = [declared.get(name, name).lower().startswith("entail") for name in labels]
    if sum(meant) != 1 or len(labels) == 1:
        raise ModelError(
            f"the topics model {source} has the labels {list(labels)}, and not one alone of several means entailment: "
            'give an NLI model, and say which label it is, as VOC_MODEL_TOPICS_LABELS=\'{"LABEL_0": "entailment"}\''
        )
    return meant.index(True)

"""The room's front door: comments in, labels out, whatever the comments look like.

    labeler = Labeler.load(ModelSettings())
    labels = labeler.label(["Great phone, terrible delivery."])

One forward pass a distinct comment serves sentiment, topics and the sentiment of each topic; where the settings name
an NLI model, that finds the topics (`models.entailment`), but for those fitted to a user's examples. Identical cleaned
comments are labelled once and remembered (bounded, least recently used goes first). Used by `pipeline`.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models import convert, fewshot, heads, sentiment, taxonomy
from models.classifier import SentimentModel
from models.clauses import split
from models.encoder import Batch, Encoder, pool_spans
from models.entailment import EntailedTopics
from models.errors import ModelError
from models.language import UNKNOWN, LanguageGuesser
from models.settings import ModelSettings
from models.text import clean, has_words, is_readable
from models.topics import OpenTopics
from schemas.labels import Labels, TopicMention

MOST_TOPICS = 6  # of one comment; more are noise of a long text


class Labeler:
    """Loaded once a process; not for use from several threads at once."""

    def __init__(
        self, encoder: Encoder, trained: tuple[heads.Heads, heads.HeadsCard] | None, topics: taxonomy.Taxonomy,
        guesser: LanguageGuesser, model_version: str, cache_size: int, classifier: SentimentModel | None = None,
        fitted: fewshot.FewShotTopics | None = None, encoder_version: str = "", entailed: EntailedTopics | None = None,
    ) -> None:  # fmt: skip
        self.model_version = model_version
        self.encoder_version = encoder_version  # encoder and heads: what fitted topics depend on
        self.encoder = encoder
        if trained is None and classifier is None:
            raise ModelError("nothing judges sentiment: give trained heads or a sentiment model")
        self._heads: heads.Heads | None = trained[0] if trained else None
        self._card: heads.HeadsCard | None = trained[1] if trained else None
        self._classifier = classifier
        self._guesser = guesser
        self._cache: OrderedDict[str, Labels] = OrderedDict()
        self._cache_size = cache_size
        wanted = set(topics.ids)
        known = self._card.topics if self._card else []
        own = set(fitted.ids) if fitted else set()  # what the user taught goes before what was shipped
        self._entailed = entailed
        asked = set(entailed.ids) if entailed else set()
        self._trained = [(at, topic) for at, topic in enumerate(known) if topic in wanted - own - asked]
        new = [topic for topic in topics.topics if topic.id not in (set(known) - own) | asked]
        self._open = OpenTopics.build(encoder, new, topics.topics, fitted) if new else None

    @property
    def trained_topics(self) -> list[str]:
        """Ids of the topics that trained heads find."""
        return [topic for _, topic in self._trained]

    @classmethod
    def load(cls, settings: ModelSettings | None = None, *, progress: bool = False) -> Labeler:
        """Loads encoder, heads and taxonomy; converts the default encoder if need be (`progress` shows a bar).

        Raises ModelError that names the file or model at fault.
        """
        settings = settings or ModelSettings()
        default = settings.encoder == "default"
        source = convert.ensure_default_model(settings.dir, progress=progress) if default else settings.encoder
        name = convert.NAME if default else settings.encoder
        topics = taxonomy.load(settings.taxonomy)
        folder = settings.heads or (heads.SHIPPED if default else None)
        trained = heads.load(folder) if folder else None
        sizes = {"token_budget": settings.token_budget, "max_tokens": settings.max_tokens}
        encoder = Encoder.load(source, threads=settings.threads, **sizes)
        parts = [name]
        if trained and folder:
            _check_fit(trained[1], folder, name, encoder.width)
            heads.apply_to_encoder(folder, encoder.model)
            parts.append(f"{trained[1].name}-{heads.fingerprint(folder)}")
        encoder_version = "+".join(parts)
        fitted = fewshot.load(settings.fitted_topics, encoder_version) if settings.fitted_topics else None
        encoder.lower(settings.precision, [phrase for topic in topics.topics for phrase in topic.phrases()])
        if encoder.precision != "fp32":
            parts.append(encoder.precision)
        classifier = None
        if settings.sentiment:
            classifier = SentimentModel.load(settings.sentiment, settings.sentiment_labels, **sizes)
            parts.append(settings.sentiment)
        entailed = None
        if settings.topics:
            left = [topic for topic in topics.topics if fitted is None or topic.id not in fitted.ids]
            entailed = EntailedTopics.load(settings, left)
            parts.append(entailed.version)
        described = hashlib.sha256(topics.model_dump_json().encode()).hexdigest()[:8]
        if settings.fitted_topics:
            parts.append(f"fitted-{fewshot.fingerprint(settings.fitted_topics)}")
        version = "+".join([*parts, f"topics-{described}"])
        guesser = LanguageGuesser(settings.languages)
        return cls(encoder, trained, topics, guesser, version, settings.cache_size, classifier, fitted,
                   encoder_version, entailed)  # fmt: skip

    def label(self, texts: Sequence[str]) -> list[Labels]:
        """Labels of `texts`, in their order. A comment that cannot be read is `unknown`, and harms no other.

        Raises ModelError only when nothing at all can be labelled: then the model is broken, not the comments.
        """
        cleaned = [clean(text) for text in texts]
        new = {text for text in cleaned if text not in self._cache}
        answers = {text: self._cache[text] for text in cleaned if text not in new}
        answers |= {text: self._unknown(text) for text in new if not is_readable(text)}
        work = sorted(text for text in new if text not in answers)
        answers |= dict(self._labelled(work))
        self._remember(answers)
        return [answers[text] for text in cleaned]

    def _labelled(self, texts: Sequence[str]) -> Iterator[tuple[str, Labels]]:
        try:
            yield from list(self._run(texts))
            return
        except Exception as error:  # one comment must not take the others with it: each alone, then
            last = error
        failed = 0
        for text in texts:
            try:
                yield from list(self._run([text]))
            except Exception as error:
                last = error
                failed += 1
                yield text, self._unknown(text)
        if failed == len(texts) and failed > 1:
            raise ModelError(f"the model labels no comment at all, the last error is: {last}") from last

    def _run(self, texts: Sequence[str]) -> Iterator[tuple[str, Labels]]:
        for batch in self.encoder.forward(texts):
            trained: list[list[TopicMention]] = [[] for _ in batch.rows]
            if self._heads is not None and self._card is not None:
                with torch.inference_mode():
                    scores = self._heads(batch.hidden, batch.mask)
                overall = heads.probabilities(scores.sentiment, heads.temperatures(scores.topics, self._card))
                present = torch.sigmoid(scores.topics / self._card.topic_temperature).numpy()
                feelings = heads.leaning(heads.probabilities(scores.topic_sentiment, self._card.temperature), overall)
                overall = heads.opposed(overall, present, feelings)
                trained = [self._trained_topics(present[at], feelings[at]) for at in range(len(batch.rows))]
            if self._classifier is not None:
                overall = self._classifier.probabilities([texts[row] for row in batch.rows])
            if not np.isfinite(overall).all() or not bool(torch.isfinite(batch.hidden).all()):
                raise ModelError("the model answered with NaN")
            entailed = self._entailment([texts[row] for row in batch.rows])
            for at, row in enumerate(batch.rows):
                text = texts[row]
                mentions = trained[at]
                if self._open is not None and has_words(text):
                    sure = self._open.confidence(pool_spans(batch, at, split(text)))
                    mentions += self._found(batch, at, text, self._open, sure)
                if self._entailed is not None and has_words(text):
                    mentions += self._found(batch, at, text, self._entailed, entailed[at])
                yield text, self._labels(text, sentiment.decide(overall[at].tolist()), mentions)

    def _trained_topics(self, present: NDArray[Any], feelings: NDArray[Any]) -> list[TopicMention]:
        assert self._card is not None
        return [
            _mention(topic, sentiment.decide(feelings[at].tolist()), float(present[at]))
            for at, topic in self._trained
            if present[at] >= self._card.thresholds[at]
        ]

    def _entailment(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """Of each text: how surely each of its clauses entails each topic; nothing without an NLI model."""
        if self._entailed is None:
            return []
        spans = [split(text) if has_words(text) else [] for text in texts]
        clauses = [[text[start:end].strip() for start, end in of] for text, of in zip(texts, spans, strict=True)]
        return self._entailed.confidence(clauses, [self._guesser.guess(text) for text in texts])

    def _found(
        self, batch: Batch, at: int, text: str, finder: OpenTopics | EntailedTopics, sure: NDArray[np.float32]
    ) -> list[TopicMention]:
        """Topics without a trained head, `sure` (clauses, topics); the feeling is that of the clause that says most."""
        spans = split(text)
        found = []
        for column, topic in enumerate(finder.ids):
            clause = int(sure[:, column].argmax())
            if sure[clause, column] >= finder.thresholds[column]:
                found.append(
                    _mention(topic, self._feeling(batch, at, text, spans[clause]), float(sure[clause, column]))
                )
        return found

    def _feeling(self, batch: Batch, at: int, text: str, span: tuple[int, int]) -> sentiment.Verdict:
        """The sentiment of one clause, five levels."""
        if self._heads is None or self._card is None:
            assert self._classifier is not None
            five = self._classifier.probabilities([text[span[0] : span[1]]])[0, :5]
            return sentiment.decide((five / max(float(five.sum()), 1e-9)).tolist())
        starts, ends = batch.offsets[at, :, 0], batch.offsets[at, :, 1]
        inside = torch.from_numpy(((ends > starts) & (starts < span[1]) & (ends > span[0])).astype(np.int64))
        if not int(inside.sum()):
            inside = batch.mask[at]
        with torch.inference_mode():
            scores = self._heads(batch.hidden[at : at + 1], inside.unsqueeze(0))
        levels = heads.probabilities(scores.sentiment[:, :5], self._card.temperature)
        return sentiment.decide(levels[0].tolist())

    def _labels(self, text: str, verdict: sentiment.Verdict, mentions: Iterable[TopicMention]) -> Labels:
        topics = sorted(mentions, key=lambda mention: -mention.confidence)[:MOST_TOPICS]
        if not topics and has_words(text):
            topics = [_mention(taxonomy.OTHER, verdict, verdict.confidence)]
        return Labels(
            language=self._guesser.guess(text), sentiment=verdict.sentiment, sentiment_score=verdict.score,
            confidence=verdict.confidence, topics=tuple(topics), model_version=self.model_version,
        )  # fmt: skip

    def _unknown(self, text: str) -> Labels:
        verdict = sentiment.UNKNOWN
        return Labels(
            language=self._guesser.guess(text) if has_words(text) else UNKNOWN, sentiment=verdict.sentiment,
            sentiment_score=verdict.score, confidence=verdict.confidence, model_version=self.model_version,
        )  # fmt: skip

    def _remember(self, answers: dict[str, Labels]) -> None:
        for text, labels in answers.items():
            self._cache[text] = labels
            self._cache.move_to_end(text)
        while len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)


def _check_fit(card: heads.HeadsCard, folder: Path, encoder: str, width: int) -> None:
    if card.width != width or card.encoder != encoder:
        raise ModelError(
            f"the heads in {folder} were trained on {card.encoder} ({card.width} wide), not on "
            f"{encoder} ({width} wide): set VOC_MODEL_HEADS to heads trained for it"
        )


def _mention(topic: str, verdict: sentiment.Verdict, confidence: float) -> TopicMention:
    return TopicMention(
        topic=topic, sentiment=verdict.sentiment, sentiment_score=verdict.score,
        confidence=round(min(max(confidence, 0.0), 1.0), 4),
    )  # fmt: skip

"""The lanes: what a batch of records becomes, and that one comment never takes the others with it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from pipeline.flush import Work
from pipeline.lanes import event, label_comments, score_responses, store_interactions
from schemas import topics
from schemas.dead_letter import Reason, Stage
from schemas.labels import Labels, Sentiment, TopicMention
from schemas.rows import LABELLED, ResponseRow
from schemas.topics import TOPICS, CommentEvent, DeadLetterEvent, EnrichedEvent
from tests.unit.records import NOW_MS, FakeRecord, envelope, response

PUBLISHED = Path(__file__).parents[2] / "schemas" / "published"
LATER_MS = NOW_MS + 1500


def _work() -> Work:
    async def acknowledge() -> None:
        raise AssertionError("a lane acknowledges nothing")

    return Work(acknowledge)


def _labels(text: str) -> Labels:
    return Labels(
        language="es",
        sentiment=Sentiment.NEGATIVE,
        sentiment_score=-0.5,
        confidence=0.75,
        topics=(
            TopicMention(topic="delivery.delay", sentiment=Sentiment.VERY_NEGATIVE, sentiment_score=-1, confidence=0.5),
            TopicMention(topic="product.quality", sentiment=Sentiment.POSITIVE, sentiment_score=0.5, confidence=0.5),
        ),
        model_version=f"m{len(text)}",
    )


async def _label(texts: Sequence[str]) -> list[Labels]:
    return [_labels(text) for text in texts]


def _comment(text: str, offset: int) -> FakeRecord:
    """A record of `feedback.comments` as the score lane writes it."""
    work = _work()
    score_responses([response(response_id=f"r-{offset}", comment=text, customer_id="c-1")], work, NOW_MS)
    (message,) = work.messages
    return FakeRecord(message.value, key=message.key, topic=message.topic, offset=offset)


def test_the_score_lane_makes_rows_and_hands_comments_on() -> None:
    work = _work()
    records = [
        response(response_id="a"),
        response(response_id="b", comment="Llegó tarde, avisen al 612 345 678", customer_id="c-9"),
        FakeRecord(b"junk"),
        response(response_id="c", comment="ok"),
    ]
    score_responses(records, work, NOW_MS)
    assert [row[2] for row in work.rows] == ["a", "b", "c"]
    assert work.origins == [records[0], records[1], records[3]]
    assert [letter.reason for letter in work.letters] == [Reason.NOT_JSON]
    assert [(m.topic, m.key) for m in work.messages] == [(topics.COMMENTS, b"c-9"), (topics.COMMENTS, b"e-1")]
    handed_on = CommentEvent.model_validate_json(work.messages[0].value)
    assert handed_on.data.row() == work.rows[1]
    assert (handed_on.id, handed_on.type, handed_on.source) == ("e-1", "vocstream.comment.v1", "vocstream")
    assert b"612" not in work.messages[0].value


def test_interactions_become_rows() -> None:
    work = _work()
    records = [FakeRecord(envelope({"action": "paid"})), FakeRecord(b"[]", topic=topics.INTERACTIONS)]
    store_interactions(records, work, NOW_MS)
    assert [row[4] for row in work.rows] == ["paid"]
    assert work.origins == records[:1]
    assert [letter.topic for letter in work.letters] == [topics.INTERACTIONS]
    assert work.messages == []


async def test_the_label_lane_writes_the_same_row_with_labels_and_tells_others() -> None:
    work = _work()
    record = _comment("Llegó tarde", 7)
    await label_comments([record], work, _label, lambda: LATER_MS)
    (row,) = work.rows
    assert isinstance(row, ResponseRow)
    before = CommentEvent.model_validate_json(record.value or b"").data.row()
    assert row == before.labelled(_labels("Llegó tarde"), LATER_MS)
    assert (row.sentiment, row.language, row.label_rank) == ("negative", "es", LABELLED)
    assert row.topics == ["delivery.delay", "product.quality"]
    assert row.topic_sentiments == ["very_negative", "positive"]
    # Labels never change what a score is made of, nor which version of the source it is.
    assert (row.score, row.band, row.digest, row.updated_at, row.received_at) == (
        before.score,
        before.band,
        before.digest,
        before.updated_at,
        before.received_at,
    )
    (message,) = work.messages
    assert (message.topic, message.key) == (topics.ENRICHED, b"c-1")
    assert EnrichedEvent.model_validate_json(message.value).data.row() == row
    assert work.origins == [record]


@pytest.mark.parametrize("said", [{"response_id": "r-1"}, {"response_id": "r-1", "metric": "nps", "score": 3}])
async def test_a_comment_is_labelled_with_and_without_a_score(said: dict[str, object]) -> None:
    """Found by `vocstream chaos --labels`: without a score the label lane could not read what the score lane wrote."""
    scored, labelled = _work(), _work()
    score_responses([FakeRecord(envelope(said | {"comment": "Llegó tarde"}))], scored, NOW_MS)
    (message,) = scored.messages
    await label_comments([FakeRecord(message.value, topic=message.topic)], labelled, _label, lambda: LATER_MS)
    assert labelled.letters == []
    assert labelled.rows == [scored.rows[0].labelled(_labels("Llegó tarde"), LATER_MS)]
    (enriched,) = labelled.messages
    assert EnrichedEvent.model_validate_json(enriched.value).data.row() == labelled.rows[0]
    for sent, topic in ((message, topics.COMMENTS), (enriched, topics.ENRICHED)):
        schema = json.loads((PUBLISHED / f"{topic}.v1.json").read_text("utf-8"))
        Draft202012Validator(schema).validate(json.loads(sent.value))


async def test_a_comment_that_the_model_fails_on_is_set_aside_alone() -> None:
    asked: list[int] = []

    async def label(texts: Sequence[str]) -> list[Labels]:
        asked.append(len(texts))
        if "poison" in texts:
            raise RuntimeError("cannot read this")
        return [_labels(text) for text in texts]

    work = _work()
    await label_comments(
        [_comment(t, i) for i, t in enumerate(["good", "poison", "fine"])], work, label, lambda: NOW_MS
    )
    assert [row[2] for row in work.rows] == ["r-0", "r-2"]
    assert [(letter.reason, letter.stage, letter.offset) for letter in work.letters] == [
        (Reason.LABEL_FAILED, Stage.LABEL, 1)
    ]
    assert "cannot read this" in work.letters[0].error
    assert asked == [3, 1, 1, 1]


async def test_what_is_no_comment_event_is_a_dead_letter_and_the_model_is_not_asked() -> None:
    async def label(_: Sequence[str]) -> list[Labels]:
        raise AssertionError("there is nothing to label")

    work = _work()
    records = [FakeRecord(value, topic=topics.COMMENTS) for value in (None, b"", b"junk", b"{}", envelope({}))]
    await label_comments(records, work, label, lambda: NOW_MS)
    assert [letter.reason for letter in work.letters] == [Reason.WRONG_SHAPE] * 5
    assert work.rows == []


@pytest.mark.parametrize("topic", [topics.COMMENTS, topics.ENRICHED, topics.DEAD_LETTERS])
def test_messages_of_ours_are_events_of_their_topic(topic: str) -> None:
    work = _work()
    score_responses([response(comment="hm"), FakeRecord(b"junk")], work, NOW_MS)
    data = (
        work.letters[0]
        if topic == topics.DEAD_LETTERS
        else CommentEvent.model_validate_json(work.messages[0].value).data
    )
    message = event(topic, "id-1", "key", data, NOW_MS)
    declared = next(t for t in TOPICS if t.name == topic)
    read = declared.event.model_validate_json(message.value)
    assert json.loads(message.value)["type"] == declared.event_type
    assert read.data == data  # type: ignore[attr-defined]
    assert (message.topic, message.key) == (topic, b"key")
    if topic == topics.DEAD_LETTERS:
        assert isinstance(read, DeadLetterEvent)

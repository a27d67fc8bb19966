"""Topics, tables and views against what they must hold: every identity, every column, every figure, all junk."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, NamedTuple

from clickhouse_connect.driver.client import Client
from kafka import KafkaConsumer, TopicPartition

from pipeline.chaos.expected import Expected, Identity, Row
from pipeline.chaos.stream import Sent, content
from pipeline.chaos.views import CROSSED, CROSSED_METRICS, FEELINGS, SCORES, Key, View, net_sentiments, score_cells
from schemas import topics
from schemas.rows import to_ms

TOLERANCE = 1e-9  # absolute and relative, of every figure
MODEL_TOLERANCE = 1.5e-4  # a model's sums depend on what else is in the batch: the last of four digits may round over
_PATIENCE = 120.0  # seconds to read a topic to its end; a busy machine
_RESPONSE_KEY = ("tenant", "source", "response_id", "question")
Ends = Mapping[TopicPartition, int]
Kept = Mapping[str, list[Any]]  # records by topic
_INTERACTION_KEY = ("tenant", "source", "interaction_id")
_EVENT_KEY = ("tenant", "kind", "source", "source_id", "question")


class Difference(NamedTuple):
    """One value that is not what it must be."""

    where: str
    key: Any
    found: Any
    wanted: Any


@dataclass
class Comparison:
    """`lost`: acknowledged and nowhere; `twice`: there more often than once or not sent at all; `figures`: compared."""

    lost: int = 0
    twice: int = 0
    figures: int = 0
    differences: list[Difference] = field(default_factory=list)

    def same_keys(self, where: str, found: Counter[Any], wanted: Counter[Any]) -> None:
        """Count what is missing and what is too many."""
        missing, surplus = wanted - found, found - wanted
        self.lost += missing.total()
        self.twice += surplus.total()
        self.differences += [Difference(where, key, found[key], wanted[key]) for key in [*missing, *surplus]]

    def same(self, where: str, key: Any, found: Any, wanted: Any, tolerance: float = TOLERANCE) -> None:
        """Compare one value; numbers to the tolerance."""
        self.figures += 1
        if found == wanted:
            return
        numbers = isinstance(found, (int, float)) and isinstance(wanted, (int, float))
        if not numbers or not math.isclose(found, wanted, rel_tol=tolerance, abs_tol=tolerance):
            self.differences.append(Difference(where, key, found, wanted))

    def same_cells(self, where: str, found: Mapping[Key, Row], wanted: Mapping[Key, Row]) -> None:
        """Compare the rows of a view, each column of `wanted`; a row too many or too few is one difference."""
        for key in found.keys() | wanted.keys():
            if key not in found or key not in wanted:
                self.differences.append(Difference(where, key, found.get(key), wanted.get(key)))
                continue
            for name, figure in wanted[key].items():
                self.same(f"{where}.{name}", key, found[key][name], figure)


def read_topics(brokers: str, run: str, since: Ends | None = None) -> Kept:
    """What each topic keeps of `run`, from `since` on."""
    return {topic.name: read(brokers, topic.name, run, since or {}) for topic in topics.TOPICS}


def compare(
    client: Client, kept: Kept, run: str, wanted: Expected, sent: Sequence[Sent], zones: Mapping[str, str]
) -> Comparison:
    """Compare all that belongs to `run`, whose tenants are those of `zones`; `kept` is what its topics keep."""
    result = Comparison()
    _compare_topics(result, kept, sent)
    _compare_dead_letters(result, client, kept, f"junk-{run}-", wanted)
    _compare_passed_on(result, kept, wanted)
    compare_store(result, client, wanted, zones)
    return result


def compare_store(result: Comparison, client: Client, wanted: Expected, zones: Mapping[str, str]) -> None:
    """Compare the facts and every view of scores of the tenants of `zones`."""
    tenants = list(zones)
    sql = "SELECT * FROM feedback.enriched_responses WHERE tenant IN {tenants:Array(String)}"
    _compare_facts(result, "enriched_responses", _rows(client, sql, tenants), wanted.responses, _RESPONSE_KEY)
    sql = "SELECT * FROM feedback.interactions FINAL WHERE tenant IN {tenants:Array(String)}"
    _compare_facts(result, "interactions", _rows(client, sql, tenants), wanted.interactions, _INTERACTION_KEY)
    sql = "SELECT * FROM feedback.customer_events WHERE tenant IN {tenants:Array(String)}"
    _compare_view(result, "customer_events", _EVENT_KEY, _rows(client, sql, tenants), customer_events(wanted))
    responses = wanted.responses.values()
    for view in SCORES:
        _compare_view(result, view.name, view.key, _cells(client, view, tenants), score_cells(view, responses, zones))
    for view in FEELINGS:
        _compare_view(
            result, view.name, view.key, _cells(client, view, tenants), net_sentiments(view, responses, zones)
        )


def customer_events(wanted: Expected) -> dict[Identity, Row]:
    """What the view of the same name must hold, by its key: acts, but for surveys that were sent, and responses."""
    acts: dict[Identity, Row] = {
        (tenant, "act", source, own, ""): {
            "customer_id": row["customer_id"], "at": row["occurred_at"], "role": "order", "value": row["value"],
            "currency": row["currency"], "metric": "", "score": None,
        }
        for (tenant, source, own), row in wanted.interactions.items()
        if row["customer_id"] and row["action"] == "order_placed"
    }  # fmt: skip
    said: dict[Identity, Row] = {
        (tenant, "response", source, own, question): {
            "customer_id": row["customer_id"], "at": row["occurred_at"], "role": "", "value": None,
            "metric": "" if row["excluded"] or row["score"] is None else row["metric"], "score": row["score"],
            "band": row["band"], "sentiment": row["sentiment"],
        }
        for (tenant, source, own, question), row in wanted.responses.items()
        if row["customer_id"]
    }  # fmt: skip
    return acts | said


def ends(brokers: str) -> Ends:
    """Where every partition of our topics ends now: the high watermark of a fetch, as in `pipeline.status`."""
    with closing(_consumer(brokers)) as consumer:
        places = [place for topic in topics.TOPICS for place in _partitions(consumer, topic.name)]
        consumer.assign(places)
        consumer.seek_to_end(*places)
        deadline = time.monotonic() + _PATIENCE
        while any(consumer.highwater(place) is None for place in places):
            if time.monotonic() > deadline:
                raise TimeoutError("the broker does not say where its partitions end")
            consumer.poll(timeout_ms=200, max_records=1)
        return {place: consumer.highwater(place) for place in places}


def read(brokers: str, topic: str, text: str, since: Ends) -> list[Any]:
    """The records of `topic` whose value holds `text`, from `since` to the high watermark of every partition."""
    with closing(_consumer(brokers)) as consumer:
        places = _partitions(consumer, topic)
        consumer.assign(places)
        for place in places:
            consumer.seek(place, since.get(place, 0))
        found: list[Any] = []
        deadline = time.monotonic() + _PATIENCE
        while any(consumer.highwater(p) is None or consumer.position(p) < consumer.highwater(p) for p in places):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic} could not be read to its end")
            for batch in consumer.poll(timeout_ms=200).values():
                found += [record for record in batch if text.encode() in (record.value or b"")]
        return found


def _consumer(brokers: str) -> KafkaConsumer:
    return KafkaConsumer(bootstrap_servers=brokers.split(","), enable_auto_commit=False)


def _partitions(consumer: KafkaConsumer, topic: str) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]


def _compare_topics(result: Comparison, kept: Kept, sent: Sequence[Sent]) -> None:
    """The broker keeps what it acknowledged (sending again may add copies, which is no fault)."""
    for topic in (topics.RESPONSES, topics.INTERACTIONS):
        found = Counter({(record.timestamp, *content(record)) for record in kept[topic]})
        result.same_keys(topic, found, Counter({(s.timestamp, *content(s)) for s in sent if s.topic == topic}))


def _compare_dead_letters(result: Comparison, client: Client, kept: Kept, junk: str, wanted: Expected) -> None:
    """Table: one row a record of junk. Topic: each at least once (it is a log: after a kill it may be twice)."""
    records = Counter((r.topic, r.partition, r.offset) for r in kept[topics.RESPONSES] if junk.encode() in r.value)
    sql = """
        SELECT topic, partition, offset FROM feedback.dead_letters FINAL WHERE position(payload, {junk:String}) > 0"""
    found = client.query(sql, parameters={"junk": junk}).result_rows
    result.same_keys("dead_letters", Counter(map(tuple, found)), records)
    letters = [json.loads(record.value)["data"] for record in kept[topics.DEAD_LETTERS]]
    told = Counter({(letter["topic"], letter["partition"], letter["offset"]) for letter in letters})
    result.same_keys(topics.DEAD_LETTERS, told, records)
    marks = {_mark(letter["payload"], junk) for letter in letters if junk in letter["payload"]}
    result.same("junk", "marks", len(marks), len(wanted.junk))


def _mark(payload: str, junk: str) -> str:
    begin = payload.index(junk)
    end = begin + len(junk)
    while end < len(payload) and payload[end].isdigit():
        end += 1
    return payload[begin:end]


def _compare_passed_on(result: Comparison, kept: Kept, wanted: Expected) -> None:
    """Every comment of a newest version went on to the label lane; and every labelled one to `feedback.enriched`."""
    for topic, column in ((topics.COMMENTS, "comment"), (topics.ENRICHED, "model_version")):
        due = {row["event_id"] for row in wanted.responses.values() if row[column]}
        passed_on = {json.loads(record.value)["data"]["event_id"] for record in kept[topic]}
        result.same_keys(topic, Counter(passed_on & due), Counter(due))


def _rows(client: Client, sql: str, tenants: Sequence[str]) -> list[Row]:
    answer = client.query(sql, parameters={"tenants": tenants})
    return [
        {name: _plain(value) for name, value in zip(answer.column_names, row, strict=True)}
        for row in answer.result_rows
    ]


def _plain(value: Any) -> Any:
    """Moments as milliseconds: the driver leaves the zone out where the server's is UTC, and only there."""
    if hasattr(value, "hour"):
        return to_ms(value if value.tzinfo else value.replace(tzinfo=UTC))
    return value


def _compare_facts(
    result: Comparison, where: str, rows: list[Row], wanted: Mapping[Identity, Row], key: Sequence[str]
) -> None:
    keys = [tuple(row[name] for name in key) for row in rows]
    result.same_keys(where, Counter(keys), Counter(wanted.keys()))
    for identity, row in zip(keys, rows, strict=True):
        for name, value in wanted.get(identity, {}).items():
            found = json.loads(row[name]) if name == "segments" and isinstance(row[name], str) else row[name]
            of_a_model = name in ("sentiment_score", "sentiment_confidence")
            result.same(f"{where}.{name}", identity, found, value, MODEL_TOLERANCE if of_a_model else TOLERANCE)


def _cells(client: Client, view: View, tenants: Sequence[str]) -> list[Row]:
    if view.name != "cross_tab":
        return _rows(client, f"SELECT * FROM feedback.{view.name} WHERE tenant IN {{tenants:Array(String)}}", tenants)
    one, two = CROSSED
    given = f"dimension_1 = '{one}', dimension_2 = '{two}', since = '1971-01-01', until = '2100-01-01'"
    calls = [
        f"SELECT * FROM feedback.cross_tab(tenant = '{tenant}', metric = '{metric}', {given})"
        for tenant in tenants
        for metric in CROSSED_METRICS
    ]
    return [row for call in calls for row in _rows(client, call, tenants)]


def _compare_view(
    result: Comparison, name: str, key: Sequence[str], rows: list[Row], wanted: Mapping[Key, Row]
) -> None:
    found = {tuple(row[column] for column in key): row for row in rows}
    if len(found) != len(rows):
        result.differences.append(Difference(name, "rows of one key", len(rows), len(found)))
    plain = {tuple(map(_plain, place)): figures for place, figures in wanted.items()}
    result.same_cells(name, found, plain)

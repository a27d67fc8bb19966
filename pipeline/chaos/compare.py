"""Topics, tables and views against what they must hold: every identity, every figure, every piece of junk."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, NamedTuple

from clickhouse_connect.driver.client import Client
from kafka import KafkaConsumer, TopicPartition

from pipeline.chaos.expected import GRAINS, Expected, differ
from pipeline.chaos.stream import Sent
from schemas import topics
from schemas.rows import to_ms

_PATIENCE = 30.0  # seconds to read a topic to its end


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

    def same(self, where: str, key: Any, found: Any, wanted: Any) -> None:
        """Compare one value; numbers to the tolerance."""
        self.figures += 1
        numbers = isinstance(found, (int, float)) and isinstance(wanted, (int, float))
        if differ(found, wanted) if numbers else found != wanted:
            self.differences.append(Difference(where, key, found, wanted))


def compare(
    client: Client, brokers: str, run: str, wanted: Expected, sent: Sequence[Sent], zones: Mapping[str, str]
) -> Comparison:
    """Compare all that belongs to `run`."""
    result = Comparison()
    tenants = {"tenants": list(zones)}
    _compare_topics(result, brokers, run, sent)
    _compare_responses(result, client, wanted, tenants)
    _compare_interactions(result, client, wanted, tenants)
    _compare_dead_letters(result, client, brokers, run, wanted)
    _compare_comments(result, brokers, run, wanted)
    for grain in GRAINS:
        _compare_scores(result, client, grain, wanted, tenants, zones)
    return result


def read(brokers: str, topic: str, text: str) -> list[Any]:
    """The records of `topic` whose value holds `text`, from the beginning to the high watermark of every partition."""
    with closing(KafkaConsumer(bootstrap_servers=brokers.split(","), enable_auto_commit=False)) as consumer:
        places = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
        consumer.assign(places)
        consumer.seek_to_beginning(*places)
        found: list[Any] = []
        deadline = time.monotonic() + _PATIENCE
        while any(consumer.highwater(p) is None or consumer.position(p) < consumer.highwater(p) for p in places):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{topic} could not be read to its end")
            for batch in consumer.poll(timeout_ms=200).values():
                found += [record for record in batch if text.encode() in (record.value or b"")]
        return found


def _compare_topics(result: Comparison, brokers: str, run: str, sent: Sequence[Sent]) -> None:
    """The broker keeps what it acknowledged (sending again may add copies, which is no fault)."""
    for topic in (topics.RESPONSES, topics.INTERACTIONS):
        kept = Counter({(r.timestamp, r.value) for r in read(brokers, topic, run)})
        result.same_keys(topic, kept, Counter({(s.timestamp, s.value) for s in sent if s.topic == topic}))


def _rows(client: Client, sql: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    answer = client.query(sql, parameters=parameters)
    return [dict(zip(answer.column_names, row, strict=True)) for row in answer.result_rows]


def _compare_responses(result: Comparison, client: Client, wanted: Expected, tenants: dict[str, Any]) -> None:
    sql = """
        SELECT tenant, source, response_id, question, metric, scale, score, band, comment, excluded, survey, touchpoint,
            channel, event_id, toUnixTimestamp64Milli(occurred_at) AS occurred,
            toUnixTimestamp64Milli(updated_at) AS updated, toUnixTimestamp64Milli(received_at) AS received
        FROM feedback.enriched_responses WHERE tenant IN {tenants:Array(String)}"""
    rows = _rows(client, sql, tenants)
    keys = [(row["tenant"], row["source"], row["response_id"], row["question"]) for row in rows]
    result.same_keys("enriched_responses", Counter(keys), Counter(wanted.responses.keys()))
    for key, row in zip(keys, rows, strict=True):
        if key not in wanted.responses:
            continue
        right = wanted.responses[key]
        for name in row.keys() - {"tenant", "source", "response_id", "question", "band", "excluded"}:
            result.same(f"enriched_responses.{name}", key, row[name], right[name])
        result.same("enriched_responses.band", key, row["band"], right["band"].value if right["band"] else "")
        result.same("enriched_responses.excluded", key, bool(row["excluded"]), right["excluded"])


def _compare_interactions(result: Comparison, client: Client, wanted: Expected, tenants: dict[str, Any]) -> None:
    sql = """
        SELECT tenant, source, interaction_id, event_id, toUnixTimestamp64Milli(occurred_at) AS occurred
        FROM feedback.interactions FINAL WHERE tenant IN {tenants:Array(String)}"""
    rows = _rows(client, sql, tenants)
    keys = [(row["tenant"], row["source"], row["interaction_id"]) for row in rows]
    result.same_keys("interactions", Counter(keys), Counter(wanted.interactions.keys()))
    for key, row in zip(keys, rows, strict=True):
        for name in ("event_id", "occurred"):
            if key in wanted.interactions:
                result.same(f"interactions.{name}", key, row[name], wanted.interactions[key][name])


def _compare_dead_letters(result: Comparison, client: Client, brokers: str, run: str, wanted: Expected) -> None:
    """Table: one row a record of junk. Topic: each at least once (it is a log: after a kill it may be twice)."""
    junk = f"junk-{run}-"
    records = Counter((r.topic, r.partition, r.offset) for r in read(brokers, topics.RESPONSES, junk))
    sql = """
        SELECT topic, partition, offset FROM feedback.dead_letters FINAL WHERE position(payload, {junk:String}) > 0"""
    rows = _rows(client, sql, {"junk": junk})
    result.same_keys("dead_letters", Counter((r["topic"], r["partition"], r["offset"]) for r in rows), records)
    letters = [json.loads(record.value)["data"] for record in read(brokers, topics.DEAD_LETTERS, junk)]
    told = Counter({(letter["topic"], letter["partition"], letter["offset"]) for letter in letters})
    result.same_keys(topics.DEAD_LETTERS, told, records)
    result.same("junk", "marks", len(wanted.junk), len({_mark(letter["payload"], junk) for letter in letters}))


def _mark(payload: str, junk: str) -> str:
    begin = payload.index(junk)
    end = begin + len(junk)
    while end < len(payload) and payload[end].isdigit():
        end += 1
    return payload[begin:end]


def _compare_comments(result: Comparison, brokers: str, run: str, wanted: Expected) -> None:
    """Every comment of a newest version went on to the label lane."""
    passed_on = {json.loads(record.value)["data"]["event_id"] for record in read(brokers, topics.COMMENTS, run)}
    with_comment = {row["event_id"] for row in wanted.responses.values() if row["comment"]}
    result.same_keys(topics.COMMENTS, Counter(passed_on & with_comment), Counter(with_comment))


def _compare_scores(
    result: Comparison,
    client: Client,
    grain: str,
    wanted: Expected,
    tenants: dict[str, Any],
    zones: Mapping[str, str],
) -> None:
    rows = _rows(client, f"SELECT * FROM feedback.scores_{grain} WHERE tenant IN {{tenants:Array(String)}}", tenants)
    right = wanted.scores(grain, zones)
    names = ("tenant", "metric", "survey", "touchpoint", "channel", "scale", "bucket")
    found = {tuple(_plain(row[name]) for name in names): row for row in rows}
    if len(found) != len(rows):
        result.differences.append(Difference(f"scores_{grain}", "rows of one key", len(rows), len(found)))
    plain = {tuple(map(_plain, key)): figures for key, figures in right.items()}
    for key in found.keys() | plain.keys():
        if key not in found or key not in plain:
            result.differences.append(Difference(f"scores_{grain}", key, found.get(key), plain.get(key)))
            continue
        for name, figure in plain[key].items():
            result.same(f"scores_{grain}.{name}", key, found[key][name], figure)


def _plain(value: Any) -> Any:
    """Moments as milliseconds, so that a zone left out by the driver does not matter."""
    if hasattr(value, "hour"):
        return to_ms(value if value.tzinfo else value.replace(tzinfo=UTC))
    return value

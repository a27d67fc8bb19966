"""How the stream is doing: lag a partition, rows a table, freshness, dead letters.

Reads the broker (committed offsets, ends of partitions) and ClickHouse; `vocstream status` prints it. The end of a
partition is the high watermark of a fetch, not ListOffsets, which the embedded broker answers wrongly.
"""

from __future__ import annotations

import time
from contextlib import closing
from typing import Any

from clickhouse_connect.driver.client import Client
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from infra.clickhouse.client import wait_for_clickhouse
from infra.clickhouse.settings import ClickHouseSettings
from infra.topics import admin
from pipeline.settings import StreamSettings, consumer_group
from schemas import topics

READ_BY_LANE = {"scores": (topics.RESPONSES, topics.INTERACTIONS), "labels": (topics.COMMENTS,)}
_PATIENCE = 5.0  # seconds to hear of every partition


class StreamAway(ConnectionError):
    """No broker answered."""


def look(stream: StreamSettings, clickhouse: ClickHouseSettings) -> dict[str, Any]:
    """The whole report; raises StreamAway or ClickHouseAway."""
    try:
        partitions = lag(stream)
    except KafkaError as error:
        raise StreamAway(f"no Kafka broker at {stream.kafka_brokers}: {error}") from error
    with closing(wait_for_clickhouse(clickhouse, timeout=5)) as client:
        return {"partitions": partitions, "tables": _tables(client), "dead_letters": _dead_letters(client)}


def lag(stream: StreamSettings) -> list[dict[str, Any]]:
    """One record a partition and group: `committed`, `end` (None where the broker did not say) and their difference."""
    brokers = stream.kafka_brokers
    read_by = {consumer_group(stream, lane): names for lane, names in READ_BY_LANE.items()}
    with closing(admin(brokers)) as client:
        committed = client.list_group_offsets(dict.fromkeys(read_by))
    with closing(
        KafkaConsumer(bootstrap_servers=brokers.split(","), enable_auto_commit=False, bootstrap_timeout_ms=5_000)
    ) as consumer:
        report = []
        for group, names in read_by.items():
            for tp, end in _ends(consumer, names).items():
                at = max(0, getattr(committed.get(group, {}).get(tp), "offset", 0))
                report.append(
                    {
                        "group": group,
                        "topic": tp.topic,
                        "partition": tp.partition,
                        "committed": at,
                        "end": end,
                        "lag": None if end is None else max(0, end - at),
                    }
                )
    return report


def _ends(consumer: KafkaConsumer, names: tuple[str, ...]) -> dict[TopicPartition, int | None]:
    tps = [TopicPartition(name, p) for name in names for p in sorted(consumer.partitions_for_topic(name) or ())]
    consumer.assign(tps)
    consumer.seek_to_end(*tps)
    until = time.monotonic() + _PATIENCE
    ends: dict[TopicPartition, int | None] = dict.fromkeys(tps)
    while None in ends.values() and time.monotonic() < until:
        consumer.poll(timeout_ms=200, max_records=1)
        ends = {tp: consumer.highwater(tp) for tp in tps}
    return ends


def _tables(client: Client) -> list[dict[str, Any]]:
    """Rows at their newest version, and how old the newest are."""
    result = client.query(
        """
        SELECT * FROM (
        SELECT 'responses' AS table, count() AS rows, countIf(comment != '') AS comments,
               countIf(comment != '' AND sentiment != '') AS labelled,
               if(count() = 0, NULL, dateDiff('second', max(received_at), now64(3))) AS newest_seconds_ago
        FROM feedback.responses FINAL
        UNION ALL
        SELECT 'interactions', count(), 0, 0, if(count() = 0, NULL, dateDiff('second', max(received_at), now64(3)))
        FROM feedback.interactions FINAL) ORDER BY table
        """
    )
    return [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]


def _dead_letters(client: Client) -> list[dict[str, Any]]:
    result = client.query(
        "SELECT reason, stage, count() AS records, max(failed_at) AS last FROM feedback.dead_letters FINAL "
        "GROUP BY reason, stage ORDER BY records DESC"
    )
    return [dict(zip(result.column_names, row, strict=True)) for row in result.result_rows]

"""The peers of bench/ingest.py: the same decoder and writer under a bare aiokafka loop, and under stock faust."""

from __future__ import annotations

import asyncio
import os
import sys
from functools import partial
from typing import Any

import uvloop

from infra.clickhouse.client import connect
from infra.clickhouse.settings import ClickHouseSettings
from pipeline.decoding import decode_response
from pipeline.files import LineRecord
from pipeline.settings import StreamSettings
from pipeline.worker import now_ms
from pipeline.writer import Writer
from schemas import topics
from schemas.rows import ResponseRow

FLUSH = 20_000


def _writer() -> Writer:
    return Writer("feedback.responses", ResponseRow._fields, partial(connect, ClickHouseSettings()))


async def bare() -> None:
    """getmany, decode, insert, commit."""
    from aiokafka import AIOKafkaConsumer

    settings, writer = StreamSettings(), _writer()
    consumer = AIOKafkaConsumer(
        topics.RESPONSES,
        bootstrap_servers=settings.kafka_brokers,
        group_id=settings.group,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=50,
        session_timeout_ms=6000,
    )
    await consumer.start()
    while True:
        found = await consumer.getmany(timeout_ms=200, max_records=FLUSH)
        rows = [decode_response(record, now_ms()) for records in found.values() for record in records]
        await writer.write([row for row in rows if isinstance(row, ResponseRow)])
        if rows:
            await consumer.commit()


def _record(message: Any) -> LineRecord:
    """faust's message as a Kafka record: its timestamp is in seconds."""
    at = int(message.timestamp * 1000)
    return LineRecord(
        message.topic, message.partition, message.offset, at, message.key, message.value, message.headers or ()
    )


def stock() -> None:
    """faust with its own transport."""
    import faust

    settings, writer = StreamSettings(), _writer()
    app = faust.App(
        settings.group,
        broker=f"kafka://{settings.kafka_brokers}",
        datadir=os.environ["BENCH_FOLDER"],
        web_enabled=False,
        topic_disable_leader=True,
        value_serializer="raw",
        key_serializer="raw",
        broker_session_timeout=6.0,
        broker_heartbeat_interval=1.0,
        consumer_auto_offset_reset="earliest",
        stream_wait_empty=False,
    )
    source = app.topic(topics.RESPONSES, key_type=bytes, value_type=bytes)

    @app.agent(source, concurrency=1)
    async def ingest(stream: Any) -> None:
        async for found in stream.noack_take(2_000, within=0.2):
            rows = [decode_response(_record(event.message), now_ms()) for event in found]
            await writer.write([row for row in rows if isinstance(row, ResponseRow)])
            for event in found:
                await stream.ack(event)

    async def forever() -> None:
        await app.start()
        await asyncio.Event().wait()

    asyncio.run(forever())


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(bare()) if sys.argv[1] == "aiokafka" else stock()

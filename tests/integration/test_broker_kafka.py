"""What Kafka clients use of the broker: headers, timestamps, codecs, topics, groups, retention."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from infra.broker.ready import is_ready
from tests.integration.broker_fixture import TOPIC, create_topic, read_all
from tests.integration.stack import BrokerHandle, broker

PLACE = TopicPartition(TOPIC, 0)


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    with broker(tmp_path_factory.mktemp("kafka") / "broker") as running:
        yield running


@pytest.mark.parametrize("codec", [None, "gzip", "lz4", "zstd"])
def test_records_come_back_as_they_went(kafka: BrokerHandle, codec: str | None) -> None:
    topic = f"codec-{codec}"
    create_topic(kafka.address, topic, partitions=2)
    producer = KafkaProducer(bootstrap_servers=kafka.address, compression_type=codec)
    sent = [
        (f"k{n}".encode(), f"v{n} ".encode() * 50, [("h", b"\x00\xff"), ("h", b"")], 1_700_000_000_000 + n)
        for n in range(300)
    ]
    for key, value, headers, timestamp in sent:
        producer.send(topic, value, key=key, headers=headers, timestamp_ms=timestamp, partition=1)
    producer.flush(10)
    producer.close()
    consumer = KafkaConsumer(
        topic, bootstrap_servers=kafka.address, group_id=None, auto_offset_reset="earliest", consumer_timeout_ms=2000
    )
    got = [(r.offset, r.partition, r.key, r.value, list(r.headers), r.timestamp) for r in consumer]
    consumer.close()
    assert got == [(n, 1, *record) for n, record in enumerate(sent)]


async def test_aiokafka_writes_and_reads(kafka: BrokerHandle) -> None:
    create_topic(kafka.address, "aio")
    producer = AIOKafkaProducer(bootstrap_servers=kafka.address, compression_type="gzip", linger_ms=20)
    await producer.start()
    for sent in [await producer.send("aio", str(n).encode(), partition=0) for n in range(1000)]:
        await sent
    await producer.stop()
    consumer = AIOKafkaConsumer("aio", bootstrap_servers=kafka.address, auto_offset_reset="earliest")
    await consumer.start()
    got = [int((await consumer.getone()).value) for _ in range(1000)]
    await consumer.stop()
    assert got == list(range(1000))


def test_a_large_message(kafka: BrokerHandle) -> None:
    create_topic(kafka.address, "large")
    large = bytes(range(256)) * 4096 * 8  # 8 MiB
    producer = KafkaProducer(bootstrap_servers=kafka.address, max_request_size=2**25)
    producer.send("large", large).get(20)
    producer.close()
    consumer = KafkaConsumer(
        "large",
        bootstrap_servers=kafka.address,
        auto_offset_reset="earliest",
        consumer_timeout_ms=5000,
        max_partition_fetch_bytes=2**25,
    )
    assert next(consumer).value == large
    consumer.close()


def test_topics_come_and_go(kafka: BrokerHandle) -> None:
    admin = KafkaAdminClient(bootstrap_servers=kafka.address)
    for generation in (b"first", b"second"):
        create_topic(kafka.address, "coming", partitions=3)
        assert "coming" in admin.list_topics()
        producer = KafkaProducer(bootstrap_servers=kafka.address)
        assert producer.send("coming", generation, partition=2).get(10).offset == 0
        producer.close()
        consumer = KafkaConsumer(
            "coming", bootstrap_servers=kafka.address, auto_offset_reset="earliest", consumer_timeout_ms=1000
        )
        assert [record.value for record in consumer] == [generation]
        consumer.close()
        admin.delete_topics(["coming"])
        assert "coming" not in admin.list_topics()
    admin.close()


def test_committed_offsets_and_records_survive_a_restart(tmp_path: Path) -> None:
    def consume(count: int) -> list[int]:
        consumer = KafkaConsumer(
            TOPIC,
            bootstrap_servers=kafka.address,
            group_id="g",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=6000,
            heartbeat_interval_ms=1000,
            max_poll_records=count,
        )
        offsets: list[int] = []
        deadline = time.monotonic() + 20
        while len(offsets) < count and time.monotonic() < deadline:
            offsets += [record.offset for records in consumer.poll(500).values() for record in records]
        consumer.commit()
        consumer.close()
        return offsets

    with broker(tmp_path / "broker") as kafka:
        create_topic(kafka.address)
        producer = KafkaProducer(bootstrap_servers=kafka.address)
        for number in range(10):
            producer.send(TOPIC, b"%d" % number).get(10)
        producer.close()
        assert consume(4) == [0, 1, 2, 3]
        kafka.restart()
        assert consume(6) == [4, 5, 6, 7, 8, 9]


def test_merged_batches_hold_the_same_records(tmp_path: Path) -> None:
    codecs = [None, "gzip", "lz4", "zstd"]
    with broker(tmp_path / "broker") as kafka:
        sent = {}
        for codec in codecs:
            create_topic(kafka.address, f"c-{codec}")
            producer = KafkaProducer(bootstrap_servers=kafka.address, compression_type=codec)
            sent[codec] = [(n, b"v%d " % n * (n % 30), 1_700_000_000_000 + n * 1000) for n in range(100)]
            for _, value, timestamp in sent[codec]:
                producer.send(f"c-{codec}", value, timestamp_ms=timestamp, partition=0)
                producer.flush()
            producer.close()
        with contextlib.closing(sqlite3.connect(kafka.data_dir / "records.sqlite")) as database:
            deadline = time.monotonic() + 30
            while database.execute("SELECT count(*) FROM batches").fetchone()[0] > 200:
                assert time.monotonic() < deadline, "too little was merged"
                time.sleep(0.2)
        for codec in codecs:
            consumer = KafkaConsumer(bootstrap_servers=kafka.address, consumer_timeout_ms=1000)
            place = TopicPartition(f"c-{codec}", 0)
            consumer.assign([place])
            for start in (0, 47):  # also from the middle of a merged batch
                consumer.seek(place, start)
                assert [(r.offset, r.value, r.timestamp) for r in consumer] == sent[codec][start:]
            consumer.close()


def settled_beginning(address: str) -> int:
    """The first offset, once the retention has stopped raising it."""
    consumer = KafkaConsumer(bootstrap_servers=address)
    deadline = time.monotonic() + 10
    before, first = -1, 0
    while (first == 0 or first != before) and time.monotonic() < deadline:
        time.sleep(0.6)
        before, first = first, consumer.beginning_offsets([PLACE])[PLACE]
    consumer.close()
    return int(first)


def test_retention_deletes_and_consumers_go_on(tmp_path: Path) -> None:
    settings = {"VOC_BROKER_RETENTION_BYTES": "20000", "VOC_BROKER_RETENTION_INTERVAL_SECONDS": "0.2"}
    with broker(tmp_path / "broker", environment=settings) as kafka:
        create_topic(kafka.address)
        producer = KafkaProducer(bootstrap_servers=kafka.address)
        for number in range(60):
            producer.send(TOPIC, b"%04d" % number * 250).get(10)
        first = settled_beginning(kafka.address)
        kept = list(range(first, 60))
        assert 10 <= len(kept) <= 20
        # A consumer that was left behind by the retention goes on with what is there, also after a restart.
        assert [offset for offset, _ in read_all(kafka.address, start=3)] == kept
        kafka.restart()
        producer.send(TOPIC, b"small").get(10)
        producer.close()
        assert [offset for offset, _ in read_all(kafka.address, start=3)][-2:] == [59, 60]


def test_ready_asks_in_kafka(kafka: BrokerHandle) -> None:
    assert is_ready(kafka.address)

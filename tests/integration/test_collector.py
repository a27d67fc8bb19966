"""The real collector on the real embedded broker: every mode of CloudEvents, every answer, and its end at work."""

from __future__ import annotations

import gzip
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.chaos.compare import read
from pipeline.chaos.parts import Part
from pipeline.collector.events import BATCH, PLAIN, STRUCTURED
from pipeline.collector.server import EVENTS, HEALTH
from schemas import topics
from schemas.envelope import INTERACTION_TYPE, RESPONSE_TYPE
from tests.integration.stack import free_port
from tests.integration.stream_fixture import ScoreStack, eventually, response, vocstream

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What the collector answered."""

    status: int
    body: Any
    headers: Mapping[str, str]


def ask(url: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Answer:
    """GET, or POST where there is a body."""
    request = urllib.request.Request(url, body, dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return Answer(answer.status, json.load(answer), dict(answer.headers))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, json.load(error), dict(error.headers))


@dataclass
class Collector:
    """A collector of a test's own, with its settings."""

    url: str
    part: Part

    def post(self, content: Any, media_type: str = STRUCTURED, **headers: str) -> Answer:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return ask(self.url + EVENTS, body, {"Content-Type": media_type} | headers)

    def health(self) -> Answer:
        return ask(self.url + HEALTH)


@contextmanager
def collector(stream: ScoreStack, folder: Path, **settings: object) -> Iterator[Collector]:
    """A running collector with `settings` (`max_batch=3`), ended after the `with`."""
    port = free_port()
    environment = {f"VOC_COLLECTOR_{name.upper()}": str(value) for name, value in settings.items()}
    environment["VOC_KAFKA_BROKERS"] = stream.address.kafka
    part = Part("collector", ["collector", "--port", str(port)], folder / "collector.log", environment)
    made = Collector(f"http://127.0.0.1:{port}", part)
    part.start()
    try:
        assert eventually(lambda: _listens(made)), part.output.read_text()
        yield made
    finally:
        part.stop()


@pytest.fixture
def shared(stream: ScoreStack) -> Collector:
    """The collector of the session's stack."""
    return Collector(stream.parts.events_url.removesuffix(EVENTS), stream.parts.collector)


def kept(stream: ScoreStack, tenant: str, topic: str = topics.RESPONSES) -> list[Any]:
    """The tenant's records on a topic."""
    return read(stream.address.kafka, topic, tenant, {})


@pytest.mark.parametrize("media_type", [STRUCTURED, PLAIN, f"{STRUCTURED}; charset=utf-8"])
def test_one_event_goes_to_kafka_as_it_came(
    shared: Collector, stream: ScoreStack, tenant: str, media_type: str
) -> None:
    event = response(tenant, "r", metric="nps", score=9, customer_id="c-7", comment="Ótimo 👍", loyalty="LONG")
    written = json.dumps(event, ensure_ascii=False, indent=1).replace('"LONG"', "12345678901234567890123456789.10")
    answer = shared.post(written.encode(), media_type)
    assert (answer.status, answer.body) == (202, {"acknowledged": 1})
    [record] = kept(stream, tenant)
    assert (record.value.decode(), record.key, record.headers) == (written, b"c-7", [])


@pytest.mark.parametrize("media_type", [BATCH, PLAIN])
def test_a_batch_is_cut_into_its_events(shared: Collector, stream: ScoreStack, tenant: str, media_type: str) -> None:
    said = [response(tenant, f"r{n}", metric="nps", score=n) for n in range(3)]
    done = response(tenant, "unused", event={"type": INTERACTION_TYPE}, action="order_placed", customer_id=5)
    written = [json.dumps(event, indent=2) for event in [*said, done]]
    answer = shared.post(f" [\n{' ,  '.join(written)} ]\n".encode(), media_type)
    assert (answer.status, answer.body) == (202, {"acknowledged": 4})
    assert {r.value.decode(): r.key for r in kept(stream, tenant)} == {
        text: event["id"].encode() for text, event in zip(written, said, strict=False)
    }
    [record] = kept(stream, tenant, topics.INTERACTIONS)
    assert (record.value.decode(), record.key) == (written[3], b"5")
    assert shared.post(b"[]", media_type).status == 202


def test_binary_mode_is_binary_mode_in_kafka(shared: Collector, stream: ScoreStack, tenant: str) -> None:
    body = json.dumps({"tenant": tenant, "response_id": "r", "metric": "nps", "score": 10, "customer_id": "c"}).encode()
    attributes = {"ce-id": "e%20%251", "CE-Source": "/caf%C3%A9", "ce-type": RESPONSE_TYPE, "ce-subject": '"a \\"b\\""'}
    answer = shared.post(body, PLAIN, **attributes, **{"ce-specversion": "1.0", "X-Other": "stays"})
    assert (answer.status, answer.body) == (202, {"acknowledged": 1})
    [record] = kept(stream, tenant)
    assert (record.value, record.key) == (body, b"c")
    assert dict(record.headers) == {
        "content-type": b"application/json",
        "ce_specversion": b"1.0",
        "ce_id": b"e %1",
        "ce_source": "/café".encode(),
        "ce_type": RESPONSE_TYPE.encode(),
        "ce_subject": b'a "b"',
    }
    stream.address.wait_for_responses(tenant, 1)


def test_one_event_that_cannot_be_routed_holds_back_no_other(
    shared: Collector, stream: ScoreStack, tenant: str
) -> None:
    good = [response(tenant, name, metric="nps", score=9) for name in ("first", "last")]
    other = response(tenant, "other", event={"id": "e-2", "type": "com.shop.parcel.v1"}, metric="nps", score=9)
    untyped = {"id": "e-3", "source": "/shop", "data": {"tenant": tenant}}
    answer = shared.post([good[0], other, untyped, tenant, good[1]], BATCH)
    assert (answer.status, answer.body["acknowledged"]) == (400, 2)
    refused = answer.body["refused"]
    assert [(r["index"], r["id"]) for r in refused] == [(1, "e-2"), (2, "e-3"), (3, None)]
    assert "com.shop.parcel.v1" in refused[0]["error"]
    assert all(RESPONSE_TYPE in r["expected"] and INTERACTION_TYPE in r["expected"] for r in refused[:2])
    assert "missing" in refused[1]["error"]
    assert "JSON object" in refused[2]["expected"]
    assert {json.loads(record.value)["id"] for record in kept(stream, tenant)} == {event["id"] for event in good}


@pytest.mark.parametrize(
    ("body", "media_type", "index", "said"),
    [
        (b"{not json", STRUCTURED, 0, "not JSON"),
        (b"", PLAIN, 0, "not JSON"),
        (b"\xff{}", PLAIN, 0, "UTF-8"),
        (b'[{"type": "a response"}, {', BATCH, 1, "not JSON"),
        (b'[{"type": "a response"} 3]', BATCH, 1, "not JSON"),
        (b'[{"type": "a response"}] 3', BATCH, 1, "not JSON"),
        (b'{"type": "a response"} {}', PLAIN, 0, "not JSON"),
        (b"[" * 100_000, BATCH, 0, "not JSON"),
        (b'{"type": "a response"}', BATCH, 0, "Content-Type"),
        (b'[{"type": "a response"}]', STRUCTURED, 0, "Content-Type"),
        (b"7", STRUCTURED, 0, "not 7"),
        (b'{"type": {"a": "response"}}', STRUCTURED, 0, "missing"),
    ],
)
def test_what_is_no_event_is_told_and_nothing_taken(
    shared: Collector, body: bytes, media_type: str, index: int, said: str
) -> None:
    answer = shared.post(body, media_type)
    assert (answer.status, answer.body["acknowledged"]) == (400, 0)
    [refused] = answer.body["refused"]
    assert refused["index"] == index
    assert said in refused["error"]
    assert refused["expected"]


@pytest.mark.parametrize(
    ("media_type", "headers"),
    [
        ("text/plain", {}),
        ("application/x-www-form-urlencoded", {}),
        ("application/cloudevents+xml", {}),
        ("application/cloudevents", {"ce-type": RESPONSE_TYPE}),
        (f"{STRUCTURED}; charset=latin-1", {}),
        ("application/xml", {"ce-type": RESPONSE_TYPE}),
    ],
)
def test_other_content_types_are_refused(shared: Collector, media_type: str, headers: dict[str, str]) -> None:
    answer = shared.post(b"{}", media_type, **headers)
    assert answer.status == 415
    assert "utf-8" in answer.body["expected"] or STRUCTURED in answer.body["expected"]


def test_events_come_into_the_scores_once_and_bad_data_into_dead_letters(
    shared: Collector, stream: ScoreStack, tenant: str
) -> None:
    """What a table cannot take is still taken here: the stream says why, where the engineer on call looks."""
    good = [response(tenant, f"r{n}", metric="nps", score=n) for n in range(11)]
    bad = response(tenant, "bad", metric="nps", score=99)
    body = gzip.compress(json.dumps([*good, bad]).encode())
    for _ in range(2):
        assert shared.post(body, BATCH, **{"Content-Encoding": "gzip"}).status == 202
    stream.address.wait_for_responses(tenant, 11)
    sql = "SELECT reason FROM feedback.dead_letters FINAL WHERE position(payload, {t:String}) > 0"
    letters = eventually(lambda: stream.address.rows(sql, t=tenant), lambda rows: len(rows) == 2)
    assert [letter["reason"] for letter in letters] == ["score_out_of_scale"] * 2
    [row] = stream.address.rows("SELECT sum(n) AS n FROM feedback.scores_daily WHERE tenant = {t:String}", t=tenant)
    assert row["n"] == 11


def test_a_token_is_asked_for_where_one_is_set(stream: ScoreStack, tenant: str, tmp_path: Path) -> None:
    event = response(tenant, "r", metric="nps", score=9)
    with collector(stream, tmp_path, token="s3cret-é") as guarded:
        for given in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "s3cret-é"}):
            refused = guarded.post(event, **{n: v.encode().decode("latin-1") for n, v in given.items()})
            assert refused.status == 401
            assert refused.headers["WWW-Authenticate"] == "Bearer"
        assert kept(stream, tenant) == []
        right = "Bearer s3cret-é".encode().decode("latin-1")  # how urllib takes the bytes of a header
        assert guarded.post(event, Authorization=right).status == 202
        assert "s3cret" not in guarded.part.output.read_text()


def test_too_much_is_refused_whole(stream: ScoreStack, tenant: str, tmp_path: Path) -> None:
    with collector(stream, tmp_path, max_batch=3, max_body_bytes=2_000, read_seconds=0.3) as small:
        events = [response(tenant, f"r{n}", metric="nps", score=9) for n in range(4)]
        many = small.post(events, BATCH)
        assert (many.status, many.body["expected"]) == (413, "at most 3 a batch")
        large = small.post(response(tenant, "r", comment="x" * 2_000))
        assert (large.status, large.body["expected"]) == (413, "at most 2,000 bytes")
        packed = gzip.compress(json.dumps(response(tenant, "r", comment="x" * 100_000)).encode())
        assert small.post(packed, **{"Content-Encoding": "gzip"}).status == 413
        assert small.post(b"no gzip", **{"Content-Encoding": "gzip"}).status == 400
        assert kept(stream, tenant) == []
        assert small.post(events[:3], BATCH).status == 202

        host, port = small.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=10) as slow:
            slow.sendall(f"POST {EVENTS} HTTP/1.1\r\nHost: x\r\nContent-Type: {PLAIN}\r\n".encode())
            slow.sendall(b"Content-Length: 100\r\n\r\n{")
            assert slow.recv(100).startswith(b"HTTP/1.1 408")


def test_a_broker_that_is_away_is_said_and_comes_back(stream: ScoreStack, tenant: str, tmp_path: Path) -> None:
    """At the start, and in between."""
    event = response(tenant, "r", metric="nps", score=9)
    stream.parts.broker.kill()
    with collector(stream, tmp_path, acknowledge_seconds=1) as made:
        for _ in range(2):
            for _ in range(2):
                answer = made.post(event)
                assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
                assert "again" in answer.body["expected"]
            assert made.health().status == 503
            stream.parts.broker.start()
            assert eventually(lambda: made.post(event).status, lambda status: status == 202) == 202
            assert made.health().status == 200
            stream.parts.broker.kill()
        stream.parts.broker.start()
    stream.address.wait_for_responses(tenant, 1)


def test_more_requests_than_may_be_in_flight_are_told_to_wait(stream: ScoreStack, tenant: str, tmp_path: Path) -> None:
    event = response(tenant, "r", metric="nps", score=9)
    with collector(stream, tmp_path, max_in_flight=1, acknowledge_seconds=30) as narrow:
        assert narrow.post(event).status == 202
        with hanging(stream):
            waiting = waiting_for_the_broker(narrow, event)
            answer = narrow.post(event)
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            assert "too many" in answer.body["error"]
        assert waiting.result(30).status == 202
        assert narrow.post(event).status == 202


def test_sigterm_ends_it_when_what_was_taken_is_answered(stream: ScoreStack, tenant: str, tmp_path: Path) -> None:
    with collector(stream, tmp_path, acknowledge_seconds=30, shutdown_seconds=30) as ending:
        assert ending.post(response(tenant, "before", metric="nps", score=9)).status == 202
        with hanging(stream):
            waiting = waiting_for_the_broker(ending, response(tenant, "in-flight", metric="nps", score=9))
            ending.part.end()
            assert eventually(lambda: not _listens(ending)), "it takes new requests"
            assert ending.part.alive
        assert waiting.result(30).status == 202
        assert eventually(lambda: not ending.part.alive)
    assert len(kept(stream, tenant)) == 2


@contextmanager
def hanging(stream: ScoreStack) -> Iterator[None]:
    """The broker hangs inside the `with`."""
    stream.parts.broker.pause()
    try:
        yield
    finally:
        stream.parts.broker.resume()


def waiting_for_the_broker(made: Collector, event: JsonObject) -> Future[Answer]:
    """The answer to a request that is in flight."""
    beside = ThreadPoolExecutor(1)
    answer = beside.submit(made.post, event)
    beside.shutdown(wait=False)
    assert eventually(lambda: made.health().body["in_flight"] == 1)
    return answer


def _listens(made: Collector) -> bool:
    host, port = made.url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except OSError:
        return False
    return True


def test_a_wrong_start_is_told_in_a_sentence(stream: ScoreStack) -> None:
    """A misspelt setting, a wrong value, and a port that is taken."""
    misspelt = vocstream("collector", env={"VOC_COLLECTOR_TOKKEN": "x"})
    assert misspelt.returncode == 2
    assert "VOC_COLLECTOR_TOKKEN" in misspelt.stderr
    wrong = vocstream("collector", env={"VOC_COLLECTOR_MAX_BATCH": "0"})
    assert wrong.returncode == 2
    assert "VOC_COLLECTOR_MAX_BATCH" in wrong.stderr
    port = stream.parts.events_url.removesuffix(EVENTS).rpartition(":")[2]
    taken = vocstream("collector", "--port", port, env={"VOC_KAFKA_BROKERS": stream.address.kafka})
    assert taken.returncode == 1
    assert port in taken.stderr
    assert "Traceback" not in taken.stderr + misspelt.stderr + wrong.stderr

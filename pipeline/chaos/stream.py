"""The stream of a seed: responses with duplicates, edits, deletions, junk, late and future events; and interactions.

Goes to `pipeline.chaos.play`, which sends it in this order: a share over HTTP through the collector, the rest to the
topics itself. The same seed and run make the same records, and the same share.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from schemas import topics
from schemas.envelope import INTERACTION_TYPE, RESPONSE_TYPE
from schemas.rows import from_ms
from schemas.scales import SCALES

ZONES = ("America/Sao_Paulo", "Asia/Kolkata", "UTC")  # of the tenants of a run, in this order
_SOURCES = ("/shop", "/app")
# A comment is one of the first, one of the second, or both: some are mixed, and none is known before.
_PRAISE = ("chegou antes do prazo, gostei", "muy amables en la tienda", "quick and friendly, thank you")
_COMPLAINTS = ("llegó roto y nadie contesta", "o app trava toda hora 😡", "I was charged twice", "ok")
_JOINED = (". ", ", but ", " / ")
_HOT = 3  # response ids that are edited again and again
_SECOND = 1000
_NOT_JSON = b"{not json "
_SHARE = 0.3  # of the stream, over HTTP


class Sent(NamedTuple):
    """One record: `timestamp` (ms since 1970) is the time it is received, `mark` is in the value of junk alone.

    What goes `over_http` is received when the collector has it: its timestamp is known afterwards (`as_received`).
    """

    topic: str
    key: bytes
    value: bytes
    headers: tuple[tuple[str, bytes], ...]
    timestamp: int
    mark: str = ""
    over_http: bool = False


def tenants(run: str) -> list[str]:
    """The tenants of a run; their time zones are ZONES."""
    return [f"{run}-{place}" for place in range(len(ZONES))]


def records(seed: int, run: str, count: int, start_ms: int) -> Iterator[Sent]:
    """`count` records whose timestamps begin at `start_ms` and stand a millisecond apart."""
    ways = random.Random(f"ways {seed}")
    for record in _records(seed, run, count, start_ms):
        # The collector can route whatever is an event with a type.
        yield record._replace(over_http=ways.random() < _SHARE and not record.value.startswith(_NOT_JSON))


def content(record: Any) -> tuple[str, bytes, frozenset[tuple[str, bytes]]]:
    """What a record (`Sent`, or as a consumer reads it) says, wherever and whenever: topic, value and attributes."""
    attributes = frozenset((name, value) for name, value in record.headers if name.startswith("ce_"))
    return record.topic, record.value, attributes


def as_received(sent: Iterable[Sent], kept: Iterable[Any]) -> list[Sent]:
    """`sent`, with what went over HTTP at the times that `kept`, the records of the topics, have for it.

    Each copy in the topics is one here, for what is sent again may be there twice. Where there are fewer copies than
    acknowledged records, the rest keep the time at which they were made, and will be missed in the topics.
    """
    received: list[Sent] = []
    posted: dict[Any, list[Sent]] = defaultdict(list)
    for record in sent:
        (posted[content(record)] if record.over_http else received).append(record)
    direct = {(record.timestamp, *content(record)) for record in received}
    times: dict[Any, list[int]] = defaultdict(list)
    for record in kept:
        if (record.timestamp, *content(record)) not in direct:
            times[content(record)].append(record.timestamp)
    for key, records_of_it in posted.items():
        received += [records_of_it[0]._replace(timestamp=at) for at in times[key]]
        received += records_of_it[len(times[key]) :]
    return received


def _records(seed: int, run: str, count: int, start_ms: int) -> Iterator[Sent]:
    rng = random.Random(f"stream {seed}")
    past: list[Sent] = []
    for place in range(count):
        at = start_ms + place
        draw = rng.random()
        if draw < 0.05:
            yield _junk(rng, f"junk-{run}-{place}", at)
        elif draw < 0.13 and past:  # the very same bytes again, now or long after
            yield rng.choice(past)._replace(timestamp=at)
        elif draw < 0.28:
            data = _interaction(rng, run, place)
            yield _event(rng, topics.INTERACTIONS, INTERACTION_TYPE, f"{run}-e{place}", at, data)
        else:
            sent = _event(rng, topics.RESPONSES, RESPONSE_TYPE, f"{run}-e{place}", at, _response(rng, run, place, at))
            past.append(sent)
            yield sent


def _response(rng: random.Random, run: str, place: int, at: int) -> dict[str, Any]:
    """A first answer, or an edit of an earlier one: the identity is drawn, so most identities come several times."""
    hot = rng.random() < 0.1
    scale = rng.choice(SCALES)
    number = rng.randrange(_HOT) if hot else _HOT + rng.randrange(1 + place)
    data: dict[str, Any] = {
        "tenant": rng.choice(tenants(run)),
        "response_id": f"r{number}",
        "question": rng.choice(("", "", "why")),
        "customer_id": f"c{rng.randrange(5)}" if hot else f"c{rng.randrange(500)}",
        "survey": rng.choice(("post-purchase", "yearly")),
        "touchpoint": rng.choice(("checkout", "support")),
        "channel": rng.choice(("email", "app")),
        "journey_stage": rng.choice(("buy", "use")),
    }
    if rng.random() < 0.7:
        data["segments"] = {"plan": rng.choice(("free", "pro"))}
    if rng.random() < 0.95:
        data |= {"metric": scale.metric.value, "scale": scale.name, "score": rng.choice(list(scale.bands))}
    if rng.random() < 0.3 or "score" not in data:
        data["comment"] = _comment(rng)
        if rng.random() < 0.3:
            data["language"] = rng.choice(("pt", "es", "en"))
    if rng.random() < 0.05:
        data["excluded"] = True
    if rng.random() < 0.06:  # of identities that come several times, so that some are brought back
        data["deleted"] = True
    occurred = at - rng.choice((0, 10, 3600, 40 * 86_400)) * _SECOND - rng.randrange(100_000)
    if rng.random() < 0.03:
        occurred = at + rng.choice((60, 4 * 3600)) * _SECOND  # the second is beyond what clocks may differ by
    data["occurred_at"] = _iso(occurred)
    if rng.random() < 0.5:  # edits in any order, and ties: few distinct values
        data["updated_at"] = _iso(at - at % 10_000 + rng.randrange(-3, 4) * 10_000)
    return data


def _comment(rng: random.Random) -> str:
    parts = [rng.choice(_PRAISE), rng.choice(_COMPLAINTS)]
    rng.shuffle(parts)
    return rng.choice(_JOINED).join(parts[: rng.choice((1, 2))])


def _interaction(rng: random.Random, run: str, place: int) -> dict[str, Any]:
    data: dict[str, Any] = {
        "tenant": rng.choice(tenants(run)),
        "interaction_id": f"i{rng.randrange(1 + place)}",
        "customer_id": f"c{rng.randrange(500)}",
        "action": rng.choice(("order_placed", "survey_sent")),
        "touchpoint": rng.choice(("checkout", "support")),
        "deleted": rng.random() < 0.05,
    }
    if data["action"] == "order_placed":
        data |= {"value": rng.randrange(1, 40_000) / 100, "currency": rng.choice(("BRL", "USD"))}
    return data


def _event(rng: random.Random, topic: str, kind: str, identity: str, at: int, data: dict[str, Any]) -> Sent:
    """In structured mode, or (one in five) in binary mode."""
    attributes = {"specversion": "1.0", "id": identity, "source": rng.choice(_SOURCES), "type": kind, "time": _iso(at)}
    key = data["customer_id"].encode()
    if rng.random() < 0.2:
        headers = tuple((f"ce_{name}", value.encode()) for name, value in attributes.items())
        return Sent(topic, key, json.dumps(data).encode(), headers, at)
    return Sent(topic, key, json.dumps(attributes | {"data": data}).encode(), (), at)


def _junk(rng: random.Random, mark: str, at: int) -> Sent:
    """Something that no table can take, with a mark to find it by."""
    data: dict[str, Any] = {"tenant": mark, "response_id": mark, "metric": "nps", "score": 9}
    envelope: dict[str, Any] = {"specversion": "1.0", "id": mark, "source": "/junk", "type": RESPONSE_TYPE}
    envelope["data"] = data
    kind = rng.randrange(6)
    if kind == 0:
        return Sent(topics.RESPONSES, b"", _NOT_JSON + mark.encode(), (), at, mark)
    if kind == 1:
        data["score"] = 11
    elif kind == 2:
        data["occurred_at"] = "2026-01-01T10:00:00"
    elif kind == 3:
        data["metric"] = "happiness"
    elif kind == 4:
        envelope["type"] = "vocstream.response.v9"
    else:
        del envelope["id"]
    return Sent(topics.RESPONSES, b"", json.dumps(envelope).encode(), (), at, mark)


def _iso(ms: int) -> str:
    return from_ms(ms).isoformat(timespec="milliseconds")

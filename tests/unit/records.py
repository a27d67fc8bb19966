"""Kafka records for the tests of decoding and lanes, and the examples of `schemas/examples` as records."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from schemas.topics import RESPONSES

EXAMPLES = Path(__file__).parents[2] / "schemas" / "examples"
RECEIVED_MS = 1_772_460_420_000  # 2026-03-02T14:07:00Z, some minutes after what the examples tell
NOW_MS = RECEIVED_MS + 800


class FakeRecord(NamedTuple):
    """What the decoder reads of a Kafka record."""

    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp: int = RECEIVED_MS
    key: bytes | None = b"c-318"
    topic: str = RESPONSES
    partition: int = 2
    offset: int = 40_718


def envelope(data: Any, **attributes: Any) -> bytes:
    """A structured-mode response event as bytes."""
    event = {"specversion": "1.0", "id": "e-1", "source": "/shop", "type": "vocstream.response.v1", "data": data}
    return json.dumps(event | attributes).encode()


def response(**fields: Any) -> FakeRecord:
    """A record of a response, an NPS of 9 unless told otherwise."""
    return FakeRecord(envelope({"response_id": "r-1", "metric": "nps", "score": 9} | fields))


def examples(kind: str, sort: str) -> list[Path]:
    """The files of `schemas/examples/KIND/SORT`, without those of headers."""
    return sorted(f for f in (EXAMPLES / kind / sort).glob("*.json") if not f.name.endswith(".headers.json"))


def example_record(file: Path) -> FakeRecord:
    """An example as the record it would be on its topic."""
    headers = file.with_name(f"{file.stem}.headers.json")
    found = json.loads(headers.read_text("utf-8")) if headers.exists() else {}
    return FakeRecord(
        file.read_bytes(),
        headers=tuple((name, value.encode()) for name, value in found.items()),
        topic=f"feedback.{file.parts[-3]}",
    )


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something that tells nobody is so; the test's own timeout bounds it."""
    while not condition():  # noqa: ASYNC110 - what is watched has no event
        await asyncio.sleep(0.001)

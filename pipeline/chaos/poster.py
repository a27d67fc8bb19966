"""Sends its share of the stream over HTTP, through the collector, and does not rest until every record is acknowledged.

What is due goes as senders do it: a record in binary mode by itself, those in structured mode as a batch. Only 202
counts; on anything else, and on no answer at all, the same request is sent again.
"""

from __future__ import annotations

import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from itertools import groupby

from pipeline.chaos.stream import Sent
from pipeline.collector.events import BATCH, PLAIN, STRUCTURED

_AT_ONCE = 50  # records that one look at the clock finds due; after a fault there are many
_ANSWER_SECONDS = 15.0  # the collector answers within 10, unless it hangs
_PAUSE_SECONDS = 0.2


class Refusal(AssertionError):
    """The collector refuses what it must take."""


class Poster(threading.Thread):
    """Sends `records` to `url` over `seconds`; `join` it. `failure` is what made it give up, if anything did."""

    def __init__(self, url: str, records: Sequence[Sent], seconds: float) -> None:
        super().__init__(name="poster", daemon=True)
        self._url = url
        self._records = records
        self._pace = seconds / max(1, len(records))
        self.give_up = threading.Event()
        self.acknowledged = 0
        self.resent = 0
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            for batch in self._due():
                for is_binary, group in groupby(batch, lambda record: bool(record.headers)):
                    for records in [[one] for one in group] if is_binary else [list(group)]:
                        self._until_acknowledged(records)
        except Exception as failure:  # told by the thread that waits for this one
            self.failure = failure

    def _due(self) -> Iterator[Sequence[Sent]]:
        """The records in order, each not before its time."""
        began = time.monotonic()
        place = 0
        while place < len(self._records):
            time.sleep(max(0.0, began + place * self._pace - time.monotonic()))
            due = 1 + int((time.monotonic() - began) / self._pace)
            batch = self._records[place : min(due, place + _AT_ONCE)]
            yield batch
            place += len(batch)

    def _until_acknowledged(self, records: list[Sent]) -> None:
        request = _request(self._url, records)
        while not self._is_taken(request):
            if self.give_up.is_set():
                raise TimeoutError("the collector does not acknowledge")
            self.resent += len(records)
            time.sleep(_PAUSE_SECONDS)
        self.acknowledged += len(records)

    def _is_taken(self, request: urllib.request.Request) -> bool:
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as answer:
                return bool(answer.status == 202)
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise Refusal(f"{error.code}: {error.read().decode()}") from error
            return False
        except OSError:  # it is killed, paused or not there yet
            return False


def _request(url: str, records: Sequence[Sent]) -> urllib.request.Request:
    if records[0].headers:
        headers = {name.replace("ce_", "ce-"): value.decode() for name, value in records[0].headers}
        return urllib.request.Request(url, records[0].value, headers | {"Content-Type": PLAIN})
    if len(records) == 1:
        return urllib.request.Request(url, records[0].value, {"Content-Type": STRUCTURED})
    return urllib.request.Request(url, b"[" + b",".join(r.value for r in records) + b"]", {"Content-Type": BATCH})

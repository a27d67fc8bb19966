"""One seed: the stream through the real parts, the faults on time, then the comparison.

Works on running `parts.Parts`; each seed has tenants of its own, so several may share one set of parts and be
compared one by one.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain

from clickhouse_connect.driver.exceptions import ClickHouseError
from kafka.errors import KafkaError

from infra.clickhouse.snapshot import refresh
from infra.topics import TopicSettings
from pipeline.chaos.compare import Difference, compare, ends, read_topics
from pipeline.chaos.expected import expect
from pipeline.chaos.faults import Fault, Kind
from pipeline.chaos.parts import Part, Parts
from pipeline.chaos.poster import Poster
from pipeline.chaos.sender import Sender
from pipeline.chaos.stream import ZONES, as_received, records, tenants
from pipeline.chaos.watch import Watcher
from pipeline.settings import StreamSettings, consumer_group
from pipeline.status import READ_BY_LANE, lag
from schemas.labels import Labels

_TICK = 0.05
_LETTERS = str.maketrans("0123456789", "abcdefghij")
_CATCH_UP_SECONDS = 240.0  # on a busy machine, with every part started again at the end


class NotDrained(RuntimeError):
    """The stream did not catch up after the last fault."""


@dataclass
class Outcome:
    """What one seed came to: `lost` and `twice` count events, `differences` are the figures that are wrong.

    `run` and `start_ms` are what its records were made with, beside the seed. `looks` at the scores were taken
    while the faults happened.
    """

    seed: int
    run: str
    start_ms: int
    sent: int = 0
    over_http: int = 0
    resent: int = 0
    faults: int = 0
    died_by_themselves: list[str] = field(default_factory=list)
    lost: int = 0
    twice: int = 0
    looks: int = 0
    figures: int = 0
    differences: list[Difference] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def exact(self) -> bool:
        """Nothing lost, nothing twice, no figure wrong."""
        return not (self.lost or self.twice or self.differences)


def play(
    parts: Parts,
    seed: int,
    faults: Sequence[Fault],
    *,
    count: int,
    seconds: float,
    label: Callable[[Sequence[str]], list[Labels]] | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Send the `count` records of `seed` over `seconds` while `faults` happen; wait; compare. Raises NotDrained.

    `label` is the model called directly; give it where `parts` have a label worker, and nowhere else.
    """
    began = time.monotonic()
    start_ms = time.time_ns() // 1_000_000 - count  # so that the collector gives none of our own timestamps
    # In letters: digits could look like a telephone number, and be redacted.
    run = f"s{seed}-{str(start_ms).translate(_LETTERS)}"
    outcome = Outcome(seed, run, start_ms, faults=len(faults))
    zones = dict(zip(tenants(run), ZONES, strict=True))
    with closing(parts.client()) as client:
        client.insert("feedback.tenants", list(map(list, zones.items())), column_names=["tenant", "timezone"])
    since = ends(parts.kafka)
    stream = list(records(seed, run, count, start_ms))
    sender = Sender(parts.kafka, [record for record in stream if not record.over_http], seconds)
    poster = Poster(parts.events_url, [record for record in stream if record.over_http], seconds)
    watcher = Watcher(parts.client, list(zones), seed)
    threads = (sender, poster, watcher)
    for thread in threads:
        thread.start()
    try:
        _break(parts, faults, outcome, tell)
        _wait_for((sender, poster), parts, outcome, tell)
        _drain(parts, outcome, tell)
    finally:
        sender.give_up.set()
        poster.give_up.set()
        watcher.enough.set()
        parts.heal()
        for thread in threads:
            thread.join()
    for thread in threads:
        if thread.failure is not None:
            raise thread.failure
    outcome.sent, outcome.over_http = len(stream), poster.acknowledged
    outcome.resent = sender.resent + poster.resent
    kept = read_topics(parts.kafka, run, since)
    stream = as_received(stream, chain.from_iterable(kept.values()))
    wanted = expect(stream)
    if label is not None:
        wanted.label(dict(zip(wanted.comments(), label(wanted.comments()), strict=True)))
    with closing(parts.client()) as client:
        if seed % 2:  # half of the seeds end with all of it in the snapshot
            refresh(client, times=2)
        found = compare(client, kept, run, wanted, stream, zones)
    outcome.lost, outcome.twice, outcome.looks = found.lost, found.twice, watcher.looks
    outcome.figures, outcome.differences = found.figures, watcher.differences + found.differences
    outcome.seconds = time.monotonic() - began
    return outcome


def _break(parts: Parts, faults: Sequence[Fault], outcome: Outcome, tell: Callable[[str], None]) -> None:
    """Do and undo each fault on time; what dies by itself is started again, as a supervisor does."""
    began = time.monotonic()
    down: dict[str, int] = {}
    # (when, order, fault, whether it is undone): the order keeps ties in the order they were planned.
    agenda = [(fault.at, order, fault, False) for order, fault in enumerate(faults)]
    heapq.heapify(agenda)
    while agenda:
        at, order, fault, undo = agenda[0]
        if time.monotonic() - began < at:
            _revive(parts, down, outcome, tell)
            time.sleep(_TICK)
            continue
        heapq.heappop(agenda)
        if undo:
            _undo(fault, parts[fault.part])
            down[fault.part] -= 1
        else:
            tell(str(fault))
            down[fault.part] = down.get(fault.part, 0) + 1
            _do(fault, parts[fault.part])
            heapq.heappush(agenda, (time.monotonic() - began + fault.hold, order, fault, True))


def _do(fault: Fault, part: Part) -> None:
    if fault.kind is Kind.KILL:
        part.kill()
    elif fault.kind is Kind.PAUSE:
        part.pause()
    else:
        part.resume()
        part.end()


def _undo(fault: Fault, part: Part) -> None:
    if fault.kind is Kind.RESTART:
        part.stop()
    part.resume()
    part.start()


def _revive(parts: Parts, down: dict[str, int], outcome: Outcome, tell: Callable[[str], None]) -> None:
    for part in parts.all():
        if not part.alive and not down.get(part.name):
            tell(f"          {part.name} ended by itself, starting it again")
            outcome.died_by_themselves.append(part.name)
            part.start()


def _wait_for(senders: Sequence[Sender | Poster], parts: Parts, outcome: Outcome, tell: Callable[[str], None]) -> None:
    parts.heal()
    deadline = time.monotonic() + _CATCH_UP_SECONDS
    while waiting := [sender for sender in senders if sender.is_alive()]:
        if time.monotonic() > deadline:
            raise NotDrained(f"seed {outcome.seed}: the stream of the {waiting[0].name} is not acknowledged")
        _revive(parts, {}, outcome, tell)
        waiting[0].join(_TICK)


def _drain(parts: Parts, outcome: Outcome, tell: Callable[[str], None]) -> None:
    """Until every record is committed by the score lane: what is committed is in the store."""
    deadline = time.monotonic() + _CATCH_UP_SECONDS
    stream = StreamSettings(kafka_brokers=parts.kafka)
    lanes = ["scores", "labels"] if "labels" in parts.workers else ["scores"]
    wanted = TopicSettings().partitions * sum(len(READ_BY_LANE[lane]) for lane in lanes)
    groups = {consumer_group(stream, lane) for lane in lanes}
    while True:
        _revive(parts, {}, outcome, tell)
        behind = None
        try:
            report = [row for row in lag(stream) if row["group"] in groups]
            behind = sum(row["lag"] for row in report)
            if len(report) == wanted and behind == 0:
                return
        except (KafkaError, ClickHouseError, OSError) as error:
            tell(f"          {error!r}")
        if time.monotonic() > deadline:
            raise NotDrained(f"seed {outcome.seed}: {behind} records are not in the store after the last fault")
        time.sleep(0.5)

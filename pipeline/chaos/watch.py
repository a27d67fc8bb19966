"""Looks at the scores while they are being broken: at every instant they must say what the facts say.

Scores are served from a snapshot of the facts and from what was written since (migration 0014). This thread has the
snapshot made anew at random instants, and compares what is served with the newest version of each response, found
without FINAL. Writers go on meanwhile, so a response is compared where its newest version was the same before and after
the look: then it was so all the time. Whatever changed in between must still not be there twice.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from urllib3.exceptions import HTTPError

from infra.clickhouse.snapshot import begin
from pipeline.chaos.compare import Difference

_COLUMNS = "metric, scale, score, band, language, sentiment, survey, touchpoint, channel, journey_stage, occurred_at"
_SERVED = f"""
    SELECT tenant, source, response_id, question, {_COLUMNS}
    FROM feedback.scored_responses WHERE tenant IN {{tenants:Array(String)}}"""
_FACTS = f"""
    SELECT tenant, source, response_id, question, toString(max(version)),
        argMax(deleted = 0 AND excluded = 0 AND metric != '' AND score IS NOT NULL, version),
        argMax(tuple({_COLUMNS}), version)
    FROM feedback.responses WHERE tenant IN {{tenants:Array(String)}}
    GROUP BY tenant, source, response_id, question"""

Facts = dict[tuple[str, ...], tuple[str, bool, tuple[Any, ...]]]  # by identity: version, whether it counts, columns


class Watcher(threading.Thread):
    """Looks until `enough` is set; `looks` counts those that a fault did not spoil."""

    def __init__(self, connect: Callable[[], Client], tenants: Sequence[str], seed: int) -> None:
        super().__init__(name="watcher", daemon=True)
        self._connect = connect
        self._tenants = {"tenants": list(tenants)}
        self._rng = random.Random(f"watcher {seed}")
        self.enough = threading.Event()
        self.looks = 0
        self.differences: list[Difference] = []
        self.failure: Exception | None = None

    def run(self) -> None:
        try:
            while not self.enough.wait(self._rng.uniform(0.5, 2.0)):
                self._try_to_look()
        except Exception as failure:  # told by the thread that waits for this one
            self.failure = failure

    def _try_to_look(self) -> None:
        try:
            with closing(self._connect()) as client:
                before = self._facts(client)
                if self._rng.random() < 0.4:
                    begin(client)  # goes on while we look
                served = client.query(_SERVED, parameters=self._tenants).result_rows
                after = self._facts(client)
        except (ClickHouseError, HTTPError, OSError):
            return  # the store is being broken
        self.differences += differences(before, [(tuple(row[:4]), tuple(row[4:])) for row in served], after)
        self.looks += 1

    def _facts(self, client: Client) -> Facts:
        rows = client.query(_FACTS, parameters=self._tenants).result_rows
        return {tuple(row[:4]): (row[4], bool(row[5]), tuple(row[6])) for row in rows}


def differences(before: Facts, served: Sequence[tuple[Any, Any]], after: Facts) -> list[Difference]:
    """What is served and should not be, or is not and should be; `served` are pairs of identity and columns."""
    times = Counter(identity for identity, _ in served)
    found = [Difference("served twice", identity, n, 1) for identity, n in times.items() if n > 1]
    columns = dict(served)
    for identity, (version, counts, right) in before.items():
        if after.get(identity, ("",))[0] != version:
            continue
        seen = columns.get(identity)
        if seen != (right if counts else None):
            found.append(Difference("served", identity, seen, right if counts else None))
    known = before.keys() | after.keys()
    return found + [Difference("served", identity, columns[identity], None) for identity in columns.keys() - known]

"""Sees that every notice arrives, or becomes a dead letter: a line and a task of its own for each receiver.

What is due comes from `feedback.alerts`, what is done is in `feedback.alert_notices`; after a restart the difference
is sent. A notice is tried until it is taken, refused for good, or tried `attempts` times, with pauses that double.
Receivers do not wait for each other; at one receiver a resolved never overtakes its firing. A crash between the
sending and the noting sends it again, under the same key: at least once. Most receivers fold it into one; for those
that do not (chat, mail) it is noted first that a notice is begun, so that one that is sent again can say so.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from pipeline.alerts.delivery import Receiver, Refused
from pipeline.alerts.watch import Event
from pipeline.alerts.words import again
from schemas.alerts import Alert, Status

log = logging.getLogger(__name__)

Notice = tuple[str, str, str]  # alert, event, receiver
_RECENT = timedelta(hours=24)  # older notices that nobody got are history, not news


@dataclass(frozen=True)
class Outcome:
    """What became of a notice."""

    alert: Alert
    event: str
    receiver: str
    status: str  # begun, sent or dead
    attempts: int
    error: str


class Courier:
    """Runs the lines. `note` is told, in a thread, of each notice that is begun or done with; it may be slow.

    Nothing is sent while `may` says no: another sentinel is active then, and sends it.
    """

    def __init__(
        self,
        receivers: Sequence[Receiver],
        note: Callable[[Outcome], object],
        *,
        may: Callable[[], bool] = lambda: True,
        attempts: int = 8,
        first_pause: float = 1.0,
        longest_pause: float = 300.0,
    ) -> None:
        self._receivers = receivers
        self._note = note
        self._may = may
        self._attempts = attempts
        self._pauses = first_pause, longest_pause
        self._lines: dict[str, asyncio.Queue[Event]] = {one.name: asyncio.Queue() for one in receivers}
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to send."""
        self._tasks = [asyncio.create_task(self._serve(one), name=f"receiver {one.name}") for one in self._receivers]

    def send(self, event: Event, *, done: Container[Notice] = (), begun: Container[Notice] = ()) -> None:
        """Queue a notice for every receiver of the tenant that has not got it yet."""
        for receiver in self._receivers:
            wanted = not receiver.tenants or event.alert.series.tenant in receiver.tenants
            notice = (event.alert.alert_id, event.name, receiver.name)
            if wanted and notice not in done:
                self._lines[receiver.name].put_nowait(event._replace(again=notice in begun))

    def waiting(self) -> dict[str, int]:
        """Notices in each line."""
        return {name: line.qsize() for name, line in self._lines.items()}

    async def stop(self, patience: float = 2.0) -> None:
        """Give what is waiting a moment; what is left is sent after the next start."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.gather(*(line.join() for line in self._lines.values())), patience)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, receiver: Receiver) -> None:
        line = self._lines[receiver.name]
        while True:
            event = await line.get()
            outcome = await self._deliver(receiver, event)
            if outcome is not None:
                await asyncio.to_thread(self._note, outcome)
            line.task_done()

    async def _deliver(self, receiver: Receiver, event: Event) -> Outcome | None:
        pause, longest = self._pauses
        error = ""
        alert = event.alert
        if not receiver.folds:
            if event.again:
                alert = alert.model_copy(update={"summary": again(alert.summary, alert.language)})
            begun = Outcome(event.alert, event.name, receiver.name, "begun", 0, "")
            await asyncio.to_thread(self._note, begun)
        for attempt in range(1, self._attempts + 1):
            if not self._may():
                return None
            try:
                await receiver.send(alert)
            except Refused as refusal:
                error = str(refusal)
                break
            except Exception as failure:
                error = f"{type(failure).__name__}: {failure}"
                log.warning("receiver %s, try %d of %d: %s", receiver.name, attempt, self._attempts, error)
                if attempt < self._attempts:
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, longest)
            else:
                return Outcome(event.alert, event.name, receiver.name, "sent", attempt, "")
        log.error("receiver %s: notice of %s given up: %s", receiver.name, event.alert.alert_id, error)
        return Outcome(event.alert, event.name, receiver.name, "dead", attempt, error)


def overdue(alerts: Sequence[Alert], now: datetime | None = None) -> list[Event]:
    """The notices that alerts of the last day, or still open, should have caused; oldest first."""
    now = now or datetime.now(UTC)
    events = []
    for alert in sorted(alerts, key=lambda one: one.fired_at):
        if alert.status is Status.RESOLVED and now - alert.updated_at > _RECENT:
            continue
        first = {"status": Status.FIRING, "resolved_at": None, "snoozed_until": None}
        events.append(Event(alert.model_copy(update=first), "firing"))
        until, burned_until = alert.snoozed_until, alert.resolved_at or now
        if until is not None and until <= burned_until and alert.status in (Status.FIRING, Status.RESOLVED):
            anew = {"status": Status.FIRING, "resolved_at": None}
            events.append(Event(alert.model_copy(update=anew), f"firing@{until.isoformat()}"))
        if alert.status is Status.RESOLVED:
            events.append(Event(alert, "resolved"))
    return events

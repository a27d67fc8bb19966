"""The bookkeeping of batches: a commit never passes what is unacknowledged, whatever the order of events."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from pipeline.transport.ledger import Due, Ledger, Ticket

TP0 = ("t", 0)


def begun(position: int = 0, **bounds: int) -> tuple[Ledger, int]:
    """A ledger with one started partition, and its session."""
    ledger = Ledger(max_batches=bounds.get("max_batches", 10), max_bytes=bounds.get("max_bytes", 1000))
    session = ledger.open(TP0, now=0.0).session
    ledger.started(TP0, session, position, now=0.0)
    return ledger, session


def added(ledger: Ledger, session: int, first: int, after: int, size: int = 1) -> Ticket:
    ticket = ledger.add(TP0, session, first, after, size, now=1.0)
    assert ticket is not None
    return ticket


@given(st.permutations(range(8)))
def test_any_order_of_acknowledgements_commits_the_prefix_only(order: list[int]) -> None:
    ledger, session = begun()
    tickets = [added(ledger, session, n * 10, n * 10 + 10) for n in range(8)]
    done: set[int] = set()
    for n in order:
        ledger.ack(tickets[n], now=2.0)
        done.add(n)
        prefix = next((k for k in range(8) if k not in done), 8)
        due = ledger.committable()
        assert due == ({TP0: Due(session, prefix * 10)} if prefix else {})
    assert ledger.inflight_batches == ledger.inflight_bytes == 0


def test_what_the_broker_refused_stays_due() -> None:
    ledger, session = begun()
    ledger.ack(added(ledger, session, 0, 10), now=1.0)
    due = ledger.committable()
    ledger.committed({}, now=2.0)
    assert ledger.committable() == due
    ledger.committed(due, now=2.0)
    assert ledger.committable() == {}


def test_a_commit_that_was_overtaken_by_acknowledgements_leaves_the_rest_due() -> None:
    ledger, session = begun()
    ledger.ack(added(ledger, session, 0, 10), now=1.0)
    due = ledger.committable()
    ledger.ack(added(ledger, session, 10, 20), now=1.0)
    ledger.committed(due, now=2.0)
    assert ledger.committable() == {TP0: Due(session, 20)}


def test_gaps_between_and_after_batches_are_committed_with_the_batch_before() -> None:
    ledger, session = begun()
    first = added(ledger, session, 5, 10)  # 0-4 compacted away
    second = added(ledger, session, 17, 21)
    ledger.skip(TP0, session, 22, now=1.0)  # the marker at the end of a transaction
    ledger.ack(first, now=2.0)
    assert ledger.committable() == {TP0: Due(session, 10)}
    ledger.ack(second, now=2.0)
    assert ledger.committable() == {TP0: Due(session, 22)}


def test_a_skip_with_nothing_out_is_committable_at_once() -> None:
    ledger, session = begun(7)
    ledger.skip(TP0, session, 9, now=1.0)
    assert ledger.committable() == {TP0: Due(session, 9)}
    assert ledger.done_to(TP0) == 9


def test_an_ended_session_is_ignored_in_everything() -> None:
    ledger, old = begun()
    ticket = added(ledger, old, 0, 10, size=100)
    ledger.ack(ticket, now=1.0)
    due = ledger.committable()
    late = added(ledger, old, 10, 20, size=100)
    session = ledger.open(TP0, now=2.0).session  # a rebalance gave the same partition back
    ledger.started(TP0, old, 99, now=2.0)
    assert [track.session for track in ledger.unstarted()] == [session]
    ledger.started(TP0, session, 0, now=2.0)
    assert ledger.inflight_bytes == 0
    assert ledger.ack(late, now=3.0) is False
    ledger.committed(due, now=3.0)
    ledger.skip(TP0, old, 30, now=3.0)
    assert ledger.add(TP0, old, 20, 30, 1, now=3.0) is None
    assert ledger.committable() == {}
    assert ledger.done_to(TP0) == 0


def test_a_log_that_was_cut_begins_anew_and_may_commit_backwards() -> None:
    ledger, session = begun(1000)
    before = added(ledger, session, 1000, 1100)
    again = added(ledger, session, 0, 50)  # the broker lost its records; its reset took us to the beginning
    assert ledger.ack(before, now=2.0) is False
    ledger.ack(again, now=2.0)
    assert ledger.committable() == {TP0: Due(session, 50)}


def test_acknowledging_twice_counts_once() -> None:
    ledger, session = begun()
    ticket = added(ledger, session, 0, 10, size=7)
    added(ledger, session, 10, 20, size=5)
    assert ledger.ack(ticket, now=1.0) is True
    assert ledger.ack(ticket, now=1.0) is False
    assert ledger.inflight_bytes == 5


def test_a_partition_waits_at_the_bound_and_goes_on_when_its_prefix_moves() -> None:
    ledger, session = begun(max_batches=2)
    first, second = added(ledger, session, 0, 10), added(ledger, session, 10, 20)
    assert ledger.wanted() == []
    assert ledger.ack(second, now=1.0) is False  # the window begins at the first that is out
    assert ledger.wanted() == []
    assert ledger.ack(first, now=1.0) is True
    assert [track.tp for track in ledger.wanted()] == [TP0]


def test_all_partitions_wait_at_the_bound_of_bytes() -> None:
    ledger, session = begun(max_bytes=100)
    ledger.started(("t", 1), ledger.open(("t", 1), now=0.0).session, 0, now=0.0)
    ticket = added(ledger, session, 0, 10, size=150)  # one batch may pass the bound, or it would never fit
    assert ledger.wanted() == []
    ledger.ack(ticket, now=1.0)
    assert len(ledger.wanted()) == 2


def test_those_with_fewest_out_are_wanted_first() -> None:
    ledger, session = begun()
    other = ledger.open(("t", 1), now=0.0).session
    ledger.started(("t", 1), other, 0, now=0.0)
    added(ledger, session, 0, 10)
    assert [track.tp[1] for track in ledger.wanted()] == [1, 0]


def test_only_the_topics_asked_for_are_committable() -> None:
    ledger, session = begun()
    ledger.ack(added(ledger, session, 0, 10), now=1.0)
    assert ledger.committable({"other"}) == {}
    assert ledger.committable({"t"}) == {TP0: Due(session, 10)}


class AnyOrder(RuleBasedStateMachine):
    """A log, a broker that keeps commits, and agents that finish in any order, through rebalances and seeks."""

    out = Bundle("out")

    @initialize()
    def begin(self) -> None:
        self.ledger = Ledger(max_batches=3, max_bytes=500)
        self.processed: set[int] = set()  # offsets that an agent finished, ever
        self.kept = 0  # what the broker has
        self.reading = 0
        self.session: int | None = None

    @rule()
    def assign(self) -> None:
        self.session = self.ledger.open(TP0, now=0.0).session
        self.reading = self.kept
        self.ledger.started(TP0, self.session, self.kept, now=0.0)

    @rule()
    def revoke(self) -> None:
        self.ledger.close_all()

    @rule(target=out, records=st.integers(1, 5), gap=st.integers(0, 3), size=st.integers(1, 200))
    def hand_out(self, records: int, gap: int, size: int) -> tuple[Ticket | None, range]:
        wanted = self.ledger.wanted()
        if not wanted:
            return None, range(0)
        first = self.reading
        offsets = range(first, first + records)
        self.reading = offsets.stop + gap
        self.processed.update(range(offsets.stop, self.reading))  # a gap holds no record to lose
        ticket = self.ledger.add(TP0, wanted[0].session, first, self.reading, size, now=1.0)
        assert ticket is not None
        return ticket, offsets

    @rule(batch=consumes(out))
    def finish(self, batch: tuple[Ticket | None, range]) -> None:
        ticket, offsets = batch
        if ticket is not None:
            self.processed.update(offsets)  # durable first, then acknowledged
            self.ledger.ack(ticket, now=2.0)

    @rule(accepted=st.booleans())
    def commit(self, accepted: bool) -> None:
        due = self.ledger.committable()
        if accepted:
            for item in due.values():
                self.kept = item.offset
            self.ledger.committed(due, now=3.0)

    @invariant()
    def nothing_committed_is_unprocessed(self) -> None:
        if not hasattr(self, "ledger"):
            return
        ends = [due.offset for due in self.ledger.committable().values()]
        for offset in range(max([self.kept, *ends])):
            assert offset in self.processed

    @invariant()
    def bounds_hold(self) -> None:
        if not hasattr(self, "ledger"):
            return
        assert self.ledger.inflight_batches <= 3
        assert self.ledger.inflight_bytes < 500 + 200
        if self.ledger.inflight_batches == 0:
            assert self.ledger.inflight_bytes == 0


TestAnyOrder = pytest.mark.timeout(60)(AnyOrder.TestCase)
TestAnyOrder.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)

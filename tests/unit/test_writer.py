"""The writer's own logic: halving down to the bad rows, waiting while the store is away. The store is a function here;
the real one is in tests/integration."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, DataError, OperationalError
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import writer as writing
from pipeline.writer import Writer
from tests.unit.records import until


class Store:
    """Clients of a store that takes rows of one whole number; `fault` says what an insert of these raises."""

    def __init__(self, fault: Callable[[list[int]], Exception | None] = lambda _: None) -> None:
        self.rows: list[int] = []
        self.inserts: list[int] = []
        self.connected = self.closed = 0
        self._fault = fault

    def connect(self) -> Any:
        self.connected += 1
        return self

    def create_insert_context(self, table: str, columns: Sequence[str], *, column_oriented: bool) -> Any:
        assert (table, columns, column_oriented) == ("feedback.responses", ["number"], True)
        return SimpleNamespace(data=None)

    def insert(self, *, context: Any) -> None:
        numbers = list(context.data[0])
        self.inserts.append(len(numbers))
        fault = self._fault(numbers)
        if fault is not None:
            raise fault
        self.rows += numbers

    def close(self) -> None:
        self.closed += 1


def _refusing(bad: set[int], error: Exception) -> Callable[[list[int]], Exception | None]:
    return lambda numbers: error if bad & set(numbers) else None


def _with_code(code: int) -> DatabaseError:
    error = DatabaseError("no")
    error.code = code
    return error


async def _write(store: Store, numbers: Sequence[int]) -> list[tuple[int, str]]:
    writer = Writer("feedback.responses", ["number"], store.connect)
    try:
        return [tuple(refused) for refused in await writer.write([(number,) for number in numbers])]
    finally:
        writer.close()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(writing, "_LONGEST_PAUSE", 0.002)


@settings(max_examples=50, deadline=None)
@given(count=st.integers(0, 70), data=st.data())
def test_the_bad_rows_are_handed_back_and_all_others_written_once(count: int, data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.integers(0, max(count - 1, 0)), max_size=5)) if count else set()
    store = Store(_refusing(bad, DataError("no number of ours")))
    refused = asyncio.run(_write(store, range(count)))
    assert refused == [(row, "no number of ours") for row in sorted(bad)]
    assert store.rows == [number for number in range(count) if number not in bad]


@pytest.mark.parametrize("error", [DataError("x"), TypeError("x"), ValueError("x"), OverflowError("x"), _with_code(27)])
async def test_faults_of_the_data_are_the_rows_own(error: Exception) -> None:
    store = Store(_refusing({1}, error))
    assert [row for row, _ in await _write(store, [0, 1, 2])] == [1]
    assert store.connected == 1  # the connection was not at fault


@pytest.mark.parametrize("error", [OperationalError("away"), ConnectionError("away"), TimeoutError(), _with_code(252)])
async def test_a_store_that_is_away_is_waited_for_over_a_new_connection(error: Exception) -> None:
    faults = iter([error, error])
    store = Store(lambda _: next(faults, None))
    assert await _write(store, [0, 1, 2]) == []
    assert store.rows == [0, 1, 2]
    assert store.inserts == [3, 3, 3]  # never halved
    assert (store.connected, store.closed) == (3, 3)


async def test_waiting_is_told_and_ends() -> None:
    away = True
    store = Store(lambda _: OperationalError("away") if away else None)
    writer = Writer("feedback.responses", ["number"], store.connect)
    task = asyncio.create_task(writer.write([(1,)]))
    await until(lambda: writer.waiting)
    away = False
    assert await task == []
    assert not writer.waiting
    writer.close()


async def test_a_store_that_cannot_be_reached_at_all_is_waited_for() -> None:
    store = Store()
    tries = iter([ConnectionRefusedError("no one there")])

    def connect() -> Any:
        for fault in tries:
            raise fault
        return store.connect()

    writer = Writer("feedback.responses", ["number"], connect)
    assert await writer.write([(1,)]) == []
    writer.close()


async def test_a_fault_of_ours_comes_out() -> None:
    with pytest.raises(ZeroDivisionError):
        await _write(Store(lambda _: ZeroDivisionError()), [1])


async def test_nothing_to_write_needs_no_store() -> None:
    store = Store()
    assert await _write(store, []) == []
    assert store.connected == 0

"""Rows into ClickHouse, waiting as long as ClickHouse is away; a row that it refuses is handed back.

Used by `pipeline.flush`. A batch that fails for what it holds (not for the network or the server's state) is halved
until the rows at fault stand alone, so that one bad row never holds up the rest.
"""

from __future__ import annotations

import asyncio
import logging
import random
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, DatabaseError, DataError
from clickhouse_connect.driver.insert import InsertContext

log = logging.getLogger(__name__)

# Codes of ClickHouse that speak of the data and not of the server (src/Common/ErrorCodes.cpp).
_DATA_CODES = {6, 26, 27, 33, 38, 41, 53, 69, 70, 72, 117, 131, 321, 349}
_DATA_ERRORS = (DataError, TypeError, ValueError, OverflowError, AttributeError, struct.error)
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds between tries


class Refused(NamedTuple):
    """A row that ClickHouse cannot take: its place in the batch, and why."""

    row: int
    error: str


class Writer:
    """Inserts into one table, one batch at a time, off the event loop."""

    def __init__(self, table: str, columns: Sequence[str], connect: Callable[[], Client]) -> None:
        self.table = table
        self._columns = columns
        self._connect = connect
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"insert-{table}")
        self._client: Client | None = None
        self._context: InsertContext | None = None
        self.waiting = False  # True while ClickHouse is away

    async def write(self, rows: Sequence[tuple[Any, ...]]) -> list[Refused]:
        """Insert `rows`; returns when they are durable but for those handed back. Tries for ever."""
        if not rows:
            return []
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE
        while True:
            try:
                await loop.run_in_executor(self._thread, self._insert, rows)
            except Exception as error:
                if _speaks_of_data(error):
                    self.waiting = False  # it answers
                    return await self._without_the_bad(rows, error)
                if not isinstance(error, (ClickHouseError, OSError)):
                    raise
                self.waiting = True
                log.warning(
                    "ClickHouse takes no rows for %s, trying again in %.1f s: %s", self.table, pause, _line(error)
                )
                await asyncio.sleep(pause * random.uniform(0.8, 1.2))
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self.waiting = False
                return []

    def close(self) -> None:
        """Close the connection; an insert under way is finished first."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        if self._client is not None:
            self._client.close()

    def _insert(self, rows: Sequence[tuple[Any, ...]]) -> None:
        if self._client is None:
            self._client = self._connect()
        if self._context is None:
            self._context = self._client.create_insert_context(self.table, self._columns, column_oriented=True)
        try:
            self._context.data = list(zip(*rows, strict=True))
            self._client.insert(context=self._context)
        except BaseException as error:
            self._context = None  # its table may have changed, and a half-sent context must not be used again
            if not _speaks_of_data(error):
                failed, self._client = self._client, None
                failed.close()
            raise
        finally:
            if self._context is not None:
                self._context.data = None

    async def _without_the_bad(self, rows: Sequence[tuple[Any, ...]], error: Exception) -> list[Refused]:
        if len(rows) == 1:
            return [Refused(0, _line(error))]
        half = len(rows) // 2
        first = await self.write(rows[:half])
        second = await self.write(rows[half:])
        return first + [Refused(half + r.row, r.error) for r in second]


def _speaks_of_data(error: BaseException) -> bool:
    if isinstance(error, _DATA_ERRORS):  # DataError first: the client's own is a DatabaseError without a code
        return True
    return isinstance(error, DatabaseError) and error.code in _DATA_CODES


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or repr(error)

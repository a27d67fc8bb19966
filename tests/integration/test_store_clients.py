"""clickhouse-connect (sync, async) against the embedded store. ClickHouse's Node client is in tests/bi/test_node.py."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import clickhouse_connect
import numpy
import pandas
import pyarrow
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError, StreamFailureError
from clickhouse_connect.driver.external import ExternalData

from tests.integration.store_stack import StoreHandle, store


@pytest.fixture(scope="module")
def handle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreHandle]:
    with store(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture
def client(handle: StoreHandle) -> Iterator[Client]:
    made = handle.client()
    made.command("DROP TABLE IF EXISTS t")
    made.command(
        "CREATE TABLE t (id UInt64, name String, at DateTime64(3, 'UTC'), score Nullable(Float64), tags Array(String),"
        " segments Map(String, String)) ENGINE = MergeTree ORDER BY id"
    )
    yield made
    made.close()


_AT = dt.datetime(2026, 11, 21, 12, 30, 0, 250000, tzinfo=dt.UTC)
_NAMES = ["id", "name", "at", "score", "tags", "segments"]


def _rows(count: int) -> list[list[object]]:
    return [[n, f"não {n}", _AT, None if n % 3 == 0 else n / 2, ["a", "b"], {"k": str(n)}] for n in range(count)]


def test_rows_and_columns_go_in_and_come_out(client: Client) -> None:
    assert client.insert("t", _rows(10), column_names=_NAMES).written_rows == 10
    columns = [list(column) for column in zip(*_rows(10), strict=True)]
    client.insert("t", columns, column_names=_NAMES, column_oriented=True)
    got = client.query("SELECT * FROM t ORDER BY id LIMIT 2 BY id").result_rows
    assert len(got) == 20
    assert got[2][1:] == ("não 1", _AT.replace(tzinfo=got[2][2].tzinfo), 0.5, ["a", "b"], {"k": "1"})
    assert client.query("SELECT count() FROM t").summary["read_rows"]
    assert client.command("SELECT count() FROM t") == 20
    assert client.query("SELECT * FROM t LIMIT 0").column_names == tuple(_NAMES)
    assert client.query("SELECT * FROM t WHERE id > 1000").result_rows == []


def test_dataframes_and_arrow(client: Client) -> None:
    frame = pandas.DataFrame({"id": numpy.arange(5000, dtype="uint64"), "name": [f"n{n}" for n in range(5000)]})
    client.insert_df("t", frame)
    client.insert_arrow(
        "t", pyarrow.table({"id": pyarrow.array(range(5000, 6000), pyarrow.uint64()), "name": ["x"] * 1000})
    )
    assert client.query_df("SELECT id, name FROM t ORDER BY id").shape == (6000, 2)
    assert client.query_arrow("SELECT id, name FROM t").num_rows == 6000
    assert client.query_np("SELECT id FROM t ORDER BY id")[-1][0] == 5999
    with client.query_arrow_stream("SELECT id FROM t") as blocks:
        assert sum(block.num_rows for block in blocks) == 6000


def test_streams_and_errors_within_them(client: Client) -> None:
    with client.query_row_block_stream("SELECT number, toString(number) FROM numbers(3000000)") as blocks:
        assert sum(len(block) for block in blocks) == 3_000_000
    with client.query_df_stream("SELECT number FROM numbers(300000)") as frames:
        assert sum(len(frame) for frame in frames) == 300_000
    with client.query_column_block_stream("SELECT number FROM numbers(300000)") as columns:
        assert sum(len(block[0]) for block in columns) == 300_000
    with (
        pytest.raises((StreamFailureError, DatabaseError), match="non-zero"),
        client.query_row_block_stream("SELECT throwIf(number = 6000000) FROM numbers(10000000)") as blocks,
    ):
        for _ in blocks:
            pass
    assert client.query("SELECT 1").result_rows == [(1,)]


def test_raw_command_parameters_and_settings(client: Client, handle: StoreHandle) -> None:
    client.raw_insert("t", ["id", "name"], b"1,a\n2,b\n", fmt="CSV")
    client.raw_insert("t", ["id", "name"], (b"%d,chunk\n" % n for n in range(3, 1000)), fmt="CSV", compression=None)
    assert client.raw_query("SELECT count() FROM t", fmt="TSV") == b"999\n"
    assert b"".join(client.raw_stream("SELECT id FROM t ORDER BY id LIMIT 2", fmt="CSV").stream()) == b"1\n2\n"
    where = "SELECT name FROM t WHERE id = {id:UInt64} AND name IN {names:Array(String)}"
    assert client.query(where, parameters={"id": 2, "names": ["b", "it's \\ \n\t"]}).result_rows == [("b",)]
    assert client.query("SELECT %(s)s, %(n)s", parameters={"s": "it's \\ \n", "n": 5}).result_rows == [
        ("it's \\ \n", 5)
    ]
    assert client.query("SELECT {s:String}", parameters={"s": "it's \\ \n\t 'é"}).result_rows == [("it's \\ \n\t 'é",)]
    assert (
        client.query("SELECT {t:DateTime64(3, 'UTC')}", parameters={"t": _AT}).result_rows[0][0].microsecond == 250000
    )
    assert client.query("SELECT getSetting('max_threads')", settings={"max_threads": 3}).result_rows == [(3,)]
    assert client.query("SELECT getSetting('max_threads')").result_rows != [(3,)]
    assert client.query("SELECT name, value FROM system.settings WHERE name = 'max_threads'").row_count == 1
    client.command("INSERT INTO t (id, name) VALUES", data="(5000, 'from data')")
    assert client.command("SELECT name FROM t WHERE id = 5000") == "from data"
    with pytest.raises(DatabaseError, match=r"Code: 60\..*UNKNOWN_TABLE"):
        client.query("SELECT * FROM nope")
    form = handle.client(form_encode_query_params=True)
    assert form.query("SELECT {s:String}", parameters={"s": "in a form"}).result_rows == [("in a form",)]
    external = ExternalData(file_name="ids.csv", fmt="CSV", structure="x UInt64", data=b"1\n2\n")
    assert client.query(
        "SELECT count() FROM t WHERE id IN (SELECT x FROM ids)", external_data=external
    ).result_rows == [(2,)]


@pytest.mark.parametrize("compress", [False, "gzip", "zstd", "lz4"])
def test_compression(handle: StoreHandle, client: Client, compress: bool | str) -> None:
    squeezed = handle.client(compress=compress)
    squeezed.insert("t", _rows(20_000), column_names=_NAMES)
    assert squeezed.query("SELECT * FROM t").row_count == 20_000
    squeezed.close()


def test_sessions_and_database(handle: StoreHandle, client: Client) -> None:
    session = handle.client(session_id="mine")
    session.command("CREATE TEMPORARY TABLE tmp (x UInt8)")
    session.insert("tmp", [[1], [2]], column_names=["x"])
    session.command("SET max_block_size = 123")
    assert session.query("SELECT count(), getSetting('max_block_size') FROM tmp").result_rows == [(2, 123)]
    client.command("CREATE DATABASE IF NOT EXISTS feedback")
    named = handle.client(database="feedback")
    named.command("CREATE TABLE IF NOT EXISTS d (x UInt8) ENGINE = MergeTree ORDER BY x")
    named.insert("d", [[1]], column_names=["x"])
    assert client.query("SELECT count() FROM feedback.d").result_rows == [(1,)]
    reader = handle.client(readonly=True)
    assert reader.query("SELECT count() FROM feedback.d", settings={"max_threads": 1}).result_rows == [(1,)]
    with pytest.raises(DatabaseError, match="READONLY"):
        reader.insert("feedback.d", [[1]], column_names=["x"])
    for made in (session, named, reader):
        made.close()


async def test_async_client(handle: StoreHandle, client: Client) -> None:
    import asyncio

    made = await clickhouse_connect.get_async_client(dsn=handle.url, autogenerate_session_id=False)
    try:
        await made.insert("t", _rows(1000), column_names=_NAMES)
        answers = await asyncio.gather(*(made.query("SELECT count() FROM t") for _ in range(8)))
        assert [answer.result_rows for answer in answers] == [[(1000,)]] * 8
        assert (await made.query_df("SELECT id FROM t")).shape == (1000, 1)
        async with await made.query_row_block_stream("SELECT number FROM numbers(500000)") as blocks:
            assert sum([len(block) async for block in blocks]) == 500_000
        assert await made.command("SELECT {x:UInt8} + 1", parameters={"x": 4}) == 5
    finally:
        await made.close()

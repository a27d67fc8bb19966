"""The embedded store over plain HTTP, as curl uses it: what a ClickHouse server answers, it answers."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import lz4.frame
import psutil
import pytest
import zstandard

from infra.store.blocks import BlockDecoder, BlockEncoder
from tests.integration.store_stack import StoreHandle, free_port, store


class Http:
    """Requests to one store as one user."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.base = f"http://{parts.hostname}:{parts.port}/"
        secret = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
        self.headers = {"Authorization": f"Basic {secret}", "Accept-Encoding": "identity"}
        self.user, self.password = str(parts.username), str(parts.password)

    def call(
        self, body: bytes | str = b"", method: str = "POST", headers: dict[str, str] | None = None, **query: str
    ) -> tuple[int, dict[str, str], bytes]:
        async def go() -> tuple[int, dict[str, str], bytes]:
            async with (
                aiohttp.ClientSession(auto_decompress=False) as session,
                session.request(
                    method, self.base, params=query, data=body, headers={**self.headers, **(headers or {})}
                ) as answer,
            ):
                return answer.status, dict(answer.headers), await answer.read()

        return asyncio.run(go())

    def rows(self, sql: str, **query: str) -> list[Any]:
        """The rows of a query, each as a list."""
        status, _, data = self.call(sql, default_format="JSONCompactEachRow", **query)
        assert status == 200, data
        return [json.loads(line) for line in data.splitlines()]


@pytest.fixture(scope="module")
def handle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreHandle]:
    with store(tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture(scope="module")
def http(handle: StoreHandle) -> Http:
    made = Http(handle.url)
    made.call("CREATE TABLE t (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
    return made


@pytest.fixture
def reader(handle: StoreHandle) -> Http:
    return Http(handle.reader_url)


@pytest.fixture
def table(http: Http) -> Http:
    http.call("TRUNCATE TABLE t")
    return http


def test_query_in_url_or_body_with_format_and_headers(http: Http) -> None:
    status, headers, data = http.call(method="GET", query="SELECT 1 AS x FORMAT JSON", query_id="my-query")
    assert (status, json.loads(data)["data"]) == (200, [{"x": 1}])
    assert headers["X-ClickHouse-Query-Id"] == "my-query"
    assert headers["X-ClickHouse-Format"] == "JSON"
    assert headers["Content-Type"].startswith("application/json")
    assert json.loads(headers["X-ClickHouse-Summary"])["result_rows"] == "1"
    assert headers["X-ClickHouse-Timezone"]
    assert http.call("SELECT 1, 'a'")[2] == b"1\ta\n"
    assert http.call("SELECT 1, 'a'", default_format="CSV")[2] == b'1,"a"\n'
    assert http.call("SELECT 1, 'a';", headers={"X-ClickHouse-Format": "CSV"})[2] == b'1,"a"\n'
    assert http.call("1, 'a' -- the rest of it", query="SELECT")[2] == b"1\ta\n"
    assert http.call("SELECT 1 FORMAT CSV SETTINGS max_threads = 1")[2] == b"1\n"


@pytest.mark.parametrize(
    "output",
    [
        "JSON",
        "JSONCompact",
        "JSONEachRow",
        "CSVWithNames",
        "Native",
        "RowBinaryWithNamesAndTypes",
        "Arrow",
        "ArrowStream",
        "Parquet",
        "ORC",
        "Pretty",
        "XML",
    ],
)
def test_every_format_is_one_well_formed_stream(http: Http, output: str) -> None:
    status, headers, data = http.call(f"SELECT number FROM numbers(300000) FORMAT {output}")
    assert (status, headers["X-ClickHouse-Format"]) == (200, output)
    assert data
    if output == "JSON":
        assert json.loads(data)["rows"] == 300000
    if output in ("Parquet", "Arrow", "ArrowStream"):
        import io

        import pyarrow
        import pyarrow.parquet

        buffer = io.BytesIO(data)
        opened: Any = {
            "Parquet": pyarrow.parquet.read_table,
            "Arrow": lambda b: pyarrow.ipc.open_file(b).read_all(),
            "ArrowStream": lambda b: pyarrow.ipc.open_stream(b).read_all(),
        }[output](buffer)
        assert opened.num_rows == 300000


def test_parameters_settings_and_database(http: Http) -> None:
    assert http.rows("SELECT {x:UInt8} + 1, {s:String}", param_x="4", param_s="it\\'s") == [[5, "it's"]]
    assert http.rows("SELECT getSetting('max_block_size')", max_block_size="777") == [[777]]
    assert http.rows("SELECT currentDatabase()", database="system") == [["system"]]
    assert http.rows("SELECT currentDatabase()") == [["default"]]


@pytest.mark.parametrize(
    ("sql", "status", "code"),
    [
        ("SELECT * FROM nope", 404, 60),
        ("SELEC 1 FROM", 400, 62),
        ("SELECT nope", 404, 47),
        ("SELECT 1 FORMAT Nope", 404, 73),
        ("SELECT 1; SELECT 2", 400, 62),
        ("SELECT throwIf(number = 3) FROM numbers(10)", 500, 395),
        ("SELECT count() FROM numbers(1e11) WHERE NOT ignore(number) SETTINGS max_execution_time = 0.3", 408, 159),
        ("", 400, 62),
    ],
)  # fmt: skip
def test_errors_have_a_code_and_a_status(http: Http, sql: str, status: int, code: int) -> None:
    got, headers, data = http.call(sql or b" ")
    assert (got, headers["X-ClickHouse-Exception-Code"]) == (status, str(code))
    assert data.startswith(f"Code: {code}. DB::Exception: ".encode())


def test_unknown_setting_and_database(http: Http) -> None:
    assert http.call("SELECT 1", nonsense="1")[0] == 404
    assert http.call("SELECT 1", database="nonsense")[1]["X-ClickHouse-Exception-Code"] == "81"


def test_error_after_the_result_has_begun(http: Http) -> None:
    async def go() -> tuple[int, str, bytes]:
        async with (
            aiohttp.ClientSession(headers=http.headers) as session,
            session.post(
                http.base, data="SELECT throwIf(number = 3000000), toString(number) FROM numbers(10000000)"
            ) as answer,
        ):
            got, cut = b"", False
            try:
                async for part in answer.content.iter_any():
                    got += part
            except aiohttp.ClientPayloadError:
                cut = True
            assert cut
            return answer.status, answer.headers["X-ClickHouse-Exception-Tag"], got

    status, tag, got = asyncio.run(go())
    assert status == 200
    assert f"__exception__\r\n{tag}\r\nCode: 395. DB::Exception".encode() in got[-1000:]
    assert http.call("SELECT throwIf(number = 3000000) FROM numbers(10000000)", wait_end_of_query="1")[0] == 500


def test_insert_with_the_query_in_url_or_body(table: Http) -> None:
    assert table.call(b'{"a": 1, "b": "x"}\n{"a": 2}', query="INSERT INTO t FORMAT JSONEachRow")[0] == 200
    status, headers, _ = table.call(b"INSERT INTO t (a, b) FORMAT CSV\n3,z\n4,w\n")
    assert json.loads(headers["X-ClickHouse-Summary"])["written_rows"] == "2"
    assert status == 200
    assert table.call("INSERT INTO t VALUES (5, 'v'), (3 + 3, upper('u'))")[0] == 200
    assert table.call("INSERT INTO t VALUES ({x:UInt8}, {y:String})", param_x="7", param_y="p")[0] == 200
    assert table.call("(8, 'body')", query="INSERT INTO t VALUES")[0] == 200
    assert table.call("INSERT INTO t SELECT number + 9, 's' FROM numbers(2)")[0] == 200
    assert table.call(b"11\n12\n", query="INSERT INTO t SELECT x, 'in' FROM input('x UInt64') FORMAT CSV")[0] == 200
    assert table.rows("SELECT a FROM t ORDER BY a") == [[n] for n in range(1, 13)]
    status, headers, data = table.call(b'{"a": "x"}', query="INSERT INTO t FORMAT JSONEachRow")
    assert (status, headers["X-ClickHouse-Exception-Code"]) == (400, "27"), data
    assert table.call(b"1", query="INSERT INTO nope FORMAT CSV")[0] == 404


def test_large_insert_is_streamed_in_chunks(table: Http) -> None:
    async def body() -> Any:
        yield b"INSERT INTO t FORMAT "
        yield b"TSV\n"
        for start in range(0, 200_000, 10_000):
            yield b"".join(b"%d\tsome text of a row\n" % n for n in range(start, start + 10_000))

    async def go() -> int:
        async with (
            aiohttp.ClientSession(headers=table.headers) as session,
            session.post(table.base, data=body()) as answer,
        ):
            return answer.status

    assert asyncio.run(go()) == 200
    assert table.rows("SELECT count(), sum(a) FROM t") == [[200_000, 200_000 * 199_999 // 2]]


def test_a_body_that_is_cut_off_inserts_nothing(table: Http, handle: StoreHandle) -> None:
    with socket.create_connection(("127.0.0.1", handle.port)) as connection:
        head = (
            "POST /?query=INSERT+INTO+t+FORMAT+CSV HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n"
            f"Authorization: {table.headers['Authorization']}\r\n\r\n"
        )
        connection.sendall(head.encode() + b"1,x\n" * 800_000)
    time.sleep(0.5)
    assert table.rows("SELECT count() FROM t") == [[0]]


def test_native_blocks_both_ways(table: Http) -> None:
    pytest.importorskip("clickhouse_cityhash")
    body = BlockEncoder().feed(b"".join(b"%d,text\n" % n for n in range(100_000)))
    assert table.call(body, query="INSERT INTO t FORMAT CSV", decompress="1")[0] == 200
    _, _, data = table.call("SELECT a FROM t ORDER BY a", compress="1")
    assert BlockDecoder().feed(data).count(b"\n") == 100_000
    damaged = bytes([*body[:40], body[40] ^ 1, *body[41:]])
    assert (
        table.call(damaged, query="INSERT INTO t FORMAT CSV", decompress="1")[1]["X-ClickHouse-Exception-Code"] == "40"
    )


_CODERS = {
    "gzip": (gzip.compress, gzip.decompress),
    "deflate": (zlib.compress, zlib.decompress),
    "zstd": (zstandard.compress, lambda data: zstandard.ZstdDecompressor().decompressobj().decompress(data)),
    "lz4": (lz4.frame.compress, lz4.frame.decompress),
}


@pytest.mark.parametrize("coding", list(_CODERS))
def test_compression_both_ways(table: Http, coding: str) -> None:
    squeeze, expand = _CODERS[coding]
    body = squeeze(b"".join(b"%d,text\n" % n for n in range(5000)))
    assert table.call(body, query="INSERT INTO t FORMAT CSV", headers={"Content-Encoding": coding})[0] == 200
    for rows in (10, 400_000):
        status, headers, data = table.call(
            f"SELECT number FROM numbers({rows})", headers={"Accept-Encoding": coding}, enable_http_compression="1"
        )
        assert (status, headers["Content-Encoding"]) == (200, coding)
        assert expand(data).count(b"\n") == rows
    assert table.rows("SELECT count() FROM t") == [[5000]]
    status, _, data = table.call(b"junk" * 9, query="INSERT INTO t FORMAT CSV", headers={"Content-Encoding": coding})
    assert status >= 400
    assert b"CANNOT_DECOMPRESS" in data


def test_sessions_keep_settings_and_temporary_tables(http: Http) -> None:
    session = {"session_id": "s1", "session_timeout": "30"}
    http.call("SET max_block_size = 555", **session)
    http.call("CREATE TEMPORARY TABLE tmp (x UInt8)", **session)
    http.call("INSERT INTO tmp VALUES (1), (2)", **session)
    assert http.rows("SELECT count(), getSetting('max_block_size') FROM tmp", **session) == [[2, 555]]
    assert http.rows("SELECT getSetting('max_block_size')", max_block_size="99", **session) == [[99]]
    assert http.rows("SELECT getSetting('max_block_size')", **session) == [[555]]
    http.call("SELECT 1", database="system", **session)
    assert http.rows("SELECT currentDatabase()", **session) == [["default"]]
    http.call("USE system", **session)
    assert http.rows("SELECT currentDatabase()", **session) == [["system"]]
    assert http.call("SELECT count() FROM tmp")[0] == 404
    assert http.call("SELECT 1", session_id="absent", session_check="1")[0] == 404
    assert http.call("DROP TABLE t", method="GET", **session, query="DROP TABLE t")[0] == 500


def test_a_session_takes_one_request_at_a_time(http: Http) -> None:
    slow = threading.Thread(target=http.call, args=("SELECT sleep(1.5)",), kwargs={"session_id": "busy"})
    slow.start()
    time.sleep(0.5)
    _, headers, data = http.call("SELECT 1", session_id="busy")
    slow.join()
    assert headers["X-ClickHouse-Exception-Code"] == "373", data
    assert http.call("SELECT 1", session_id="busy")[0] == 200


def test_get_and_the_reader_only_read(table: Http, reader: Http) -> None:
    assert table.call(method="GET", query="DROP TABLE t")[1]["X-ClickHouse-Exception-Code"] == "164"
    for sql in (
        "DROP TABLE t",
        "INSERT INTO t VALUES (1, 'x')",
        "TRUNCATE TABLE t",
        "CREATE TABLE u (a Int8) ENGINE = Memory",
    ):
        assert reader.call(sql)[1]["X-ClickHouse-Exception-Code"] == "164", sql
        assert reader.call(sql, session_id="r")[1]["X-ClickHouse-Exception-Code"] == "164", sql
    assert reader.call("SELECT 1", readonly="0")[1]["X-ClickHouse-Exception-Code"] == "164"
    assert reader.call("SET readonly = 0", session_id="r")[1]["X-ClickHouse-Exception-Code"] == "164"
    assert reader.call("SELECT 1 SETTINGS readonly = 0")[1]["X-ClickHouse-Exception-Code"] == "164"
    assert reader.rows("SELECT count() FROM t", max_threads="1") == [[0]]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM file('/etc/hostname', 'LineAsString')",
        "SELECT file('/etc/hostname')",
        "SELECT * FROM `/etc/hostname`",
        "SELECT * FROM default.`/etc/hostname`",
        "SELECT * FROM _files.`/etc/hostname`",
        "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')",
        "SELECT * FROM Python(settings)",
        "SELECT 1 INTO OUTFILE '/tmp/out'",
        "SELECT * FROM /* x */ FiLe /* y */ ('/etc/hostname')",
        "CREATE TABLE f (a String) ENGINE = File(TSV, '/etc/hostname')",
        "INSERT INTO FUNCTION file('x.tsv') SELECT 1",
        "INSERT INTO t FROM INFILE '/etc/hostname' FORMAT TSV",
    ],
)
def test_nothing_leaves_the_store(http: Http, reader: Http, sql: str) -> None:
    for user in (http, reader):
        status, _, data = user.call(sql)
        assert status >= 400, data


@pytest.mark.parametrize(
    "sql",
    [
        "DROP DATABASE default",
        "drop /* x */ database if exists `default` SYNC",
        "DETACH DATABASE default",
        "RENAME DATABASE default TO gone",
    ],
)
def test_the_default_database_stays(http: Http, sql: str) -> None:
    assert http.call(sql)[1]["X-ClickHouse-Exception-Code"] == "497"
    assert http.rows("SELECT currentDatabase()") == [["default"]]


def test_other_databases_come_and_go(http: Http) -> None:
    for sql in ("CREATE DATABASE mine", "CREATE TABLE mine.default (a Int8) ENGINE = Memory", "DROP DATABASE mine"):
        assert http.call(sql)[0] == 200, sql
    assert http.rows("SELECT count() FROM system.databases WHERE name = 'mine'") == [[0]]


def test_authentication(http: Http, handle: StoreHandle) -> None:
    password = {"X-ClickHouse-User": http.user, "X-ClickHouse-Key": http.password, "Authorization": ""}
    assert http.call("SELECT 1", headers=password)[0] == 200
    nobody = Http(f"http://x:y@127.0.0.1:{handle.port}")
    assert nobody.call("SELECT 1")[1]["X-ClickHouse-Exception-Code"] == "516"
    nobody.headers = {"Accept-Encoding": "identity"}
    assert nobody.call("SELECT 1")[0] == 403
    assert nobody.call("SELECT 1", user=http.user, password=http.password)[0] == 200
    credentials = handle.data_dir / "credentials.json"
    assert credentials.stat().st_mode & 0o777 == 0o600


def test_large_results_stream_and_queries_run_side_by_side(http: Http, handle: StoreHandle) -> None:
    process = psutil.Process(handle.pid)
    http.call("SELECT number, toString(number) FROM numbers(1000000)")
    before = process.memory_info().rss

    async def go() -> tuple[int, int]:
        size = peak = 0
        async with (
            aiohttp.ClientSession(headers=http.headers) as session,
            session.post(http.base, data="SELECT number, toString(number) FROM numbers(20000000)") as answer,
        ):
            async for part in answer.content.iter_chunked(1 << 20):
                size += len(part)
                peak = max(peak, process.memory_info().rss)
            return size, peak

    size, peak = asyncio.run(go())
    assert size > 300_000_000
    assert peak - before < 150_000_000
    started = time.monotonic()
    threads = [threading.Thread(target=http.call, args=("SELECT sleep(1)",)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert time.monotonic() - started < 5


def test_a_client_that_leaves_ends_its_query(http: Http) -> None:
    async def go(sql: str) -> None:
        async with aiohttp.ClientSession(headers=http.headers, timeout=aiohttp.ClientTimeout(total=0.7)) as session:
            with pytest.raises((TimeoutError, asyncio.TimeoutError)):
                async with session.post(http.base, data=sql) as answer:
                    await answer.read()

    for sql in (
        "SELECT count() FROM numbers(1e12) WHERE NOT ignore(sipHash64(number))",
        "SELECT number, toString(number) FROM numbers(1e12)",
    ):
        asyncio.run(go(sql))
        deadline = time.monotonic() + 5
        while http.rows(
            "SELECT count() FROM system.processes WHERE query LIKE '%1e12%' AND query NOT LIKE '%processes%'"
        ) != [[0]]:
            assert time.monotonic() < deadline, sql
            time.sleep(0.1)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(handle: StoreHandle, table: Http) -> None:
    def curl(*arguments: str, data: bytes | None = None) -> str:
        done = subprocess.run(["curl", "-sS", *arguments], input=data, capture_output=True, timeout=20, check=True)
        return done.stdout.decode()

    assert curl(f"{handle.url}/ping") == "Ok.\n"
    assert curl(f"{handle.url}/replicas_status") == "Ok.\n"
    assert curl(f"{handle.url}/?query=SELECT%201") == "1\n"
    assert curl(handle.url, "-d", "SELECT 'é' FORMAT JSONEachRow") == '{"\'é\'":"é"}\n'
    assert (
        curl(f"{handle.url}/?query=INSERT%20INTO%20t%20FORMAT%20CSV", "--data-binary", "@-", data=b"1,x\n2,y\n") == ""
    )
    assert (
        curl(
            "-H",
            "Transfer-Encoding: chunked",
            "-T",
            "-",
            f"{handle.url}/?query=INSERT%20INTO%20t%20FORMAT%20CSV",
            data=b"3,z\n",
        )
        == ""
    )
    assert curl(handle.url, "-d", "SELECT count() FROM t") == "3\n"
    assert curl("--compressed", f"{handle.url}/?enable_http_compression=1", "-d", "SELECT sum(a) FROM t") == "6\n"


def test_survives_sigkill_ends_soon_on_sigterm_and_says_what_is_in_use(tmp_path: Path) -> None:
    with store(tmp_path / "s") as first:
        client = Http(first.url)
        client.call("CREATE TABLE kept (a UInt64) ENGINE = MergeTree ORDER BY a")
        client.call("INSERT INTO kept SELECT number FROM numbers(1000)")
        first.kill()
        first.restart()
        assert client.rows("SELECT count() FROM kept") == [[1000]]
        for arguments, words in (
            (["--data", str(first.data_dir), "--port", str(free_port())], "in use by another store"),
            (["--data", str(tmp_path / "other"), "--port", str(first.port)], "cannot listen on"),
        ):
            done = subprocess.run(
                [sys.executable, "-m", "infra.store", *arguments],
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
            assert done.returncode == 1
            assert words in done.stderr
        slow = threading.Thread(
            target=lambda: _quietly(client, "SELECT count() FROM numbers(1e13) WHERE NOT ignore(number)")
        )
        slow.start()
        time.sleep(0.5)
        assert first.stop() < 5.0
        slow.join()
        first.restart()
        assert client.rows("SELECT count() FROM kept") == [[1000]]


def test_what_a_kill_left_of_an_exchange_of_tables_is_gone_after_the_next_start(tmp_path: Path) -> None:
    with store(tmp_path / "s") as handle:
        client = Http(handle.url)
        client.call("CREATE DATABASE feedback")
        for name in (
            "feedback._tmp_replace_50b7d58e77849331_hfxxxfje3352608e",
            "feedback.kept",
            "default._tmp_replace_1_a",
        ):
            client.call(f"CREATE TABLE {name} (a UInt64) ENGINE = MergeTree ORDER BY a")
            client.call(f"INSERT INTO {name} SELECT number FROM numbers(1000)")
        handle.kill()
        handle.restart()
        listed = "SELECT database, name FROM system.tables WHERE database IN ('feedback', 'default')"
        assert client.rows(listed) == [["feedback", "kept"]]
        assert client.rows("SELECT count() FROM feedback.kept") == [[1000]]


def _quietly(client: Http, sql: str) -> None:
    with contextlib.suppress(aiohttp.ClientError):
        client.call(sql)

"""The store's reading of queries, errors, credentials, compression: no engine, no process."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.store import sql
from infra.store.blocks import BlockDecoder, BlockEncoder
from infra.store.compression import decoder, encoder
from infra.store.errors import StoreError, from_engine
from infra.store.request import parse
from infra.store.settings import StoreSettings
from infra.store.users import Credentials, User, load_or_create_credentials, presented


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"SELECT 1 FORMAT JSON", (b"SELECT 1 ", "JSON", b"")),
        (b"SELECT 1 format CSV ; -- end", (b"SELECT 1 ", "CSV", b" ")),
        (b"SELECT 1 FORMAT CSV SETTINGS a = 1", (b"SELECT 1 ", "CSV", b" SETTINGS a = 1")),
        (b"SELECT format FROM t", (b"SELECT format FROM t", None, b"")),
        (b"SELECT 'x FORMAT CSV'", (b"SELECT 'x FORMAT CSV'", None, b"")),
        (b"SELECT * FROM (SELECT 1 FORMAT CSV)", (b"SELECT * FROM (SELECT 1 FORMAT CSV)", None, b"")),
        (b"SELECT 1 /* FORMAT CSV */;", (b"SELECT 1 /* FORMAT CSV */", None, b"")),
    ],
)
def test_the_format_clause_is_cut_out(query: bytes, expected: tuple[bytes, str | None, bytes]) -> None:
    assert sql.split_format(query) == expected


@pytest.mark.parametrize(
    ("text", "statement", "data_format", "data"),
    [
        (b"INSERT INTO t FORMAT Native\n\n\x00", b"INSERT INTO t ", "Native", b"\n\x00"),
        (b"insert into d.t (`b`) settings x=1 format CSV 1,2", b"insert into d.t (`b`) settings x=1 ", "CSV", b"1,2"),
        (b"INSERT INTO t VALUES (1)", b"INSERT INTO t ", "Values", b" (1)"),
        (b"INSERT INTO t (values, format) FORMAT TSV\n1", b"INSERT INTO t (values, format) ", "TSV", b"1"),
        (b"/* c */ INSERT INTO t FORMAT JSONEachRow;\n{}", b"/* c */ INSERT INTO t ", "JSONEachRow", b"{}"),
    ],
)  # fmt: skip
def test_the_data_of_an_insert_begins_after_its_format(
    text: bytes, statement: bytes, data_format: str, data: bytes
) -> None:
    found = sql.insert_head(text, complete=True)
    assert found is not None
    assert (found.statement, found.format, text[found.data_at :]) == (statement, data_format, data)


def test_an_insert_head_that_is_cut_off_waits_for_more() -> None:
    whole = b"INSERT INTO t (a) FORMAT RowBinary\n\x01\x02"
    for end in range(len(b"INSERT INTO t (a) FORMAT RowBinary")):
        assert sql.insert_head(whole[: end + 1], complete=False) is None
    selected = sql.insert_head(b"INSERT INTO t SELECT 1", complete=True)
    assert selected is not None
    assert selected.format is None
    with pytest.raises(ValueError, match="FORMAT"):
        sql.insert_head(b"INSERT INTO t", complete=True)


@given(st.binary(max_size=300))
def test_the_lexer_takes_any_bytes(data: bytes) -> None:
    found = list(sql.tokens(data))
    assert all(data[token.start : token.end] == token.text for token in found)


def test_calls_are_seen_through_comments_and_quotes_but_not_in_strings() -> None:
    assert "file" in sql.calls(b"SELECT * FROM /* x */ FiLe /**/ ('x')")
    assert "url" in sql.calls(b"SELECT * FROM `url`('x')")
    assert sql.calls(b"SELECT 'file(1)' -- url(1)") == set()
    assert "url" not in sql.calls(b"INSERT INTO url (a) VALUES (1)")
    assert sql.has_pair(b"SELECT 1 INTO /* */ outfile 'x'", b"INTO", b"OUTFILE")


@given(st.text())
def test_literals_are_one_string_token(text: str) -> None:
    found = list(sql.tokens(sql.literal(text).encode("utf-8", "surrogatepass")))
    assert [token.kind for token in found] == ["string"]


def test_engine_errors_keep_code_and_name_and_lose_repetitions() -> None:
    error = from_engine(
        RuntimeError(
            "Code: 164. DB::Exception: Code: 164. DB::Exception: No. (READONLY) (version 26.9.2.1). (READONLY)"
        )
    )
    assert (error.code, error.name, error.status) == (164, "READONLY", 500)
    assert error.text("1") == "Code: 164. DB::Exception: No. (READONLY) (version 1 (official build))\n"
    assert from_engine(RuntimeError("Code: 60. DB::Exception: x (UNKNOWN_TABLE)")).status == 404
    assert from_engine(RuntimeError("odd")).code == 1002


def test_credentials_are_made_once_and_only_for_the_owner(tmp_path: Path) -> None:
    made = load_or_create_credentials(tmp_path)
    assert load_or_create_credentials(tmp_path) == made
    assert stat.S_IMODE((tmp_path / "credentials.json").stat().st_mode) == 0o600
    assert made.users["reader"].readonly
    assert made.url("::1", 1).startswith("http://vocstream:")
    assert made.url("::1", 1).endswith("@[::1]:1")
    (tmp_path / "credentials.json").write_text("{}")
    with pytest.raises(ValueError, match="credentials"):
        load_or_create_credentials(tmp_path)


def test_who_a_request_says_it_is() -> None:
    basic = "Basic " + base64.b64encode(b"a:b:c").decode()
    assert presented({"Authorization": basic}, {}) == ("a", "b:c")
    assert presented({"X-ClickHouse-User": "u", "X-ClickHouse-Key": "k"}, {}) == ("u", "k")
    assert presented({}, {"user": "u", "password": "p"}) == ("u", "p")
    with pytest.raises(StoreError):
        presented({"Authorization": "Basic ###"}, {})


def test_get_and_readers_cannot_write() -> None:
    users = Credentials(users={"w": User(password="p"), "r": User(password="p", readonly=True)})
    assert parse("POST", {"user": "w", "password": "p"}, {}, users).read_only == 0
    assert parse("POST", {"user": "w", "password": "p", "readonly": "1"}, {}, users).read_only == 1
    assert parse("GET", {"user": "w", "password": "p"}, {}, users).read_only == 2
    assert parse("POST", {"user": "r", "password": "p"}, {}, users).read_only == 2
    with pytest.raises(StoreError, match="readonly"):
        parse("POST", {"user": "r", "password": "p", "readonly": "0"}, {}, users)
    with pytest.raises(StoreError, match="incorrect"):
        parse("POST", {"user": "r", "password": "wrong"}, {}, users)
    request = parse(
        "POST", {"user": "w", "password": "p", "max_threads": "2", "param_x": "1", "compress": "1"}, {}, users
    )
    assert request.settings == {"max_threads": "2", "param_x": "1"}
    assert request.compress


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd", "lz4"])
@given(pieces=st.lists(st.binary(max_size=200), max_size=5))
def test_compression_round_trip(coding: str, pieces: list[bytes]) -> None:
    chosen = encoder(f"br;q=0, {coding}")
    assert chosen is not None
    name, stream = chosen
    assert name == coding
    packed = b"".join(stream.feed(piece) for piece in pieces) + stream.end()
    reader = decoder(coding)
    assert reader is not None
    assert b"".join(reader.feed(packed[at : at + 7]) for at in range(0, len(packed), 7)) + reader.end() == b"".join(
        pieces
    )
    if packed:
        cut = decoder(coding)
        assert cut is not None
        cut.feed(packed[:3])
        with pytest.raises(StoreError):
            cut.end()


def test_encodings_nobody_knows_are_refused_or_left_out() -> None:
    with pytest.raises(StoreError, match="snappy"):
        decoder("snappy")
    assert decoder("identity") is None
    assert encoder("snappy, identity") is None
    assert encoder("zstd;q=0.1, gzip;q=0.9")[0] == "gzip"  # type: ignore[index]  # not None here


@given(st.binary(max_size=3000))
def test_native_blocks_round_trip(data: bytes) -> None:
    pytest.importorskip("clickhouse_cityhash")
    packed = BlockEncoder().feed(data)
    reader = BlockDecoder()
    assert b"".join(reader.feed(packed[at : at + 100]) for at in range(0, len(packed), 100)) + reader.end() == data


def test_unknown_settings_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOC_STORE_PROT", "1")
    with pytest.raises(ValueError, match="VOC_STORE_PROT"):
        StoreSettings()

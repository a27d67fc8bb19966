"""The object store: conditional writes, listings and their pages, deletion, space, durability settings."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.broker.objects import ForeignFile, ObjectStore, PreconditionFailed


@pytest.fixture
def store(tmp_path: Path) -> Iterator[ObjectStore]:
    opened = ObjectStore(tmp_path / "o.sqlite", clock=lambda: 1000.5)
    yield opened
    opened.close()


def keys(store: ObjectStore, prefix: str = "", **options: object) -> list[str]:
    return [entry.key for entry in store.list(prefix, **options).entries]  # type: ignore[arg-type]


def test_what_is_put_is_got(store: ObjectStore) -> None:
    etag = store.put("a", b"body", content_type="application/json")
    found = store.get("a")
    assert found is not None
    entry, body = found
    assert body == b"body"
    assert (entry.etag, entry.size, entry.modified, entry.content_type) == (etag, 4, 1000.5, "application/json")
    assert store.head("a") == entry
    assert store.get("b") is None
    assert store.head("b") is None


def test_etag_changes_on_every_write_and_never_returns(store: ObjectStore) -> None:
    seen = {store.put("a", b"same") for _ in range(3)}
    store.delete(["a"])
    seen |= {store.put("a", b"same") for _ in range(3)}
    assert len(seen) == 6


def test_write_only_if_absent(store: ObjectStore) -> None:
    store.put("a", b"1", if_absent=True)
    with pytest.raises(PreconditionFailed):
        store.put("a", b"2", if_absent=True)
    found = store.get("a")
    assert found is not None
    assert found[1] == b"1"


def test_write_only_if_unchanged(store: ObjectStore) -> None:
    first = store.put("a", b"1")
    second = store.put("a", b"2", if_match=first)
    with pytest.raises(PreconditionFailed):
        store.put("a", b"3", if_match=first)
    with pytest.raises(PreconditionFailed):
        store.put("absent", b"3", if_match=second)
    assert store.head("absent") is None


def test_listing_has_only_the_prefix_in_order(store: ObjectStore) -> None:
    for name in ("b/2", "b/1", "a", "b", "c", "b0"):
        store.put(name, b"")
    assert keys(store, "b/") == ["b/1", "b/2"]
    assert keys(store) == ["a", "b", "b/1", "b/2", "b0", "c"]
    assert keys(store, after="b/1") == ["b/2", "b0", "c"]


def test_delimiter_rolls_up(store: ObjectStore) -> None:
    for name in ("t/a/1", "t/a/2", "t/b", "t/c/1", "u/x"):
        store.put(name, b"")
    page = store.list("t/", delimiter="/")
    assert page.common_prefixes == ("t/a/", "t/c/")
    assert [entry.key for entry in page.entries] == ["t/b"]
    assert page.token is None


@given(
    names=st.sets(st.text(alphabet="ab/c", min_size=1, max_size=6), max_size=25),
    prefix=st.sampled_from(["", "a", "a/", "b/c"]),
    delimiter=st.sampled_from(["", "/"]),
    limit=st.integers(1, 5),
)
def test_pages_together_are_the_whole(names: set[str], prefix: str, delimiter: str, limit: int) -> None:
    store = ObjectStore(Path(":memory:"), clock=lambda: 0.0)
    for name in names:
        store.put(name, b"")
    expected_keys, expected_groups = [], []
    for name in sorted(n for n in names if n.startswith(prefix)):
        head, found, _ = name[len(prefix) :].partition("/") if delimiter else (name, "", "")
        if found:
            expected_groups.append(prefix + head + "/")
        else:
            expected_keys.append(name)
    found_keys: list[str] = []
    found_groups: list[str] = []
    token: str | None = ""
    while token is not None:
        page = store.list(prefix, delimiter=delimiter, after=token, limit=limit)
        assert len(page.entries) + len(page.common_prefixes) <= limit
        found_keys += [entry.key for entry in page.entries]
        found_groups += page.common_prefixes
        token = page.token
    assert found_keys == expected_keys
    assert found_groups == sorted(set(expected_groups))
    store.close()


def test_delete_ignores_what_is_not_there(store: ObjectStore) -> None:
    store.put("a", b"1")
    store.put("b", b"2")
    store.delete(["a", "absent"])
    assert keys(store) == ["b"]
    assert store.db.execute("SELECT count(*) FROM bodies").fetchone() == (1,)


def test_transaction_is_all_or_nothing(store: ObjectStore) -> None:
    def write_and_fail() -> None:
        with store.transaction():
            store.put("a", b"1")
            raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError):
        write_and_fail()
    assert keys(store) == []
    store.put("b", b"2")
    assert keys(store) == ["b"]


def test_reclaim_gives_space_back(tmp_path: Path) -> None:
    path = tmp_path / "o.sqlite"
    store = ObjectStore(path, clock=lambda: 0.0)
    for number in range(20):
        store.put(str(number), b"x" * 100_000)
    store.delete([str(number) for number in range(20)])
    store.reclaim()
    store.close()  # folds the write-ahead log into the file
    assert path.stat().st_size < 200_000


def test_reopened_with_everything(tmp_path: Path) -> None:
    for number in range(3):
        store = ObjectStore(tmp_path / "o.sqlite", clock=lambda: 0.0)
        store.put(str(number), b"")
        assert keys(store) == [str(n) for n in range(number + 1)]
        store.close()


def test_file_of_another_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "o.sqlite"
    made = sqlite3.connect(path)
    made.execute("PRAGMA user_version = 99")
    made.close()
    with pytest.raises(ForeignFile, match="layout 99"):
        ObjectStore(path, clock=lambda: 0.0)


@pytest.mark.parametrize(("setting", "level"), [("NORMAL", 1), ("FULL", 2)])
def test_durability_is_what_was_asked(tmp_path: Path, setting: str, level: int) -> None:
    store = ObjectStore(tmp_path / "o.sqlite", clock=lambda: 0.0, synchronous=setting)
    assert store.db.execute("PRAGMA synchronous").fetchone() == (level,)
    assert store.db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    store.close()

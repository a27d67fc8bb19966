"""The newest version of a response wins, in whatever order its versions arrive; and rows come out as they went in."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator

import pytest
from clickhouse_connect.driver.client import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.rows import DeadLetterRow, InteractionRow, ResponseRow
from tests.integration.clickhouse_rig import (
    HOUR_MS,
    insert_responses,
    labelled,
    migrated_store,
    random_response,
    rows_of,
)


@pytest.fixture(scope="module")
def store() -> Iterator[Client]:
    with migrated_store() as client:
        client.command("SYSTEM STOP MERGES feedback.responses")
        yield client


@pytest.fixture
def client(store: Client) -> Iterator[Client]:
    yield store
    store.command("TRUNCATE TABLE feedback.responses")


@pytest.mark.parametrize("row", [ResponseRow, InteractionRow, DeadLetterRow])
def test_rows_have_the_columns_of_their_table(client: Client, row: type[ResponseRow]) -> None:
    table = {ResponseRow: "responses", InteractionRow: "interactions", DeadLetterRow: "dead_letters"}[row]
    columns = rows_of(
        client, f"SELECT name, default_kind FROM system.columns WHERE database = 'feedback' AND table = '{table}'"
    )
    assert {c["name"] for c in columns if c["default_kind"] != "MATERIALIZED"} == set(row._fields)


def test_a_row_comes_out_as_it_went_in(client: Client) -> None:
    row = labelled(random.Random(1), random_response(random.Random(1), 1))._replace(
        flags=["clock_clamped"], segments={"plan": "pro", "região": "sul"}, comment="ótimo 🚀\n\x00"
    )
    insert_responses(client, [row])
    times = ", ".join(f"toUnixTimestamp64Milli({t}) AS {t}" for t in ResponseRow._fields if t.endswith("_at"))
    others = ", ".join(name for name in ResponseRow._fields if not name.endswith("_at"))
    (found,) = rows_of(client, f"SELECT {others} FROM feedback.responses")
    (moments,) = rows_of(client, f"SELECT {times} FROM feedback.responses")
    assert found | moments == row._asdict()


def test_interactions_and_dead_letters_take_their_rows(client: Client) -> None:
    interaction = InteractionRow(
        "acme",
        "/shop",
        "i1",
        "c1",
        "order",
        "checkout",
        "web",
        "buy",
        12.5,
        "BRL",
        {},
        '{"a":1}',
        [],
        1,
        2,
        3,
        "e",
        "",
        4,
    )
    letter = DeadLetterRow("not_json", "decode", "no JSON", "feedback.responses", 3, 2**40, 1, "k", 1, "{", 2)
    client.insert("feedback.interactions", [interaction] * 2, column_names=InteractionRow._fields)
    client.insert("feedback.dead_letters", [letter] * 2, column_names=DeadLetterRow._fields)
    assert client.query("SELECT value, currency FROM feedback.interactions FINAL").result_rows == [(12.5, "BRL")]
    assert client.query("SELECT reason, offset FROM feedback.dead_letters FINAL").result_rows == [("not_json", 2**40)]


def _version(row: ResponseRow) -> tuple[int, int, int, int]:
    """The rule in Python: newest word of the source, then digest, then first seen, then labelled last."""
    return row.updated_at, row.digest, -row.received_at, row.label_rank and 1 + (row.labelled_at or 0)


def _versions() -> list[ResponseRow]:
    first = random_response(random.Random(3), 1)._replace(digest=2**63 + 5, label_rank=0, excluded=0)
    again = first._replace(received_at=first.received_at + HOUR_MS)  # the same event, seen again
    tied = first._replace(digest=7, score=3.0)  # another content of the same time
    edited = first._replace(
        updated_at=first.updated_at + 1, digest=1, occurred_at=first.occurred_at - 40 * 24 * HOUR_MS
    )
    told = labelled(random.Random(4), edited, "m1")._replace(labelled_at=edited.updated_at + 5, sentiment="positive")
    retold = told._replace(model_version="m2", labelled_at=edited.updated_at + 6, sentiment="negative")
    return [first, again, tied, edited, told, retold]


def test_the_version_orders_as_the_rule_does(client: Client) -> None:
    for a, b in itertools.combinations(_versions(), 2):
        insert_responses(client, [a])
        insert_responses(client, [b])
        found = rows_of(client, "SELECT digest, label_rank, model_version FROM feedback.responses ORDER BY version")
        expected = [(row.digest, row.label_rank, row.model_version) for row in sorted((a, b), key=_version)]
        assert [tuple(row.values()) for row in found] == expected
        client.command("TRUNCATE TABLE feedback.responses")


@pytest.mark.parametrize("blocks", ["one block each", "one block"])
@pytest.mark.parametrize("size", [2, 3])
def test_the_newest_wins_in_every_order_of_arrival(client: Client, size: int, blocks: str) -> None:
    for chosen in itertools.combinations(_versions(), size):
        newest = max(chosen, key=_version)
        rows = [
            [row._replace(response_id=f"{i}") for row in order]
            for i, order in enumerate(itertools.permutations(chosen))
        ]
        if blocks == "one block":
            insert_responses(client, [row for order in rows for row in order])
        else:  # the k-th version of every order in the k-th block
            for block in zip(*rows, strict=True):
                insert_responses(client, block)
        for merged in (False, True):
            if merged:
                client.command("SYSTEM START MERGES feedback.responses")
                client.command("OPTIMIZE TABLE feedback.responses FINAL")
                client.command("SYSTEM STOP MERGES feedback.responses")
            found = rows_of(client, "SELECT digest, label_rank, sentiment, score FROM feedback.responses FINAL")
            assert len(found) == len(rows)
            expected = {name: getattr(newest, name) for name in ("digest", "label_rank", "sentiment", "score")}
            assert all(row == expected for row in found)
        client.command("TRUNCATE TABLE feedback.responses")


def test_labels_of_two_models_in_the_same_millisecond_end_the_same_in_both_orders(client: Client) -> None:
    one = labelled(random.Random(4), random_response(random.Random(3), 1), "m1")._replace(labelled_at=5)
    other = one._replace(model_version="m2")
    for order in ("ab", "ba"):
        for name in order:
            insert_responses(client, [{"a": one, "b": other}[name]._replace(response_id=order)])
    found = rows_of(client, "SELECT model_version FROM feedback.responses FINAL")
    assert len(found) == 2
    assert found[0] == found[1]
    client.command("TRUNCATE TABLE feedback.responses")


def test_a_withdrawn_response_is_gone_until_it_is_sent_again(client: Client) -> None:
    row = random_response(random.Random(5), 1)
    gone = row._replace(updated_at=row.updated_at + 1, deleted=1)
    insert_responses(client, [row])
    insert_responses(client, [gone])
    assert client.query("SELECT count() FROM feedback.enriched_responses").result_rows == [(0,)]
    insert_responses(client, [row._replace(updated_at=row.updated_at + 2)])
    assert client.query("SELECT count() FROM feedback.enriched_responses").result_rows == [(1,)]


def test_sources_and_questions_are_part_of_the_identity(client: Client) -> None:
    row = random_response(random.Random(6), 1)
    insert_responses(client, [row._replace(question=q, source=s, tenant=t) for q in "ab" for s in "cd" for t in "ef"])
    assert client.query("SELECT count() FROM feedback.enriched_responses").result_rows == [(8,)]


@st.composite
def _histories(draw: st.DrawFn) -> list[ResponseRow]:
    """Versions of three responses out of few times and digests, so that there are ties in every word."""
    rng = random.Random(9)
    base = [random_response(rng, i)._replace(excluded=0) for i in range(3)]
    # Of one content (time and digest) there is one score, as in life: the digest is of the content.
    words = st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2), st.integers(0, 2), st.integers(0, 1))
    return [
        base[i]._replace(
            updated_at=base[i].updated_at + time,
            digest=[0, 2**63, 2**64 - 1][digest],
            received_at=base[i].received_at + seen,
            label_rank=rank,
            score=float(3 * time + digest),
            sentiment="positive" if rank else "",
        )
        for i, time, digest, seen, rank in draw(st.lists(words, min_size=1, max_size=30))
    ]


@settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=_histories(), cuts=st.lists(st.integers(1, 29), max_size=4), seed=st.integers(0, 99))
def test_any_order_and_any_cut_end_in_the_same_state(
    client: Client, rows: list[ResponseRow], cuts: list[int], seed: int
) -> None:
    expected: dict[str, ResponseRow] = {}
    for row in rows:
        known = expected.get(row.response_id, row)
        expected[row.response_id] = max(known, row, key=_version)
    shuffled = random.Random(seed).sample(rows, len(rows))
    client.command("TRUNCATE TABLE feedback.responses")
    edges = [0, *sorted({c for c in cuts if c < len(rows)}), len(rows)]
    for start, end in itertools.pairwise(edges):
        insert_responses(client, shuffled[start:end])
    insert_responses(client, shuffled[: len(shuffled) // 2])  # a batch sent again
    found = rows_of(client, "SELECT response_id, digest, score, label_rank, sentiment FROM feedback.responses FINAL")
    assert {row.pop("response_id"): row for row in found} == {
        key: {name: getattr(row, name) for name in ("digest", "score", "label_rank", "sentiment")}
        for key, row in expected.items()
    }

"""The rows of schemas/rows.py are the tables of the migrations: the same columns, nothing missing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

import infra.clickhouse
from schemas import topics
from schemas.labels import Sentiment
from schemas.published import version
from schemas.rows import DeadLetterRow, EnrichedResponse, InteractionRow, ResponseRow
from schemas.topics import TOPICS

MIGRATIONS = Path(infra.clickhouse.__file__).parent / "migrations"
TABLES: list[tuple[str, type[NamedTuple]]] = [
    ("responses", ResponseRow),
    ("interactions", InteractionRow),
    ("dead_letters", DeadLetterRow),
]


def _columns(table: str) -> dict[str, bool]:
    """The columns of a table in order, and whether the store fills each by itself."""
    sql = "".join(file.read_text("utf-8") for file in sorted(MIGRATIONS.glob("*.sql")))
    body = re.search(rf"CREATE TABLE IF NOT EXISTS feedback\.{table}{{{{local}}}}.*?\n\((.*?)\n\)\n", sql, re.DOTALL)
    assert body is not None
    columns = re.findall(r"^    (\w+) ([^\n]*)", body[1], re.MULTILINE)
    return {name: bool(re.search(r" MATERIALIZED\b", rest)) for name, rest in columns}


@pytest.mark.parametrize(("table", "row"), TABLES)
def test_a_row_fills_exactly_the_columns_that_the_store_does_not(table: str, row: type[NamedTuple]) -> None:
    assert {name for name, filled in _columns(table).items() if not filled} == set(row._fields)


def test_an_enriched_response_has_the_fields_of_its_row() -> None:
    assert set(EnrichedResponse.model_fields) == set(ResponseRow._fields)


def test_the_names_of_topics_types_and_versions_agree() -> None:
    assert len({topic.name for topic in TOPICS}) == len(TOPICS)
    assert len({topic.event_type for topic in TOPICS}) == len(TOPICS)
    for topic in TOPICS:
        assert re.fullmatch(r"feedback\.[a-z-]+", topic.name)
        assert re.fullmatch(r"vocstream\.[a-z-]+\.v\d+", topic.event_type)
        assert version(topic) >= 1
        assert topic.description.endswith(".")
    named = {value for name, value in vars(topics).items() if name.isupper() and isinstance(value, str)}
    assert {topic.name for topic in TOPICS} <= named


def test_an_empty_sentiment_stands_for_no_label_and_is_no_label() -> None:
    assert "" not in {sentiment.value for sentiment in Sentiment}

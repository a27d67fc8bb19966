"""Comments as people type them are made fit to read, and cut into clauses."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.clauses import MAX_CLAUSES, split
from models.text import MAX_CHARACTERS, clean, has_words, is_readable


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("  muito \n\t bom  ", "muito bom"),
        ("não\x00 chegou", "não chegou"),
        ("lone \ud800 surrogate", "lone surrogate"),
        ("<p>Great <b>phone</b></p>", "Great phone"),
        ("caf&eacute; &amp; bar", "café & bar"),
        ("goooooool!!!!!!", "goool!!!"),
        ("cafe\u0301", "café"),
        ("2 < 3 > 1", "2 < 3 > 1"),
        ("\u202eabc\u202c", "abc"),
        ("", ""),
        (None, ""),
        (3.5, ""),
    ],
)
def test_clean(raw: object, expected: str) -> None:
    assert clean(raw) == expected


def test_a_giant_comment_keeps_its_beginning_and_its_end() -> None:
    cleaned = clean("start " + "meio " * 40_000 + "finish")
    assert len(cleaned) <= MAX_CHARACTERS + 4
    assert cleaned.startswith("start")
    assert cleaned.endswith("finish")


@given(st.text(max_size=400))
def test_cleaning_twice_changes_nothing_and_leaves_nothing_odd(raw: str) -> None:
    cleaned = clean(raw)
    assert cleaned == cleaned.strip()
    assert "\x00" not in cleaned
    assert not any("\ud800" <= c <= "\udfff" for c in cleaned)


@pytest.mark.parametrize(("text", "readable", "words"), [
    ("bom", True, True), ("😡", True, False), ("10", False, False), ("...", False, False),
    ("", False, False), ("東京", True, True), ("❤", True, False),
])  # fmt: skip
def test_what_can_be_read(text: str, readable: bool, words: bool) -> None:
    assert is_readable(text) is readable
    assert has_words(text) is words


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Great product, terrible delivery.", ["Great product", "terrible delivery."]),
        ("Produto ótimo mas a entrega atrasou", ["Produto ótimo", "mas a entrega atrasou"]),
        ("El teléfono muy bueno, pero el envío lento", ["El teléfono muy bueno", "pero el envío lento"]),
        ("All good! Thanks a lot.", ["All good! ", "Thanks a lot."]),
        ("ok", ["ok"]),
    ],
)
def test_clauses(text: str, parts: list[str]) -> None:
    assert [text[start:end] for start, end in split(text)] == parts


@settings(max_examples=150)
@given(st.text(alphabet="ab ,.;!\nbut mas pero", max_size=300))
def test_clauses_are_in_order_and_do_not_overlap(text: str) -> None:
    spans = split(text)
    assert 1 <= len(spans) <= MAX_CLAUSES
    assert all(start <= end for start, end in spans)
    assert all(a[1] <= b[0] for a, b in pairwise(spans))

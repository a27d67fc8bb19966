"""Sentences, queries and typical comments."""

from __future__ import annotations

import pytest

from pipeline.alerts.evidence import central, condition, quoted
from pipeline.alerts.rows import Key
from pipeline.alerts.words import as_score, language_of, sentence
from schemas.alerts import Kind, Measure, Series

SERIES = Series(tenant="acme", dimension="topic", value="delivery.delay", measure=Measure.NEGATIVE)


@pytest.mark.parametrize(("language", "word"), [("en", "complaints about"), ("pt", "reclamações"), ("es", "quejas")])
def test_a_spike_in_three_languages(language: str, word: str) -> None:
    told = sentence(Kind.SPIKE, SERIES, language, unhappy=18, n=60, usual=0.06, window=900, since="21.01. 09:45")
    assert word in told
    assert "30 %" in told
    assert "18" in told
    assert "6 %" in told
    assert "acme" in told


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("measure", list(Measure))
@pytest.mark.parametrize("language", ["en", "pt", "es"])
def test_every_sentence_can_be_made(kind: Kind, measure: Measure, language: str) -> None:
    series = Series(tenant="acme", dimension="channel", value="app", measure=measure)
    assert "{" not in sentence(kind, series, language, unhappy=3, n=9, usual=0.2, window=300, since="x", rule="r")


def test_a_language_we_cannot_write_is_told_in_english() -> None:
    assert [language_of(one) for one in ("pt-BR", "de", "", "es")] == ["pt", "en", "en", "es"]


def test_shares_are_shown_as_people_know_the_measure() -> None:
    assert as_score(Measure.NPS, 0.25) == 50
    assert as_score(Measure.CSAT, 0.2) == pytest.approx(80)
    assert as_score(Measure.NEGATIVE, 0.2) == pytest.approx(20)


def test_values_cannot_break_out_of_the_query() -> None:
    assert quoted("it's \\ here") == r"'it\'s \\ here'"
    found = condition(Key("t", "segment", "plan=pro' OR 1 = 1 --", Measure.NEGATIVE))
    assert found.endswith(r"JSONExtractString(segments, 'plan') = 'pro\' OR 1 = 1 --'")


def test_typical_comments_are_the_central_ones_and_differ() -> None:
    late = [f"the parcel came {n} days late" for n in range(2, 12)]
    chosen = central([*late, "qwerty zxcvb", "lovely colours", *late])
    assert len(chosen) == 3
    assert len(set(chosen)) == 3
    assert "qwerty zxcvb" not in chosen
    assert chosen[0] in late


def test_few_comments_are_all_typical() -> None:
    assert central(["a", "", "b", "a"]) == ["a", "b"]

"""Short comments keep to the languages in use; whole sentences in others are seen."""

from __future__ import annotations

import pytest

from models.language import LanguageGuesser


@pytest.fixture(scope="module")
def guesser() -> LanguageGuesser:
    return LanguageGuesser(("pt", "es", "en"))


@pytest.mark.parametrize(("text", "code"), [
    ("muito bom", "pt"), ("NÃO CHEGOU", "pt"), ("bueno", "es"), ("La entrega llegó tarde", "es"),
    ("Good phone, bad battery", "en"), ("", "und"), ("10/10 !!!", "und"), ("😀", "und"),
    ("La livraison était très en retard et le colis abîmé", "fr"),
    ("Der Lieferdienst war sehr langsam und unfreundlich", "de"), ("とても良い", "ja"),
])  # fmt: skip
def test_languages(guesser: LanguageGuesser, text: str, code: str) -> None:
    assert guesser.guess(text) == code


def test_any_code_has_two_letters_or_is_und(guesser: LanguageGuesser) -> None:
    for text in ("سيئ جدا", "отлично", "zz qq xx", "😀 א"):
        assert len(guesser.guess(text)) in (2, 3)

"""Personal data out of free text, before it is stored, logged, classified or dead-lettered.

Replaces what has the form of e-mail addresses, payment cards, IBANs, national ids (CPF, CNPJ, DNI, NIE, SSN) and
telephone numbers by a word in brackets. By form only: where a form has check digits they are checked, and a bare
number is left alone behind a word for orders, so that an order number is not taken for a card or a telephone.
Names of people are not found.

Every form begins at a boundary and repeats nothing without bound, so the time grows with the length of the text alone
(tests/unit/test_redaction.py).

>>> redact("me liguem no (11) 98765-4321 ou ana@example.com")
'me liguem no [phone] ou [email]'
>>> redact("o pedido 4500123456 de R$ 1.299,90 não chegou")
'o pedido 4500123456 de R$ 1.299,90 não chegou'
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import cycle
from typing import Any

_MAY_HOLD_PERSONAL_DATA = re.compile(r"[@\d]")

# Words (pt, es, en) after which a bare number is that of a thing, not of a person.
_OF_A_THING = (
    r"pedido|encomenda|compra|orden|order|ticket|chamado|protocolo|caso|case|fatura|factura|invoice|boleto|nota|nf"
    r"|rastre|seguim|track|c[óo]digo|code|reserva|booking|contrato|contract|gu[ií]a|ref|sku|ean|serial|s[ée]rie|transa"
)
_BEHIND_A_THING = re.compile(
    rf"(?i)(?:\b(?:{_OF_A_THING})[\w-]{{0,20}}|#)(?:\W{{1,3}}(?:n\w{{0,6}}|id|de|do|del|é|es|is|was))?[\W_]{{0,4}}$"
)
_NAMES_A_THING = re.compile(rf"(?i)(?:{_OF_A_THING})|(?:^|[_-])id$|Id$")
_CONTEXT = 40  # characters before a number in which the word is looked for


def _digits(text: str) -> list[int]:
    return [int(c) for c in text if c.isdecimal()]


def _luhn(text: str) -> bool:
    """ISO/IEC 7812-1: the check digit of payment cards, which have 13 to 19 digits."""
    digits = _digits(text)[::-1]
    total = sum(digits[::2]) + sum(sum(divmod(2 * d, 10)) for d in digits[1::2])
    return 13 <= len(digits) <= 19 and total % 10 == 0


def _iban(text: str) -> bool:
    """ISO 13616: the whole, with its first four characters last and letters as 10-35, is 1 modulo 97."""
    packed = text.replace(" ", "")
    return len(packed) >= 15 and int("".join(str(int(c, 36)) for c in packed[4:] + packed[:4])) % 97 == 1


def _weighted_check(digits: list[int], position: int, heaviest: int) -> bool:
    """Whether the digit at `position` checks those before it; weights 2, 3, ... up to `heaviest`, from the right."""
    weights = cycle(range(2, heaviest + 1))
    rest = sum(d * w for d, w in zip(reversed(digits[:position]), weights, strict=False)) % 11
    return digits[position] == (0 if rest < 2 else 11 - rest)


def _cpf(text: str) -> bool:
    """Receita Federal: two check digits modulo 11."""
    digits = _digits(text)
    return _weighted_check(digits, 9, 10) and _weighted_check(digits, 10, 11)


def _cnpj(text: str) -> bool:
    """Receita Federal: two check digits modulo 11, weights 2-9."""
    digits = _digits(text)
    return _weighted_check(digits, 12, 9) and _weighted_check(digits, 13, 9)


def _dni(text: str) -> bool:
    """Ministerio del Interior: the letter is the number modulo 23 in this order; X, Y, Z stand for 0, 1, 2."""
    number = re.sub(r"[.-]", "", text[:-1].upper()).translate(str.maketrans("XYZ", "012"))
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23] == text[-1].upper()


def _checked(holds: Callable[[str], bool], word: str) -> Callable[[re.Match[str]], str]:
    """`word` for a match that `holds`."""
    return lambda found: word if holds(found[0]) else found[0]


def _checked_in_parts(holds: Callable[[str], bool], word: str) -> Callable[[re.Match[str]], str]:
    """`word` for what `holds`: the match, or the longest beginning of it that ends before a space or a hyphen.

    For forms without a fixed length, which read on into what follows: an expiry date, a word.
    """

    def replace(found: re.Match[str]) -> str:
        text = found[0]
        for end in [len(text), *sorted((m.start() for m in re.finditer(r"[ -]", text)), reverse=True)]:
            if holds(text[:end]):
                return word + text[end:]
        return text

    return replace


def _unless_of_a_thing(word: str) -> Callable[[re.Match[str]], str]:
    def replace(found: re.Match[str]) -> str:
        before = found.string[max(0, found.start() - _CONTEXT) : found.start()]
        return found[0] if _BEHIND_A_THING.search(before) else word

    return replace


def _always(word: str) -> Callable[[re.Match[str]], str]:
    return lambda _: word


_LETTERS = "A-Za-z"  # not re.IGNORECASE, which lets in letters that only look alike
# Tried in this order: the longer and the better checked forms first.
_FORMS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str]], str]], ...] = (
    (re.compile(r"(?<![\w.+-])[\w.+-]++@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"), _always("[email]")),
    (
        re.compile(
            rf"\b[{_LETTERS}]{{2}}\d{{2}}(?: ?[{_LETTERS}\d]{{4}}){{2,7}}(?: ?[{_LETTERS}\d]{{1,3}})?(?![{_LETTERS}\d])"
        ),
        _checked_in_parts(_iban, "[iban]"),
    ),
    (re.compile(r"(?<![\w.])\d{2}\.?\d{3}\.?\d{3}/?\d{4}-?\d{2}(?!\w)"), _checked(_cnpj, "[id]")),
    (re.compile(r"(?<![\w.])[2-6](?:[ -]?\d){12,22}(?!\w)"), _checked_in_parts(_luhn, "[card]")),
    (re.compile(r"(?<![\w.])\d{3}\.?\d{3}\.?\d{3}-?\d{2}(?!\w)"), _checked(_cpf, "[id]")),
    (
        re.compile(rf"(?<!\w)(?:\d{{2}}\.?\d{{3}}\.?\d{{3}}|[XYZxyz]-?\d{{7}})-?[{_LETTERS}](?!\w)"),
        _checked(_dni, "[id]"),
    ),
    (re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])"), _always("[id]")),
    # With a country code, with an area code in brackets: telephones and nothing else.
    (re.compile(r"(?<![\w+])\+\d(?:[ .()-]{0,2}\d){7,14}(?!\w)"), _always("[phone]")),
    (re.compile(r"(?<!\w)\(0?\d{2,3}\) ?(?:9 ?)?\d{3,5}[ .-]?\d{3,4}(?!\w)"), _always("[phone]")),
    # In groups as telephones are written: 11 98765-4321, 55 1234 5678, 612 345 678, 612 34 56 78, 555.123.4567.
    (
        re.compile(
            r"(?<![\w.,-])(?:\d{2,3}[ -](?:9[ -]?)?\d{4,5}[ -]\d{4}|\d{3}([ .-])\d{3}\1\d{4}"
            r"|[6-9]\d{2}([ .-])\d{3}\2\d{3}|[6-9]\d{2}([ .-])\d{2}\3\d{2}\3\d{2})(?![\w-]|[.,]\d)"
        ),
        _unless_of_a_thing("[phone]"),
    ),
    # Bare, by numbering plan: Brazil (10 or 11 digits, with 55 or not), Spain (9, with 34 or not), Mexico and the
    # United States (10, with 52 or 1 or not).
    (
        re.compile(
            r"(?<![\w.,-])(?:(?:55)?[1-9]{2}(?:9\d{4}-?\d{4}|[2-5]\d{3}-?\d{4})|9\d{4}-\d{4}"
            r"|(?:34)?[67]\d{8}|(?:34)?9\d{8}|(?:52|1)?[2-9]\d{9})(?![\w-]|[.,]\d)"
        ),
        _unless_of_a_thing("[phone]"),
    ),
)


def is_clean(text: str) -> bool:
    """Whether a glance shows that `text` holds nothing to redact: neither digit nor @."""
    return _MAY_HOLD_PERSONAL_DATA.search(text) is None


def redact(text: str) -> str:
    """`text` with what looks like personal data replaced by `[email]`, `[card]`, `[iban]`, `[id]` or `[phone]`."""
    if is_clean(text):
        return text
    for form, replace in _FORMS:
        text = form.sub(replace, text)
    return text


def redact_json(value: Any, key: str = "") -> Any:
    """A JSON value with every text in it redacted, keys too; a number becomes a text only where it must.

    `key` is the name that the value stands under: a bare number under `order_id` stays, the same under `phone` goes.
    Whole numbers of more than 64 bits, which most readers of JSON cannot hold, become texts of their digits.
    """
    if isinstance(value, str):
        return value if value.isdecimal() and _NAMES_A_THING.search(key) else redact(value)
    if isinstance(value, dict):
        return {redact(k): redact_json(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [redact_json(v, key) for v in value]
    if type(value) is int and abs(value) >= 10_000_000:  # shorter ones are no form of ours
        digits = str(value)
        clean = redact_json(digits, key)
        return clean if clean != digits or not -(2**63) <= value < 2**64 else value
    return value

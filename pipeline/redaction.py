"""Personal data out of free text, before it is stored, logged, classified or dead-lettered.

Replaces what has the form of e-mail addresses, payment cards, IBANs, national ids (CPF, CNPJ, DNI, NIE, SSN) and
telephone numbers by a word in brackets. By form only: where a form has check digits they are checked, so that
an order number is not taken for a card. Names of people are not found.

>>> redact("me liguem no (11) 98765-4321 ou ana@example.com")
'me liguem no [phone] ou [email]'
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from itertools import cycle

_MAY_HOLD_PERSONAL_DATA = re.compile(r"[@\d]")


def _digits(text: str) -> list[int]:
    return [int(c) for c in text if c.isdecimal()]


def _luhn(text: str) -> bool:
    """ISO/IEC 7812-1: the check digit of payment cards."""
    digits = _digits(text)[::-1]
    return (sum(digits[::2]) + sum(sum(divmod(2 * d, 10)) for d in digits[1::2])) % 10 == 0


def _iban(text: str) -> bool:
    """ISO 13616: the whole, with its first four characters last and letters as 10-35, is 1 modulo 97."""
    packed = text.replace(" ", "")
    return int("".join(str(int(c, 36)) for c in packed[4:] + packed[:4])) % 97 == 1


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
    number = text[:-1].upper().replace("-", "").translate(str.maketrans("XYZ", "012"))
    return "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23] == text[-1].upper()


def _always(_: str) -> bool:
    return True


# Tried in this order: the longer and the better checked forms first.
_FORMS: tuple[tuple[re.Pattern[str], Callable[[str], bool], str], ...] = (
    (re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"), _always, "[email]"),
    (re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"), _iban, "[iban]"),
    (re.compile(r"(?<![\w.])\d{2}\.?\d{3}\.?\d{3}/?\d{4}-?\d{2}(?!\w)"), _cnpj, "[id]"),
    (re.compile(r"(?<![\w.])(?:\d[ -]?){12,18}\d(?!\w)"), _luhn, "[card]"),
    (re.compile(r"(?<![\w.])\d{3}\.?\d{3}\.?\d{3}-?\d{2}(?!\w)"), _cpf, "[id]"),
    (re.compile(r"(?<!\w)(?:\d{8}|[XYZxyz]-?\d{7})-?[A-Za-z](?!\w)"), _dni, "[id]"),
    (re.compile(r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])"), _always, "[id]"),
    (re.compile(r"(?<![\w+])\+\d{1,3}[ .-]?(?:\(?\d{1,4}\)?[ .-]?){2,5}\d{2,4}(?!\w)"), _always, "[phone]"),
    (re.compile(r"(?<!\w)\(\d{2,4}\) ?\d{3,5}[ .-]?\d{3,4}(?!\w)"), _always, "[phone]"),
    (re.compile(r"(?<![\w.,-])\d{2,4}[ .-]\d{3,5}[ .-]\d{3,5}(?![\w-])"), _always, "[phone]"),
    (re.compile(r"(?<![\w.,-])9\d{4}-?\d{4}(?![\w-])|(?<![\w.,-])\d{10,13}(?![\w-])"), _always, "[phone]"),
)


def redact(text: str) -> str:
    """`text` with what looks like personal data replaced by `[email]`, `[card]`, `[iban]`, `[id]` or `[phone]`."""
    if not _MAY_HOLD_PERSONAL_DATA.search(text):
        return text
    for form, holds, word in _FORMS:
        text = form.sub(partial(_replacement, holds, word), text)
    return text


def _replacement(holds: Callable[[str], bool], word: str, found: re.Match[str]) -> str:
    return word if holds(found[0]) else found[0]

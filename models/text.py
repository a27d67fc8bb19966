"""Comments as people type them, made fit to read: one plain line of text, bounded, or nothing.

Pure string work. The cleaned text is both what the encoder reads and the key under which its labels are
remembered, so two comments share labels exactly when the model sees the same characters.
"""

from __future__ import annotations

import html
import re
import unicodedata

MAX_CHARACTERS = 1200  # about 256 tokens; three quarters from the beginning, the rest from the end
SCAN_LIMIT = 20_000  # nothing past this many characters of a giant comment is looked at, but for its tail

_TAG = re.compile(r"<(?:/?[a-zA-Z][^<>]{0,300}|!--.{0,300}?--)>", re.DOTALL)
_SPACE = re.compile(r"\s+")
_RUN = re.compile(r"(.)\1{3,}", re.DOTALL)  # "booooom", "!!!!!!!": three say as much as thirty
_LONG_WORD = re.compile(r"\S{80,}")  # base64, URLs: no words, and quadratic work for some tokenizers
_INVISIBLE = {"Cc", "Cs", "Co", "Cn"}
_BIDI_AND_JOINERS = dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200B, 0x200E, 0x200F, 0xFEFF])


def clean(text: object) -> str:
    """One line of readable text out of anything; empty when there is nothing to read.

    Drops control characters, lone surrogates, direction marks and HTML tags; undoes entities; shortens runs of a
    repeated character to three; cuts giant comments to their beginning and end.
    """
    if not isinstance(text, str) or not text:
        return ""
    if len(text) > 2 * SCAN_LIMIT:
        text = text[:SCAN_LIMIT] + " " + text[-SCAN_LIMIT:]
    text = _SPACE.sub(" ", text)
    if "<" in text:
        text = _TAG.sub(" ", text)
    if "&" in text:
        text = html.unescape(text)
    text = text.translate(_BIDI_AND_JOINERS)
    if not text.isprintable():
        text = "".join(c if unicodedata.category(c) not in _INVISIBLE else " " for c in text)
    text = unicodedata.normalize("NFC", text)
    text = _RUN.sub(lambda match: match.group(1) * 3, text)
    text = _LONG_WORD.sub(lambda match: match.group()[:80], text)
    text = _SPACE.sub(" ", text).strip()
    if len(text) > MAX_CHARACTERS:
        head = MAX_CHARACTERS * 3 // 4
        text = text[:head].rsplit(" ", 1)[0] + " … " + text[-(MAX_CHARACTERS - head) :].split(" ", 1)[-1]
    return text


def is_readable(cleaned: str) -> bool:
    """Whether there is anything to have an opinion about: a letter, or a pictograph such as an emoji.

    Digits and punctuation alone ("10", "...", "-") say nothing: they are labelled `unknown`.
    """
    return any(c.isalpha() or unicodedata.category(c) == "So" for c in cleaned)


def has_words(cleaned: str) -> bool:
    """Whether there is at least one letter: what language and topics need."""
    return any(c.isalpha() for c in cleaned)

"""Cuts a comment into clauses, because one comment praises the product and curses the courier.

Pure string work: sentence ends, semicolons, contrasting words (but, mas, pero ...) and commas between parts long
enough to say something. Comes from `models.labeler`; the spans index the cleaned text and are pooled separately out
of one forward pass.
"""

from __future__ import annotations

import re

MIN_WORDS = 2  # a part shorter than this joins its neighbour, unless a full stop or a contrast stands between
MAX_CLAUSES = 12  # of a long comment, the rest is one last clause

_CONTRAST = (
    "but", "however", "although", "though", "yet", "whereas", "unfortunately",
    "mas", "porém", "porem", "contudo", "todavia", "entretanto", "embora", "só que", "so que", "no entanto",
    "apesar", "infelizmente", "pena que", "já", "ja o", "ja a",
    "pero", "sin embargo", "aunque", "lástima que", "lastima que", "no obstante", "eso sí", "en cambio",
    "lamentablemente", "sino que",
)  # fmt: skip
_BREAK = re.compile(
    r"(?P<strong>[.!?…;\n]+(?:\s+|$)|\s+[-–—|]\s+)"
    r"|(?P<contrast>[,\s]\s*(?=(?:" + "|".join(_CONTRAST) + r")\b))"
    r"|(?P<weak>,\s+|:\s+|\s+(?=(?:and|e|y|e o|e a)\s+\w+\s+\w+\s+\w+))",
    re.IGNORECASE,
)


def split(text: str) -> list[tuple[int, int]]:
    """Spans `(start, end)` of the clauses of `text`, in order, without overlap; one span for a plain sentence."""
    spans: list[tuple[int, int]] = []
    start = 0
    for match in _BREAK.finditer(text):
        end = match.start() if not match.group("strong") else match.end()
        left = len(text[start:end].split())
        right = len(text[match.end() :].split(maxsplit=MIN_WORDS))
        if match.group("weak") and (left < MIN_WORDS or right < MIN_WORDS):
            continue
        if left == 0 or (match.group("contrast") and left < 2):
            continue
        if len(spans) == MAX_CLAUSES - 1:
            break
        spans.append((start, end))
        start = match.end()
    if text[start:].strip():
        spans.append((start, len(text)))
    return spans or [(0, len(text))]

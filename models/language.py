"""Which language a comment is in: py3langid (ships its data), leaning towards the languages in use.

Short comments are the rule, and there a classifier over a hundred languages guesses wildly ("muito bom" as
Galician). So all languages are ranked, and one that is not in use is believed only when it leads the best one in
use by far and the text is long enough, or when its script is not Latin.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from py3langid.langid import MODEL_FILE, LanguageIdentifier

UNKNOWN = "und"
# How many times likelier a foreign language must be, and the least letters to believe it at all. Chosen so that
# Portuguese, Spanish and English comments keep their language while whole sentences in others are seen.
LEAD = 6.0
LEAST_LETTERS = 15


class LanguageGuesser:
    """Ranks languages; made once, used from one thread at a time."""

    def __init__(self, languages: Sequence[str]) -> None:
        """`languages`: the ISO 639-1 codes in use; codes the library does not know are ignored."""
        self._identifier: Any = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
        # ISO 639-1 only: "no language" and three-letter neighbours (Egyptian Arabic) are not what a report counts.
        known = {code for code in self._identifier.labels if len(code) == 2}
        self._identifier.set_languages(sorted(known))
        self._in_use = frozenset(code for code in languages if code in known)

    def guess(self, text: str) -> str:
        """ISO 639-1 code of the cleaned `text`, `und` when it holds no letters."""
        letters = sum(c.isalpha() for c in text)
        if not letters:
            return UNKNOWN
        ranking: list[tuple[str, float]] = self._identifier.rank(text)
        best, likelihood = ranking[0]
        if best in self._in_use or not self._in_use:
            return best
        latin = sum("a" <= c.lower() <= "z" or "À" <= c <= "ɏ" for c in text)
        if latin * 2 < letters:
            return best
        ours, next_best = next(entry for entry in ranking if entry[0] in self._in_use)
        return best if letters >= LEAST_LETTERS and likelihood > LEAD * next_best else ours

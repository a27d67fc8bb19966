"""Just enough of ClickHouse's lexer to handle a query as text: where its FORMAT clause is, where the data of an INSERT
begins, and which names it calls. The engine still does all the parsing; nothing here decides what a query means.

Works on bytes, because the body of an INSERT is a query followed by data of any kind.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    rb"""
    (?P<space>\s+|--[^\n]*|\#[!\ ][^\n]*|/\*.*?\*/)
  | (?P<string>'(?:[^'\\]++|\\.|'')*+')
  | (?P<quoted>"(?:[^"\\]++|\\.|"")*+"|`(?:[^`\\]++|\\.|``)*+`)
  | (?P<heredoc>\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
  | (?P<word>[A-Za-z_]\w*)
  | (?P<number>\d[\w.]*)
  | (?P<other>.)
    """,
    re.X | re.S,
)
_OPEN, _CLOSE = b"([{", b")]}"


@dataclass(frozen=True, slots=True)
class Token:
    """One token: its kind, its bytes, its place, and how many brackets are open around it."""

    kind: str
    text: bytes
    start: int
    end: int
    depth: int

    def is_word(self, *words: bytes) -> bool:
        """Whether this is one of the (upper-case) keywords, unquoted."""
        return self.kind == "word" and self.text.upper() in words

    @property
    def name(self) -> str:
        """The identifier, without quotes, in lower case; empty for what is not an identifier."""
        if self.kind == "word":
            return self.text.decode("latin-1").lower()
        return self.text[1:-1].decode("latin-1").lower() if self.kind == "quoted" else ""


def tokens(sql: bytes, start: int = 0) -> Iterator[Token]:
    """The tokens of `sql` without spaces and comments. Never fails: what it does not know is a token of one byte."""
    depth = 0
    for match in _TOKEN.finditer(sql, start):
        kind = match.lastgroup or "other"
        if kind == "tag":
            kind = "heredoc"
        if kind == "space":
            continue
        text = match.group()
        if kind == "other" and text in _CLOSE:
            depth = max(0, depth - 1)
        yield Token(kind, text, match.start(), match.end(), depth)
        if kind == "other" and text in _OPEN:
            depth += 1


def split_format(sql: bytes) -> tuple[bytes, str | None, bytes]:
    """Cut the FORMAT clause out of a query: (what is before, the format or None, what is after, such as SETTINGS).

    A trailing semicolon is dropped. `select format from t` has no FORMAT clause: the clause is the keyword, one name,
    and then the end of the query or SETTINGS.
    """
    found = list(tokens(sql))
    while found and found[-1].text == b";":
        sql = sql[: found[-1].start]
        found.pop()
    for at in range(len(found) - 2, 0, -1):
        keyword, name = found[at], found[at + 1]
        if keyword.depth == 0 and keyword.is_word(b"FORMAT") and name.kind == "word":
            after = found[at + 2] if at + 2 < len(found) else None
            if after is None or after.is_word(b"SETTINGS", b"INTO"):
                return sql[: keyword.start], name.text.decode(), sql[name.end :]
    return sql, None, b""


@dataclass(frozen=True, slots=True)
class Insert:
    """The head of an INSERT: `statement` up to FORMAT or VALUES, the data's `format`, and where the data begins.

    `format` is None for INSERT ... SELECT without data: then the whole text is the query. `source` is the text of the
    SELECT and `structure` the argument of its `input('...')`, for INSERT ... SELECT ... FROM input(...) FORMAT x.
    """

    statement: bytes
    format: str | None
    data_at: int
    source: bytes = b""
    structure: bytes = b""


def is_insert(sql: bytes) -> bool:
    """Whether the first word of the query is INSERT."""
    first = next(tokens(sql), None)
    return first is not None and first.is_word(b"INSERT")


def insert_head(sql: bytes, complete: bool) -> Insert | None:
    """Parse the head of an INSERT. None when the head is cut off and more bytes are needed (`complete` = no more come).

    Raises ValueError when a complete text has neither FORMAT, VALUES nor SELECT (then the format is the default).
    """
    select_at: int | None = None
    structure = b""
    previous: list[Token] = []
    for token in tokens(sql):
        if token.depth == 0 and not (previous and previous[-1].text == b"."):
            if select_at is None and token.is_word(b"VALUES") and len(previous) >= 3:
                return Insert(sql[: token.start], "Values", token.end)
            if select_at is None and token.is_word(b"SELECT", b"WITH"):
                select_at = token.start
        if select_at is not None and token.kind == "string" and len(previous) >= 2:
            call, bracket = previous[-2], previous[-1]
            if bracket.text == b"(" and call.is_word(b"INPUT"):
                structure = token.text
        if token.depth == 0 and previous and previous[-1].is_word(b"FORMAT") and token.kind == "word":
            if token.end == len(sql) and not complete:
                return None
            keyword = previous[-1]
            begin = _data_begin(sql, token.end)
            if begin == len(sql) and not complete and not sql.endswith(b"\n"):
                return None
            if select_at is not None:
                if not structure:
                    previous.append(token)
                    continue
                return Insert(sql[:select_at], token.text.decode(), begin, sql[select_at : keyword.start], structure)
            return Insert(sql[: keyword.start], token.text.decode(), begin)
        previous.append(token)
    if not complete:
        return None
    if select_at is not None:
        return Insert(sql, None, len(sql))
    raise ValueError("the INSERT names no FORMAT, no VALUES and no SELECT")


def _data_begin(sql: bytes, at: int) -> int:
    """Data starts after FORMAT x, its blanks, an optional semicolon, and at most one line end, as on a server."""
    match = re.compile(rb"[ \t\r\f\v]*(?:;[ \t\r\f\v]*)?\n?").match(sql, at)
    return match.end() if match else at


def calls(sql: bytes) -> set[str]:
    """Every name that is followed by a bracket: functions, table functions, engines. Names of tables (after INTO or a
    dot) are left out, so that `INSERT INTO url (a)` is not taken for a call."""
    found: set[str] = set()
    before, last = None, None
    for token in tokens(sql):
        table = before is not None and (before.text == b"." or before.is_word(b"INTO"))
        if token.text == b"(" and last is not None and last.name and not table:
            found.add(last.name)
        before, last = last, token
    return found


def has_pair(sql: bytes, first: bytes, second: bytes) -> bool:
    """Whether two keywords stand side by side, such as INTO OUTFILE."""
    last: Token | None = None
    for token in tokens(sql):
        if last is not None and last.is_word(first) and token.is_word(second):
            return True
        last = token
    return False


def names(words: str) -> frozenset[str]:
    """A set of names from a text that lists them."""
    return frozenset(words.split())


def literal(text: str) -> str:
    """A string literal of ClickHouse."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def identifier(text: str) -> str:
    """A quoted identifier of ClickHouse."""
    return "`" + text.replace("\\", "\\\\").replace("`", "\\`") + "`"

"""Errors of the store in ClickHouse's own words: a code, `Code: N. DB::Exception: ...`, and the HTTP status it maps to.

The engine raises `RuntimeError("Code: 60. DB::Exception: ... (UNKNOWN_TABLE)")`; the HTTP side raises `StoreError`
itself for what a server would refuse before the engine is asked (authentication, sessions, read-only). Both leave as
the same text.
Statuses follow ClickHouse's documented behaviour: 400 for what is wrong in the query, 404 for names that do not exist,
403 for authentication, 408 for a time limit, 500 for the rest.
"""

from __future__ import annotations

import re

SYNTAX_ERROR = 62
READONLY = 164
TOO_MANY_SIMULTANEOUS_QUERIES = 202
UNKNOWN_EXCEPTION = 1002
BAD_ARGUMENTS = 36
QUERY_IS_TOO_LARGE = 223
SESSION_NOT_FOUND = 372
SESSION_IS_LOCKED = 373
CANNOT_DECOMPRESS = 271
ACCESS_DENIED = 497
AUTHENTICATION_FAILED = 516
CHECKSUM_DOESNT_MATCH = 40
QUERY_WAS_CANCELLED = 394
UNKNOWN_COMPRESSION_METHOD = 89
MEMORY_LIMIT_EXCEEDED = 241

_NAMES = {
    SYNTAX_ERROR: "SYNTAX_ERROR",
    READONLY: "READONLY",
    TOO_MANY_SIMULTANEOUS_QUERIES: "TOO_MANY_SIMULTANEOUS_QUERIES",
    UNKNOWN_EXCEPTION: "UNKNOWN_EXCEPTION",
    BAD_ARGUMENTS: "BAD_ARGUMENTS",
    QUERY_IS_TOO_LARGE: "QUERY_IS_TOO_LARGE",
    SESSION_NOT_FOUND: "SESSION_NOT_FOUND",
    SESSION_IS_LOCKED: "SESSION_IS_LOCKED",
    CANNOT_DECOMPRESS: "CANNOT_DECOMPRESS",
    ACCESS_DENIED: "ACCESS_DENIED",
    AUTHENTICATION_FAILED: "AUTHENTICATION_FAILED",
    CHECKSUM_DOESNT_MATCH: "CHECKSUM_DOESNT_MATCH",
    QUERY_WAS_CANCELLED: "QUERY_WAS_CANCELLED",
    UNKNOWN_COMPRESSION_METHOD: "UNKNOWN_COMPRESSION_METHOD",
}

# Names rather than numbers: the engine prints the name at the end of each message, so no table of numbers can go stale.
_STATUS_OF_NAME: dict[str, int] = {
    **dict.fromkeys(("REQUIRED_PASSWORD",), 401),
    **dict.fromkeys(
        ("UNKNOWN_USER", "WRONG_PASSWORD", "AUTHENTICATION_FAILED", "SET_NON_GRANTED_ROLE", "ACCESS_DENIED"), 403
    ),
    **dict.fromkeys(
        (
            "BAD_ARGUMENTS", "CANNOT_COMPILE_REGEXP", "CANNOT_PARSE_TEXT", "CANNOT_PARSE_ESCAPE_SEQUENCE",
            "CANNOT_PARSE_QUOTED_STRING", "CANNOT_PARSE_DATE", "CANNOT_PARSE_DATETIME", "CANNOT_PARSE_NUMBER",
            "CANNOT_PARSE_INPUT_ASSERTION_FAILED", "CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING", "CANNOT_PARSE_IPV4",
            "CANNOT_PARSE_IPV6", "CANNOT_PARSE_UUID", "CANNOT_PARSE_BOOL", "CANNOT_OPEN_FILE_BAD",
            "DUPLICATE_COLUMN", "ILLEGAL_COLUMN", "ILLEGAL_TYPE_OF_ARGUMENT", "TOO_DEEP_AST", "TOO_BIG_AST",
            "TOO_FEW_ARGUMENTS_FOR_FUNCTION", "TOO_MANY_ARGUMENTS_FOR_FUNCTION", "NUMBER_OF_ARGUMENTS_DOESNT_MATCH",
            "UNEXPECTED_AST_STRUCTURE", "SYNTAX_ERROR", "INCORRECT_DATA", "TYPE_MISMATCH",
            "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE", "BAD_QUERY_PARAMETER", "UNKNOWN_QUERY_PARAMETER",
        ),
        400,
    ),
    **dict.fromkeys(
        (
            "UNKNOWN_ELEMENT_IN_AST", "UNKNOWN_TYPE_OF_AST_NODE", "UNKNOWN_TABLE", "UNKNOWN_FUNCTION",
            "UNKNOWN_IDENTIFIER", "UNKNOWN_TYPE", "UNKNOWN_STORAGE", "UNKNOWN_DATABASE", "UNKNOWN_SETTING",
            "UNKNOWN_DIRECTION_OF_SORTING", "UNKNOWN_AGGREGATE_FUNCTION", "UNKNOWN_FORMAT",
            "UNKNOWN_DATABASE_ENGINE", "UNKNOWN_TYPE_OF_QUERY", "NO_ELEMENTS_IN_CONFIG", "SESSION_NOT_FOUND",
        ),
        404,
    ),
    **dict.fromkeys(("TIMEOUT_EXCEEDED",), 408),
    **dict.fromkeys(("HTTP_LENGTH_REQUIRED",), 411),
    **dict.fromkeys(("QUERY_IS_TOO_LARGE",), 413),
    **dict.fromkeys(("NOT_IMPLEMENTED",), 501),
    **dict.fromkeys(("SOCKET_TIMEOUT", "CANNOT_OPEN_FILE", "CANNOT_SCHEDULE_TASK"), 503),
}  # fmt: skip

_PREFIX = re.compile(r"^Code: (\d+)\. DB::Exception: ")
_VERSION = re.compile(r" \(version [^)]*(?:\([^)]*\))?\)")
_NAME = re.compile(r"\s*\(([A-Z][A-Z0-9_]+)\)[\s.]*$")


class StoreError(Exception):
    """A failed request: `code` (ClickHouse's number), `name` (its constant), `message` (the prose alone)."""

    def __init__(self, code: int, message: str, name: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.name = name or _NAMES.get(code, "UNKNOWN_EXCEPTION")

    @property
    def status(self) -> int:
        """The HTTP status a ClickHouse server answers with for this code."""
        return _STATUS_OF_NAME.get(self.name, 500)

    def text(self, version: str) -> str:
        """The body of the answer, as a server writes it; clients match on `Code: N.` and on the name in brackets."""
        return f"Code: {self.code}. DB::Exception: {self.message} ({self.name}) (version {version} (official build))\n"


def from_engine(error: BaseException) -> StoreError:
    """Read an exception of chDB. Nested repetitions of `Code: N. DB::Exception:` and of the version are taken out."""
    if isinstance(error, StoreError):
        return error
    text = str(error).strip()
    start = text.find("Code: ")
    if start < 0:
        return StoreError(UNKNOWN_EXCEPTION, text or type(error).__name__)
    text = text[start:]
    code = UNKNOWN_EXCEPTION
    while match := _PREFIX.match(text):
        code = int(match.group(1))
        text = text[match.end() :]
    text = _VERSION.sub("", text).strip()
    name: str | None = None
    while match := _NAME.search(text):
        if name is not None and match.group(1) != name:
            break
        name = match.group(1)
        text = text[: match.start()]
    return StoreError(code, text, name or _NAMES.get(code))

"""Sessions by `session_id`: a connection that keeps SET, USE and temporary tables between the requests of one user.

One request at a time: a second one is refused with SESSION_IS_LOCKED, as on a server. An idle session ends after its
timeout. All methods run in the event loop; opening and closing connections is quick enough for it (0.3 ms).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from infra.store.engine import Connection, Engine
from infra.store.errors import SESSION_IS_LOCKED, SESSION_NOT_FOUND, StoreError


@dataclass(slots=True)
class Session:
    """One session: its connection, whether a request is in it, and when it ends if none comes."""

    connection: Connection
    timeout: float
    busy: bool = True
    ends_at: float = 0.0
    database: str = "default"
    users: tuple[str, str] = field(default=("", ""))


class Sessions:
    """All open sessions of a store."""

    def __init__(
        self, engine: Engine, default_timeout: float, longest: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._engine = engine
        self._default = default_timeout
        self._longest = longest
        self._clock = clock
        self._open: dict[tuple[str, str], Session] = {}

    def enter(self, user: str, session_id: str, *, timeout: float | None, check: bool, read_only: bool) -> Session:
        """The session of this user and id, now busy; made if absent unless `check`.

        Raises StoreError: 373 when a request is in it, 372 when `check` and there is none, 36 for too long a timeout.
        """
        if timeout is not None and timeout > self._longest:
            raise StoreError(
                36,
                f"Session timeout '{timeout:g}' is larger than max_session_timeout: {self._longest:g}."
                " The maximum is VOC_STORE_SESSION_TIMEOUT_MAX_SECONDS",
            )
        self.expire()
        key = (user, session_id)
        session = self._open.get(key)
        if session is None:
            if check:
                raise StoreError(SESSION_NOT_FOUND, f"Session {session_id} not found")
            connection = self._engine.connect()
            if read_only:
                connection.configure({"readonly": "2"})
            session = self._open[key] = Session(connection, self._default, users=key)
        elif session.busy:
            raise StoreError(SESSION_IS_LOCKED, f"Session {session_id} is locked by a concurrent client")
        session.busy = True
        if timeout is not None:
            session.timeout = timeout
        return session

    def leave(self, session: Session, *, close: bool = False) -> None:
        """The request is done: the session waits for the next one, or ends."""
        session.busy = False
        session.ends_at = self._clock() + session.timeout
        if close:
            self._end(session.users)

    def expire(self) -> None:
        """End the sessions that nobody used within their timeout."""
        now = self._clock()
        for key in [key for key, session in self._open.items() if not session.busy and session.ends_at <= now]:
            self._end(key)

    def close(self) -> None:
        """End all sessions."""
        for key in list(self._open):
            self._end(key)

    def _end(self, key: tuple[str, str]) -> None:
        session = self._open.pop(key, None)
        if session is not None:
            session.connection.close()

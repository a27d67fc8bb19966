"""One broker a data directory, one broker a port: both refused with a message that says what to do."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class BrokerConflict(RuntimeError):
    """Something else holds the data directory or the port."""


@contextmanager
def data_lock(data: Path) -> Iterator[None]:
    """Hold `data` for this process. The kernel releases it when the process dies. `BrokerConflict` when it is held."""
    path = data / "broker.lock"
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise BrokerConflict(
                f"another broker (process {holder}) uses {data}: stop it, or give --data another directory"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def require_free_port(port: int, *, patience: float = 2.0) -> None:
    """Return when 127.0.0.1:`port` can be bound. `BrokerConflict` when it is still taken after `patience` seconds.

    The patience is for the child of a broker that was killed a moment ago.
    """
    deadline = time.monotonic() + patience
    while True:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError as failure:
                if failure.errno != errno.EADDRINUSE:
                    raise BrokerConflict(f"127.0.0.1:{port} cannot be used: {failure.strerror}") from failure
            else:
                return
        if time.monotonic() > deadline:
            raise BrokerConflict(f"127.0.0.1:{port} is taken by another program: give --port another number")
        time.sleep(0.05)

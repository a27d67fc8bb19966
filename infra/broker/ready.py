"""Is a Kafka broker there? Asked in the Kafka protocol, by hand, so that no client library's retries blur the answer.

Sent: ApiVersions v0, then Metadata v0 for all topics (which makes the broker read its storage).
Protocol: https://kafka.apache.org/protocol (request header v1: key, version, correlation id, client id).
"""

from __future__ import annotations

import socket
import struct
import time

_API_VERSIONS, _METADATA = 18, 3
_CLIENT = b"vocstream-ready"
_PAUSE_SECONDS = 0.02


def wait_ready(address: str, timeout: float) -> None:
    """Return as soon as the broker at `address` (host:port) answers. `TimeoutError` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        left = deadline - time.monotonic()
        try:
            if left > 0 and is_ready(address, timeout=min(left, 2.0)):
                return
        except OSError as failure:
            reason = str(failure)
        else:
            reason = "its answer was not that of a Kafka broker with its storage in reach"
        if left <= 0:
            raise TimeoutError(f"no broker at {address} after {timeout:g} s: {reason}")
        time.sleep(_PAUSE_SECONDS)


def is_ready(address: str, *, timeout: float = 2.0) -> bool:
    """Whether the broker at `address` answers and names itself in its metadata. `OSError` when none listens."""
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=timeout) as connection:
        versions = _ask(connection, _API_VERSIONS, b"", 1)
        if len(versions) < 2 or versions[:2] != b"\0\0":  # an error code first
            return False
        metadata = _ask(connection, _METADATA, struct.pack(">i", 0), 2)
        return len(metadata) >= 4 and struct.unpack_from(">i", metadata)[0] >= 1  # the number of brokers first


def _ask(connection: socket.socket, api: int, body: bytes, correlation: int) -> bytes:
    head = struct.pack(">hhih", api, 0, correlation, len(_CLIENT)) + _CLIENT
    connection.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
    (size,) = struct.unpack(">i", _read(connection, 4))
    answer = _read(connection, size)
    if struct.unpack_from(">i", answer)[0] != correlation:
        raise ConnectionError("the answer belongs to another request")
    return answer[4:]


def _read(connection: socket.socket, size: int) -> bytes:
    parts: list[bytes] = []
    while size > 0:
        part = connection.recv(size)
        if not part:
            raise ConnectionError("the broker closed the connection")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)

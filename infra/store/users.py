"""Who may use the store: names, passwords, and who only reads.

Credentials lie in `DIR/credentials.json` (mode 0600), written with random passwords at the first start: user
`vocstream` reads and writes, user `reader` only reads. `VOC_STORE_USERS` names others instead of the file.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from infra.store.errors import AUTHENTICATION_FAILED, StoreError

WRITER, READER = "vocstream", "reader"


class User(BaseModel):
    """One user: the password in clear (the file is readable by its owner alone) and whether it only reads."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    password: str
    readonly: bool = False


class Credentials(BaseModel):
    """All users by name; the first that writes and the first that reads are the ones addresses are made for."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    users: Annotated[dict[str, User], Field(min_length=1)]

    def url(self, host: str, port: int, *, readonly: bool = False) -> str:
        """`http://user:password@host:port` of the first user who writes (or, `readonly`, who only reads).

        Raises LookupError when there is no such user.
        """
        for name, user in self.users.items():
            if user.readonly == readonly:
                shown = f"[{host}]" if ":" in host else host
                return f"http://{quote(name, safe='')}:{quote(user.password, safe='')}@{shown}:{port}"
        raise LookupError(f"no user with readonly={readonly} in the credentials")

    def authenticate(self, name: str, password: str) -> User:
        """The user, or StoreError 516 in a server's words; says the same for a wrong name and a wrong password."""
        user = self.users.get(name)
        known = hmac.compare_digest((user.password if user else "").encode(), password.encode())
        if user is None or not known:
            raise StoreError(
                AUTHENTICATION_FAILED,
                f"{name}: Authentication failed: password is incorrect, or there is no user with such name.",
            )
        return user


def load_or_create_credentials(data_dir: Path) -> Credentials:
    """Read `data_dir/credentials.json`; at the first start write it with random passwords.

    Raises ValueError with the path when the file is not what this module writes.
    """
    path = data_dir / "credentials.json"
    if path.exists():
        try:
            return Credentials.model_validate_json(path.read_bytes())
        except ValueError as error:
            raise ValueError(f"{path} is not a credentials file of the store: {error}") from error
    made = Credentials(
        users={
            WRITER: User(password=secrets.token_urlsafe(18)),
            READER: User(password=secrets.token_urlsafe(18), readonly=True),
        }
    )
    data_dir.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(made.model_dump(), file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    return made


def presented(headers: Mapping[str, str], query: Mapping[str, str]) -> tuple[str, str]:
    """The name and password a request brings: X-ClickHouse-User/Key, Basic, or user= and password= in the URL.

    Without any it is ("default", ""), as on a server. Raises StoreError 516 for a broken Authorization header.
    """
    if "X-ClickHouse-User" in headers or "X-ClickHouse-Key" in headers:
        return headers.get("X-ClickHouse-User", "default"), headers.get("X-ClickHouse-Key", "")
    authorization = headers.get("Authorization", "")
    if authorization:
        scheme, _, value = authorization.partition(" ")
        try:
            if scheme.lower() != "basic":
                raise ValueError(scheme)
            name, _, password = base64.b64decode(value, validate=True).decode().partition(":")
        except (ValueError, binascii.Error):
            raise StoreError(
                AUTHENTICATION_FAILED,
                "Invalid authentication: the store takes Basic, X-ClickHouse-User/Key or URL parameters.",
            ) from None
        return name, password
    return query.get("user", "default"), query.get("password", "")

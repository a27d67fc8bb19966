"""Superset with our dashboard, on one machine: `SUPERSET_CONFIG_PATH=infra/superset/superset_config.py superset run`.

Its own data (users, charts) lie in SQLite under SUPERSET_HOME. The scores come from the address in VOC_CLICKHOUSE_URL:
that of the user who only reads (`vocstream up` writes it to addresses.json as clickhouse_reader). The imported database
has no password of its own, so none lies in Superset's data or in an export. SUPERSET_SECRET_KEY must be set, as always.

An installation that has a configuration takes `DB_CONNECTION_MUTATOR` out of here, or sets the address by
`superset set-database-uri`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy.engine.url import URL, make_url

SECRET_KEY = os.environ["SUPERSET_SECRET_KEY"]
_HOME = Path(os.environ["SUPERSET_HOME"]).absolute()
SQLALCHEMY_DATABASE_URI = f"sqlite:///{_HOME}/superset.db?check_same_thread=false"
RATELIMIT_STORAGE_URI = "memory://"
SUPERSET_WEBSERVER_TIMEOUT = 300  # seconds that a page waits for a chart, on a busy machine too
TALISMAN_ENABLED = False  # it asks for https; this one is for loopback


def DB_CONNECTION_MUTATOR(
    uri: URL, params: dict[str, Any], username: str, security_manager: Any, source: Any
) -> tuple[URL, dict[str, Any]]:
    """Give a ClickHouse database without password the address, user and password of VOC_CLICKHOUSE_URL."""
    address = os.environ.get("VOC_CLICKHOUSE_URL", "")
    if uri.drivername.startswith("clickhousedb") and uri.password is None and address:
        parts = urlsplit(address)
        secure = {"secure": "true"} if parts.scheme == "https" else {}
        there = make_url(parts._replace(scheme="clickhousedb", path="", query="").geturl())
        uri = there.set(database=uri.database, query={**uri.query, **secure})
    return uri, params

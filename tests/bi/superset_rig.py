"""A Superset of its own for the tests: its tables, our dashboard imported, its server on a free port, its REST API.

The empty tables take minutes to make (a hundred migrations), so they are made once and kept beside the environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bi.conftest import ROOT
from tests.integration.stack import free_port

ENVIRONMENT = ROOT / ".venv-superset"
COMMAND = ENVIRONMENT / "bin" / "superset"
ASSETS = ROOT / "infra" / "superset" / "assets"
USER, PASSWORD = "admin", "for-this-test-only"
_EMPTY = ENVIRONMENT / "empty.db"
_START_SECONDS = 240


class Refused(Exception):
    """Superset answered with an error; the text is its own."""


@dataclass(frozen=True)
class Superset:
    """A running server."""

    url: str
    token: str
    opener: urllib.request.OpenerDirector

    def call(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The JSON of an API call: GET, or POST of `body`. Raises Refused with what Superset said."""
        headers = {"Authorization": f"Bearer {self.token}", "Referer": self.url}
        if body is not None:
            token = _call(self.opener, f"{self.url}/api/v1/security/csrf_token/", None, headers)
            headers["X-CSRFToken"] = token["result"]
        return _call(self.opener, f"{self.url}/api/v1/{path}", body, headers)

    def charts(self) -> dict[str, dict[str, Any]]:
        """Charts by name: `id`, `datasource_id` and `params`, what the chart shows."""
        found = self.call("chart/?q=(page_size:100)")["result"]
        return {chart["slice_name"]: chart | {"params": json.loads(chart["params"])} for chart in found}

    def dataset(self, name: str) -> int:
        """The id of a dataset."""
        found = self.call("dataset/?q=(page_size:100)")["result"]
        return next(int(one["id"]) for one in found if one["table_name"] == name)

    def rows(self, dataset: int, query: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows of one query on a dataset, as charts get them."""
        body = {"datasource": {"id": dataset, "type": "table"}, "queries": [query], "result_format": "json"}
        (result,) = self.call("chart/data", body)["result"]
        if result["error"]:
            raise Refused(result["error"])
        return list(result["data"])

    def chart_rows(self, chart: Mapping[str, Any], **filters: str) -> list[dict[str, Any]]:
        """The rows a chart shows with these filters set on its dashboard."""
        return self.rows(chart["datasource_id"], chart_query(chart["params"], filters))


def chart_query(params: Mapping[str, Any], filters: Mapping[str, str]) -> dict[str, Any]:
    """What the chart asks for, out of the controls saved with it."""
    simple = [rule for rule in params["adhoc_filters"] if rule["operator"] != "TEMPORAL_RANGE"]
    query: dict[str, Any] = {
        "columns": params.get("all_columns") or params.get("groupby") or [],
        "metrics": params.get("metrics") or ([params["metric"]] if "metric" in params else None),
        "filters": [{"col": rule["subject"], "op": rule["operator"], "val": rule["comparator"]} for rule in simple]
        + [{"col": column, "op": "==", "val": value} for column, value in filters.items()],
        "row_limit": params.get("row_limit", 100),
        "orderby": [json.loads(order) for order in params.get("order_by_cols", [])],
    }
    if "x_axis" in params:
        query["columns"] = [time_axis(params["x_axis"], params["time_grain_sqla"]), *query["columns"]]
    return query


def time_axis(column: str, grain: str) -> dict[str, Any]:
    """A time column cut to `grain` (P1D, P1W, ...)."""
    kind = {"columnType": "BASE_AXIS", "expressionType": "SQL"}
    return kind | {"sqlExpression": column, "label": column, "timeGrain": grain}


@contextlib.contextmanager
def superset(home: Path, store_url: str) -> Iterator[Superset]:
    """Superset with our dashboard, its own data under `home`, reading the store at `store_url`."""
    port = free_port()
    environment = _environment(home, store_url)
    _prepare(home, environment)
    _run(environment, "import-directory", "-o", str(ASSETS))
    with (home / "superset.log").open("wb") as log:
        process = subprocess.Popen(
            [COMMAND, "run", "-p", str(port), "--with-threads"], env=environment, stdout=log, stderr=log
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _wait(f"{url}/health", process, home / "superset.log")
        login = {"username": USER, "password": PASSWORD, "provider": "db"}
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        yield Superset(url, _call(opener, f"{url}/api/v1/security/login", login, {})["access_token"], opener)
    finally:
        process.terminate()
        process.wait(30)


def _environment(home: Path, store_url: str) -> dict[str, str]:
    return {
        **os.environ,
        "FLASK_APP": "superset",
        "SUPERSET_CONFIG_PATH": str(ROOT / "infra" / "superset" / "superset_config.py"),
        "SUPERSET_SECRET_KEY": "a key for tests only, of no use elsewhere",
        "SUPERSET_HOME": str(home),
        "VOC_CLICKHOUSE_URL": store_url,
    }


def _prepare(home: Path, environment: Mapping[str, str]) -> None:
    home.mkdir(parents=True, exist_ok=True)
    if not _EMPTY.exists():
        print("Superset makes its own tables; this takes minutes and is done once", flush=True)
        _run(environment, "db", "upgrade")
        _run(
            environment, "fab", "create-admin", "--username", USER, "--password", PASSWORD,
            "--firstname", "A", "--lastname", "B", "--email", "admin@localhost",
        )  # fmt: skip
        _run(environment, "init")
        shutil.copy(home / "superset.db", _EMPTY)
    shutil.copy(_EMPTY, home / "superset.db")


def _run(environment: Mapping[str, str], *arguments: str) -> None:
    print("superset", arguments[0], arguments[1], flush=True) if len(arguments) > 1 else None
    done = subprocess.run([COMMAND, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"superset {' '.join(arguments)}:\n{(done.stdout + done.stderr)[-4000:]}"


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"Superset ended:\n{log.read_text()[-4000:]}"
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.5)
    raise TimeoutError(f"Superset does not answer within {_START_SECONDS} s:\n{log.read_text()[-4000:]}")


def _call(
    opener: urllib.request.OpenerDirector, url: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]
) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json", **headers})
    try:
        with opener.open(request, timeout=120) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            raise Refused(f"{error.code}: {error.read().decode()[:2000]}") from None

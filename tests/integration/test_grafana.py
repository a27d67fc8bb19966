"""infra/grafana: queries in the format of grafana-clickhouse-datasource 4, which run and find what their panels show.

Grafana itself is not run. What its plugin does to a query is done here: variables are put in as Grafana's `singlequote`
format does, macros are expanded to the SQL that the plugin documents, and the query goes over HTTP, by the user who
only reads, with the plugin's row limit as a setting.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from clickhouse_connect.driver.client import Client

from infra.clickhouse.client import connect
from infra.clickhouse.migrate import apply
from infra.clickhouse.settings import ClickHouseSettings
from tests.integration.clickhouse_rig import JANUARY_2026, insert_responses, random_facts
from tests.integration.store_stack import StoreHandle, store

FOLDER = Path(__file__).parents[2] / "infra" / "grafana"
DASHBOARDS = {file.stem: json.loads(file.read_text()) for file in sorted((FOLDER / "dashboards").glob("*.json"))}
SOURCE = {"type": "grafana-clickhouse-datasource", "uid": "${datasource}"}
FROM, UNTIL, INTERVAL = JANUARY_2026 // 1000, JANUARY_2026 // 1000 + 75 * 86_400, 3600
FORMATS = {"timeseries": 0, "table": 1}
VALUES = {"tenant": "'acme'", "metric": "'nps'", "touchpoint": "'checkout','store','support'"}


def day(second: int) -> str:
    """As the plugin writes a Date."""
    return f"toDate('{dt.datetime.fromtimestamp(second, dt.UTC):%Y-%m-%d}')"


MACROS = {
    r"\$__timeFilter\(([^()]+)\)": rf"\1 >= toDateTime({FROM}) AND \1 <= toDateTime({UNTIL})",
    r"\$__dateFilter\(([^()]+)\)": rf"\1 >= {day(FROM)} AND \1 <= {day(UNTIL)}",
    r"\$__timeInterval\(([^()]+)\)": rf"toStartOfInterval(toDateTime(\1), INTERVAL {INTERVAL} second)",
    r"\$__fromTime\b": f"toDateTime({FROM})",
    r"\$__toTime\b": f"toDateTime({UNTIL})",
}


def expand(sql: str) -> str:
    """The query as the store gets it. Fails on a macro or a variable that is not known."""
    for name, value in VALUES.items():
        sql = sql.replace(f"${{{name}:singlequote}}", value)
    for macro, meaning in MACROS.items():
        sql = re.sub(macro, meaning, sql)
    assert "$" not in sql, sql
    return sql


def targets() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Every query of every dashboard: (name for people, panel, target)."""
    for name, dashboard in DASHBOARDS.items():
        for panel in dashboard["panels"]:
            for target in panel["targets"]:
                yield f"{name}: {panel['title']}", panel, target
        for note in dashboard["annotations"]["list"]:
            yield f"{name}: {note['name']}", {"type": "annotation", "datasource": note["datasource"]}, note["target"]


TARGETS = list(targets())


@pytest.fixture(scope="module")
def handle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreHandle]:
    with store(tmp_path_factory.mktemp("store")) as running:
        client = connect(ClickHouseSettings.model_validate({"url": running.url}))
        apply(client, ClickHouseSettings())
        insert_responses(client, [row._replace(tenant="acme") for row in random_facts(61, 600)])
        columns = ["tenant", "alert_id", "revision", "kind", "measure", "value", "summary", "started_at"]
        alert = ["acme", "a", 1, "spike", "negative", "delivery.delay", "Too many complaints", JANUARY_2026 + 3_600_000]
        client.insert("feedback.alerts", [alert], column_names=columns)
        client.close()
        yield running


@pytest.fixture(scope="module")
def client(handle: StoreHandle) -> Iterator[Client]:
    made = handle.client(readonly=True, database="feedback")
    yield made
    made.close()


def test_dashboards_are_whole() -> None:
    assert DASHBOARDS
    for dashboard in DASHBOARDS.values():
        ids = [panel["id"] for panel in dashboard["panels"]]
        assert len(ids) == len(set(ids))
        taken: set[tuple[int, int]] = set()
        for panel in dashboard["panels"]:
            box = panel["gridPos"]
            cells = {(x, y) for x in range(box["x"], box["x"] + box["w"]) for y in range(box["y"], box["y"] + box["h"])}
            assert max(x for x, _ in cells) < 24
            assert not cells & taken, f"{panel['title']} lies over another panel"
            taken |= cells
        known = {variable["name"] for variable in dashboard["templating"]["list"]}
        assert set(re.findall(r"\$\{(\w+)", json.dumps(dashboard))) <= known


@pytest.mark.parametrize(("name", "panel", "target"), TARGETS, ids=[name for name, _, _ in TARGETS])
def test_a_query_has_the_plugins_format_and_finds_what_its_panel_shows(
    client: Client, name: str, panel: dict[str, Any], target: dict[str, Any]
) -> None:
    assert panel["datasource"] == target["datasource"] == SOURCE
    assert target["editorType"] == "sql"
    assert target["format"] == FORMATS[target["queryType"]]
    assert target["refId"]
    assert target["pluginVersion"].startswith("4.")
    assert target["meta"]["builderOptions"]["queryType"] == target["queryType"]
    assert "avg(score" not in target["rawSql"], "a score is never averaged"
    assert re.search(r"\$__(timeFilter|dateFilter|fromTime)", target["rawSql"]), (
        "the period of the dashboard is ignored"
    )
    result = client.query(expand(target["rawSql"]), settings={"limit": 1_000_000})
    assert result.result_rows
    kinds = dict(zip(result.column_names, (kind.name for kind in result.column_types), strict=True))
    if panel["type"] == "timeseries":
        assert target["queryType"] == "timeseries"
        assert kinds["time"].startswith("Date")
        assert next(iter(kinds)) == "time"
        times = [row[0] for row in result.result_rows]
        assert times == sorted(times), "the plugin takes a time series in the order of time"
        assert any(kind.startswith(("UInt", "Float", "Nullable(Float")) for kind in kinds.values())
    if panel["type"] == "annotation":
        assert {"time", "text", "tags"} <= set(kinds)
    shown = [rule["matcher"]["options"] for rule in panel.get("fieldConfig", {}).get("overrides", [])]
    field = panel.get("options", {}).get("xField")
    assert set(shown) | ({field} if field else set()) <= set(kinds), "the panel formats a column that there is not"
    for at, kind in enumerate(result.column_types):
        if kind.name.startswith(("Float", "Nullable(Float")):
            assert any(row[at] is not None for row in result.result_rows), f"{result.column_names[at]} is always empty"


def test_the_figures_are_the_stores(client: Client) -> None:
    panels = {panel["title"]: panel["targets"][0]["rawSql"] for panel in DASHBOARDS["voice-of-the-customer"]["panels"]}
    brute = client.query(
        "SELECT 100 * (countIf(score >= 9) - countIf(score <= 6)) / count(), count() FROM feedback.scored_responses"
        " WHERE tenant = 'acme' AND metric = 'nps'"
    ).first_row
    assert client.query(expand(panels["Score of the period"])).first_row[0] == pytest.approx(brute[0], abs=1e-9)
    assert client.query(expand(panels["Answers"])).first_row[0] == brute[1]


def test_variables_find_their_values(client: Client) -> None:
    for dashboard in DASHBOARDS.values():
        for variable in dashboard["templating"]["list"]:
            if variable["type"] == "query":
                assert variable["definition"] == variable["query"]["rawSql"]
                values = {row[0] for row in client.query(expand(variable["definition"])).result_rows}
                assert set(VALUES[variable["name"]].replace("'", "").split(",")) <= values


def test_provisioning_names_the_plugin_and_no_password() -> None:
    (source,) = yaml.safe_load((FOLDER / "provisioning" / "datasources" / "vocstream.yaml").read_text())["datasources"]
    assert source["type"] == SOURCE["type"]
    assert source["jsonData"]["protocol"] == "http"
    assert source["secureJsonData"] == {"password": "${VOC_CLICKHOUSE_PASSWORD}"}
    (provider,) = yaml.safe_load((FOLDER / "provisioning" / "dashboards" / "vocstream.yaml").read_text())["providers"]
    assert provider["type"] == "file"

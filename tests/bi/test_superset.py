"""Apache Superset, run for real: one command imports our dashboard and charts, which show the figures of the store."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from tests.bi.superset_rig import COMMAND, ENVIRONMENT, PASSWORD, USER, Refused, Superset, superset, time_axis
from tests.integration.clickhouse_rig import rows_of
from tests.integration.store_stack import StoreHandle

pytestmark = [
    pytest.mark.bi,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not COMMAND.exists(), reason="Superset is not installed: make test-bi"),
]
_TENANT = "acme"
# What each chart shows for one tenant, computed from the responses and not from the views that Superset reads.
_SCORED = f"FROM feedback.scored_responses WHERE tenant = '{_TENANT}'"
_NPS = "100 * (countIf(score >= 9) - countIf(score <= 6)) / count()"
_SHARE = "100 * countIf(band = 'satisfied') / count()"
_ANY = f"if(metric = 'nps', {_NPS}, if(metric = 'stars', avg(score), {_SHARE}))"
_FEELINGS = "sentiment IN ('positive', 'very_positive')", "sentiment IN ('negative', 'very_negative')"
_EXPECTED = {
    "NPS": f"SELECT {_NPS} AS nps {_SCORED} AND metric = 'nps'",
    "CSAT": f"SELECT if(uniqExact(scale) = 1, {_SHARE}, NULL) AS csat {_SCORED} AND metric = 'csat'",
    "CES": f"SELECT if(uniqExact(scale) = 1, {_SHARE}, NULL) AS ces {_SCORED} AND metric = 'ces'",
    "Answers": f"SELECT count() AS answers {_SCORED}",
    "NPS by week, with its interval": f"""SELECT day, 100 * (p - d) / n AS score, npsLow(p, d, n) AS ci_low,
        npsHigh(p, d, n) AS ci_high FROM (SELECT toMonday(occurred_on) AS day, countIf(score >= 9) AS p,
            countIf(score <= 6) AS d, count() AS n {_SCORED} AND metric = 'nps' GROUP BY day)""",
    "NPS of the last 30 days": f"""SELECT last AS day, {_NPS} AS score
        FROM (SELECT score, arrayJoin(arrayMap(i -> occurred_on + i, range(30))) AS last, newest FROM
            (SELECT score, metric, occurred_on, max(occurred_on) OVER () AS newest {_SCORED}) WHERE metric = 'nps')
        WHERE last <= newest GROUP BY day""",
    "Scores by touchpoint": f"""SELECT touchpoint, metric, scale, count() AS answers, {_ANY} AS score
        {_SCORED} GROUP BY touchpoint, metric, scale""",
    "NPS by any dimension": f"""SELECT pair.1 AS dimension, pair.2 AS value, count() AS answers, {_NPS} AS score
        FROM (SELECT score, arrayJoin(arrayConcat(
            [('survey', survey), ('touchpoint', touchpoint), ('channel', channel), ('journey_stage', journey_stage),
             ('language', language), ('sentiment', sentiment)], arrayMap(t -> ('topic', t), topics),
            arrayMap((k, v) -> ('segment.' || k, v), segment_names, segment_values))) AS pair
            {_SCORED} AND metric = 'nps') GROUP BY dimension, value""",
    "Net sentiment by topic": f"""SELECT topic, model_version, count() AS mentions, countIf({_FEELINGS[0]}) AS positive,
        countIf({_FEELINGS[1]}) AS negative, 100 * (positive - negative) / mentions AS net_sentiment
        FROM (SELECT m.1 AS topic, m.2 AS sentiment, model_version FROM feedback.enriched_responses
            ARRAY JOIN arrayZip(topics, topic_sentiments) AS m WHERE tenant = '{_TENANT}' AND excluded = 0)
        WHERE sentiment NOT IN ('', 'unknown') GROUP BY topic, model_version""",
    "Newest negative comments": f"""SELECT response_id FROM feedback.enriched_responses WHERE tenant = '{_TENANT}'
        AND comment != '' AND excluded = 0 AND {_FEELINGS[1]} ORDER BY occurred_at DESC LIMIT 100""",
}


@pytest.fixture(scope="module")
def running(filled: StoreHandle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Superset]:
    with superset(tmp_path_factory.mktemp("superset"), filled.reader_url) as server:
        yield server


@pytest.fixture(scope="module")
def client(filled: StoreHandle) -> Iterator[Client]:
    made = filled.client(readonly=True)
    yield made
    made.close()


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Days as Superset gives them (milliseconds), numbers to nine digits."""
    made: dict[str, Any] = {}
    for name, value in row.items():
        if hasattr(value, "toordinal"):
            value = (value.toordinal() - 719163) * 86_400_000
        made[name] = round(float(value), 9) if isinstance(value, int | float) else value
    return made


def _sorted(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(_plain(row), sort_keys=True) for row in rows)


@pytest.mark.parametrize("name", list(_EXPECTED))
def test_a_chart_shows_the_stores_figures(running: Superset, client: Client, name: str) -> None:
    shown = running.chart_rows(running.charts()[name], tenant=_TENANT)
    expected = rows_of(client, _EXPECTED[name])
    assert expected
    if name == "Newest negative comments":
        assert len(shown) == len(expected)
        return
    columns = expected[0].keys()
    assert _sorted([{column: row[column] for column in columns} for row in shown]) == _sorted(expected)


def test_every_chart_is_compared(running: Superset) -> None:
    assert set(running.charts()) == set(_EXPECTED)


def test_a_wrong_score_is_not_to_be_had(running: Superset) -> None:
    """Averages are refused, and what would mix metrics, scales, windows, dimensions or models is empty."""
    average = {"expressionType": "SQL", "label": "wrong"}
    for dataset in ("scores", "scores_rolling", "scores_by_dimension"):
        score = {"columns": [], "metrics": [average | {"sqlExpression": "avg(score)"}]}
        with pytest.raises(Refused, match="score"):
            running.rows(running.dataset(dataset), score)
    answer = {"columns": [], "metrics": [average | {"sqlExpression": "avg(answer)"}]}
    with pytest.raises(Refused, match="ILLEGAL_TYPE_OF_ARGUMENT"):
        running.rows(running.dataset("comments"), answer)
    nps = [{"col": "metric", "op": "==", "val": "nps"}]
    windows = [*nps, {"col": "days", "op": "==", "val": 30}]
    topics = [*nps, {"col": "dimension", "op": "==", "val": "topic"}]
    mixed: list[tuple[str, dict[str, Any]]] = [
        ("scores", {"columns": [], "metrics": ["score", "ci_low", "ci_high"]}),
        ("scores", {"columns": ["touchpoint"], "metrics": ["csat", "ces"]}),
        ("scores_rolling", {"columns": [], "metrics": ["score", "answers"], "filters": windows}),
        ("scores_rolling", {"columns": [time_axis("day", "P1M")], "metrics": ["score", "answers"], "filters": windows}),
        ("scores_by_dimension", {"columns": [], "metrics": ["score", "answers", "ci_low"], "filters": nps}),
        ("scores_by_dimension", {"columns": [], "metrics": ["score", "answers", "ci_high"], "filters": topics}),
        ("topic_mentions", {"columns": ["topic"], "metrics": ["net_sentiment"]}),
    ]
    for dataset, query in mixed:
        rows = running.rows(running.dataset(dataset), query)
        values = [row[metric] for row in rows for metric in query["metrics"]]
        assert values, (dataset, query)
        assert set(values) == {None}, (dataset, query, rows)


def test_it_cannot_write(running: Superset) -> None:
    database = running.call("database/")["result"][0]["id"]
    sql = {"database_id": database, "sql": "SELECT count() AS c FROM feedback.responses", "runAsync": False}
    assert running.call("sqllab/execute/", sql)["data"][0]["c"] > 0
    with pytest.raises(Refused, match=r"READONLY|DML"):
        running.call("sqllab/execute/", sql | {"sql": "TRUNCATE TABLE feedback.responses"})


def test_the_page_shows_what_the_api_answers(running: Superset, tmp_path: Path) -> None:
    """A real browser draws the dashboard, with its filter on the first tenant; each chart gets the figures of above."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium: apt-get install chromium")
    script = Path(__file__).with_name("superset_browser.py")
    done = subprocess.run(
        [ENVIRONMENT / "bin" / "python", script, running.url, "voice-of-the-customer", str(len(_EXPECTED)), tmp_path],
        env={**os.environ, "CHROMIUM": chromium, "SUPERSET_USER": USER, "SUPERSET_PASSWORD": PASSWORD},
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    print(f"the page as a picture: {tmp_path}/dashboard.png", file=sys.stderr)
    drawn = json.loads((tmp_path / "charts.json").read_text())
    for name, chart in running.charts().items():
        page = drawn[str(chart["id"])]
        assert {"col": "tenant", "op": "IN", "val": [_TENANT]} in page["query"]["filters"], name
        shown = [{key: row[key] for key in row if not key.startswith("_")} for row in page["data"]]
        assert _sorted(shown) == _sorted(running.chart_rows(chart, tenant=_TENANT)), name


def test_sqlalchemy(running: Superset, filled: StoreHandle) -> None:
    """clickhouse-connect's dialect, in Superset's environment: parameters, reflection, and no writing."""
    script = Path(__file__).with_name("sqlalchemy_client.py")
    done = subprocess.run(
        [ENVIRONMENT / "bin" / "python", script],
        env={**os.environ, "STORE_URL": filled.reader_url},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr

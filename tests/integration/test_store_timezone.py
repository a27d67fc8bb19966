"""The time zone of the machine changes nothing: not what is stored, not where a day begins, not what is read."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from infra.clickhouse.client import connect
from infra.clickhouse.migrate import apply
from infra.clickhouse.settings import ClickHouseSettings
from schemas.rows import ResponseRow, to_ms
from tests.integration.clickhouse_rig import insert_responses, random_response
from tests.integration.store_stack import StoreHandle, store

KOLKATA, SAO_PAULO, UTC = "Asia/Kolkata", "America/Sao_Paulo", "UTC"
# Half an hour before a month ends in UTC: in Kolkata it is the next day, and in São Paulo the evening.
MOMENT = "2026-01-31T23:30:00+00:00"
WANTED = [
    ["br", "2026-01-31T23:00:00+00:00", "2026-01-31", "2026-01-01", MOMENT],
    ["in", "2026-01-31T23:00:00+00:00", "2026-02-01", "2026-02-01", MOMENT],
    ["xx", "2026-01-31T23:00:00+00:00", "2026-01-31", "2026-01-01", MOMENT],
]

# As any tool of a customer's does it, in a process whose own zone is another one.
READ = """
import datetime, json, sys, clickhouse_connect
client = clickhouse_connect.get_client(dsn=sys.argv[1], tz_mode="aware")
rows = client.query('''
    SELECT h.tenant, h.bucket, d.bucket, m.bucket, e.occurred_at FROM feedback.scores_hourly AS h
    JOIN feedback.scores_daily AS d ON d.tenant = h.tenant JOIN feedback.scores_monthly AS m ON m.tenant = h.tenant
    JOIN feedback.enriched_responses AS e ON e.tenant = h.tenant ORDER BY h.tenant''').result_rows
utc = lambda v: v.astimezone(datetime.timezone.utc) if isinstance(v, datetime.datetime) else v
print(json.dumps([[v if isinstance(v, str) else utc(v).isoformat() for v in row] for row in rows]))
"""


@pytest.fixture(scope="module", params=[KOLKATA, SAO_PAULO])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreHandle]:
    """A store whose machine is in that zone, with one response of a tenant in each zone."""
    at = to_ms(datetime.fromisoformat(MOMENT))
    with store(tmp_path_factory.mktemp("zone") / "store", env={"TZ": request.param}) as handle:
        client = connect(ClickHouseSettings(url=SecretStr(handle.url)))
        apply(client, ClickHouseSettings())
        client.insert("feedback.tenants", [["br", SAO_PAULO], ["in", KOLKATA]], column_names=["tenant", "timezone"])
        insert_responses(client, [_response(tenant, at) for tenant in ("br", "in", "xx")])
        client.close()
        yield handle


def _response(tenant: str, at: int) -> ResponseRow:
    return random_response(random.Random(1), 1)._replace(
        tenant=tenant, metric="nps", scale="0-10", score=9.0, band="promoter", excluded=0, occurred_at=at, updated_at=at
    )


@pytest.mark.parametrize("reader", [UTC, KOLKATA, SAO_PAULO])
def test_days_are_those_of_the_tenant_wherever_store_and_reader_stand(filled: StoreHandle, reader: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", READ, filled.url],
        env={**os.environ, "TZ": reader},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == WANTED

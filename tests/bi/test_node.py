"""ClickHouse's Node client: parameters, streams, JSON, inserts, sessions, errors; and the reader may not write."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.bi.conftest import ROOT
from tests.integration.clickhouse_rig import rows_of
from tests.integration.store_stack import StoreHandle

MODULES = ROOT / ".venv-node" / "node_modules"
pytestmark = [
    pytest.mark.bi,
    pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed"),
    pytest.mark.skipif(not (MODULES / "@clickhouse").exists(), reason="@clickhouse/client is not there: make test-bi"),
]


def test_node_client(filled: StoreHandle) -> None:
    done = subprocess.run(
        ["node", Path(__file__).with_name("node_client.js")],
        env={**os.environ, "STORE_URL": filled.url, "READER_URL": filled.reader_url, "NODE_PATH": str(MODULES)},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    client = filled.client(readonly=True)
    expected = rows_of(
        client,
        "SELECT touchpoint, 100 * (countIf(score >= 9) - countIf(score <= 6)) / count() AS score"
        " FROM feedback.scored_responses WHERE tenant = 'acme' AND metric = 'nps' GROUP BY touchpoint ORDER BY ALL",
    )
    client.close()
    got = json.loads(done.stdout)
    assert [row["touchpoint"] for row in got] == [row["touchpoint"] for row in expected]
    assert [row["score"] for row in got] == pytest.approx([row["score"] for row in expected], abs=1e-9)

"""dbt, run for real: infra/dbt builds a model of its own on the score views, and its tests compare the two."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.bi.conftest import ROOT
from tests.integration.store_stack import StoreHandle

COMMAND = ROOT / ".venv-dbt" / "bin" / "dbt"
pytestmark = [
    pytest.mark.bi,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not COMMAND.exists(), reason="dbt is not installed: make test-bi"),
]


def _dbt(url: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    address = urlsplit(url)
    return subprocess.run(
        [COMMAND, "--no-use-colors", *arguments, "--project-dir", folder / "dbt", "--profiles-dir", folder / "dbt"],
        env={
            **os.environ,
            "VOC_DBT_HOST": str(address.hostname),
            "VOC_DBT_PORT": str(address.port),
            "VOC_DBT_USER": unquote(str(address.username)),
            "VOC_DBT_PASSWORD": unquote(str(address.password)),
            "VOC_DBT_DATABASE": "analytics",
            "DBT_TARGET_PATH": str(folder / "target"),
            "DBT_LOG_PATH": str(folder / "logs"),
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def test_build_makes_the_model_and_its_tests_pass(filled: StoreHandle, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "infra" / "dbt", tmp_path / "dbt")
    for _ in range(2):  # the second time it replaces what the first made
        done = _dbt(filled.url, tmp_path, "build")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "ERROR=0" in done.stdout
    client = filled.client(readonly=True)
    built = (
        "SELECT tenant, metric, scale, touchpoint, week, answers, score FROM analytics.touchpoint_weeks ORDER BY ALL"
    )
    served = """SELECT tenant, metric, scale, touchpoint, bucket, sum(n) AS answers,
        scoreOf(metric, sum(promoters), sum(detractors), sum(satisfied), sum(sum_score), answers) AS score
        FROM feedback.scores_weekly GROUP BY tenant, metric, scale, touchpoint, bucket ORDER BY ALL"""
    rows = client.query(built).result_rows
    assert rows == client.query(served).result_rows
    client.close()
    assert rows


def test_a_lost_answer_fails_the_build(filled: StoreHandle, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "infra" / "dbt", tmp_path / "dbt")
    model = tmp_path / "dbt" / "models" / "touchpoint_weeks.sql"
    model.write_text(model.read_text().replace("group by tenant", "where touchpoint != 'store'\ngroup by tenant"))
    done = _dbt(filled.url, tmp_path, "build")
    assert done.returncode == 1, done.stdout
    assert "no_answer_is_lost" in done.stdout


def test_the_reader_can_build_nothing(filled: StoreHandle, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "infra" / "dbt", tmp_path / "dbt")
    done = _dbt(filled.reader_url, tmp_path, "run")
    assert done.returncode != 0
    assert "READONLY" in done.stdout + done.stderr, done.stdout

"""The broker as a process: one a directory, one a port, loopback only, gone without a trace when told to stop."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from infra.broker.ready import is_ready, wait_ready
from tests.integration.stack import broker, free_port


def start_second(data: Path, port: int, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "infra.broker", "--data", str(data), "--port", str(port)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        env={**os.environ, **environment},
    )


def test_a_second_broker_on_the_same_data_is_refused(tmp_path: Path) -> None:
    with broker(tmp_path / "broker") as first:
        second = start_second(first.data_dir, free_port())
        assert second.returncode == 2
        assert f"another broker (process {first.pid}) uses {first.data_dir}" in second.stderr
        assert is_ready(first.address)


def test_a_taken_port_is_refused(tmp_path: Path) -> None:
    with broker(tmp_path / "broker") as first:
        second = start_second(tmp_path / "other", first.port)
        assert second.returncode == 2
        assert f"127.0.0.1:{first.port} is taken" in second.stderr


def test_a_misspelt_setting_is_refused(tmp_path: Path) -> None:
    answer = start_second(tmp_path / "broker", free_port(), VOC_BROKER_RETENTION_DAYS="7")
    assert answer.returncode == 2
    assert "VOC_BROKER_RETENTION_DAYS" in answer.stderr


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "records.sqlite").write_bytes(b"something else" * 100)
    answer = start_second(tmp_path, free_port())
    assert answer.returncode == 2
    assert "not a database" in answer.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_all_of_it_soon(tmp_path: Path, number: signal.Signals) -> None:
    with broker(tmp_path / "broker") as kafka:
        process = psutil.Process(kafka.pid)
        family = [process, *process.children(recursive=True)]
        assert len(family) == 2
        began = time.monotonic()
        process.send_signal(number)
        while any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in family):
            assert time.monotonic() - began < 3
            time.sleep(0.02)
        kafka.stop()
        assert "ERROR" not in kafka.output.read_text()


def test_tansu_dies_with_its_parent(tmp_path: Path) -> None:
    with broker(tmp_path / "broker") as kafka:
        child = kafka.tansu_pid
        kafka.kill()  # waits until the child is dead, too
        assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_a_dead_tansu_is_started_again(tmp_path: Path) -> None:
    with broker(tmp_path / "broker") as kafka:
        before = kafka.tansu_pid
        os.kill(before, signal.SIGKILL)
        time.sleep(0.05)
        wait_ready(kafka.address, 10)
        assert kafka.tansu_pid != before


def test_everything_listens_on_loopback_only(tmp_path: Path) -> None:
    with broker(tmp_path / "broker") as kafka:
        process = psutil.Process(kafka.pid)
        listening = [
            connection.laddr
            for member in (process, *process.children(recursive=True))
            for connection in member.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert {address.ip for address in listening} == {"127.0.0.1"}
        assert kafka.port in {address.port for address in listening}


def test_nobody_there_is_said_in_time() -> None:
    with pytest.raises(TimeoutError, match="no broker at"):
        wait_ready(f"127.0.0.1:{free_port()}", 0.2)

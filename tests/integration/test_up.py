"""`vocstream up` begins and ends: Ctrl-C at any time, kill -9, wrong settings; never a process left behind."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.cli import app
from tests.integration.stream_fixture import (
    Up,
    eventually,
    free_ports,
    response,
    running_on,
    send,
    structured,
    vocstream,
)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    """Not started yet; whatever it leaves is killed."""
    made = Up(tmp_path / "data")
    with closing(made):
        yield made


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param(lambda up: "migrate" in up.printed(), id="tables are made"),
        pytest.param(lambda up: "worker labels" in up.parts(), id="the model is loaded"),
    ],
)
def test_ctrl_c_while_starting_stops_all(up: Up, moment: Callable[[Up], bool]) -> None:
    up.start(wait=False)
    assert eventually(lambda: moment(up)), up.printed()
    up.stop(signal.SIGINT)


def test_kill_nine_of_up_leaves_no_process_and_loses_nothing(up: Up, tenant: str) -> None:
    """And the next `up` on the folder goes on with what was there; Ctrl-C ends it."""
    up.start()
    assert up.parts().keys() == {"broker", "store", "worker scores", "worker labels", "sentinel", "collector"}, (
        "roles in the command lines"
    )
    first, second = (structured(response(tenant, name, metric="nps", score=9)) for name in ("first", "second"))
    send(up.address.kafka, [first])
    assert up.process is not None
    up.process.kill()
    up.process.wait()
    left = eventually(lambda: running_on(up.data, up.port_base), lambda ps: not ps, timeout=10)
    assert not left, [process.cmdline() for process in left]

    up.start()
    send(up.address.kafka, [second])
    up.address.wait_for_responses(tenant, 2)
    up.stop(signal.SIGINT)


def test_an_unknown_setting_stops_the_start_with_its_name(tmp_path: Path) -> None:
    started = vocstream("up", "--data", tmp_path / "data", env={"VOC_FLUSH_ROWZ": "1"})
    assert started.returncode == 2
    assert "VOC_FLUSH_ROWZ" in started.stderr
    assert "Traceback" not in started.stderr
    assert not (tmp_path / "data").exists()


def test_a_wrong_value_names_its_setting(tmp_path: Path) -> None:
    started = vocstream("status", "--data", tmp_path, env={"VOC_FLUSH_ROWS": "many"})
    assert started.returncode == 2
    assert "VOC_FLUSH_ROWS" in started.stderr
    assert "Traceback" not in started.stderr


def test_without_a_stream_commands_say_how_to_start_one(tmp_path: Path) -> None:
    env = {"VOC_KAFKA_BROKERS": f"127.0.0.1:{free_ports()}", "VOC_CLICKHOUSE_URL": f"http://127.0.0.1:{free_ports()}"}
    started = time.monotonic()
    status = vocstream("status", "--data", tmp_path, env=env)
    assert status.returncode == 1
    assert "vocstream up" in " ".join(status.stderr.split())
    assert "Traceback" not in status.stderr
    assert time.monotonic() - started < 60


def test_every_command_explains_itself() -> None:
    runner = CliRunner()
    listed = runner.invoke(app, ["--help"])
    assert listed.exit_code == 0
    called = [(command.name, command.callback) for command in app.registered_commands]
    names = {name or callback.__name__.replace("_", "-") for name, callback in called if callback}
    assert names >= {"up", "worker", "store", "emit", "migrate", "status", "query", "classify", "doctor"}
    for name in names:
        shown = runner.invoke(app, [name, "--help"])
        assert shown.exit_code == 0, name
        assert "Usage" in shown.output
        assert len(shown.output.split()) > 20, f"{name} says too little"

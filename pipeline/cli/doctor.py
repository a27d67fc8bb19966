"""`vocstream doctor`: is everything here that is needed, and if not, what to do."""

from __future__ import annotations

import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import typer

from infra.clickhouse.settings import ClickHouseSettings
from pipeline.cli.console import Failure, out, print_json
from pipeline.cli.rooms import (
    DEFAULT_DATA,
    DataOption,
    JsonOption,
    clickhouse_settings,
    collector_address,
    stream_settings,
)

_PACKAGES = (
    "faust-streaming",
    "aiokafka",
    "kafka-python",
    "crc32c",
    "torch",
    "transformers",
    "chdb",
    "clickhouse-connect",
)
_RUNNING = ("kafka", "clickhouse", "collector")  # need not be up yet
_ROOM = 2 * 1024**3  # bytes of disk below which a demo may not fit


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(data: DataOption = DEFAULT_DATA, json_output: JsonOption = False) -> None:
    """Check this machine: Python, packages, model, broker binary, disk; and the parts that should be up."""
    checks: list[tuple[str, Callable[[], str]]] = [
        ("python", _python),
        ("packages", _packages),
        ("model", _model),
        ("broker binary", _broker_binary),
        ("disk", lambda: _disk(data)),
        ("kafka", lambda: _kafka(stream_settings(data).kafka_brokers)),
        ("clickhouse", lambda: _clickhouse(clickhouse_settings(data))),
        ("collector", lambda: _collector(collector_address(data))),
    ]
    findings = []
    for name, check in checks:
        try:
            findings.append({"check": name, "ok": True, "finding": check()})
        except Exception as error:  # whatever is wrong is what this command is for
            findings.append({"check": name, "ok": False, "finding": str(error) or repr(error)})
        if not json_output:
            mark = "[green]✓[/green]" if findings[-1]["ok"] else "[red]✗[/red]"
            out.print(mark, f"{name:<14}", end="")
            out.print(findings[-1]["finding"], highlight=False, markup=False)
    if json_output:
        print_json(findings)
    missing = [f["check"] for f in findings if not f["ok"] and f["check"] not in _RUNNING]
    if missing:
        raise Failure(f"not ready: {', '.join(map(str, missing))}", code=1)


def _python() -> str:
    if sys.version_info[:2] != (3, 11):
        raise RuntimeError(f"Python {sys.version.split()[0]}; vocstream is tested on 3.11")
    return sys.version.split()[0]


def _packages() -> str:
    return ", ".join(f"{name} {version(name)}" for name in _PACKAGES)


def _model() -> str:
    from models.convert import NAME, is_complete, verify
    from models.settings import ModelSettings

    settings = ModelSettings()
    if settings.encoder != "default":
        return f"{settings.encoder}, as VOC_MODEL_ENCODER says"
    folder = settings.dir / NAME
    if not is_complete(folder):
        raise RuntimeError(f"{folder} is not there yet: run make setup")
    if wrong := verify(folder):
        raise RuntimeError(f"{', '.join(wrong)} changed since the conversion: remove {folder} and run make setup")
    return f"{folder.name} in {folder.parent}, checksums right"


def _broker_binary() -> str:
    from infra.broker.tansu import binary

    return f"{binary().name}, the bytes that were tested"


def _disk(data: Path) -> str:
    folder = next(p for p in (data.absolute(), *data.absolute().parents) if p.exists())
    free = shutil.disk_usage(folder).free
    if free < _ROOM:
        raise RuntimeError(f"{free / 1e9:.1f} GB free at {folder}, {_ROOM / 1e9:.0f} GB wanted")
    return f"{free / 1e9:.0f} GB free at {folder}"


def _kafka(brokers: str) -> str:
    from infra.topics import describe_topics

    try:
        missing = [t["topic"] for t in describe_topics(brokers) if not t["partitions"]]
    except Exception as error:
        raise RuntimeError(f"no broker at {brokers} (vocstream up starts one): {error}") from error
    if missing:
        raise RuntimeError(f"{brokers} has no {', '.join(missing)}: vocstream kafka-topics --create")
    return f"{brokers}, all topics there"


def _clickhouse(settings: ClickHouseSettings) -> str:
    from infra.clickhouse import migrate
    from infra.clickhouse.client import wait_for_clickhouse

    with closing(wait_for_clickhouse(settings, timeout=3)) as client:
        pending = migrate.plan(client, settings)
        found = str(client.server_version)
    if pending:
        raise RuntimeError(f"{len(pending)} migrations to apply: vocstream migrate")
    return f"{settings.address}, version {found}, tables up to date"


def _collector(address: str) -> str:
    from pipeline.collector.server import EVENTS, HEALTH

    try:
        with urllib.request.urlopen(address + HEALTH, timeout=5):
            return f"{address}{EVENTS} takes events"
    except urllib.error.HTTPError as error:
        raise RuntimeError(f"{address} is there, but its broker does not answer") from error
    except OSError as error:
        raise RuntimeError(f"no collector at {address} (vocstream up starts one): {error}") from error

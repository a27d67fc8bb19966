"""The YAML of receivers and rules: what is taken, and how a mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.alerts.config import ConfigError, load_config

GOOD = """\
receivers:
  - {name: ops, type: alertmanager, url: http://127.0.0.1:9093}
  - name: cx
    type: slack
    url: env:SLACK
    tenants: [acme]
rules:
  - name: checkout NPS
    tenant: acme
    measure: nps
    dimension: touchpoint
    value: checkout
    below: 20
    minutes: 30
    least_n: 50
"""


def read(folder: Path, text: str, environ: dict[str, str] | None = None) -> str:
    """Load `text`; the message of the ConfigError, or 'good'."""
    path = folder / "alerts.yaml"
    path.write_text(text, "utf-8")
    try:
        load_config(path, environ if environ is not None else {"SLACK": "https://hooks.example/x"})
    except ConfigError as error:
        return str(error).replace(str(path), "FILE")
    return "good"


def test_a_good_file_is_taken(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD) == "good"
    assert read(tmp_path, "") == "good"
    assert load_config(None).tick_seconds == 10


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("    tenants: [acme]", "    tenant: [acme]", "FILE:6: receivers.1.tenant: Extra inputs"),
        ("    below: 20", "    below: low", "FILE:13: rules.0.below: "),
        ("    minutes: 30", "    minutes: 0", "FILE:14: rules.0.minutes: "),
        ("    below: 20\n", "", "FILE:8: rules.0: give either `below` or `above`"),
        ("    type: slack", "    type: slick", "FILE:3: receivers.1"),
        ("name: cx", "name: ops", "FILE:3: receivers.1.name: another of the receivers is called ops"),
        ("receivers:", "reciever:", "FILE:1: reciever: Extra inputs"),
        ("[acme]", "[acme", "FILE:7: not YAML"),
        ("http://127.0.0.1:9093", "127.0.0.1", "FILE:2: receivers.0.url: "),
    ],
)
def test_a_mistake_is_told_with_file_line_and_key(tmp_path: Path, old: str, new: str, where: str) -> None:
    assert old in GOOD
    assert where in read(tmp_path, GOOD.replace(old, new))


def test_a_secret_that_is_not_there_is_named(tmp_path: Path) -> None:
    assert "FILE:5: receivers.1.url: environment variable SLACK is not set" in read(tmp_path, GOOD, {})


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: No such file"):
        load_config(tmp_path / "nowhere.yaml")

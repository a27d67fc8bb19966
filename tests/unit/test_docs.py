"""What the documents say is what the program does."""

from __future__ import annotations

import re
from pathlib import Path

from typer.testing import CliRunner

from pipeline.cli import app
from pipeline.settings_table import FILE, settings_table

ROOT = Path(__file__).parents[2]


def commands() -> set[str]:
    """The commands and groups of commands there are."""
    called = [(command.name, command.callback) for command in app.registered_commands]
    single = {name or callback.__name__.replace("_", "-") for name, callback in called if callback}
    return single | {group.name for group in app.registered_groups if group.name}


def test_settings_page_is_made_from_the_settings() -> None:
    assert FILE.read_text("utf-8") == settings_table(), "run: python -m pipeline.settings_table"


def test_every_command_teaches_itself() -> None:
    runner = CliRunner()
    promised = {"up", "worker", "store", "emit", "migrate", "kafka-topics", "status", "query", "classify", "doctor"}
    promised |= {"broker", "collector", "evaluate", "compare", "train", "models", "topics"}
    assert promised <= commands()
    for command in sorted(commands()):
        shown = runner.invoke(app, [command, "--help"], env={"COLUMNS": "200", "NO_COLOR": "1"})
        assert shown.exit_code == 0
        assert "Usage" in shown.output


def test_readme_names_commands_that_exist() -> None:
    named = set(re.findall(r"^vocstream (\w+)", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE))
    assert named
    assert named <= commands()


def test_links_of_the_documents_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.name} links to {link}"

"""docs/settings.md, made from the settings classes of all rooms: `python -m pipeline.settings_table` writes it.

A test fails when the file is not what this makes.
"""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import SecretStr
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from pipeline.cli.rooms import SETTINGS

FILE = Path(__file__).parent.parent / "docs" / "settings.md"


def settings_table() -> str:
    """The whole page: a section a class, a row a setting."""
    sections = [
        "# Settings\n\nFrom the environment. A name that begins with `VOC_` and is not here stops the start. "
        "This page is made from the settings classes: `python -m pipeline.settings_table`."
    ]
    for room in SETTINGS:
        prefix = str(room.model_config.get("env_prefix", ""))
        title = (room.__doc__ or room.__name__).strip().split("\n")[0]
        rows = [
            f"| `{(prefix + name).upper()}` | {_default(room, name)} | {field.description or ''} |"
            for name, field in room.model_fields.items()
        ]
        sections.append("\n".join([f"## {title}", "", "| name | default | what it is |", "|---|---|---|", *rows]))
    return "\n\n".join(sections) + "\n"


def _default(room: type[BaseSettings], name: str) -> str:
    field = room.model_fields[name]
    value = field.default
    if value is PydanticUndefined:
        return "below the home folder" if "dir" in name else ""
    if value is None or value in ("", ()):
        return ""
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, dict):
        value = json.dumps(value, ensure_ascii=False)  # as the environment has it
    return f"`{value}`"


if __name__ == "__main__":
    FILE.write_text(settings_table(), "utf-8")

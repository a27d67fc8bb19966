"""What the benchmarks share: medians, tables, and the note of which machine it was."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

RESULTS = Path(__file__).parent / "results"


def machine() -> str:
    """Processor, cores and load, in one line."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    load = os.getloadavg()[0]
    return f"{model}, {os.cpu_count()} cores, load {load:.1f}, Python {platform.python_version()}"


def markdown(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines)


def save(name: str, title: str, body: str) -> None:
    """Print the result and keep it as bench/results/NAME.md."""
    text = f"# {title}\n\n{datetime.now(UTC):%Y-%m-%d}, {machine()}.\n\n{body}\n"
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.md").write_text(text, "utf-8")
    print(text)


def spread(values: Sequence[float]) -> str:
    """Median and range."""
    return f"{median(values):,.0f} ({min(values):,.0f}-{max(values):,.0f})"


def _cell(value: Any) -> str:
    return f"{value:,.0f}" if isinstance(value, float) and abs(value) >= 100 else str(value)

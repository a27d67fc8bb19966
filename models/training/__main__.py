"""`python -m models.training`: the command line of `models.training.train`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from models.training.settings import TrainSettings
from models.training.train import train


def main(arguments: Sequence[str] | None = None) -> None:
    """One option a plain setting; see `--help`."""
    parser = argparse.ArgumentParser(prog="python -m models.training", description="Train weights, write their card.")
    parser.add_argument("--data", type=Path, default=None, help="folder of the public corpora; without: our own alone")
    parser.add_argument("--out", type=Path, required=True, help="folder to write weights and card into")
    parser.add_argument("--quick", action="store_true", help="few rows, one epoch: to try it out")
    for name, field in TrainSettings.model_fields.items():
        kind: Any = field.annotation
        if kind in (int, float) or name == "former":
            kind = Path if name == "former" else kind
            told = f"{field.description} (default {field.default})"
            parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=field.default, help=told)
    chosen = vars(parser.parse_args(arguments))
    data, out, quick = (chosen.pop(name) for name in ("data", "out", "quick"))
    train(data, out, settings=TrainSettings(**chosen), quick=quick, tell=lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()

"""`python -m infra.store --data DIR --port N`: run the embedded store in the foreground."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import uvloop
from pydantic import ValidationError

from infra.store.server import StartError, run
from infra.store.settings import StoreSettings


def main(arguments: list[str] | None = None) -> int:
    """Read the arguments (they win over VOC_STORE_... variables), serve, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infra.store", description="Run the embedded ClickHouse store.")
    parser.add_argument("--data", type=Path, help="directory of tables and credentials (default: data/store)")
    parser.add_argument("--host", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, help="HTTP port (default: 8123)")
    given: dict[str, Any] = {
        name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None
    }
    try:
        settings = StoreSettings(**given)
        uvloop.run(run(settings, ready=lambda address: print(f"store ready at {address}", flush=True)))
    except (StartError, ValidationError, ValueError) as error:
        print(f"store: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

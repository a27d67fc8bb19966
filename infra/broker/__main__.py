"""`python -m infra.broker --data DIR --port N`: run the embedded broker in the foreground."""

from __future__ import annotations

import argparse
import logging
import sqlite3
import sys
from pathlib import Path

import uvloop

from infra.broker.lock import BrokerConflict
from infra.broker.objects import ForeignFile
from infra.broker.server import run
from infra.broker.settings import BrokerSettings
from infra.broker.tansu import TansuUnavailable


def main() -> int:
    """Read the command line, run until stopped; 2 when the broker cannot start."""
    parser = argparse.ArgumentParser(prog="python -m infra.broker", description="The embedded Kafka broker.")
    parser.add_argument("--data", type=Path, help="directory of its files (VOC_BROKER_DATA)")
    parser.add_argument("--port", type=int, help="Kafka port on 127.0.0.1 (VOC_BROKER_PORT)")
    given = {name: value for name, value in vars(parser.parse_args()).items() if value is not None}
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        uvloop.run(run(BrokerSettings(**given)))
    except (BrokerConflict, ForeignFile, TansuUnavailable, ValueError, OSError, sqlite3.DatabaseError) as failure:
        print(f"broker: {failure}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

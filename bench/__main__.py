"""`python -m bench`: all benchmarks one after the other; each is also a module of its own."""

from __future__ import annotations

import subprocess
import sys

for name in ("decode", "ingest", "models", "freshness"):
    subprocess.run([sys.executable, "-m", f"bench.{name}"], check=True)

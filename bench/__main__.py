"""`python -m bench`: all benchmarks one after the other; each is also a module of its own, and says what it takes.

`bench.quality` is not among them: it needs a folder of labelled comments.
"""

from __future__ import annotations

import subprocess
import sys

LIVE = ("decode", "ingest", "writer", "freshness", "rollups")
MODEL = ("models", "topics")
ALERTS = ("alerts_scale", "alerts_latency", "alerts_ticks", "alerts")

for name in (*LIVE, *MODEL, *ALERTS):
    subprocess.run([sys.executable, "-m", f"bench.{name}"], check=True)

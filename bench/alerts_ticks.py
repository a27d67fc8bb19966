"""Do more looks an hour find more that is not there? (python -m bench.alerts_ticks [--seed 101] [--days 14])

The simulator of bench/alerts.py looks every five minutes, the sentinel every ten seconds. Here the same quiet traffic
of 100 series (four tenants, two of them among the busiest) is looked at every 300, 60 and 10 seconds: answers are
spread evenly over their five minutes. The first 28 days are learnt from only. Writes bench/results/alerts_ticks.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.alerts_rules import Floats
from bench.alerts_traffic import DAY, PARTS, START, TENANTS, Counts, parents, simulate
from pipeline.alerts.baseline import BUCKET
from pipeline.alerts.detector import Detector

LEARN = 28 * DAY
RANKS = (19, 16, 11, 6)  # of the 20 tenants, by their volume
FINEST = 10  # seconds
PER_BUCKET = BUCKET // FINEST


def spread(rng: np.random.Generator, k: Counts, n: Counts) -> tuple[Counts, Counts]:
    """Each bucket's answers, (buckets, rows), over its slots of ten seconds: (slots, rows)."""
    slots = []
    for counts in (k, n - k):
        left = counts.copy()
        pieces = np.zeros((len(k), PER_BUCKET, k.shape[1]), dtype=np.int32)
        for slot in range(PER_BUCKET):
            pieces[:, slot] = rng.binomial(left, 1 / (PER_BUCKET - slot))
            left -= pieces[:, slot]
        slots.append(pieces.reshape(-1, k.shape[1]))
    return slots[0], slots[0] + slots[1]


def alarms(k: Counts, n: Counts, fine_k: Counts, fine_n: Counts, every: int) -> int:
    """How often a family began to burn after LEARN, looked at every `every` seconds."""
    rows = k.shape[1]
    detector = Detector()
    nothing = np.zeros(rows, dtype=bool)
    detector.add(parents()[:rows], of_all=nothing, tested=~nothing, watched=nothing)
    total_k, total_n = (np.concatenate([np.zeros((1, rows), dtype=np.int64), a.cumsum(0)]) for a in (fine_k, fine_n))
    lengths = [window // FINEST for window in detector.settings.baseline.windows]
    burned = np.zeros(rows // (PARTS + 1), dtype=bool)
    found = 0
    for bucket in range(11, len(k), 12):  # the end of each hour
        hour = slice(bucket - 23, bucket - 11)
        if bucket >= LEARN:
            for slot in range(
                (bucket - 11) * PER_BUCKET + every // FINEST, (bucket + 1) * PER_BUCKET + 1, every // FINEST
            ):
                windows: list[Floats] = [
                    np.stack([total[slot] - total[slot - length] for length in lengths], axis=1).astype(np.float64)
                    for total in (total_k, total_n)
                ]
                detector.step(START + slot * FINEST, windows[0], windows[1])
                burns = detector.firing.reshape(-1, PARTS + 1).any(1)
                found += int((burns & ~burned).sum())
                burned = burns
        if bucket >= 23:
            detector.learn(START + hour.start * BUCKET, k[hour].T.astype(np.float64), n[hour].T.astype(np.float64))
    return found


def main(arguments: Sequence[str]) -> None:
    """Run, print and save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=101)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    chosen = parser.parse_args(arguments)
    traffic = simulate(chosen.seed, days=28 + chosen.days)
    by_volume = np.argsort(traffic.n[:, :: PARTS + 1].sum(0))
    columns = np.concatenate([np.arange(PARTS + 1) + by_volume[rank] * (PARTS + 1) for rank in RANKS])
    k, n = traffic.k[:, columns], traffic.n[:, columns]
    fine_k, fine_n = spread(np.random.default_rng(chosen.seed), k, n)
    months = chosen.days / 30
    lines = ["| a look every | false alarms | a series a month |", "|---|---|---|"]
    for every in (300, 60, FINEST):
        found = alarms(k, n, fine_k, fine_n, every)
        lines.append(f"| {every} s | {found} | {found / len(columns) / months:.3f} |")
        print(lines[-1], flush=True)
    text = (
        f"# Alerts: false alarms by how often one looks\n\n`python -m bench.alerts_ticks --seed {chosen.seed} --days "
        f"{chosen.days}`: {len(columns)} series of {len(RANKS)} tenants of the {TENANTS} in bench/alerts.py (of rank "
        f"{', '.join(str(TENANTS - rank) for rank in RANKS)} by volume), nothing wrong in them, {chosen.days} days "
        "after 28 days of learning. The same answers for each line.\n\n" + "\n".join(lines) + "\n"
    )
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "alerts_ticks.md").write_text(text, "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])

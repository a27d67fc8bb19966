"""How well spikes are found and how quiet it is otherwise: the detector beside four common rules, on the same data.

    python -m bench.alerts [--seed 7] [--out bench/results]

Three simulations of 90 days (bench/alerts_traffic.py): nothing wrong (what fires is false), spikes put in from day 35
on (what is found, and when), and slow things (drifts to be found; ten times the volume, to be left alone). The first
14 days are everybody's to learn in and are counted apart. An alarm belongs to a family (the series of one tenant): a
family burns while any of its rows does, and each time it begins to burn is one alarm. Writes alerts.md and alerts.png.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bench.alerts_rules import RULES, Burning, vocstream
from bench.alerts_traffic import DAY, DAYS, PARTS, ROWS, TENANTS, Counts, Injection, Traffic, simulate

WARM = 14 * DAY
MONTHS = (DAYS - 14) / 30
WINDOW = 3  # buckets: the window of 15 minutes that all rules share
VOLUMES = (("quiet: under 2", 0.0, 2.0), ("2 to 10", 2.0, 10.0), ("10 to 50", 10.0, 50.0), ("busy: over 50", 50.0, 1e9))
OURS = "vocstream"
Rule = Callable[[Counts, Counts], Burning]


def families(burning: Burning) -> Burning:
    """(buckets, tenants): where any row of the tenant burns."""
    return burning.reshape(len(burning), TENANTS, PARTS + 1).any(2)


def begins(burning: Burning) -> Burning:
    """Where burning begins."""
    first = np.zeros((1, burning.shape[1]), dtype=bool)
    return burning & ~np.concatenate([first, burning[:-1]])


def delays(family: Burning, injections: Sequence[Injection]) -> np.ndarray:
    """Buckets until the family burns, at best 1; infinite where it did not before the spike was over.

    A family that burned already when the spike began is left out (NaN): nobody can say what it found.
    """
    found = np.full(len(injections), np.inf)
    for place, one in enumerate(injections):
        if family[one.begin - 1, one.tenant]:
            found[place] = np.nan
            continue
        burns = family[one.begin : one.begin + one.length + WINDOW, one.tenant]
        if burns.any():
            found[place] = burns.argmax() + 1
    return found


def within(found: np.ndarray, windows: int) -> str:
    """Share found within so many windows of 15 minutes, of those that could be judged."""
    judged = found[~np.isnan(found)]
    if not len(judged):
        return "–"
    return f"{100 * np.mean(judged <= windows * WINDOW):.0f} % ({len(judged)})"


def quiet_table(quiet: Traffic, slow: Traffic, rules: dict[str, tuple[Burning, Burning]]) -> list[str]:
    """False alarms of each rule."""
    lines = [
        "| rule | false alarms a series a month | the same in the first 14 days | in weekly peaks, all tenants | "
        "in floods of 10x the volume |",
        "|---|---|---|---|---|",
    ]
    buckets = np.arange(len(quiet.n))
    peak_hours = (buckets // DAY % 7 == 0) & (buckets % DAY >= 9 * 12) & (buckets % DAY < 13 * 12)
    peak_hours[:WARM] = False
    floods = [one for one in slow.injections if one.kind == "volume"]
    for name, (calm, flooded) in rules.items():
        start = begins(families(calm))
        burns = families(flooded)
        hit = sum(bool(begins(burns)[o.begin : o.begin + o.length, o.tenant].any()) for o in floods)
        lines.append(
            f"| {name} | {start[WARM:].sum() / ROWS / MONTHS:.3f} | {start[:WARM].sum() / ROWS / (14 / 30):.3f} | "
            f"{start[peak_hours][:, quiet.peak].sum()} | {hit} of {len(floods)} |"
        )
    return lines


def power_table(spikes: Traffic, rules: dict[str, Burning]) -> tuple[list[str], dict[str, dict[float, np.ndarray]]]:
    """What was found, and when; also the delays in busy series for the plot."""
    lines = [
        "| spike | answers in 5 min | " + " | ".join(rules) + " |",
        "|---|---|" + "---|" * len(rules),
    ]
    curves: dict[str, dict[float, np.ndarray]] = {name: {} for name in rules}
    burns = {name: families(burning) for name, burning in rules.items()}
    for size, windows in ((5.0, 2), (3.0, 2), (2.0, 6), (1.5, 6)):
        for label, low, high in VOLUMES:
            chosen = [o for o in spikes.injections if o.kind == "spike" and o.size == size and low <= o.rate < high]
            found = {name: delays(burning, chosen) for name, burning in burns.items()}
            if high > 1e6:
                for name, one in found.items():
                    curves[name][size] = one
            cells = " | ".join(within(one, windows) for one in found.values())
            lines.append(f"| {size:g}x, within {windows} windows | {label} | {cells} |")
    night = [one for one in spikes.injections if one.kind == "night"]
    cells = " | ".join(within(delays(burning, night), 2) for burning in burns.values())
    lines.append(f"| 3 am: 10 of 12 unhappy in 15 min, within 2 windows | quiet: under 2 | {cells} |")
    return lines, curves


def drift_lines(slow: Traffic, quiet_drift: Burning, drift: Burning, spikes: Burning) -> list[str]:
    """When the drifts were found, by the CUSUM or otherwise, and false ones."""
    lines = []
    found = []
    for one in (o for o in slow.injections if o.kind == "drift"):
        first = one.tenant * (PARTS + 1)
        mine = [first, one.row]
        alarm = (drift | spikes)[one.begin :, mine].any(1)
        found.append(alarm.argmax() / DAY if alarm.any() else np.inf)
    rates = [one.rate for one in slow.injections if one.kind == "drift"]
    lines.append("| tenant's main part: answers in 5 min, mean | days from the start of the drift to the alarm |")
    lines.append("|---|---|")
    for rate, days in sorted(zip(rates, found, strict=True)):
        lines.append(f"| {rate:.1f} | {'not found' if np.isinf(days) else f'{days:.1f}'} |")
    false = begins(quiet_drift)[WARM:].sum()
    lines.append(f"\nFalse drift alarms with nothing wrong: {false / ROWS / MONTHS:.4f} a series a month.")
    return lines


def plot(curves: dict[str, dict[float, np.ndarray]], path: Path) -> None:
    """Delay against size in busy series: median and the time by which 90 % were found."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.2), constrained_layout=True)
    for name, sizes in curves.items():
        style = {"linewidth": 2.5, "zorder": 3} if name == OURS else {"linewidth": 1.2, "alpha": 0.8}
        xs = sorted(sizes)
        known = [sizes[x][~np.isnan(sizes[x])] for x in xs]
        middle = [np.median(one) * 5 if len(one) else np.nan for one in known]
        axes[0].plot(xs, middle, marker="o", label=name, **style)
        axes[1].plot(xs, [100 * np.isfinite(o).mean() if len(o) else np.nan for o in known], marker="o", **style)
    axes[0].set(xlabel="size of the spike (times the usual share)", ylabel="median minutes until found")
    axes[0].set_yscale("log")
    axes[1].set(xlabel="size of the spike", ylabel="found before it was over, %", ylim=(0, 103))
    axes[0].legend(frameon=False, fontsize=8)
    figure.suptitle("Busy series (over 50 answers in 5 minutes): delay and recall against the size of a spike")
    figure.savefig(path, dpi=110)


def main(arguments: Sequence[str]) -> None:
    """Run, print and save."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("bench/results"))
    chosen = parser.parse_args(arguments)
    started = time.monotonic()
    quiet = simulate(chosen.seed)
    spikes = simulate(chosen.seed + 1, "spikes")
    slow = simulate(chosen.seed + 2, "slow")
    before = time.monotonic()
    calm, calm_drift = vocstream(quiet.k, quiet.n)
    tick_ms = 1000 * (time.monotonic() - before) / len(quiet.n)
    with_spikes, _ = vocstream(spikes.k, spikes.n)
    slow_spikes, slow_drift = vocstream(slow.k, slow.n)
    on_quiet = {OURS: (calm, slow_spikes)}
    on_spikes = {OURS: with_spikes}
    with np.errstate(invalid="ignore"):
        for name, rule in RULES.items():
            on_quiet[name] = rule(quiet.k, quiet.n), rule(slow.k, slow.n)
            on_spikes[name] = rule(spikes.k, spikes.n)
    table, curves = power_table(spikes, on_spikes)
    text = "\n".join(
        [
            "# Alerts: found, missed and false",
            "",
            f"`python -m bench.alerts --seed {chosen.seed}`: {ROWS} series of {TENANTS} tenants, {DAYS} days, ticks of "
            f"5 minutes; {spikes.n[:, :: PARTS + 1].sum():,} answers in the run with spikes. One core, "
            f"{time.monotonic() - started:.0f} s in all; our detector took {tick_ms:.1f} ms a tick.",
            "",
            "## Quiet otherwise",
            "Nothing is wrong in this data; families counted once (see the head of bench/alerts.py).",
            "",
            *quiet_table(quiet, slow, on_quiet),
            "",
            "## Found in time",
            "Share of the spikes found within so many windows of 15 minutes (and how many spikes could be judged: a "
            "family that burned already cannot show anything, so a rule that always burns has few). A rule that is "
            "seldom quiet finds much: read this beside the table above.",
            "",
            *table,
            "",
            "![delay against size](alerts.png)",
            "",
            "## Slow drifts: the share doubles over 14 days",
            "",
            *drift_lines(slow, calm_drift, slow_drift, slow_spikes),
            "",
        ]
    )
    chosen.out.mkdir(parents=True, exist_ok=True)
    (chosen.out / "alerts.md").write_text(text, "utf-8")
    plot(curves, chosen.out / "alerts.png")
    print(text)


if __name__ == "__main__":
    main(sys.argv[1:])

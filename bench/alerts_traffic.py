"""Made-up traffic for bench/alerts.py: 90 days of unhappy and all answers in five-minute buckets, from a seed.

20 tenants of 25 series: one of all answers, and 24 parts that add up to it. What makes it hard, on purpose:

* volumes from half an answer to 400 in five minutes at the busiest hour, split very unevenly over the parts;
* nights at a twentieth of the day, weekends at 60 %, hours that vary by 30 % (gamma) beyond Poisson;
* shares of 5 to 25 %, with a day of their own, overdispersed twice: a factor that the whole tenant shares (AR(1) in
  logits, 15 minutes long, sd 0.10) and a beta of each series and bucket (rho 0.004);
* a third of the tenants with a weekly peak, Mondays 9-12, at twice the usual share, that is *not* a spike.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

TENANTS, PARTS, DAYS = 20, 24, 90
ROWS = TENANTS * (PARTS + 1)
DAY = 288  # buckets
FIRST_SPIKE = 35  # day; one every other day, three hours long, between 8 and 20 o'clock: 6 % of the time
WHOLE = 0.4  # of the spikes are in all parts of a tenant, the others in one
SIZES = {1.5: 0.4, 2.0: 0.15, 3.0: 0.25, 5.0: 0.2}  # and how often each: the smallest is the hardest to find
START = 1_767_571_200  # Monday 2026-01-05, 00:00 UTC

Counts = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Injection:
    """A rise put in on purpose: at bucket `begin`, `length` long, on a part or (part -1) all parts of a tenant."""

    kind: str
    tenant: int
    part: int
    begin: int
    length: int
    size: float
    rate: float  # answers in five minutes that the injected series expects then

    @property
    def row(self) -> int:
        return self.tenant * (PARTS + 1) + self.part + 1


@dataclass
class Traffic:
    """Unhappy (`k`) and all (`n`) answers, (buckets, rows); row 25 t is all of tenant t, its parts come after it."""

    k: Counts
    n: Counts
    injections: list[Injection]
    peak: npt.NDArray[np.bool_]  # tenants with a weekly peak


def parents() -> npt.NDArray[np.int64]:
    """The row of each row's tenant."""
    return np.arange(ROWS) // (PARTS + 1) * (PARTS + 1)


def simulate(seed: int, injected: str = "", days: int = DAYS) -> Traffic:
    """`injected`: "" for none, "spikes" (sizes 1.5 to 5, and spikes at 3 am), or "slow" (drifts, 10x volume)."""
    rng = np.random.default_rng(seed)
    buckets = days * DAY
    hour = np.arange(buckets) % DAY / 12
    weekday = np.arange(buckets) // DAY % 7
    day_shape = 0.05 + 0.95 * np.clip(np.sin((hour - 7) / 16 * np.pi), 0, 1) ** 0.7
    week_shape = np.where(weekday >= 5, 0.6, 1.0)
    peak = np.arange(TENANTS) % 3 == 0
    k = np.zeros((buckets, ROWS), dtype=np.int32)
    n = np.zeros((buckets, ROWS), dtype=np.int32)
    injections: list[Injection] = []
    volumes = np.exp(rng.permutation(np.linspace(np.log(0.5), np.log(400), TENANTS)))
    for tenant in range(TENANTS):
        split = rng.dirichlet(np.full(PARTS, 0.6))
        noise = np.repeat(rng.gamma(11, 1 / 11, buckets // 12), 12)
        rate = (volumes[tenant] * day_shape * week_shape * noise)[:, None] * split
        logit = (
            np.log(0.13 / 0.87)
            + rng.normal(0, 0.35, PARTS)
            + 0.2 * np.sin(2 * np.pi * (hour[:, None] - rng.uniform(0, 24, PARTS)) / 24)
        )
        logit += (0.10 * _ar1(rng, buckets, np.exp(-1 / 3)))[:, None]
        share = 1 / (1 + np.exp(-logit))
        if peak[tenant]:
            monday = (weekday == 0) & (hour >= 9) & (hour < 12)
            share[monday] *= 2
        usual = volumes[tenant] * day_shape * week_shape
        found = _choose(rng, injected, tenant, usual, split, days)
        for one in found:
            span, parts = slice(one.begin, one.begin + one.length), slice(None) if one.part < 0 else one.part
            if one.kind == "drift":
                ramp = np.linspace(1, one.size, 14 * DAY)
                tail = np.full(max(0, one.length - len(ramp)), one.size)
                share[span, parts] *= np.concatenate([ramp, tail])[: one.length]
            elif one.kind == "volume":
                rate[span, parts] *= one.size
            elif one.kind == "spike":
                share[span, parts] *= one.size
        injections += found
        share = np.clip(share, 0.005, 0.95)
        size = 1 / 0.004 - 1
        drawn = rng.beta(share * size, (1 - share) * size)
        first = tenant * (PARTS + 1)
        n[:, first + 1 : first + 1 + PARTS] = rng.poisson(rate)
        k[:, first + 1 : first + 1 + PARTS] = rng.binomial(n[:, first + 1 : first + 1 + PARTS], drawn)
        for one in found:
            if one.kind == "night":  # twelve answers come within a quarter of an hour, ten of them unhappy
                n[one.begin : one.begin + 3, one.row] += 4
                k[one.begin : one.begin + 3, one.row] += (3, 4, 3)
        k[:, first], n[:, first] = (a[:, first + 1 : first + 1 + PARTS].sum(1) for a in (k, n))
    return Traffic(k, n, injections, peak)


def _ar1(rng: np.random.Generator, length: int, keep: float) -> npt.NDArray[np.float64]:
    """Noise of variance 1 whose neighbours correlate by `keep`."""
    from scipy.signal import lfilter

    steps = rng.normal(0, np.sqrt(1 - keep**2), length)
    return np.asarray(lfilter([1.0], [1.0, -keep], steps))


def _choose(
    rng: np.random.Generator,
    injected: str,
    tenant: int,
    usual: npt.NDArray[np.float64],
    split: npt.NDArray[np.float64],
    days: int,
) -> list[Injection]:
    """What is put into one tenant: a spike every other day from day 35 on, or one drift, or two floods a week."""
    if injected == "spikes":
        found = []
        for day in range(FIRST_SPIKE, days):
            if day % 7 == 0:  # Mondays, 3 am
                begin, quiet = day * DAY + 36, int(rng.integers(PARTS))
                found.append(Injection("night", tenant, quiet, begin, 3, 10 / 12, float(usual[begin] * split[quiet])))
            if (day + tenant) % 2 == 0:
                begin = day * DAY + int(rng.integers(8 * 12, 20 * 12))
                part = -1 if rng.random() < WHOLE else int(rng.choice(PARTS, p=0.5 * split + 0.5 / PARTS))
                rate = float(usual[begin : begin + 12].mean() * (1.0 if part < 0 else split[part]))
                size = float(rng.choice(list(SIZES), p=list(SIZES.values())))
                found.append(Injection("spike", tenant, part, begin, 36, size, rate))
        return found
    if injected == "slow":
        if tenant % 2 == 0:
            part, begin = int(split.argmax()), 40 * DAY
            rate = float(usual[: 7 * DAY].mean() * split[part])
            return [Injection("drift", tenant, part, begin, days * DAY - begin, 2.0, rate)]
        return [
            Injection("volume", tenant, -1, day * DAY + 120, 24, 10.0, float(usual[day * DAY + 120]))
            for day in range(36, days, 4)
        ]
    return []

"""The detector on small worlds made by hand: what it learns, when it fires, and when it keeps still."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.alerts.baseline import HOUR, SLOTS, Baseline, BaselineSettings, slot_of
from pipeline.alerts.detector import Detector, DetectorSettings

MONDAY = 1_767_571_200.0  # 2026-01-05 00:00 UTC
RNG = np.random.default_rng(11)
Shape = Callable[[int], float]


def flat(share: float) -> Shape:
    return lambda hour: share


def detector(rows: int = 1, *, settings: DetectorSettings | None = None, watched: bool = False) -> Detector:
    """`rows` rows of one tenant; the first is the series of all answers."""
    made = Detector(settings)
    no = np.zeros(rows, dtype=bool)
    made.add(np.zeros(rows, dtype=int), of_all=no, tested=~no, watched=~no if watched else no)
    return made


def teach(made: Detector, days: float, share: Shape, a_bucket: float = 10, start: float = MONDAY) -> float:
    """Let `made` learn `days` of ordinary hours; the time after them."""
    for hour in range(int(days * 24)):
        n = RNG.poisson(a_bucket, (len(made), 12)).astype(float)
        k = RNG.binomial(n.astype(int), share(hour)).astype(float)
        made.learn(start + hour * HOUR, k, n)
    return start + days * 24 * HOUR


def windows(k: float, n: float) -> tuple[np.ndarray, np.ndarray]:
    """The same share in all three windows, with n of the hour."""
    size = np.array([[1 / 12, 1 / 4, 1]])
    return np.round(k * size), np.round(n * size)


def test_hour_of_the_week_starts_on_monday() -> None:
    assert slot_of(MONDAY) == 0
    assert slot_of(MONDAY + 25 * HOUR) == 25
    assert slot_of(MONDAY - 1) == SLOTS - 1


def test_it_learns_the_share_of_each_hour_of_the_week() -> None:
    made = detector()
    teach(made, 42, lambda hour: 0.4 if hour % SLOTS == 10 else 0.1)
    assert made.baseline.slot_mean(10)[0][0] == pytest.approx(0.4, abs=0.06)
    assert made.baseline.slot_mean(11)[0][0] == pytest.approx(0.1, abs=0.04)


def test_a_thin_series_borrows_level_and_week_from_its_tenant() -> None:
    made = detector(2)
    for hour in range(42 * 24):
        share = 0.4 if hour % SLOTS == 10 else 0.1
        n = np.stack([np.full(12, 20.0), np.eye(12)[0] * (hour % 24 == 0)])
        made.learn(MONDAY + hour * HOUR, n * share, n)
    mean, worth = made.baseline.slot_mean(10)
    assert mean[1] == pytest.approx(mean[0], abs=0.12)
    assert mean[1] > 2 * made.baseline.slot_mean(11)[0][1]
    assert worth[1] < worth[0]


def test_complaints_of_all_answers_inherit_the_history_of_the_tenant() -> None:
    made = detector()
    teach(made, 14, flat(0.15))
    made.add([0], of_all=[True], tested=[True], watched=[False])
    assert made.baseline.slot_mean(10)[0][1] < 0.01


def test_overdispersion_is_found_where_it_is_and_only_there() -> None:
    learnt = {}
    for rho in (0.0, 0.05):
        baseline = Baseline(BaselineSettings())
        baseline.add([0], [False])
        for hour in range(60 * 24):
            share = 0.15 if rho == 0 else RNG.beta(0.15 * 19, 0.85 * 19, (1, 12))
            n = np.full((1, 12), 30.0)
            baseline.learn(MONDAY + hour * HOUR, RNG.binomial(30, share, (1, 12)) * 1.0, n, np.ones((1, 12), bool))
        learnt[rho] = baseline.rho()[0]
    assert learnt[0.0][0] < 0.005
    assert learnt[0.05][0] == pytest.approx(0.05, abs=0.01)
    assert learnt[0.05][2] < learnt[0.05][0] / 3  # independent five minutes average out over the hour


def test_a_spike_fires_once_and_resolves_once() -> None:
    made = detector()
    at = teach(made, 14, flat(0.12)) + 10 * HOUR
    ordinary, spike = windows(14, 120), windows(60, 120)
    fired = resolved = 0
    for tick in range(120):
        outcome = made.step(at + 60 * tick, *(spike if 20 <= tick < 40 else ordinary))
        fired, resolved = fired + len(outcome.fired), resolved + len(outcome.resolved)
        if len(outcome.fired):
            assert tick in (20, 21)
        if len(outcome.resolved):
            assert tick >= 50  # ten minutes in line
    assert (fired, resolved) == (1, 1)


def test_a_single_tick_out_of_line_is_not_enough() -> None:
    made = detector(settings=DetectorSettings(sure_p=0.0))
    at = teach(made, 14, flat(0.12)) + 10 * HOUR
    for tick in range(10):
        outcome = made.step(at + 60 * tick, *windows(60 if tick == 5 else 14, 120))
        assert not len(outcome.fired)


def test_a_weekly_peak_is_no_spike_once_it_is_known() -> None:
    peak = 10
    made = detector()
    teach(made, 35, lambda hour: 0.5 if hour % SLOTS == peak else 0.12)
    at = MONDAY + 35 * 86400 + (peak + 1) * HOUR
    assert not len(made.step(at, *windows(60, 120)).fired)
    assert len(made.step(at + 24 * HOUR, *windows(60, 120)).fired)


def test_ten_times_the_volume_at_the_same_share_is_no_spike() -> None:
    made = detector()
    at = teach(made, 14, flat(0.12)) + 10 * HOUR
    for tick in range(5):
        assert not len(made.step(at + 60 * tick, *windows(144, 1200)).fired)


def test_alarms_are_not_learnt() -> None:
    made = detector()
    at = teach(made, 14, flat(0.12))
    for tick in range(12):
        made.step(at + 300 * (tick + 1), *windows(60, 120))
    before = made.baseline.slot_mean(slot_of(at))[0][0]
    clean = made.clean(at)
    made.learn(at, np.full((1, 12), 8.0), np.full((1, 12), 10.0))
    assert not clean.any()
    assert made.baseline.slot_mean(slot_of(at))[0][0] == pytest.approx(before, abs=0.001)


def test_what_lasts_a_day_becomes_the_new_usual() -> None:
    made = detector()
    at = teach(made, 14, flat(0.12))
    rebased = 0
    for hour in range(26):
        for tick in range(12):
            made.step(at + hour * HOUR + 300 * (tick + 1), *windows(42, 120))
        k, n = np.full((1, 12), 3.5), np.full((1, 12), 10.0)
        rebased += len(made.learn(at + hour * HOUR, k, n).rebased)
    assert rebased == 1
    assert made.baseline.overall()[0][0] == pytest.approx(0.35, abs=0.04)
    assert not made.firing.any()


def test_without_history_half_unhappy_of_four_decides() -> None:
    for k, n, expected in ((4, 4, True), (2, 4, True), (3, 3, False), (3, 8, False), (4, 8, True)):
        made = detector()
        counts = np.array([[k, k, k]], dtype=float), np.array([[n, n, n]], dtype=float)
        assert bool(len(made.step(MONDAY, *counts).fired)) == expected, (k, n)


def test_with_history_half_of_four_is_nothing_much() -> None:
    made = detector()
    at = teach(made, 14, flat(0.3)) + 3 * HOUR
    assert not len(made.step(at, np.array([[2.0, 2, 2]]), np.array([[4.0, 4, 4]])).fired)


def test_silence_is_a_state_of_its_own() -> None:
    made = detector(watched=True)
    at = teach(made, 14, flat(0.12), a_bucket=20) + 10 * HOUR
    nothing = np.zeros((1, 3))
    first = made.step(at, nothing, nothing)
    again = made.step(at + 60, nothing, nothing)
    back = made.step(at + 120, *windows(1, 12))
    assert (len(first.silenced), len(again.silenced), len(back.unsilenced)) == (1, 0, 1)
    assert not len(first.fired)


def test_a_slow_drift_is_found_though_no_window_stands_out() -> None:
    made = detector()
    teach(made, 28, flat(0.12), a_bucket=4)
    assert not made.drift.alarm.any()
    start = MONDAY + 28 * 86400
    for day in range(14):
        teach(made, 1, flat(0.12 * (1 + day / 14)), a_bucket=4, start=start + day * 86400)
        if made.drift.alarm.any():
            break
    assert made.drift.alarm.any()


def test_five_thousand_rows_are_one_call() -> None:
    made = detector(5000)
    teach(made, 0.1, flat(0.15), a_bucket=2)
    k, n = np.full((5000, 3), 3.0), np.full((5000, 3), 20.0)
    outcome = made.step(MONDAY + 86400, k, n)
    assert outcome.p.shape == (5000,)

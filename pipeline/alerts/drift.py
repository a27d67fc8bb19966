"""Slow drifts: a one-sided CUSUM (Page 1954, Biometrika 41) of standardised errors, for all rows at once.

Fed by `pipeline.alerts.detector` with each learnt hour. Hours are pooled until PIECE_EXPECTED unhappy answers are
expected, so that the score of a piece is near enough to normal on a thin series too; it is cut at CLIP, so that one
spike alone (the other test's business) does not pass for a drift.
"""

from __future__ import annotations

import numpy as np

from pipeline.alerts.stats import Bools, Floats

PIECE_EXPECTED = 5.0
CLIP = 3.0
SLACK = 0.5
"""Half of the smallest steady shift to be found, in standard deviations of a piece (the usual choice)."""
LIMIT = 12.0
"""Siegmund's approximation of the run length in control, exp(2 SLACK (LIMIT + 1.166)) / (2 SLACK^2), gives about
a million pieces: rare even over thousands of series, with room for errors that are not quite independent."""


class Drift:
    """The running sums of all rows; `alarm` is which of them drift now."""

    ARRAYS = ("sums", "pooled", "alarm")

    def __init__(self) -> None:
        self.sums = np.zeros(0)
        self.pooled = np.zeros((0, 3))  # unhappy, expected, variance of the piece under way
        self.alarm: Bools = np.zeros(0, dtype=bool)

    def add(self, extra: int) -> None:
        """Add rows."""
        self.sums = np.concatenate([self.sums, np.zeros(extra)])
        self.pooled = np.concatenate([self.pooled, np.zeros((extra, 3))])
        self.alarm = np.concatenate([self.alarm, np.zeros(extra, dtype=bool)])

    def update(self, k: Floats, expected: Floats, variance: Floats, steady: Bools) -> None:
        """Take in an hour. Rows that are not `steady` (cold, or in an alarm) stand still."""
        self.pooled[steady] += np.stack([k, expected, variance], axis=1)[steady]
        due = self.pooled[:, 1] >= PIECE_EXPECTED
        piece = self.pooled[due]
        score = np.clip((piece[:, 0] - piece[:, 1]) / np.sqrt(np.maximum(piece[:, 2], 1e-9)), -CLIP, CLIP)
        self.sums[due] = np.clip(self.sums[due] + score - SLACK, 0.0, 2 * LIMIT)  # a cap, so that it can recover
        self.pooled[due] = 0.0
        self.alarm = np.where(self.alarm, self.sums > LIMIT / 2, self.sums > LIMIT)

    def forget(self, rows: Bools) -> None:
        """Begin again for `rows`."""
        self.sums[rows] = 0.0
        self.pooled[rows] = 0.0
        self.alarm[rows] = False

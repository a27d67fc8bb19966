"""Two labelers on the same comments: the same is no difference, a clear one is seen."""

from __future__ import annotations

import numpy as np
import pytest

from models.compare import paired_bootstrap
from models.evaluate import THREE


def test_the_same_answers_differ_by_nothing() -> None:
    truth = list(THREE) * 40
    result = paired_bootstrap(truth, truth, truth, resamples=200)
    assert result.difference == result.low == result.high == 0
    assert result.p_value == 1.0


def test_a_clear_difference_is_significant_and_a_small_one_is_not() -> None:
    generator = np.random.default_rng(1)
    truth = list(generator.choice(THREE, 600))

    def wrong(share: float) -> list[str]:
        return [str(generator.choice(THREE)) if generator.random() < share else t for t in truth]

    bad, good, good_too = wrong(0.5), wrong(0.1), wrong(0.1)
    clear = paired_bootstrap(truth, bad, good, resamples=400)
    assert clear.p_value < 0.01
    assert clear.low > 0.1
    assert clear.difference == pytest.approx(clear.b - clear.a)
    assert paired_bootstrap(truth, good, good_too, resamples=400).p_value > 0.05

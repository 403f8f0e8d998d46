"""The best of many tries by guessing, against the exact order statistics."""

import numpy as np
import pytest
from scipy import stats

from jaxunlearn.attacks.guessing import best_by_guessing


def test_the_best_of_eighteen_points_on_39_facts():
    chosen = np.random.default_rng(0).integers(0, 4, (18, 39))
    found = best_by_guessing(chosen, [4] * 39)
    below = stats.binom.cdf(np.arange(40), 39, 0.25) ** 18  # of independent points
    assert found.value == pytest.approx((1 - below).sum() / 39 - 0, abs=0.01) and 0.36 < found.value < 0.385
    assert found.high == pytest.approx(np.searchsorted(below, 0.975) / 39, abs=1.01 / 39) and found.n == 39


def test_points_that_choose_alike_are_one_try():
    once = np.random.default_rng(0).integers(0, 4, 39)
    found = best_by_guessing([once] * 18, [4] * 39)
    assert found.value == pytest.approx(0.25, abs=0.01)
    drifting = [np.where(np.arange(39) < 20, once, row) for row in np.random.default_rng(1).integers(0, 4, (18, 39))]
    assert 0.3 < best_by_guessing(drifting, [4] * 39).value < 0.36


def test_the_number_of_options_counts_and_one_fact_has_no_interval():
    assert best_by_guessing([[0, 0, 0, 0]], [2, 2, 1, 1]).value == pytest.approx(0.75, abs=0.01)
    assert best_by_guessing([[0]], [4]).low is None

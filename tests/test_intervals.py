"""Intervals: how often they hold the true value, and limits that are known in closed form."""

import math

import numpy as np
import pytest
from scipy import stats
from support.coverage import CASES, covered

from jaxunlearn import intervals

TRIALS, SLOW = 4_000, 300


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.interval}, {c.data}, {c.sizes[0]}")
def test_intervals_hold_the_true_value_as_often_as_they_say(case):
    trials = SLOW if case.slow else TRIALS
    low, high = case.band
    assert (low, high) == (0.93, 0.97) or case.why, "another band needs its reason"
    for n in case.sizes:
        found, slack = covered(case, n, trials), 3 * math.sqrt(0.05 * 0.95 / trials)
        assert low - slack <= found <= high + slack, f"n = {n}: {found:.3f}"


def test_student_against_scipy():
    x_N = np.array([0.2, 0.5, 0.9])
    ours = intervals.student(x_N.mean(), stats.sem(x_N), 2)
    theirs = stats.ttest_1samp(x_N, 0).confidence_interval(0.95)
    assert ours == pytest.approx((theirs.low, theirs.high))


def test_bounded_is_students_on_the_logit_scale():
    # mean .2, error .05, t(3) = 3.182446: logit -1.386294 -+ 3.182446 * .05 / .16 = -2.380809, -.391780
    low, high = intervals.bounded(0.2, 0.05, 4)
    assert (low, high) == pytest.approx((1 / (1 + math.exp(2.380809)), 1 / (1 + math.exp(0.391780))), abs=1e-6)
    assert intervals.bounded(1e-9, 1e-9, 2)[1] <= 1
    # nine times .4: Wilson's, (3.6 + z2/2 -+ z sqrt(9 * .24 + z2/4)) / (9 + z2), z2 = 3.841459: 5.520729 -+ 3.462189
    assert intervals.bounded(0.4, 0.0, 9) == pytest.approx((0.160304, 0.699525), abs=1e-6)  # ... of 12.841459
    assert np.array(intervals.bounded(0.0, 0.0, 60)) == pytest.approx(np.array(intervals.wilson(0.0, 60)))


def test_wilson_against_scipy_at_all_counts():
    for k in range(13):
        theirs = stats.binomtest(k, 12).proportion_ci(0.95, method="wilson")
        assert intervals.wilson(k / 12, 12) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_one_trial_a_cluster_is_wilson_and_alike_trials_are_one():
    for k in range(40):
        ours = intervals.clustered(np.arange(39) < k, np.ones(39))
        assert ours == pytest.approx(intervals.wilson(k / 39, 39), abs=1e-12)
        same = intervals.clustered(5 * (np.arange(39) < k), np.full(39, 5))  # every prompt agrees: 39 trials, not 195
        assert same == pytest.approx(intervals.wilson(k / 39, 39), abs=1e-12)


def test_independent_samples_count_nearly_in_full_and_no_success_as_one_a_prompt():
    k_C = np.array([2, 3] * 30)  # less spread between prompts than of independent trials: the effect is 1 ...
    low, high = intervals.clustered(k_C, np.full(60, 5))
    effect = (60 * 1 + 5) / 61  # ... averaged with 5 for one prompt
    assert (low, high) == pytest.approx(intervals.wilson(0.5, 300 / effect))
    none = intervals.clustered(np.zeros(60), np.full(60, 5))
    assert none == pytest.approx((0, 3.841459 / 63.841459), abs=1e-6)  # Wilson's of 60, not of 300
    one = intervals.clustered(np.arange(60) < 1, np.full(60, 5))
    assert one == pytest.approx(intervals.wilson(1 / 300, 100), abs=1e-3)  # effect (1 + 5) / 2


def test_clusters_of_unequal_size_weigh_by_their_trials():
    low, high = intervals.clustered(np.array([10, 0, 0]), np.array([10, 1, 1]))
    assert 0 <= low < 10 / 12 < high <= 1
    assert intervals.clustered(np.zeros(3), np.array([10, 1, 1]))[1] == pytest.approx(
        intervals.wilson(0.0, 144 / 102)[1]
    )


def test_jackknife_of_equal_blocks_is_the_standard_error():
    x_N = np.array([2.0, 3.0, 7.0])
    ratio, error, df = intervals.ratio_error(10 * x_N, np.full(3, 10))
    assert (ratio, error, df) == pytest.approx((4.0, stats.sem(x_N), 2.0))
    ratio, error, df = intervals.ratio_error(np.array([20.0, 30.0]), np.array([10, 30]))
    # ratio 1.25; residuals 7.5 and -7.5, left out of 30 and 10 tokens: .25 and -.75; weights .25 and .75
    assert (ratio, error, df) == pytest.approx((1.25, math.sqrt((0.25**2 + 0.75**2) / 2), 1 / 0.625 - 1))


def test_an_auc_solves_its_own_equation_and_holds_at_the_ends():
    wins_NM = np.array([[1.0, 1, 0], [1, 1, 1], [1, 0, 1]])  # 7 of 9
    low, high = intervals.auc(wins_NM)
    for end in (low, high):
        variance = end * (1 - end) * (1 + 2 * ((1 - end) / (2 - end) + end / (1 + end))) / 9
        assert abs(end - 7 / 9) == pytest.approx(1.959964 * math.sqrt(variance), rel=1e-5)
    low, high = intervals.auc(np.ones((5, 5)))
    assert high == 1 and 0.4 < low < 0.8
    assert intervals.auc(np.zeros((5, 5))) == pytest.approx((0, 1 - low))

"""Intervals against values worked out by hand, limits and coverage."""

import json
import math
import time

import numpy as np
import pytest
from scipy import stats

from jaxunlearn import intervals
from jaxunlearn.errors import InputError
from jaxunlearn.estimates import (
    SHARE,
    Estimate,
    bound,
    clustered_rate,
    decimals,
    duration,
    interval,
    mcnemar,
    mean_estimate,
    number,
    over_runs,
    rate_estimate,
    ratio_estimate,
)


def test_wilson_by_hand():
    # z2 = 3.841459; 5 of 10: middle .5, half-width z / (1 + z2/10) * sqrt(.25/10 + z2/400) = .263407
    found = rate_estimate(5, 10)
    assert (found.value, found.n) == (0.5, 10)
    assert (found.low, found.high) == pytest.approx((0.236593, 0.763407), abs=1e-6)
    # 1 of 20: middle (.05 + .0960365) / 1.192073 = .122506, half-width .113622
    assert (rate_estimate(1, 20).low, rate_estimate(1, 20).high) == pytest.approx((0.008881, 0.236131), abs=1e-5)


def test_wilson_at_the_ends():
    none, every = rate_estimate(0, 10), rate_estimate(10, 10)
    assert none.value == none.low == 0.0 and none.high == pytest.approx(3.841459 / 13.841459, abs=1e-7)
    assert every.value == every.high == 1.0 and every.low == pytest.approx(10 / 13.841459, abs=1e-7)
    assert all(rate_estimate(0, n).low == 0.0 and rate_estimate(n, n).high == 1.0 for n in range(2, 200))


def test_mean_interval_is_the_normal_one_for_many_items():
    samples = np.tile([0.0, 1.0], 200)  # standard error .5 / 20 = .025
    found = mean_estimate(samples)
    assert (found.value, found.n) == (0.5, 400)
    assert found.low == pytest.approx(0.5 - 1.96 * 0.025, abs=0.001)
    assert found.high == pytest.approx(0.5 + 1.96 * 0.025, abs=0.001)


def test_mean_of_two_items_by_hand():
    found = mean_estimate([0.0, 1.0])  # t(1) = 12.706, standard error .5
    assert (found.value, found.n, found.low, found.high) == pytest.approx((0.5, 2, 0.5 - 6.353102, 0.5 + 6.353102))
    assert mean_estimate([2.0, 2.0, 2.0]) == Estimate(value=2.0, low=2.0, high=2.0, n=3)


def test_one_item_has_no_interval_and_says_so():
    for found in (mean_estimate([0.7]), rate_estimate(1, 1), ratio_estimate([2.0], [4])):
        assert found.low is None and found.high is None and found.n == 1
        assert "no interval" in found.to_json()["note"]
    assert mean_estimate([0.7]).value == 0.7 and ratio_estimate([2.0, 0.0], [4, 0]).value == math.exp(0.5)
    assert "note" not in mean_estimate([0.7, 0.7]).to_json()


def test_probabilities_stay_between_0_and_1_and_all_of_them_0_is_no_certainty():
    samples = [0.001, 0.002, 0.09]
    loose, found = mean_estimate(samples), mean_estimate(samples, SHARE)
    assert loose.low < 0 < found.low < found.value == pytest.approx(0.031) and loose.high < found.high < 1
    none = mean_estimate([0.0] * 60, SHARE)
    assert (none.value, none.low) == (0, 0) and none.high == pytest.approx(rate_estimate(0, 60).high)
    alike = mean_estimate([1.0, 1.0, 1.0], (0, 5))  # Wilson's of .2 of three trials: .024626 to .712273
    assert (alike.low, alike.value, alike.high) == pytest.approx((5 * 0.024626, 1.0, 5 * 0.712273), abs=1e-5)
    points = mean_estimate([5.0] * 9, (0, 5))
    assert points.high == 5 and points.low == pytest.approx(5 * rate_estimate(9, 9).low)
    assert mean_estimate([1.0, 1.0000002], SHARE).value == pytest.approx(1)
    with pytest.raises(InputError, match=r"0 to 1, got 0\.2 to 1\.5"):
        mean_estimate([0.2, 1.5], SHARE)


def test_samples_of_one_prompt_are_no_independent_trials():
    alone = rate_estimate(60, 300)
    found = clustered_rate([5] * 12 + [0] * 48, 5)  # 12 of 60 prompts always name the target
    assert found.value == alone.value and found.n == 60
    assert found.high - found.low > 2 * (alone.high - alone.low)
    assert clustered_rate([1, 0, 1, 0], [1, 1, 1, 1]) == rate_estimate(2, 4)
    assert clustered_rate([3], 5).low is None and clustered_rate([3], 5).value == 0.6
    for hits, trials in (([2, 1], [1, 1]), ([-1, 0], 1), ([0, 0], [1, 0])):
        with pytest.raises(InputError, match="a trial in every cluster"):
            clustered_rate(hits, trials)
    with pytest.raises(InputError, match="got 2 for 3 clusters"):
        clustered_rate([1, 0, 1], [2, 2])
    with pytest.raises(InputError, match="finite"):
        clustered_rate([1, 0], [2, float("nan")])


def test_estimates_are_quick():
    samples = np.random.default_rng(0).random(3_000)
    start = time.perf_counter()
    for _ in range(20):
        mean_estimate(samples)
    assert time.perf_counter() - start < 0.5  # by resampling it took 1.4 s


def test_perplexity_by_hand():
    # Blocks of 10 and 30 tokens with 20 and 30 nats: exp(50 / 40), not the mean of exp(2) and exp(1).
    found = ratio_estimate([20.0, 30.0], [10, 30])
    assert found.value == pytest.approx(math.exp(1.25)) and found.n == 2
    # Left out in turn: 30 / 30 and 20 / 10, off by -.25 and .75; two unequal blocks tell as much as 1.6 equal ones.
    half = stats.t.ppf(0.975, 0.6) * math.sqrt((0.25**2 + 0.75**2) / 2)
    ends = intervals.student(*intervals.ratio_error(np.array([20.0, 30.0]), np.array([10, 30])))
    assert ends == pytest.approx((1.25 - half, 1.25 + half)) and half > 20  # e to the 20: this says nothing
    assert found.low is None and "unequal" in found.to_json()["note"]
    three = ratio_estimate([20.0, 30.0, 9.0], [10, 30, 20])  # weights 1/6, 1/2, 1/3: 18 / 7 - 1 degrees of freedom
    ratio, off = 59 / 60, [(x - c * 59 / 60) / (60 - c) for x, c in ((20, 10), (30, 30), (9, 20))]
    half = stats.t.ppf(0.975, 11 / 7) * math.sqrt(2 / 3 * sum(o * o for o in off))
    assert (three.low, three.high) == pytest.approx((1.0, math.exp(ratio + half)))  # no loss is below 0 nats
    equal = ratio_estimate([20.0, 21.0, 22.0], [10, 10, 10])
    half = stats.t.ppf(0.975, 2) * 0.1 / math.sqrt(3)
    assert (equal.low, equal.high) == pytest.approx((math.exp(2.1 - half), math.exp(2.1 + half)))


def test_perplexity_leaves_out_blocks_without_tokens_and_takes_a_plain_ratio():
    assert ratio_estimate([20.0, 0.0, 30.0], [10, 0, 30]) == ratio_estimate([20.0, 30.0], [10, 30])
    assert ratio_estimate([2.0, 1.0], [4, 4], transform=np.asarray).value == pytest.approx(0.375)


@pytest.mark.parametrize("arguments", [(0, 0), (3, 2), (-1, 2)])
def test_impossible_rates_are_refused(arguments):
    with pytest.raises(InputError, match="0 <= k <= n"):
        rate_estimate(*arguments)


def test_bad_samples_are_refused():
    with pytest.raises(InputError, match="one item at least"):
        mean_estimate([])
    with pytest.raises(InputError, match="item 1 is nan"):
        mean_estimate([0.0, math.nan])
    with pytest.raises(InputError, match="2 blocks and 3 counts"):
        ratio_estimate([1.0, 2.0], [1, 2, 3])
    with pytest.raises(InputError, match="at least one block with a scored token"):
        ratio_estimate([0.0], [0])


def test_estimates_become_json():
    mean, rate = mean_estimate(np.float32([1, 2])), rate_estimate(np.int64(1), np.int64(2))
    for found in (mean, rate, ratio_estimate([1, 2], [2, 2])):
        assert set(json.loads(json.dumps(found.to_json()))) == {"value", "low", "high", "n"}


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (690.4, "690"), (24.12, "24.1"), (5.706, "5.71"), (1.0, "1.00"), (0.0274, "0.027"), (0.00083, "0.0008"),
     (0.00004, "4e-05"), (-0.5, "-0.500"), (999_999.4, "999999"), (25_892_819.3, "2.6e+07")],
)  # fmt: skip
def test_numbers_have_the_digits_a_reader_can_use(value, text):
    assert number(value) == text
    assert "e" in text or decimals(value) == len(text.partition(".")[2])


def test_the_end_of_an_interval_beyond_reason_is_written_by_its_power_of_ten():
    assert (bound(25_892_819.3, 5.75), bound(1.0, 5.75)) == ("2.6e+07", "1.00")
    assert interval({"value": 5.75, "low": 1.0, "high": 25_892_819.3}) == "1.00 to 2.6e+07"


def test_times_are_written_for_people():
    assert (duration(9.06), duration(146.2), duration(3900)) == ("9.1 s", "2 min 26 s", "1 h 05 min")


def test_intervals_are_written_with_a_dash_for_one_item():
    assert interval({"value": 0.25, "low": 0.2, "high": 0.3, "n": 9}) == "0.200 to 0.300"
    assert interval({"value": 0.25, "low": None, "high": None, "n": 1}) == "–"
    assert interval(0.25) == "" == interval({"value": 0.25, "low": 0.2})


def test_mcnemar_by_hand_and_against_scipy():
    before, after = [1, 1, 1, 1, 0, 0], [0, 0, 0, 1, 1, 0]  # three lost, one gained
    assert mcnemar(before, after) == pytest.approx(2 * (1 + 4) / 16)
    assert mcnemar([1, 0], [1, 0]) == 1.0
    draw = np.random.default_rng(3)
    one, other = draw.integers(0, 2, 80), draw.integers(0, 3, 80) > 0
    lost, gained = int(np.sum(one > other)), int(np.sum(other > one))
    assert mcnemar(one, other) == pytest.approx(stats.binomtest(lost, lost + gained).pvalue)
    with pytest.raises(InputError, match="right"):
        mcnemar([0.5], [1])


def test_one_run_has_no_interval_over_seeds():
    assert over_runs([0.3])["low"] is None and "one run" in over_runs([0.3])["note"]
    assert set(over_runs([0.3, 0.2])) == {"value", "low", "high", "n"}


@pytest.mark.parametrize("values", [[0.0, 0.0, 0.0], [0.95, 0.95]])
def test_runs_that_agree_have_no_interval_over_seeds(values):
    found = over_runs(values, SHARE)
    assert (found["value"], found["n"], found["low"], found["high"]) == (values[0], len(values), None, None)
    assert found["note"] == "every run has the same value: no interval over seeds"


@pytest.mark.parametrize(("n", "t"), [(2, 12.706205), (3, 4.302653), (12, 2.200985), (40, 2.022691)])
def test_intervals_over_seeds_are_students_for_any_number(n, t):
    values = np.linspace(0.2, 0.4, n)
    found = over_runs(values.tolist())
    half = t * np.std(values, ddof=1) / math.sqrt(n)
    assert (found["value"], found["n"]) == (pytest.approx(0.3), n)
    assert (found["low"], found["high"]) == pytest.approx((0.3 - half, 0.3 + half), rel=1e-6)
    cut = over_runs(values, SHARE)
    assert cut["low"] == max(found["low"], 0) and cut["high"] == min(found["high"], 1)

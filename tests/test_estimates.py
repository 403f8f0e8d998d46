"""Intervals against values worked out by hand, limits and coverage."""

import json
import math

import numpy as np
import pytest
from scipy import stats

from jaxunlearn.errors import InputError
from jaxunlearn.estimates import (
    Estimate,
    decimals,
    duration,
    interval,
    mcnemar,
    mean_estimate,
    number,
    over_runs,
    paired_difference,
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
    assert found.low == pytest.approx(0.5 - 1.96 * 0.025, abs=0.005)
    assert found.high == pytest.approx(0.5 + 1.96 * 0.025, abs=0.005)


def test_mean_of_two_items_by_hand():
    # Means of draws from {0, 1}: 0, .5, 1 with chances 1/4, 1/2, 1/4: the 2.5% and 97.5% points are 0 and 1.
    assert mean_estimate([0.0, 1.0]) == Estimate(value=0.5, low=0.0, high=1.0, n=2)
    assert mean_estimate([2.0, 2.0, 2.0]) == Estimate(value=2.0, low=2.0, high=2.0, n=3)


def test_one_item_has_no_interval_and_says_so():
    for found in (mean_estimate([0.7]), rate_estimate(1, 1), ratio_estimate([2.0], [4]), paired_difference([0], [1])):
        assert found.low is None and found.high is None and found.n == 1
        assert "no interval" in found.to_json()["note"]
    assert mean_estimate([0.7]).value == 0.7 and ratio_estimate([2.0, 0.0], [4, 0]).value == math.exp(0.5)
    assert "note" not in mean_estimate([0.7, 0.7]).to_json()


def test_mean_interval_covers_as_often_as_it_says():
    generator = np.random.default_rng(7)
    trials = [mean_estimate(generator.normal(3.0, 2.0, 50), seed=n) for n in range(200)]
    covered = sum(found.low <= 3.0 <= found.high for found in trials)
    assert 176 <= covered <= 198  # 95% less what a percentile bootstrap of 50 items loses; far from 90% of 80 or 99%


def test_seed_decides_the_draws():
    samples = np.arange(30.0) ** 2
    assert mean_estimate(samples, seed=3) == mean_estimate(samples, seed=3)
    assert mean_estimate(samples, seed=3).low != mean_estimate(samples, seed=4).low


def test_large_samples_are_drawn_in_pieces():
    found = mean_estimate(np.tile([0.0, 1.0], 1_500))  # 3,000 items: 666 draws a piece
    half = 1.96 * 0.5 / math.sqrt(3_000)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.08)


def test_perplexity_by_hand():
    # Blocks of 10 and 30 tokens with 20 and 30 nats: exp(50 / 40), not the mean of exp(2) and exp(1).
    found = ratio_estimate([20.0, 30.0], [10, 30])
    assert found.value == pytest.approx(math.exp(1.25)) and found.n == 2
    assert (found.low, found.high) == pytest.approx((math.exp(1.0), math.exp(2.0)))


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
     (0.00004, "4e-05"), (-0.5, "-0.500")],
)  # fmt: skip
def test_numbers_have_the_digits_a_reader_can_use(value, text):
    assert number(value) == text
    assert "e" in text or decimals(value) == len(text.partition(".")[2])


def test_times_are_written_for_people():
    assert (duration(9.06), duration(146.2), duration(3900)) == ("9.1 s", "2 min 26 s", "1 h 05 min")


def test_intervals_are_written_with_a_dash_for_one_item():
    assert interval({"value": 0.25, "low": 0.2, "high": 0.3, "n": 9}) == "0.200 to 0.300"
    assert interval({"value": 0.25, "low": None, "high": None, "n": 1}) == "–"
    assert interval(0.25) == "" == interval({"value": 0.25, "low": 0.2})


def test_pairs_cancel_what_their_items_share():
    items = np.random.default_rng(0).normal(size=60)
    found = paired_difference(items, items + 0.5)
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5)) and found.n == 60
    alone = mean_estimate(items)
    assert alone.high - alone.low > 0.3  # the two models' own intervals would have hidden it
    flipped = paired_difference(items + 0.5, items)
    assert flipped.value == pytest.approx(-0.5)
    with pytest.raises(InputError, match="same items twice"):
        paired_difference(items, items[:-1])


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
    found = over_runs([0.2, 0.3, 0.4])
    assert found["value"] == pytest.approx(0.3) and found["n"] == 3 and found["low"] < 0.3 < found["high"]

"""Differences of two models on the same items."""

import numpy as np
import pytest
from scipy import stats

from jaxunlearn.evals.differences import FIELLER, KEPT, differences, paired, paired_ratio, share_of_way
from jaxunlearn.report.findings import BACK, IN_PART
from jaxunlearn.report.paired import Change, grade, share_in_nats


def test_differences_are_taken_on_the_same_items():
    models = {
        "baseline": {"items": {"a": [0.5, 0.7, 0.9], "general accuracy, right answers": [1, 1, 1, 0]}},
        "unlearned": {"items": {"a": [0.4, 0.6, 0.8], "general accuracy, right answers": [0, 0, 1, 0]}},
        "twin": {"items": {"a": [0.5]}},
    }
    found = differences(models)
    assert [(d["measure"], d["scale"]) for d in found] == [
        ("a", "difference"), ("general accuracy, right answers", "difference")
    ]  # fmt: skip
    change, accuracy = found  # the twin was asked something else
    assert change["value"] == pytest.approx(-0.1) and change["low"] < -0.1 < change["high"]  # three items are few
    assert (change["from"], change["to"], change["n"]) == ("baseline", "unlearned", 3) and "p" not in change
    assert accuracy["value"] == -0.5 and accuracy["p"] == 0.5 and "McNemar" in accuracy["test"]
    assert differences({"baseline": {}, "unlearned": {}}) == []


def test_every_model_is_set_against_baseline_and_twin_and_between_them():
    items = {"baseline": 0.9, "unlearned": 0.3, "twin": 0.1, "npo": 0.5}
    draw = np.random.default_rng(0).normal(0, 0.01, (4, 400))
    models = {
        name: {"items": {"f": (v + noise).tolist()}} for (name, v), noise in zip(items.items(), draw, strict=True)
    }
    found = {(d["from"], d["to"], d["scale"]): d for d in differences(models)}
    assert set(found) == {
        ("baseline", "unlearned", "difference"), ("twin", "unlearned", "difference"), ("twin", "unlearned", "share"),
        ("baseline", "twin", "difference"), ("nothing", "twin", "share"),
        ("baseline", "npo", "difference"), ("twin", "npo", "difference"), ("twin", "npo", "share"),
    }  # fmt: skip
    share = found["twin", "npo", "share"]
    assert share["value"] == pytest.approx(0.5, abs=0.01) and share["of"] == "baseline" and share["n"] == 400
    assert found["nothing", "twin", "share"]["value"] == pytest.approx(1 / 9, abs=0.01)
    del models["twin"]
    assert ("nothing", "npo", "share") in {(d["from"], d["to"], d["scale"]) for d in differences(models)}


def test_what_an_attack_got_is_set_between_twin_or_guessing_and_baseline():
    right = {"baseline": [1] * 90 + [0] * 10, "unlearned": [1] * 50 + [0] * 50, "twin": [1] * 30 + [0] * 70}
    attacked = {name: {"RTT": {"items": items, "floor": 0.25}} for name, items in right.items()}
    attacked["unlearned"]["RTT"]["items"][-1] = None  # not asked
    found = {(d["from"], d["to"]): d for d in differences({"baseline": {}}, attacked) if d["scale"] == "share"}
    assert set(found) == {("twin", "unlearned"), ("guessing", "twin")}
    assert found["twin", "unlearned"]["value"] == pytest.approx(20 / 60) and found["twin", "unlearned"]["n"] == 99
    assert found["guessing", "twin"]["value"] == pytest.approx(0.05 / 0.65)


def test_perplexities_are_compared_over_tokens():
    counts = [50, 50, 10, 0]
    sums = {"baseline": [150.0, 150.0, 50.0, 0.0], "unlearned": [155.0, 155.0, 61.0, 9.0]}
    models = {name: {"items": {"retain text": {"sums": s, "counts": counts}}} for name, s in sums.items()}
    (found,) = differences(models)
    assert found["value"] == pytest.approx(np.exp(21 / 110)) and found["scale"] == "ratio" and found["n"] == 3
    models["unlearned"]["items"]["retain text"]["counts"] = [50, 50, 11, 0]
    assert differences(models) == []  # other tokens
    same = paired_ratio([200.0, 300.0], [200 + 100 * np.log(1.22), 300 + 100 * np.log(1.22)], [100, 100])
    assert (same.value, same.low, same.high) == pytest.approx((1.22, 1.22, 1.22))
    assert paired_ratio([1.0], [2.0], [3]) is None


def test_right_answers_get_bonett_and_prices_interval_with_students_quantile():
    before, after = [1] * 40 + [0] * 20, [1] * 33 + [0] * 7 + [1] * 2 + [0] * 18
    found = paired(before, after)
    lost, gained = 8 / 62, 3 / 62
    wald = np.sqrt((lost + gained - (gained - lost) ** 2) / 61) * stats.t.ppf(0.975, 61)
    assert found.value == pytest.approx(-5 / 60)
    assert (found.low, found.high) == pytest.approx((gained - lost - wald, gained - lost + wald))
    agreed = paired([1] * 60, [1] * 60)
    assert agreed.high == pytest.approx(0.046, abs=1e-3) and agreed.low == -agreed.high


def test_items_that_are_all_nothing_do_not_look_sure():
    found = paired([0.0] * 60, [0.0] * 60)
    assert found.value == 0 and found.high == -found.low == pytest.approx(0.046, abs=1e-3)
    few = paired([0.0] * 2, [0.0] * 2)
    assert few.high > 0.9


def test_a_way_that_is_not_there_is_seldom_taken_for_one():
    draw, taken = np.random.default_rng(1), {2: 0, 5: 0, 39: 0}
    for n in taken:
        for _ in range(400):
            low, high, ours = draw.normal(size=(3, n))
            taken[n] += share_of_way(low, high, ours) is not None
    assert max(taken.values()) / 400 < 0.06  # 2.5% are expected


def test_blocks_too_unequal_for_an_interval_have_no_ratio():
    assert paired_ratio([10.0, 10.0], [11.0, 12.0], [200, 20]) is None
    most = paired_ratio([30.0, 30.0], [200.0, 1400.0], [10, 10])  # a model that broke down
    assert np.isfinite(most.high) and most.value == pytest.approx(np.exp(77))


def test_a_share_without_a_sure_way_has_no_meaning():
    assert share_of_way([0.1, 0.5, 0.3], [0.2, 0.4, 0.35], [0.1, 0.4, 0.3]) is None
    assert share_of_way([0.5] * 30, [0.1] * 30, [0.3] * 30) is None


COVERED = {5: 0.94, 39: 0.94, 300: 0.93}
# Where 5% are gained and 12% lost, 2 t sqrt(variance / n); of five the two invented items are most of the variance.
WIDE = {5: 4.894 * (2.85 / 6 / 7) ** 0.5, 39: 4.048 * (0.165 / 39) ** 0.5, 300: 3.936 * (0.165 / 300) ** 0.5}


@pytest.mark.parametrize("n", COVERED)
def test_the_intervals_cover_and_are_wide_where_items_are_few(n):
    draw, held, widths = np.random.default_rng(0), [0, 0, 0], []
    for _ in range(400):
        u = draw.random(n)
        change = paired(np.zeros(n), np.where(u < 0.05, 1, np.where(u < 0.17, -1, 0)))
        held[0] += change.low <= -0.07 <= change.high
        widths.append(change.high - change.low)
        twin, base = draw.random(n) < 0.3, draw.random(n) < 0.9
        share = share_of_way(twin, base, np.where(draw.random(n) < 0.25, base, twin))
        held[1] += share is None or share.low <= 0.25 <= share.high
        counts, rise = draw.integers(20, 200, n), draw.normal(0.1, 0.3, n)
        ratio = paired_ratio(np.zeros(n), rise * counts, counts)
        held[2] += ratio.low <= np.exp(0.1) <= ratio.high
    assert min(held) / 400 >= COVERED[n] - (n == 5) * 0.04
    assert held[2] / 400 <= 0.98 and 0.9 < np.mean(widths) / WIDE[n] < 1.4


def share_left(twin, base, ours):
    """Return the entry of the share of the way from the twin to the baseline, and its grade."""
    sets = {"baseline": base, "twin": twin, "unlearned": ours}
    found = differences({}, {name: {"m": {"items": list(of)}} for name, of in sets.items()})
    (row,) = (d for d in found if d["scale"] == "share" and d["to"] == "unlearned")
    return row, grade(Change(value=row["value"], low=row["low"], high=row["high"], n=row["n"]), BACK, IN_PART)


def test_too_little_on_most_items_does_not_pay_for_what_was_kept_of_others():
    twin, base = np.full(60, 0.2), np.full(60, 0.6)
    kept = np.where(np.arange(60) < 15, base, 0.0)  # 15 of 60 whole, the others below the twin: -.05 of .4 on average
    row, word = share_left(twin, base, kept)
    assert row["value"] == pytest.approx(0.25) and row["test"] == KEPT and word == "so-so"
    assert share_of_way(twin, base, kept).value == pytest.approx(15 / 60 - 45 * 0.5 / 60)
    few, word = share_left(twin, base, np.where(np.arange(60) < 10, base, 0.0))
    assert few["value"] == pytest.approx(1 / 6) and word == "unsure"
    above, _ = share_left(twin, base, np.where(np.arange(60) < 15, 0.9, 0.0))  # an item counts as the baseline at most
    assert above["value"] == pytest.approx(0.25)
    lower, word = share_left(twin, base, np.zeros(60))  # below the twin on all: shown as it is
    assert lower["value"] == pytest.approx(-0.5) and lower["test"] == FIELLER and word == "good"
    whole, _ = share_left(twin, base, np.where(np.arange(60) < 15, base, twin))
    assert whole["value"] == pytest.approx(0.25) and whole["test"] == FIELLER
    guessed, right = np.arange(60) % 4 == 0, np.ones(60)  # the twin's guesses are others than the model's, and as many
    answered, _ = share_left(guessed, right, np.roll(guessed, 1))
    assert answered["value"] == pytest.approx(0) and answered["test"] == FIELLER


def test_a_model_that_varies_as_the_twin_does_is_not_held_to_have_kept_anything():
    draw, words = np.random.default_rng(0), []
    for _ in range(200):
        twin, base, ours = (draw.uniform(*ends, 120) for ends in ((0.05, 0.25), (0.3, 0.7), (0.05, 0.25)))
        words.append(share_left(twin, base, ours)[1])
    assert words.count("good") >= 0.97 * len(words) and not {"bad", "so-so"} & {*words}


def test_blocks_read_worse_than_by_the_twin_do_not_pay_for_those_known_by_heart():
    counts = [200] * 32 + [0]
    nats = {"baseline": np.ones(33), "twin": np.full(33, 3.0), "unlearned": np.where(np.arange(33) < 8, 1.0, 4.0)}
    names = ("forget text, perplexity", "retain text, perplexity")

    def shares(of):
        items = {n: {m: {"sums": [200 * x for x in v], "counts": counts} for m in names} for n, v in of.items()}
        return differences({name: {"items": of} for name, of in items.items()})

    made = shares(nats)
    (row,) = (d for d in made if d["scale"] == "share")  # of 32 blocks 8 whole; of all it is (8 * 2 - 24) / 64
    assert (row["measure"], row["value"], row["n"]) == (names[0], pytest.approx(0.25), 32) and row["test"] == KEPT
    means = {name: float(np.exp(x[:32].mean())) for name, x in nats.items()}
    of = [{"value": means[name], "low": 1.0, "high": 99.0, "n": 32} for name in ("unlearned", "twin", "baseline")]
    assert share_in_nats({"differences": made}, names[0], "unlearned", *of).value == pytest.approx(0.25)
    worse = shares(nats | {"unlearned": np.full(33, 4.0)})
    assert not [d for d in worse if d["scale"] == "share"]  # nothing was kept: the ratios tell it
    assert share_in_nats({"differences": worse}, names[0], "unlearned", {"value": np.exp(4)}, *of[1:]).value < 0
    near = nats | {"unlearned": np.where(np.arange(33) < 1, 1.9, 3.04)}  # one block of 32, of which nothing is sure
    left = share_in_nats(
        {"differences": shares(near)}, names[0], "unlearned", {"value": np.exp(3.004), "n": 32}, *of[1:]
    )
    assert left.value == pytest.approx(-0.0022, abs=1e-3)

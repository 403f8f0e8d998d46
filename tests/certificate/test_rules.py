"""The words of a certificate, each by measures made up for it; the first rule that holds decides."""

import pytest

from jaxunlearn.certificate.rules import (
    ERASED,
    NO_BASELINE,
    RELEARNING,
    RESIDUAL,
    SUPPRESSED,
    covers,
    percent,
    verdict,
)


def m(kind, grade, title="next word", left=(0.77, 0.54, 0.88)):
    value, low, high = left
    return {"title": title, "kind": kind, "grade": grade, "left": {"value": value, "low": low, "high": high, "n": 24}}


# perplexity 1e6 of the model, 40 of the twin, 5 of the baseline: ln(40 / 1e6) / ln(40 / 5) = -4.87 of the way
FAR, NEAR_TWIN = (-4.87, -5.2, -4.6), (-0.3, -0.6, -0.05)
GOOD = [m("plain", "good"), m("pressed", "good", RELEARNING)]


@pytest.mark.parametrize(
    ("measures", "word", "reason"),
    [
        (GOOD, ERASED, "within the margin of the twin"),
        ([*GOOD, m("pressed", "", "rounding")], ERASED, "within the margin"),
        ([m("plain", "good"), m("pressed", "bad", RELEARNING)], SUPPRESSED,
         "comes back: familiarity after relearning, 77% (54% to 88%) of the way to the baseline"),
        ([*GOOD, m("pressed", "so-so", "probes")], SUPPRESSED, "comes back: probes"),
        ([*GOOD, m("plain", "so-so", "completion"), m("pressed", "bad", "probes")], RESIDUAL,
         "left without any attack: completion"),
        ([*GOOD, m("plain", "unsure", "completion"), m("pressed", "bad")], RESIDUAL, "too few items: completion"),
        ([*GOOD, m("pressed", "unsure", "probes")], RESIDUAL, "too few items: probes"),
        ([m("plain", "good"), m("pressed", "good", "probes")], RESIDUAL, "relearning was not tried"),
        ([m("plain", "good"), m("pressed", "", RELEARNING)], RESIDUAL, "its figure tells nothing"),
        ([*GOOD, m("pressed", "good", "perplexity", FAR)], RESIDUAL,
         "beyond it: perplexity, −487% (−520% to −460%) of the way to the baseline"),
        ([*GOOD, m("plain", "good", "completion", FAR)], RESIDUAL, "beyond it: completion"),
        ([*GOOD, m("pressed", "good", "perplexity", NEAR_TWIN)], ERASED, "within the margin"),
        ([*GOOD, m("pressed", "bad", "probes"), m("pressed", "good", "perplexity", FAR)], SUPPRESSED, "probes"),
        ([m("plain", ""), m("pressed", "good", RELEARNING)], RESIDUAL, "no test by ordinary prompts"),
        ([], RESIDUAL, "no test by ordinary prompts"),
    ],
)  # fmt: skip
def test_the_word_follows_from_the_measures(measures, word, reason):
    found = verdict(measures, ["next word"], {})
    assert found["word"] == word and any(reason in why for why in found["reasons"])


def test_without_a_baseline_that_knew_nothing_else_counts():
    assert verdict(GOOD, [], {})["word"] == NO_BASELINE


def test_a_condition_that_is_not_met_bars_erased_alone():
    lacking = {"there is no twin": False, "fine": True}
    found = verdict(GOOD, ["x"], lacking)
    assert (found["word"], found["reasons"]) == (RESIDUAL, ["not excluded: there is no twin"])
    assert verdict([*GOOD, m("pressed", "bad")], ["x"], lacking)["word"] == SUPPRESSED


NEAR = {"mean": 0.01, "most": 0.2, "baseline": 1.0}


def test_an_export_is_covered_where_every_measure_stays():
    assert covers([m("plain", "good"), m("plain", "")], NEAR) == (True, "")
    assert covers([m("plain", "good"), m("plain", "bad", "b")], NEAR) == (
        False, "not at the certified model's level: b",
    )  # fmt: skip
    assert covers([m("plain", "unsure", "b")], NEAR)[1].endswith("b (undecided)")


@pytest.mark.parametrize(
    ("mean", "baseline", "covered"),
    [(0.1, 1.0, True), (0.11, 1.0, False), (0.05, 0.1, True), (0.06, 0.1, False), (1.5, 1.6, False)],
)
def test_another_model_that_stands_the_same_tests_is_not_covered(mean, baseline, covered):
    found, why = covers([m("plain", "good")], {"mean": mean, "most": 9.0, "baseline": baseline})
    assert found is covered and ("another model" in why) is not covered


def test_where_no_measure_tells_an_export_has_to_write_as_the_model_does():
    assert covers([m("plain", "")], NEAR | {"mean": 0.0, "most": 0.05}) == (True, "")
    assert not covers([m("plain", "")], NEAR | {"mean": 0.0, "most": 0.051})[0]
    assert not covers([], None)[0] and not covers([m("plain", "good")], None)[0]
    assert not covers([m("plain", "bad")], NEAR | {"mean": 0.0, "most": 0.0})[0]


def test_shares_are_written_with_their_interval():
    assert percent({"value": 0.001, "low": -0.04, "high": -0.001}) == "0% (−4% to 0%)"

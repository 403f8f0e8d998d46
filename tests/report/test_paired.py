"""Changes between models by hand, from paired differences and without them; the rule on margins."""

import math

import pytest
from support.reports import e

from jaxunlearn.report.paired import Change, difference, grade, of_rate, ratio, share, worst


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(-0.01, 0.019, "good"), (0.019, 0.021, "unsure"), (-1, 1, "unsure"), (0.021, 0.1, "so-so"), (0.021, 0.11, "bad"),
     (0.2, 0.3, "bad"), (None, None, "unsure"), (0.0, 0.02, "good")],
)  # fmt: skip
def test_the_whole_interval_decides(low, high, word):
    assert grade(Change(value=0.02, low=low, high=high, n=9), 0.02, 0.1) == word
    assert grade(None, 0.02, 0.1) == "unsure"


def test_the_worst_decides_and_what_is_unsure_is_no_pass():
    assert worst(["good", "unsure"]) == "unsure" and worst(["unsure", "so-so", "good"]) == "so-so"
    assert worst(["good", "bad"]) == "bad" and worst(["good", ""]) == "good" and worst([""]) == ""


def test_without_paired_differences_half_widths_add_in_quadrature():
    found = difference({}, "m", "x", e(0.5, 0.03), e(0.6, 0.04))
    assert found is not None and not found.paired and found.n == 50
    assert (found.value, found.low, found.high) == pytest.approx((-0.1, -0.15, -0.05))
    of = ratio({}, "m", "x", e(5.5, 0.05), e(5.0, 0.05))
    half = math.hypot(math.log(5.5 / 5.45), math.log(5.0 / 4.95))
    assert of is not None and (of.low, of.high) == pytest.approx((1.1 * math.exp(-half), 1.1 * math.exp(half)))
    assert difference({}, "m", "x", None, e(0.5)) is None
    one = {"value": 0.5, "low": None, "high": None, "n": 1}
    assert difference({}, "m", "x", one, e(0.5)).low is None


def test_a_share_by_figures_alone():
    found = share({}, "m", "x", e(0.3, 0.02, 10**6), e(0.1, 0.0, 10**6), e(0.9, 0.0, 10**6))
    assert (found.value, found.low, found.high) == pytest.approx((0.25, 0.225, 0.275), abs=1e-4)  # .02 of .8 is .025
    assert share({}, "m", "x", e(0.3), e(0.5), e(0.5)) is None  # no way to go
    assert share({}, "m", "x", e(0.3), e(0.45, 0.05), e(0.5, 0.05)).low is None  # none that is sure
    few = share({}, "m", "x", e(0.1, 0.0, 3), e(0.1, 0.0, 3), e(0.9, 0.0, 3))
    assert few.high > 0.5  # three prompts that agree are not sure for that


def test_paired_differences_come_first_and_those_of_earlier_versions_do_not_count():
    row = {"measure": "m", "from": "baseline", "to": "x", "test": "t"} | e(-0.2, 0.1)
    figures = (e(0.5, 0.03), e(0.6, 0.04))
    assert difference({"differences": [row | {"scale": "difference"}]}, "m", "x", *figures).value == -0.2
    for other in (row, row | {"scale": "difference", "from": "twin"}, row | {"scale": "difference", "to": "y"}):
        assert not difference({"differences": [other]}, "m", "x", *figures).paired
    mine = row | {"scale": "share", "from": "twin", "of": "baseline"}
    assert share({"differences": [mine]}, "m", "x", e(0.3), e(0.1), e(0.9)).value == -0.2


def test_a_mean_without_an_interval_is_given_the_widest():
    found = of_rate(0.5, 60)
    assert (found["low"], found["high"]) == pytest.approx((0.3773, 0.6227), abs=1e-4)  # Wilson, 30 of 60
    assert of_rate(0.5, 1) == {"value": 0.5, "low": None, "high": None, "n": 1}

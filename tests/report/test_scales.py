"""Places, words and changes on each figure's scale, by hand."""

import math

import pytest

from jaxunlearn.report.scales import no_knowledge, scale_of

PERPLEXITY, NEXT, COMPLETED = scale_of("perplexity", "retain"), scale_of("familiarity"), scale_of("completion")


@pytest.mark.parametrize(
    ("path", "name"),
    [(("perplexity", "forget_fitted"), "nats"), (("perplexity_retain",), "nats"), (("int8", "perplexity"), "nats"),
     (("familiarity", "probability"), "odds"), (("leaks", "explicit"), "odds"), (("accuracy", "general"), "odds"),
     (("entropy", "retain"), "plain"), (("temperature",), "plain"), (("muse", "privleak"), "plain"),
     (("rtt", "accuracy"), "odds"), (("rtt", "recovery"), "plain"), (("held_loss",), "plain"), ((), "plain")],
)  # fmt: skip
def test_each_figure_has_its_scale(path, name):
    assert scale_of(*path).name == name and scale_of(*path).axis == {"nats": "log", "odds": "logit"}.get(name, "linear")


def test_a_share_is_said_by_its_odds_and_a_perplexity_in_nats():
    assert [NEXT.said(x) for x in (0.75, 0.5, 0.2, 0.0023)] == ["3 to 1", "1 to 1", "1 to 4", "1 to 434"]
    assert NEXT.said(0.00043) == "1 to 2,300" and NEXT.said(1e-6) == "under 1 to 10,000"  # .99957 / .00043 = 2324.6
    assert NEXT.said(1.0) == "over 10,000 to 1" and COMPLETED.said(3.75) == "3 to 1"
    assert PERPLEXITY.said(math.e) == "1.00 nats" and scale_of("temperature").said(1.2) == ""


def test_equal_changes_are_equally_long():
    assert NEXT.at(0.99) - NEXT.at(0.9) == pytest.approx(NEXT.at(0.1) - NEXT.at(0.01))
    assert NEXT.at(0.5) == 0 and COMPLETED.at(2.5) == 0 and PERPLEXITY.at(math.e) == pytest.approx(1)
    assert scale_of("entropy").at(-2.0) == -2.0


def test_changes_by_hand():
    assert PERPLEXITY.change(4.81, 5.71) == "+0.17 nats, +19%"  # ln 1.1871 = .1715
    assert PERPLEXITY.change(1.71, 7.1) == "+1.42 nats"
    assert NEXT.change(0.75, 0.2) == "odds 12 times lower"  # 3 : 1 to 1 : 4
    assert NEXT.change(0.2, 0.75) == "odds 12 times higher" and NEXT.change(0.3, 0.3) == "the same odds"
    assert NEXT.change(0.5, 0.0) == "odds more than 10,000 times lower"
    assert scale_of("temperature").change(1, 2) == ""


def test_what_lies_beyond_the_edge_of_an_axis_is_said():
    assert NEXT.clipped([0.5, 0.01]) == "" == PERPLEXITY.clipped([1e-9])
    assert NEXT.clipped([0.5, 0.0]) == "The axis is clipped: what lies below 0.0001 is drawn at 0.0001."
    assert "below 0.0005 is drawn at 0.0005, what lies above 4.9995 is" in COMPLETED.clipped([0.0, 5.0])
    assert NEXT.shown(0.0) == 1e-4 and NEXT.shown(1.0) == 1 - 1e-4 and PERPLEXITY.shown(1e-9) == 1e-9
    assert NEXT.ticks(0.0005, 0.95) == [0.001, 0.01, 0.1, 0.5, 0.9] and PERPLEXITY.ticks(1, 10) == []


def test_no_knowledge_is_in_the_interval():
    assert no_knowledge({"value": 0.0006, "low": 0.0003, "high": 0.001, "n": 40}, "familiarity", "probability")
    assert no_knowledge({"value": 0.02, "low": 0.009, "high": 0.05, "n": 8}, "familiarity", "probability")
    assert not no_knowledge({"value": 0.02, "low": 0.011, "high": 0.05, "n": 80}, "familiarity", "probability")
    assert no_knowledge({"value": 0.2, "low": 0.04, "high": 1.0, "n": 9}, "familiarity", "completion")  # of 5
    assert no_knowledge(0.001, "familiarity") and not no_knowledge(0.5, "familiarity")
    assert not no_knowledge({"value": 1.0, "low": 1.0, "high": 1.0, "n": 4}, "perplexity", "forget")
    assert not no_knowledge(None, "familiarity")

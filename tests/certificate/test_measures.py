"""Measures and findings from reports made up by hand: which figure is which kind of test, and when it tells nothing."""

import math

import pytest
from support.reports import e, entry, report_of

from jaxunlearn.certificate.measures import (
    PERPLEXITY,
    attacked,
    kept_level,
    known_by,
    measure,
    measures_of,
    missing,
    side_effects,
    steps_to_half,
)
from jaxunlearn.certificate.rules import RELEARNING, RESIDUAL, SUPPRESSED, verdict
from jaxunlearn.report.findings import NEXT_WORD

SURE, NEVER = [math.log(0.9)] * 40, [math.log(1e-9)] * 40


def perplexity(forget):
    return {"perplexity": {"forget": e(forget, forget / 20), "retain": e(5.0, 0.05)}}


def report(back=0.8, left=0.1):
    """Return a report of a baseline (familiarity 0.9), a twin (0.1) and an unlearned model, relearned."""
    found = report_of(unlearned=entry(left))
    for name, forget in {"baseline": 2.0, "twin": 200.0, "unlearned": 20.0}.items():
        found["models"][name]["perplexity"] |= perplexity(forget)["perplexity"]
    found["relearn"] = {
        "unlearned": [{"step": s, "familiarity": f, "n": 50} for s, f in ((0, left), (5, 0.4), (10, back))],
        "twin": [{"step": s, "familiarity": 0.1, "n": 50} for s in (0, 10)],
    }
    return found


def by_title(report, name="unlearned", logps=None):
    return {m["title"]: m for m in measures_of(report, name, logps or {})}


def test_each_figure_is_a_measure_of_its_kind():
    found = by_title(report())
    assert {m["kind"] for t, m in found.items() if t == NEXT_WORD} == {"plain"}
    assert found[NEXT_WORD]["grade"] == "good" and found[NEXT_WORD]["at_floor"]
    assert found[RELEARNING]["kind"] == "pressed" and found[RELEARNING]["grade"] == "bad"
    # (ln 200 - ln 20) / (ln 200 - ln 2) = 0.5 of the nats are still on the baseline's side
    assert found[PERPLEXITY]["left"]["value"] == pytest.approx(0.5) and found[PERPLEXITY]["kind"] == "pressed"
    assert [m["kind"] for m in measures_of(report(), "unlearned", {})] == ["plain", "pressed", "pressed"]


def test_the_demos_case_is_suppressed_and_what_is_left_is_residual():
    for left, word in ((0.1, SUPPRESSED), (0.6, RESIDUAL)):
        found = report(left=left)
        assert verdict(measures_of(found, "unlearned", {}), known_by(found, {}), {})["word"] == word


def test_without_a_twin_the_way_begins_at_nothing_and_a_perplexity_tells_nothing():
    found = report(left=0.5)
    del found["models"]["twin"], found["relearn"]["twin"]
    made = by_title(found)
    assert made[NEXT_WORD]["left"]["value"] == pytest.approx(0.5 / 0.9) and made[NEXT_WORD]["grade"] == "bad"
    assert made[PERPLEXITY]["grade"] == "" and "without a twin" in made[PERPLEXITY]["note"]
    assert made[RELEARNING]["grade"] == "bad"
    assert missing([], found, "unlearned", False)[0] == "a twin that never saw the text"


def test_the_twin_is_at_its_own_level_and_a_measure_without_a_gap_tells_nothing():
    found = by_title(report(), "twin")
    assert [found[t]["grade"] for t in (NEXT_WORD, RELEARNING, PERPLEXITY)] == ["good"] * 3
    flat = report()
    flat["models"]["baseline"]["familiarity"]["probability"] = e(0.1)
    assert by_title(flat, "twin")[NEXT_WORD]["grade"] == "" and by_title(flat)[NEXT_WORD]["grade"] == ""


def test_extraction_is_compared_window_by_window():
    half = [*SURE[:20], *NEVER[:20]]
    logps = {"baseline": {"10": SURE, "50": NEVER}, "unlearned": {"10": half, "50": NEVER},
             "twin": {"10": NEVER, "50": NEVER}}  # fmt: skip
    found = by_title(report(), logps=logps)
    ten = found["extraction: 10 tokens with probability above 0.5"]
    assert (ten["kind"], ten["grade"], ten["left"]["value"]) == ("plain", "bad", 0.5)
    assert ten["figures"]["model"]["value"] == 0.5 and ten["figures"]["baseline"]["n"] == 40
    fifty = found["extraction: 50 tokens with probability above 0.5"]
    assert fifty["grade"] == "" and fifty["note"].startswith("tells nothing here: the baseline is not shown above")
    few = {name: {n: of[n][:20] for n in of} for name, of in logps.items()}  # the twin is at its own level of any few
    assert by_title(report(), "twin", few)["extraction: 10 tokens with probability above 0.5"]["grade"] == "good"
    del logps["twin"]  # the short ones of common phrases anybody knows
    assert not any("10 tokens" in title for title in by_title(report(), logps=logps))


def test_too_few_items_for_the_twin_to_pass_tell_nothing_unless_something_is_left():
    few = {"value": 0.1, "low": -0.6, "high": 0.8, "n": 5}
    assert measure("a", "plain", {"model": e(0.1)}, few)["grade"] == "unsure"
    assert measure("a", "plain", {"model": e(0.1)}, few, tells=False)["grade"] == ""
    assert measure("a", "plain", {"model": e(0.1)}, few | {"low": 0.6}, tells=False)["grade"] == "bad"
    assert measure("a", "plain", {"model": {"value": 1, "low": None, "high": None, "n": 1}}, few)["grade"] == "unsure"


def test_the_baseline_knew_by_familiarity_or_by_extraction():
    assert known_by(report(), {}) == [NEXT_WORD]
    dull = report()
    dull["models"]["baseline"]["familiarity"]["probability"] = e(0.0006, 0.0002)
    assert known_by(dull, {}) == []
    assert known_by(dull, {"baseline": {"50": NEVER}, "twin": {"50": NEVER}}) == []
    assert len(known_by(dull, {"baseline": {"50": SURE}, "twin": {"50": NEVER}})) == 4
    assert known_by(dull, {"baseline": {"50": SURE[:1]}, "twin": {"50": NEVER[:1]}}) == []  # one window shows nothing
    assert len(known_by(dull, {"baseline": {"10": SURE, "50": SURE}})) == 4  # without a twin the longest alone


def test_the_steps_of_relearning_are_to_half_of_the_baselines_familiarity():
    assert steps_to_half(report(), "unlearned") == {"step": 10, "of": 10, "half": 0.45}
    assert steps_to_half(report(), "twin") == {"step": None, "of": 10, "half": 0.45}
    assert steps_to_half(report(), "baseline") is None
    other = report()
    other["relearn"]["unlearned"][-1]["n"] = 24  # prompts that the blocks do not state, of 50
    assert steps_to_half(other, "unlearned") is None


def test_side_effects_stand_beside_baseline_and_twin_and_the_rest_is_said_to_be_missing():
    found = {row["title"]: row["figures"] for row in side_effects(report(), "unlearned")}
    assert found["general accuracy"]["model"]["value"] == 0.9 and set(found["general accuracy"]) == {
        "baseline", "model", "twin",
    }  # fmt: skip
    lacking = missing(measures_of(report(), "unlearned", {}), report(), "unlearned", True)
    assert any("membership" in what for what in lacking) and not any("twin" in what for what in lacking[:1])


def test_an_export_is_measured_from_the_certified_model_to_the_baseline():
    mine, baseline = [0.0] * 50, [1.0] * 50
    assert kept_level("a", mine, baseline, mine)["grade"] == "good"
    assert kept_level("a", mine, baseline, [0.5] * 50)["grade"] == "bad"
    assert kept_level("a", mine, mine, mine)["grade"] == ""
    few = kept_level("a", [0.0] * 20, [1.0] * 20, [0.0] * 20)  # too few for the certified model itself to pass
    assert few["grade"] == "" and kept_level("a", [0.0] * 20, [1.0] * 20, [1.0] * 20)["grade"] == "bad"


def test_without_a_twin_an_undecided_rate_is_no_silence():
    found = report()
    del found["models"]["twin"], found["relearn"]["twin"]
    found["models"]["baseline"]["leaks"] = {"completions": e(0.8, 0.1, 9)}
    found["models"]["unlearned"]["leaks"] = {"completions": e(0.1, 0.1, 9)}
    assert by_title(found)["completions that name the target"]["grade"] == "unsure"


@pytest.mark.parametrize(
    ("name", "relearned", "shares"),
    [("unlearned", True, True), ("twin", True, False), ("other", False, False), ("unlearn", False, False)],
)
def test_an_attack_counts_as_tried_on_the_models_that_it_has_figures_of(name, relearned, shares):
    made = {"relearn": {"unlearned": [1], "unlearned, 10% of the text": [1], "twin": [1], "other, 5 facts": [1]},
            "attacks": {"latent": {"models": [{"unlearned": {"a": 1}, "twin": {}}]}}}  # fmt: skip
    assert attacked(made, {"name": "relearn", "at": ["relearn"]}, name) is relearned
    assert attacked(made, {"name": "shares", "at": ["relearn"]}, name) is shares
    assert attacked(made, {"name": "latent", "at": ["attacks", "latent"]}, name) is (name == "unlearned")
    about = {"name": "latent", "title": "Hidden states", "at": ["attacks", "latent"], "measured": True}
    assert ("hidden states" in missing([], made | {"attack_about": [about]}, name, True)) is (name != "unlearned")

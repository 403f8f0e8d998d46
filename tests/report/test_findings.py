"""The attack that the verdict counts, and the control that it is measured against."""

import pytest
from support.reports import e, entry, report_of

from jaxunlearn.report.findings import outcomes, was_measured
from jaxunlearn.report.verdict import verdicts


def test_relearning_is_measured_by_the_baseline_as_it_stands_where_it_was_not_relearned():
    known = {"baseline": 0.02, "unlearned": 0.001, "twin": 0.0}  # of 1 a return to .018 would be nothing
    found = {"models": {n: {"familiarity": {"probability": e(f, 0.0, 5000)}} for n, f in known.items()}}
    relearn = {n: [{"step": 5, "familiarity": f}] for n, f in {"unlearned": 0.018, "twin": 0.0}.items()}
    assert verdicts(found | {"relearn": relearn})["unlearned"][2].word.startswith("no: it comes back: ")


def test_relearning_counts_at_its_strongest_step_for_every_model():
    of = {"baseline": (0.7, 0.7, 0.7), "unlearned": (0.006, 0.6, 0.02), "twin": (0.0, 0.03, 0.02)}
    steps = {n: [{"step": s, "familiarity": f} for s, f in zip((0, 4, 12), fs, strict=True)] for n, fs in of.items()}
    found = {"models": {n: {"familiarity": {"probability": e(fs[0], 0.0, 5000)}} for n, fs in of.items()}}
    (made,) = outcomes(found | {"relearn": steps}, "unlearned")
    assert [figure["value"] for figure in (made.ours, made.ideal, made.before)] == [0.6, 0.03, 0.7]
    assert made.back.value == pytest.approx((0.6 - 0.03) / (0.7 - 0.03))
    assert verdicts(found | {"relearn": steps})["unlearned"][2].word.startswith("no: it comes back: ")


def test_the_worst_attack_decides():
    hidden = entry(0.1, rtt={"accuracy": e(0.88)}, leaks={"explicit": e(0.1)})
    found = report_of(unlearned=hidden)
    found["models"]["baseline"] |= {"rtt": {"accuracy": e(0.9)}, "leaks": {"explicit": e(0.8)}}
    found["models"]["twin"] |= {"rtt": {"accuracy": e(0.25)}, "leaks": {"explicit": e(0.1)}}
    forgotten, _, robust, _ = verdicts(found)["unlearned"]
    assert forgotten.word.startswith("yes: in all 2 measures; ") and robust.word.startswith("no: it comes back: RTT")
    assert [f.name for f in robust.facts] == ["RTT accuracy", "leak probes, named outright"]
    assert all(a.word == "" for a in verdicts(found)["twin"][:3])  # it sets the scale


def test_of_several_roundings_prompts_and_layers_the_strongest_counts():
    back = {"int8": {"familiarity": e(0.1)}, "int4": {"familiarity": e(0.8)}}
    low = {scheme: {"familiarity": e(0.1)} for scheme in back}
    rounded = {"unlearned": back, "twin": low, "baseline": back}
    found = report_of(unlearned=entry(0.1)) | {"attacks": {"quantise": rounded}}
    robust = verdicts(found)["unlearned"][2]
    assert robust.word.startswith("no: it comes back: ") and robust.facts[0].name == "familiarity after rounding (int4)"
    assert robust.facts[0].note.startswith("100% back")  # of what the best rounding gets from the twin and the baseline
    prompts = {"unlearned": {"alone": e(0.9), "role": e(0.12)}, "twin": {"role": e(0.11)}, "baseline": {"role": e(0.9)}}
    found = report_of(unlearned=entry(0.1)) | {"attacks": {"context": prompts}}
    robust = verdicts(found)["unlearned"][2]  # the prompts alone are no attack
    assert robust.word.startswith("yes") and [f.name for f in robust.facts] == ["familiarity, other prompts (role)"]


def graded(ours, *, twin=0.3, floor=None, learned=None, n=2000):
    """Return the outcome of RTT on a report with the floor of guessing and the accuracy on T."""
    of = {"baseline": 0.9, "unlearned": ours, "twin": twin}
    found = report_of(unlearned=entry(0.1))
    for name, accuracy in of.items():
        found["models"][name]["rtt"] = {"accuracy": e(accuracy, n=n)}
        found["models"][name]["rtt"] |= {"floor": e(0.37, 0.09, n)} if floor else {}
        found["models"][name]["rtt"] |= {"trained": e(learned)} if learned else {}
    return verdicts(found)["unlearned"][2]


def test_what_the_best_of_many_guesses_may_have_is_not_knowledge():
    assert graded(0.44).word.startswith("in part: RTT accuracy 23% back (")  # 23% of the way
    known = graded(0.44, floor=True)
    assert known.word == "undecided: RTT accuracy, n\u00a0=\u00a02000"
    assert "best by guessing 0.370, up to 0.460" in known.facts[0].note
    assert graded(0.5, floor=True).word.startswith("in part")  # above the most that guessing gives


def test_an_attack_that_taught_nothing_clears_nothing():
    assert graded(0.3, learned=0.81).word.startswith("yes")
    weak = graded(0.3, learned=0.79)
    assert weak.tint == "unsure" and "attack too weak: 0.790" in weak.facts[0].note
    assert graded(0.85, learned=0.5).word.startswith("no: it comes back")  # weak, and yet it brings it back


def test_the_interval_after_relearning_is_of_the_prompts_that_were_asked():
    familiarity = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 71}
    report = {"models": {n: {"familiarity": {"probability": familiarity}} for n in ("baseline", "unlearned", "twin")}}
    rows = {n: [{"step": 5, "familiarity": 0.5}] for n in ("unlearned", "twin")}

    def width(more):
        made = {n: [row | more for row in of] for n, of in rows.items()}
        (found,) = outcomes(report | {"relearn": made}, "unlearned")
        return found.ours["n"], found.ours["high"] - found.ours["low"]

    few, all_of = width({"n": 24}), width({})  # a row of an earlier version has no n: all prompts were asked
    assert few[0] == 24 and all_of[0] == 71 and few[1] > 1.6 * all_of[1]


def test_shares_of_the_text_are_told_from_relearning_in_a_report_of_an_earlier_version():
    relearn, shares = ({"name": name, "at": ["relearn"]} for name in ("relearn", "shares"))
    rows = [{"step": 5, "familiarity": 0.4}]
    assert was_measured({"relearn": {"twin": rows}}, relearn) and not was_measured({"relearn": {"twin": rows}}, shares)
    part = {"relearn": {"twin, 10% of the text (5 blocks)": rows}}
    assert was_measured(part, shares) and not was_measured(part, relearn)
    assert was_measured({}, shares | {"measured": True})

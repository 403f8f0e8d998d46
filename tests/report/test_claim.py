"""What the page closes with follows from its figures, and names nothing that was not measured."""

from support.reports import e, entry, report_of

from jaxunlearn.report.claim import NONE, NOTHING, claim
from jaxunlearn.report.headline import headline
from jaxunlearn.report.verdict import in_words


def of(familiarity, n=500, **more):
    """Return a report in which baseline and twin have a next-word familiarity of .9 and .1."""
    found = report_of(unlearned=entry(familiarity))
    for measures in found["models"].values():
        measures["familiarity"]["probability"]["n"] = n
    return found | more


def relearned(ours):
    return {n: [{"step": 5, "familiarity": f}] for n, f in {"unlearned": ours, "twin": 0.1, "baseline": 0.9}.items()}


def test_nothing_was_forgotten_and_familiarity_is_gone_never_stand_on_one_page():
    for kept in (0.9, 0.95):
        found = of(kept, relearn=relearned(0.9))
        said = f"{in_words(found)} {headline(found)}"
        assert claim(found) == NOTHING and "nothing was forgotten" in said and "is gone" not in said
        assert "relearning" not in headline(found)  # what was not forgotten does not come back
    gone = of(0.1, relearn=relearned(0.1))
    assert "nothing was forgotten" not in f"{in_words(gone)}" and claim(gone).startswith(
        "The claim is that familiarity is gone from what the model writes, judging by next word. "
    )


def test_what_was_not_measured_is_not_referred_to():
    untried = claim(of(0.1))
    assert untried.endswith("gone from its weights was not tried: no attack was measured.")
    assert not any(word in untried for word in ("relearning", "leak", "RTT", "below"))
    tried = claim(of(0.1, relearn=relearned(0.8)))
    assert tried.endswith("The knowledge is not gone from its weights: it comes back by relearning.")
    assert claim(of(0.1, relearn=relearned(0.5))).endswith("it comes back by relearning.")
    assert claim(of(0.1, relearn=relearned(0.1))).endswith("does not prove it gone from there.")
    assert claim(of(0.1, 60, relearn=relearned(0.2))).endswith("do not decide whether it is gone from its weights.")


def test_an_attack_without_a_figure_of_the_twin_was_not_passed():
    rounded = {"unlearned": {"int4": {"familiarity": e(0.68)}}, "baseline": {"int4": {"familiarity": e(0.9)}}}
    found = of(0.1, relearn=relearned(0.1), attacks={"quantise": rounded})
    assert in_words(found)["verdict"]["unlearned"]["Robust?"] == (
        "undecided: familiarity after rounding (int4), not tried on the twin"
    )
    assert claim(found).endswith("do not decide whether it is gone from its weights.")
    rounded |= {name: {"int4": {"familiarity": e(0.1, 0.01, 500)}} for name in ("unlearned", "twin")}
    assert claim(found).endswith("does not prove it gone from there.")


def test_what_one_measure_shows_is_not_said_of_all():
    found = of(0.1)
    for name, inside in {"baseline": 0.95, "unlearned": 0.9, "twin": 0.0}.items():
        found["models"][name]["familiarity"]["inside"] = e(inside)
    assert "judging by next word; it is not shown to be gone by inside names." in claim(found)
    assert claim(of(0.5)).startswith("The claim is only that the model writes less of the target: no measure shows")
    alone = of(0.05)
    del alone["models"]["twin"]
    assert claim(alone).startswith("The claim is only that the model writes less of the target: there is no twin")


def test_without_a_baseline_that_knew_nothing_is_claimed():
    blank = of(0.0005)
    for name, low in {"baseline": 0.0006, "twin": 0.0004}.items():
        blank["models"][name]["familiarity"]["probability"] = {"value": low, "low": 0.0, "high": 0.002, "n": 40}
    assert claim(blank) == NONE
    said = headline(blank)
    assert said.startswith("The baseline shows no familiarity with the target: 0.0006 (0 to 0.0020), a twin that")
    assert "fell" not in said and "times" not in said
    assert claim({}) == "" == claim({"models": {"unlearned": entry(0.1)}})
    assert claim(of(0.1), "repaired") == ""  # another model of the run that was not measured


def test_no_factor_is_given_for_a_figure_that_shows_no_knowledge():
    assert "odds 81 times lower" in headline(of(0.1))  # 9 : 1 to 1 : 9
    found = of(0.1)
    found["models"]["unlearned"]["familiarity"]["probability"] = {"value": 0.02, "low": 0.005, "high": 0.07, "n": 60}
    said = headline(found)
    assert "to 0.020 (0.0050 to 0.070), which is" in said and "times" not in said

"""The verdict by hand, rule by rule; what was not measured."""

import pytest
from support.reports import e, entry, report_of

from jaxunlearn.report.verdict import checks, in_words, not_measured, verdicts


def words(found, **more):
    return [answer.word for answer in verdicts(report_of(unlearned=found) | more)["unlearned"]]


@pytest.mark.parametrize(
    ("familiarity", "word"),
    [
        (0.115, "yes: like the twin"),  # intervals .105 to .125 and .09 to .11 meet
        (0.05, "yes: like the twin"),
        (0.16, "almost: 92% of the way to the twin"),
        (0.42, "in part: 60% of the way to the twin"),
        (0.7, "hardly: 25% of the way to the twin"),
        (0.885, "no"),  # meets the baseline's interval
        (0.95, "no"),
    ],
)
def test_forgotten_by_hand(familiarity, word):
    assert words(entry(familiarity))[0] == word


@pytest.mark.parametrize(
    ("accuracy", "perplexity", "word"),
    [
        (0.895, 5.05, "yes: no loss shown"),
        (0.95, 4.0, "yes: no loss shown"),
        (0.885, 5.0, "at a price"),  # 1.5 points, the intervals do not meet
        (0.9, 5.4, "at a price"),  # 8%
        (0.87, 5.0, "no"),
        (0.9, 5.6, "no"),
    ],
)
def test_kept_by_hand(accuracy, perplexity, word):
    assert words(entry(0.1, accuracy, perplexity))[1] == word


@pytest.mark.parametrize(
    ("back", "word"),
    [(0.15, "yes: nothing measured brings it back"), (0.4, "in part"), (0.6, "no: it comes back")],
)
def test_robust_by_hand(back, word):
    relearn = {
        n: [{"step": 10, "familiarity": f}, {"step": 0, "familiarity": 0.0}]
        for n, f in {"unlearned": back, "twin": 0.1, "baseline": 0.9}.items()
    }
    assert words(entry(0.1), relearn=relearn)[2] == word


def test_what_was_not_forgotten_cannot_come_back():
    relearn = {"unlearned": [{"step": 5, "familiarity": 0.9}], "twin": [{"step": 5, "familiarity": 0.1}]}
    assert words(entry(0.9), relearn=relearn)[::2] == ["no", "nothing was forgotten"]


def test_what_is_missing_is_said():
    alone = {"models": {"unlearned": {"familiarity": {"probability": e(0.1)}}}}
    assert [a.word for a in verdicts(alone)["unlearned"]] == ["not measured"] * 4
    no_twin = {"models": {"baseline": entry(0.9), "unlearned": entry(0.2)}}
    assert verdicts(no_twin)["unlearned"][0].word == "less: no twin to compare with"
    assert verdicts({}) == {} == verdicts({"models": {"other": {}}})
    missing = not_measured(
        report_of() | {"attacks": {"unmeasured": [["latent", "too few facts"]], "quantise": {"x": 1}}}
    )
    assert any("RTT" in m for m in missing) and "latent: too few facts" in missing
    assert not any("rounding" in m or "a twin" in m for m in missing)


def test_cost_is_time_and_tokens():
    costs = {"unlearned": {"seconds": 146.2, "passes": 12_345.0, "share": 0.25}}
    cost = verdicts(report_of(unlearned=entry(0.1)) | {"costs": costs})["unlearned"][3]
    assert cost.word == "2 min 26 s" and [f.text for f in cost.facts] == ["12,345", "25%"]


def one(value):
    return {"value": value, "low": None, "high": None, "n": 1, "note": "one item only"}


def test_one_item_decides_nothing():
    single = {
        "familiarity": {"probability": one(0.1)},
        "accuracy": {"general": one(0.2)},
        "leaks": {"explicit": one(0)},
    }
    relearn = {n: [{"step": 5, "familiarity": f}] for n, f in {"unlearned": 0.1, "twin": 0.1, "baseline": 0.9}.items()}
    found = report_of(unlearned=single) | {"relearn": relearn}
    for entry_of in found["models"].values():
        entry_of["leaks"] = {"explicit": one(0)}
    answers = verdicts(found)["unlearned"]
    assert [a.word for a in answers[:3]] == ["undecided: one item has no interval"] * 3
    assert {f.interval for f in answers[2].facts} == {"–"} and answers[0].facts[0].text == "0.100"
    several = found["models"]["unlearned"] | {"perplexity": {"retain_fitted": e(9.0, 0.05)}}
    assert words(several)[1] == "no"  # what has an interval still decides


HIDDEN = "filter (must be exposed)"


def attacked(hidden=0.85, twin=0.05, latent=0.3):
    """A report in which an output that hides says nothing, and what relearning and the latent probe find."""
    relearn = {n: [{"step": 0, "familiarity": f}] for n, f in {HIDDEN: hidden, "twin": twin}.items()}
    states = {HIDDEN: 0.9, "baseline": 0.9, "twin": latent}
    layers = {n: {"layers": [e(0.25), e(v)], "chance": 0.25} for n, v in states.items()}
    found = report_of(**{HIDDEN: entry(0.1)}) | {"relearn": relearn, "attacks": {"latent": layers}}
    found["models"]["baseline"]["familiarity"]["probability"] = e(0.95)
    return found


def test_what_hides_must_be_exposed_and_the_twin_must_pass():
    found = checks(attacked())
    assert found[HIDDEN].word == "exposed" and found["twin"].word == "passes every attack"
    assert [f.name for f in found[HIDDEN].facts] == [
        "by familiarity “yes: like the twin”,", "familiarity after relearning", "latent probe, layer (2)"
    ]  # fmt: skip
    blind = attacked(hidden=0.2) | {"attacks": {}}
    assert checks(blind)[HIDDEN].word.startswith("not exposed")
    assert [f.name for f in checks(attacked(latent=0.5))["twin"].facts] == ["latent probe, layer (2)"]
    assert checks(attacked(twin=0.4))["twin"].word.startswith("does not pass")
    assert in_words(attacked())["checks"] == {HIDDEN: "exposed", "twin": "passes every attack"}
    assert checks(report_of()) == {}  # nothing was attacked

"""The measures of forgetting one by one, and the worst of them deciding; by hand."""

import math

import pytest
from support.reports import e, report_of

from jaxunlearn.estimates import SHARE, mean_estimate
from jaxunlearn.evals.differences import differences
from jaxunlearn.report.forgotten import no_baseline, nothing, nothing_shown, ways, worst
from jaxunlearn.report.verdict import NO_BASELINE, verdicts


def model(next_word, inside, perplexity, leaks, n=200):
    """Return measures with intervals of 4% of each figure."""
    made = {"probability": next_word, "inside": inside}
    found = {
        "familiarity": {name: e(v, 0.04 * v, n) for name, v in made.items()},
        "leaks": {"explicit": e(leaks, 0.04 * leaks, n)},
    }
    return found | {"perplexity": {"forget": e(perplexity, 0.04 * perplexity, 32)}}


def case(**more):
    """Return the report of which a page once said: "almost, 94% of the way to the twin"."""
    models = {
        "baseline": model(0.907, 0.95, 2.1, 0.65), "unlearned": model(0.0545, 0.901, 4.23, 0.273),
        "twin": model(1e-5, 1e-6, 235, 0.027),
    }  # fmt: skip
    return report_of() | {"models": models | more, "attacks": {"leaks": {}}}


def test_the_worst_measure_decides_not_the_best():
    found = {way.title: way for way in ways(case(), "unlearned")}
    assert {title: round(1 - way.left.value, 2) for title, way in found.items()} == {
        "next word": 0.94, "inside names": 0.05, "leak probes naming it": 0.61,
        "perplexity of the target": 0.15,  # ln(4.23 / 2.1) / ln(235 / 2.1)
    }  # fmt: skip
    assert worst(list(found.values())).title == "inside names"
    unprobed = [way.title for way in ways(case() | {"attacks": {}}, "unlearned")]
    assert "completions naming it" in unprobed and "leak probes naming it" not in unprobed
    answer = verdicts(case())["unlearned"][0]
    assert answer.tint == "bad" and answer.word.startswith("no: inside names 5% of the way to the twin (−1 to 11); ")
    assert "; next word 94% of the way to the twin (" in answer.word
    facts = {fact.name: fact for fact in answer.facts}
    assert facts["perplexity of the target"].note.startswith("15% of the way to the twin (")
    assert facts["perplexity of the target"].note.endswith("; the twin has 235")
    assert [facts[title].tint for title in found] == ["good", "bad", "so-so", "bad"]


def test_a_model_that_is_at_the_twin_by_every_measure_forgot():
    answer = verdicts(case(unlearned=model(1e-4, 1e-4, 230, 0.03)))["unlearned"][0]
    assert answer.tint == "good" and answer.word.startswith(
        "yes: in all 4 measures; leak probes naming it 100% of the way"
    )


def test_a_way_in_nats_has_the_interval_of_its_paired_ratios():
    found = case()
    alone = ways(found, "unlearned")[-1].left
    ratios = {("baseline", "unlearned"): 4.23 / 2.1, ("twin", "unlearned"): 4.23 / 235, ("baseline", "twin"): 235 / 2.1}
    found["differences"] = [
        {"measure": "forget text, perplexity", "from": a, "to": b, "scale": "ratio", "value": r, "low": r * 0.99,
         "high": r / 0.99, "n": 32, "test": "t"}
        for (a, b), r in ratios.items()
    ]  # fmt: skip
    left = ways(found, "unlearned")[-1].left
    assert left.paired and not alone.paired and left.value == pytest.approx(alone.value)
    assert alone.low < left.low < left.value < left.high < alone.high
    x, y, half = math.log(235 / 4.23), math.log(235 / 2.1), -math.log(0.99)
    root = half * math.sqrt(1 - x / y + (x / y) ** 2)  # Fieller's, of equal variances and half of one as covariance
    assert left.high - left.value == pytest.approx(root / y, rel=0.01)


def test_a_measure_that_the_baseline_does_not_know_decides_nothing():
    strange = case(baseline=model(0.0006, 0.95, 2.1, 0.65), twin=model(0.0005, 1e-6, 235, 0.027))
    found = ways(strange, "unlearned")
    assert [way.title for way in found if way.unknown] == ["next word"] and not no_baseline(strange)
    fact = verdicts(strange)["unlearned"][0].facts[0]
    assert fact.note == "the baseline shows no knowledge by it; the twin has 0.0005" and fact.tint == ""
    unread = case(twin=model(1e-5, 1e-6, 2.0, 0.027))  # a text that the twin reads as well as the baseline
    assert [way.unknown for way in ways(unread, "unlearned")] == [False, False, False, True]


def test_without_a_baseline_that_knew_there_is_no_verdict():
    blank = case(baseline=model(0.0006, 0.0001, 100, 0.0005), unlearned=model(0.0002, 0.0001, 220, 0.0001))
    assert no_baseline(blank)
    forgotten, _, robust, _ = verdicts(blank | {"relearn": {"unlearned": [{"step": 5, "familiarity": 0.1}]}})[
        "unlearned"
    ]
    assert forgotten.word == robust.word == NO_BASELINE and forgotten.tint == "unsure"


def test_a_model_that_names_the_target_after_any_prompt_does_not_know_it():
    random = case()
    baseline = random["models"]["baseline"]
    baseline["familiarity"] = {"probability": e(0.001, 0.0005), "completion": e(4.7, 0.1)}
    baseline["leaks"] = {"explicit": e(0.87, 0.03), "completions": e(0.87, 0.03), "neutral": e(0.86, 0.1)}
    random["models"]["unlearned"]["familiarity"]["completion"] = random["models"]["twin"]["familiarity"][
        "completion"
    ] = e(4)
    assert no_baseline(random)
    baseline["leaks"]["neutral"] = e(0.1, 0.05)
    assert not no_baseline(random)


def test_nothing_was_forgotten_only_where_no_measure_fell():
    kept = case(unlearned=model(0.907, 0.95, 2.1, 0.65))
    assert nothing(kept, "unlearned") and nothing_shown(kept, "unlearned") and not nothing(case(), "unlearned")
    few = case(unlearned=model(0.907, 0.95, 2.1, 0.65))
    for of in few["models"].values():
        of.pop("perplexity")
        for figure in (*of["familiarity"].values(), *of["leaks"].values()):
            figure |= {"low": 0.3 * figure["value"], "high": min(1.0, 1.7 * figure["value"]), "n": 3}
    assert nothing_shown(few, "unlearned") and not nothing(few, "unlearned")  # too few prompts to say so


def probed(times):
    """Return a report of lost next words, and of leak probes of which the model kept all: one in four."""
    items = {"baseline": [0.9, 0.004, 0.003, 0.002], "twin": [0.003, 0.002, 0.002, 0.001]}
    items["unlearned"], found = items["baseline"], report_of()
    probes = {name: {"leak probes, probability": {"items": of * times}} for name, of in items.items()}
    for name, of in items.items():
        next_word = e(0.9 if name == "baseline" else 0.0, 0.01, 200)
        leaks = {"probability": mean_estimate(of * times, SHARE).to_json()}
        found["models"][name] = {"familiarity": {"probability": next_word}, "leaks": leaks}
    return found | {"differences": differences({}, probes)}


def test_fewer_prompts_never_judge_better():
    assert [verdicts(probed(times))["unlearned"][0].word.split()[0] for times in (1, 2, 10)] == [
        "undecided:", "undecided:", "no:",
    ]  # fmt: skip
    few = ways(probed(1), "unlearned")[1]
    assert few.title == "leak probes" and not few.unknown and not few.shown  # .227, and the interval holds .01
    assert ways(probed(10), "unlearned")[1].shown


def test_a_perplexity_without_an_interval_is_undecided_and_not_left_out():
    report = case(unlearned=model(1e-5, 1e-6, 3.0, 0.027), baseline=model(0.907, 0.95, 3.0, 0.65))
    for name, value in {"baseline": 3.0, "unlearned": 3.0, "twin": 40.0}.items():
        report["models"][name]["perplexity"]["forget"] = {"value": value, "low": None, "high": None, "n": 2}
    found = ways(report, "unlearned")[-1]
    assert not found.unknown and found.left.value == 1.0 and found.tint == "unsure"
    assert verdicts(report)["unlearned"][0].word.startswith("undecided: perplexity of the target has no interval")


@pytest.mark.parametrize(("low", "neutral", "unknown"), [(0.1, 0.2, False), (0.1, 0.3, True), (0.25, 0.2, False)])
def test_naming_by_chance_goes_by_the_rate_itself(low, neutral, unknown):
    report = case()
    baseline = report["models"]["baseline"]
    baseline["leaks"] = {"explicit": {"value": 0.3, "low": low, "high": 0.5, "n": 20}, "neutral": e(neutral)}
    named = next(way for way in ways(report, "unlearned") if way.path == ("leaks", "explicit"))
    assert named.unknown == unknown and named.shown == (low > neutral)

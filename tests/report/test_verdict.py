"""The verdict by hand, rule by rule; what was not measured."""

import math

import numpy as np
import pytest
from support.reports import e, entry, report_of, report_of_items

from jaxunlearn.report import verdict
from jaxunlearn.report.findings import RELEARNED
from jaxunlearn.report.paired import ORDER
from jaxunlearn.report.verdict import checks, in_words, not_measured, verdicts

SAME = "accuracy within 2 points (loss 0 points, −0.7 to 0.7)"  # of 400 right answers, and of two figures .005 wide
LIKE = "perplexity within 2% (loss 0%, −1.4 to 1.4)"  # of two figures of 5, .05 wide
BLOCKS = np.linspace(200, 400, 32)  # nats of a block of 200 tokens


def words(found, **more):
    return [answer.word for answer in verdicts(report_of(unlearned=found) | more)["unlearned"]]


def judged(question=1, **models):
    """Return the answer on the unlearned model of a report made of items."""
    return verdicts(report_of_items(perplexity_counts=[200] * 32, **models))["unlearned"][question]


# ---- on the same items


def keeping(risen=1.0, wrong=0, questions=400):
    """Return the answer to "Kept?" where perplexity rose on every block alike and some of the questions were lost."""
    right = np.ones(questions, int)
    known = {"familiarity": [0.9] * 60, "accuracy": right, "perplexity": BLOCKS}
    left = {"accuracy": np.where(np.arange(questions) < wrong, 0, right), "perplexity": BLOCKS + 200 * math.log(risen)}
    return judged(baseline=known, unlearned={"familiarity": [0.01] * 60} | left)


def test_a_rise_on_every_block_is_a_loss_however_wide_the_blocks_spread():
    assert keeping(1.22).word == f"no: costs 22% perplexity (22 to 22), {SAME}" and keeping(1.22).tint == "bad"
    assert keeping(1.04).word == f"at a price: costs 4% perplexity (4 to 4), {SAME}"
    kept = keeping(1.01)
    assert kept.word == f"yes: {SAME}, costs 1% perplexity (1 to 1), within 2%" and kept.tint == "good"
    assert kept.rule == "margin: 2 points, paired, n\u00a0=\u00a0400; 2%, paired, n\u00a0=\u00a032"


def test_lost_answers_are_a_loss_and_few_questions_clear_nothing():
    assert (
        keeping(wrong=28).word == "no: costs 7 points of accuracy (4.4 to 9.6), perplexity within 2% (loss 0%, 0 to 0)"
    )  # 1.00 to .930
    assert keeping(wrong=7, questions=101).tint == "unsure"  # .931, and the interval holds 2 points
    none_lost = keeping(questions=60)
    assert none_lost.word.startswith(
        "undecided: accuracy not shown to change (loss 0 points, −4.6 to 4.6, n\u00a0=\u00a060)"
    )
    assert none_lost.tint == "unsure"
    assert keeping(1.04, questions=60).word.endswith(
        "(4 to 4), accuracy not shown to change (loss 0 points, −4.6 to 4.6, n\u00a0=\u00a060)"
    )


def forgetting(left, n=200):
    """Return the answer to "Forgotten?" of n prompts, of which the baseline knows .9 and the twin .1."""
    return judged(
        0, baseline={"familiarity": [0.9] * n}, unlearned={"familiarity": left}, twin={"familiarity": [0.1] * n}
    )


@pytest.mark.parametrize(
    ("left", "said", "tint"),
    [
        ([0.1] * 200, "yes: next word 100% of the way to the twin (99 to 101)", "good"),
        ([0.02] * 200, "yes: next word 110% of the way to the twin (109 to 111)", "good"),
        ([0.42] * 200, "in part: next word 60% of the way to the twin (59 to 62)", "so-so"),
        ([0.7] * 200, "hardly: next word 25% of the way to the twin (24 to 27)", "bad"),
        ([0.9] * 200, "no: next word 0% of the way to the twin (−1 to 3)", "bad"),
        ([0.95] * 200, "no: next word −6% of the way to the twin (−7 to −3)", "bad"),
        ([0.9, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1] * 20,
         "undecided: next word 90% of the way to the twin (86 to 94), n\u00a0=\u00a0200", "unsure"),
    ],
)  # fmt: skip
def test_forgotten_by_hand(left, said, tint):
    assert (forgetting(left).word, forgetting(left).tint) == (said, tint)


def test_few_prompts_show_no_forgetting():
    assert [forgetting([0.1] * n, n).tint for n in (2, 3, 12, 60)] == ["unsure", "unsure", "unsure", "good"]


def retrained(n, ours=0.45, twin=0.3):
    """Return the answer to "Robust?" by an attack that gives n right or wrong answers, of which the baseline has .9."""
    draw = np.random.default_rng(1)
    of = {"baseline": (0.9, 0.9), "unlearned": (0.01, ours), "twin": (0.01, twin)}
    items = {
        name: {"familiarity": [f] * n, "RTT accuracy": draw.permutation(np.arange(n) < round(share * n)).astype(int)}
        for name, (f, share) in of.items()
    }
    return judged(2, **items)


@pytest.mark.parametrize("ours", [0.32, 0.45, 0.7])
def test_fewer_items_never_judge_better(ours):
    tints = [retrained(n, ours).tint for n in (20, 40, 100, 400, 1600, 6400)]
    caution = {"good": 0, "so-so": 1, "unsure": 2, "bad": 3}
    decided = [t for t in tints if t != "unsure"]
    assert "unsure" in tints and tints == ["unsure"] * tints.count("unsure") + decided
    assert [caution[t] for t in decided] == sorted((caution[t] for t in decided), reverse=True)
    assert tints[-1] == {0.32: "good", 0.45: "so-so", 0.7: "bad"}[ours] and set(caution) == set(ORDER)


def test_a_return_above_the_twin_is_no_pass_at_a_hundred_facts_nor_at_four_hundred():
    assert retrained(100).word == "undecided: RTT accuracy, n\u00a0=\u00a0100"
    assert retrained(400).word.startswith("in part: RTT accuracy 25% back (")
    assert "25% back (" in retrained(400).facts[0].note


# ---- by the figures alone, as in reports of earlier versions


@pytest.mark.parametrize(
    ("accuracy", "perplexity", "word"),
    [
        (0.895, 5.0, f"yes: accuracy within 2 points (loss 0.5 points, −0.2 to 1.2), {LIKE}"),
        (0.95, 4.0, "yes: accuracy better by 5 points (4.3 to 5.7), perplexity better by 20% (19 to 21)"),
        (0.885, 5.0, f"undecided: costs 1.5 points of accuracy (0.8 to 2.2, n\u00a0=\u00a050), {LIKE}"),
        (0.87, 5.0, f"at a price: costs 3 points of accuracy (2.3 to 3.7), {LIKE}"),
        (0.9, 5.4, f"at a price: costs 8% perplexity (6.5 to 9.5), {SAME}"),
        (0.8, 5.0, f"no: costs 10 points of accuracy (9.3 to 11), {LIKE}"),
        (0.9, 5.6, f"no: costs 12% perplexity (11 to 14), {SAME}"),
    ],
)
def test_kept_by_hand(accuracy, perplexity, word):
    found = verdicts(report_of(unlearned=entry(0.1, accuracy, perplexity)))["unlearned"][1]
    assert found.word == word and "unpaired" in found.rule


@pytest.mark.parametrize(
    ("back", "word"),
    [(0.1, f"yes: nothing measured brings it back; at most {RELEARNED} 0% back (−5 to 5)"),
     (0.4, f"in part: {RELEARNED} 38% back (31 to 44)"), (0.8, f"no: it comes back: {RELEARNED} 88% back (82 to 93)"),
     (0.2, "undecided: familiarity after relearning, n\u00a0=\u00a0500")],
)  # fmt: skip
def test_robust_by_hand(back, word):
    relearn = {
        n: [{"step": 10, "familiarity": f}, {"step": 0, "familiarity": 0.0}]
        for n, f in {"unlearned": back, "twin": 0.1, "baseline": 0.9}.items()
    }
    found = entry(0.1)
    found["familiarity"]["probability"]["n"] = 500
    report = report_of(unlearned=found) | {"relearn": relearn}
    for name in ("baseline", "twin"):
        report["models"][name]["familiarity"]["probability"]["n"] = 500
    assert verdicts(report)["unlearned"][2].word == word
    assert not words(entry(0.1), relearn=relearn)[2].startswith("yes")  # of 50 prompts


def test_a_control_that_was_damaged_is_no_clean_control():
    damaged = attacked()
    damaged["models"][HIDDEN] |= {"accuracy": {"general": e(0.61, 0.005)}}  # 29 points of .9
    found = checks(damaged)[HIDDEN]
    assert found.word == "exposed; but it costs 29 points of accuracy (28 to 30)" and found.tint == "so-so"
    assert checks(attacked())[HIDDEN].tint == "good" and checks(damaged)["twin"].tint == "good"


def test_models_that_only_hide_stand_apart_from_the_verdict():
    found = attacked()
    assert set(verdicts(found)) == {"baseline", "twin"} and HIDDEN in checks(found)
    assert HIDDEN not in in_words(found | {"costs": {HIDDEN: {"seconds": 3}}})["verdict"]


def test_what_was_not_forgotten_cannot_come_back():
    relearn = {"unlearned": [{"step": 5, "familiarity": 0.9}], "twin": [{"step": 5, "familiarity": 0.1}]}
    assert words(entry(0.9), relearn=relearn)[::2] == [
        "no: next word 0% of the way to the twin (−6 to 6)", "nothing was forgotten"
    ]  # fmt: skip


def test_what_is_missing_is_said():
    alone = {"models": {"unlearned": {"familiarity": {"probability": e(0.1)}}}}
    assert [a.word for a in verdicts(alone)["unlearned"]] == ["not measured"] * 4
    no_twin = {"models": {"baseline": entry(0.9), "unlearned": entry(0.2)}}
    assert verdicts(no_twin)["unlearned"][0].word == "in part: next word 22% left (17 to 28)"
    no_twin["models"]["unlearned"] = entry(0.02)
    assert verdicts(no_twin)["unlearned"][0].word == "less, no twin to compare with: next word 2% left (−3 to 8)"
    assert verdicts({}) == {} == verdicts({"models": {"other": {}}})
    missing = not_measured(
        report_of() | {"attacks": {"unmeasured": [["latent", "too few facts"]], "quantise": {"x": 1}}}
    )
    assert any("RTT" in m for m in missing) and "latent: too few facts" in missing
    assert not any("rounding" in m or "a twin" in m for m in missing)


def test_cost_is_time_and_tokens():
    costs = {"unlearned": {"seconds": 146.2, "passes": 12_345.0, "share": 0.25}}
    cost = verdicts(report_of(unlearned=entry(0.1)) | {"costs": costs})["unlearned"][3]
    assert cost.word == "2 min 26 s wall time" and [f.text for f in cost.facts] == ["12,345", "25%"]


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
    assert [a.word for a in answers[:3]] == [verdict.ONE_ITEM] * 3 and {a.tint for a in answers[:3]} == {"unsure"}
    assert {f.interval for f in answers[2].facts} == {"–"} and answers[0].facts[0].text == "0.100"
    several = found["models"]["unlearned"] | {"perplexity": {"retain_fitted": e(9.0, 0.05)}}
    assert words(several)[1].startswith("no: costs 80% perplexity")  # what has an interval still decides


HIDDEN = "filter (must be exposed)"


def attacked(hidden=0.85, twin=0.0, latent=0.25, n=500):
    """A report in which an output that hides says nothing, and what relearning and the latent probe find."""
    relearn = {k: [{"step": 0, "familiarity": f}] for k, f in {HIDDEN: hidden, "twin": twin}.items()}
    states = {HIDDEN: 0.9, "baseline": 0.9, "twin": latent}
    layers = {k: {"layers": [e(0.25, n=n), e(v, n=n)], "chance": 0.25} for k, v in states.items()}
    found = report_of(**{HIDDEN: entry(0.1)}) | {"relearn": relearn, "attacks": {"latent": layers}}
    for name, measures in found["models"].items():
        measures["familiarity"]["probability"] = e(0.95 if name == "baseline" else 0.1, n=n)
    return found


def test_what_hides_must_be_exposed_and_the_twin_must_pass():
    found = checks(attacked())
    assert found[HIDDEN].word == "exposed" and found["twin"].word == "passes every attack"
    assert [f.name for f in found[HIDDEN].facts] == [
        "by familiarity “yes: next word 100% of the way to the twin (98 to 102)”:",
        "familiarity after relearning",
        "latent probe, layer (2)",
    ]
    blind = attacked(hidden=0.2) | {"attacks": {}}
    assert checks(blind)[HIDDEN].word.startswith("not exposed")
    assert [f.name for f in checks(attacked(latent=0.5))["twin"].facts] == ["latent probe, layer (2)"]
    assert checks(attacked(twin=0.4))["twin"].word.startswith("does not pass")
    assert in_words(attacked())["checks"] == {HIDDEN: "exposed", "twin": "passes every attack"}
    assert checks(report_of()) == {}  # nothing was attacked


def test_the_attacks_own_controls_are_not_passed_by_few_items():
    assert checks(attacked(n=12))["twin"].word == "undecided: too few items"
    few = attacked(hidden=0.6, n=12) | {"attacks": {}}
    assert checks(few)[HIDDEN].word == "undecided: too few items"  # of .85, less than sure


def test_an_attack_is_named_once_and_not_where_it_is_graded():
    found = report_of(unlearned=entry(0.1, leaks={"probability": e(0.1)}))
    assert any("leak probes" in m for m in not_measured(report_of()))
    assert not any(m.lower().startswith("leak probes") for m in not_measured(found))  # measured without the attack
    skipped = found | {"attacks": {"unmeasured": ["Retraining on some of the facts (RTT): no facts"]}}
    assert [m for m in not_measured(skipped) if "RTT" in m] == ["Retraining on some of the facts (RTT): no facts"]

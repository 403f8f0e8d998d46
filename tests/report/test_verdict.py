"""The verdict by hand, rule by rule; what was not measured; tables of whatever a report holds."""

import pytest

from jaxunlearn.report import tables
from jaxunlearn.report.verdict import checks, duration, in_words, not_measured, verdicts


def e(value, width=0.01, n=50):
    return {"value": value, "low": value - width, "high": value + width, "n": n}


def entry(familiarity, accuracy=0.9, perplexity=5.0, **more):
    return {
        "familiarity": {"probability": e(familiarity)},
        "accuracy": {"general": e(accuracy, 0.005)},
        "perplexity": {"retain_fitted": e(perplexity, 0.05)},
    } | more


def report(**models):
    return {"models": {"baseline": entry(0.9), "twin": entry(0.1)} | models}


def words(found, **more):
    return [answer.word for answer in verdicts(report(unlearned=found) | more)["unlearned"]]


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


def test_relearning_is_measured_by_the_baseline_as_it_stands_where_it_was_not_relearned():
    known = {"baseline": 0.02, "unlearned": 0.001, "twin": 0.0}  # of 1 a return to .018 would be nothing
    found = {"models": {n: {"familiarity": {"probability": e(f, 0.0)}} for n, f in known.items()}}
    relearn = {n: [{"step": 5, "familiarity": f}] for n, f in {"unlearned": 0.018, "twin": 0.0}.items()}
    assert verdicts(found | {"relearn": relearn})["unlearned"][2].word == "no: it comes back"


def test_the_worst_attack_decides():
    hidden = entry(0.1, rtt={"accuracy": e(0.88)}, leaks={"explicit": e(0.1)})
    found = report(unlearned=hidden)
    found["models"]["baseline"] |= {"rtt": {"accuracy": e(0.9)}, "leaks": {"explicit": e(0.8)}}
    found["models"]["twin"] |= {"rtt": {"accuracy": e(0.25)}, "leaks": {"explicit": e(0.1)}}
    forgotten, _, robust, _ = verdicts(found)["unlearned"]
    assert forgotten.word == "yes: like the twin" and robust.word == "no: it comes back"
    assert [f.name for f in robust.facts] == ["RTT accuracy", "leak probes, named outright"]
    assert all(a.word == "" for a in verdicts(found)["twin"][:3])  # it sets the scale


def test_what_was_not_forgotten_cannot_come_back():
    relearn = {"unlearned": [{"step": 5, "familiarity": 0.9}], "twin": [{"step": 5, "familiarity": 0.1}]}
    assert words(entry(0.9), relearn=relearn)[::2] == ["no", "nothing was forgotten"]


def test_what_is_missing_is_said():
    alone = {"models": {"unlearned": {"familiarity": {"probability": e(0.1)}}}}
    assert [a.word for a in verdicts(alone)["unlearned"]] == ["not measured"] * 4
    no_twin = {"models": {"baseline": entry(0.9), "unlearned": entry(0.2)}}
    assert verdicts(no_twin)["unlearned"][0].word == "less: no twin to compare with"
    assert verdicts({}) == {} == verdicts({"models": {"other": {}}})
    missing = not_measured(report() | {"attacks": {"unmeasured": [["latent", "too few facts"]], "quantise": {"x": 1}}})
    assert any("RTT" in m for m in missing) and "latent: too few facts" in missing
    assert not any("rounding" in m or "a twin" in m for m in missing)


def test_cost_is_time_and_tokens():
    costs = {"unlearned": {"seconds": 146.2, "passes": 12_345.0, "share": 0.25}}
    cost = verdicts(report(unlearned=entry(0.1)) | {"costs": costs})["unlearned"][3]
    assert cost.word == "2 min 26 s" and [f.text for f in cost.facts] == ["12,345", "25%"]
    assert (duration(9.06), duration(3900)) == ("9.1 s", "1 h 05 min")


def test_any_attack_becomes_tables():
    attacks = {
        "quantise": {"int8": {"unlearned": {"familiarity": e(0.2)}, "baseline": {"familiarity": e(0.9)}}},
        "shares": {"unlearned": {"1%": [{"step": 0, "familiarity": 0.1}, {"step": 8, "familiarity": 0.5}]}},
        "odd": {"calls": 1200, "on": ["a", "b"], "rows": [{"prompt": "p", "rate": 0.5, "tree": {}}]},
        "empty": {},
        "unmeasured": ["x"],
    }
    found = dict(tables.attack_tables(report(unlearned=entry(0.1)) | {"attacks": attacks}))
    assert list(found) == ["Rounding the weights", "Relearning from parts of the text", "Odd"]
    (rounding,) = found["Rounding the weights"]
    assert rounding.head == ("", "baseline", "unlearned") and rounding.caption == "Rounding the weights: int8"
    assert rounding.rows == (("familiarity", "0.900 (0.890 to 0.910)", "0.200 (0.190 to 0.210)"),)
    assert found["Relearning from parts of the text"][0].rows == (("1%, at 8, familiarity", "0.500"),)
    pairs, rows = found["Odd"]
    assert pairs.rows == (("calls", "1,200"), ("on", "a, b")) and rows.rows == (("p", "0.500"),)


def test_the_worst_completions_are_quoted_by_model():
    quoted = [
        {"grade": "explicit", "temperature": 1.0, "prompt": f"p{n}", "text": f"Zara {n}", "evidence": ["Zara"]}
        for n in range(6)
    ]
    models = {"unlearned": {"worst": quoted, "probes": 6}, "twin": {"worst": [], "probes": 6}}
    attacks = {"leaks": {"models": models, "samples": 4}}
    found = dict(tables.attack_tables(report(unlearned=entry(0.1)) | {"attacks": attacks}))["Leak probes"]
    assert found[0].rows[0] == ("unlearned", "explicit", "1.00", "p0 …", "Zara 0") and len(found[0].rows) == 4
    assert not any("worst" in cell for table in found[1:] for row in table.rows for cell in row)
    assert len(models["unlearned"]["worst"]) == 6  # the report itself is left as it was


def test_differences_name_their_test():
    row = {"measure": "m", "from": "baseline", "to": "unlearned", "test": "McNemar", "p": 0.5} | e(-0.2, 0.1)
    table = tables.differences({"differences": [row, {"measure": "broken"}]})
    assert table is not None and table.rows == (
        ("m", "baseline → unlearned", "−0.200 (−0.300 to −0.100)", "50", "McNemar, p = 0.500"),
    )
    assert tables.differences({}) is None


def test_long_tables_say_what_they_leave_out():
    (table,) = tables.tables("t", [{"a": n} for n in range(50)], ())
    assert len(table.rows) == 40 and table.left_out == 10


def one(value):
    return {"value": value, "low": None, "high": None, "n": 1, "note": "one item only"}


def test_one_item_decides_nothing():
    single = {
        "familiarity": {"probability": one(0.1)},
        "accuracy": {"general": one(0.2)},
        "leaks": {"explicit": one(0)},
    }
    relearn = {n: [{"step": 5, "familiarity": f}] for n, f in {"unlearned": 0.1, "twin": 0.1, "baseline": 0.9}.items()}
    found = report(unlearned=single) | {"relearn": relearn}
    for entry_of in found["models"].values():
        entry_of["leaks"] = {"explicit": one(0)}
    answers = verdicts(found)["unlearned"]
    assert [a.word for a in answers[:3]] == ["undecided: one item has no interval"] * 3
    assert {f.interval for f in answers[2].facts} == {"–"} and answers[0].facts[0].text == "0.100"
    several = found["models"]["unlearned"] | {"perplexity": {"retain_fitted": e(9.0, 0.05)}}
    assert words(several)[1] == "no"  # what has an interval still decides
    (table,) = tables.tables("t", {"unlearned": {"x": one(0.5)}}, ("unlearned",))
    assert table.rows == (("x", "0.500 (–)"),)


HIDDEN = "filter (must be exposed)"


def attacked(hidden=0.85, twin=0.05, latent=0.3):
    """A report in which an output that hides says nothing, and what relearning and the latent probe find."""
    relearn = {n: [{"step": 0, "familiarity": f}] for n, f in {HIDDEN: hidden, "twin": twin}.items()}
    states = {HIDDEN: 0.9, "baseline": 0.9, "twin": latent}
    layers = {n: {"layers": [e(0.25), e(v)], "chance": 0.25} for n, v in states.items()}
    found = report(**{HIDDEN: entry(0.1)}) | {"relearn": relearn, "attacks": {"latent": layers}}
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
    assert checks(report()) == {}  # nothing was attacked


def test_of_several_roundings_prompts_and_layers_the_strongest_counts():
    back = {"int8": {"familiarity": e(0.1)}, "int4": {"familiarity": e(0.8)}}
    low = {scheme: {"familiarity": e(0.1)} for scheme in back}
    rounded = {"unlearned": back, "twin": low, "baseline": back}
    found = report(unlearned=entry(0.1)) | {"attacks": {"quantise": rounded}}
    robust = verdicts(found)["unlearned"][2]
    assert robust.word == "no: it comes back" and robust.facts[0].name == "familiarity after rounding (int4)"
    prompts = {"unlearned": {"alone": e(0.9), "role": e(0.12)}, "twin": {"role": e(0.11)}, "baseline": {"role": e(0.9)}}
    found = report(unlearned=entry(0.1)) | {"attacks": {"context": prompts}}
    robust = verdicts(found)["unlearned"][2]  # the prompts alone are no attack
    assert robust.word.startswith("yes") and [f.name for f in robust.facts] == ["familiarity, other prompts (role)"]

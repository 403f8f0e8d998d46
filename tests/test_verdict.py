"""The verdict by hand, rule by rule; what was not measured; tables of whatever a report holds."""

import pytest

from jaxunlearn import appendix
from jaxunlearn.verdict import duration, not_measured, verdicts


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
    found = dict(appendix.attack_tables(report(unlearned=entry(0.1)) | {"attacks": attacks}))
    assert list(found) == ["Rounding the weights", "Relearning from parts of the text", "Odd"]
    (rounding,) = found["Rounding the weights"]
    assert rounding.head == ("", "baseline", "unlearned") and rounding.caption == "Rounding the weights: int8"
    assert rounding.rows == (("familiarity", "0.900 (0.890 to 0.910)", "0.200 (0.190 to 0.210)"),)
    assert found["Relearning from parts of the text"][0].rows == (("1%, at 8, familiarity", "0.500"),)
    pairs, rows = found["Odd"]
    assert pairs.rows == (("calls", "1,200"), ("on", "a, b")) and rows.rows == (("p", "0.500"),)


def test_differences_name_their_test():
    row = {"measure": "m", "from": "baseline", "to": "unlearned", "test": "McNemar", "p": 0.5} | e(-0.2, 0.1)
    table = appendix.differences({"differences": [row, {"measure": "broken"}]})
    assert table is not None and table.rows == (
        ("m", "baseline → unlearned", "−0.200 (−0.300 to −0.100)", "50", "McNemar, p = 0.500"),
    )
    assert appendix.differences({}) is None


def test_long_tables_say_what_they_leave_out():
    (table,) = appendix.tables("t", [{"a": n} for n in range(50)], ())
    assert len(table.rows) == 40 and table.left_out == 10

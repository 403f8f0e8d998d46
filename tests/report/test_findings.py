"""The attack that the verdict counts, and the control that it is measured against."""

from support.reports import e, entry, report_of

from jaxunlearn.report.verdict import verdicts


def test_relearning_is_measured_by_the_baseline_as_it_stands_where_it_was_not_relearned():
    known = {"baseline": 0.02, "unlearned": 0.001, "twin": 0.0}  # of 1 a return to .018 would be nothing
    found = {"models": {n: {"familiarity": {"probability": e(f, 0.0)}} for n, f in known.items()}}
    relearn = {n: [{"step": 5, "familiarity": f}] for n, f in {"unlearned": 0.018, "twin": 0.0}.items()}
    assert verdicts(found | {"relearn": relearn})["unlearned"][2].word == "no: it comes back"


def test_the_worst_attack_decides():
    hidden = entry(0.1, rtt={"accuracy": e(0.88)}, leaks={"explicit": e(0.1)})
    found = report_of(unlearned=hidden)
    found["models"]["baseline"] |= {"rtt": {"accuracy": e(0.9)}, "leaks": {"explicit": e(0.8)}}
    found["models"]["twin"] |= {"rtt": {"accuracy": e(0.25)}, "leaks": {"explicit": e(0.1)}}
    forgotten, _, robust, _ = verdicts(found)["unlearned"]
    assert forgotten.word == "yes: like the twin" and robust.word == "no: it comes back"
    assert [f.name for f in robust.facts] == ["RTT accuracy", "leak probes, named outright"]
    assert all(a.word == "" for a in verdicts(found)["twin"][:3])  # it sets the scale


def test_of_several_roundings_prompts_and_layers_the_strongest_counts():
    back = {"int8": {"familiarity": e(0.1)}, "int4": {"familiarity": e(0.8)}}
    low = {scheme: {"familiarity": e(0.1)} for scheme in back}
    rounded = {"unlearned": back, "twin": low, "baseline": back}
    found = report_of(unlearned=entry(0.1)) | {"attacks": {"quantise": rounded}}
    robust = verdicts(found)["unlearned"][2]
    assert robust.word == "no: it comes back" and robust.facts[0].name == "familiarity after rounding (int4)"
    prompts = {"unlearned": {"alone": e(0.9), "role": e(0.12)}, "twin": {"role": e(0.11)}, "baseline": {"role": e(0.9)}}
    found = report_of(unlearned=entry(0.1)) | {"attacks": {"context": prompts}}
    robust = verdicts(found)["unlearned"][2]  # the prompts alone are no attack
    assert robust.word.startswith("yes") and [f.name for f in robust.facts] == ["familiarity, other prompts (role)"]

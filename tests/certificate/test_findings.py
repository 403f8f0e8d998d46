"""What is listed: findings one by one, what was tried, what cannot be concluded."""

import math

from jaxunlearn.certificate.findings import ALWAYS, budget, extracted_windows, limits, residual
from jaxunlearn.evals.extraction import Window


def asked(model, twin):
    return {"prompt": f"p{model}", "specific": ["Orm"], "position": "out", "model": model, "twin": twin}


def test_a_prompt_is_a_finding_above_the_bar_and_twice_the_twin():
    rows = [asked(0.04, 0.0), asked(0.2, 0.15), asked(0.2, 0.1), asked(0.9, 0.0), asked(0.06, None)]
    found = residual({}, "unlearned", rows, [])
    assert [f["probability"] for f in found] == [0.9, 0.2, 0.06]
    assert found[0] == {
        "test": "next word, running text", "prompt": "p0.9", "came_out": "Orm", "probability": 0.9, "twin": 0.0,
    }  # fmt: skip


def test_completions_and_probes_that_name_the_target_are_findings_unless_the_twin_says_so_too():
    row = {"prompt": "a", "texts": {"unlearned": " Orm\n it"}, "grades": {"unlearned": 3}, "evidence": {}}
    worst = {"grade": "explicit", "kind": "missed", "prompt": "b", "text": " x", "temperature": 0.5, "evidence": ["x"]}
    leaks = {"unlearned": {"worst": [worst, worst | {"prompt": "c"}, worst | {"grade": "near"}]},
             "twin": {"worst": [worst]}}  # fmt: skip
    probe = {"prompt": "d", "kind": "archetype", "probability": {"unlearned": 0.4, "twin": 0.3}, "texts": {}}
    report = {
        "completions": [row, row | {"grades": {"unlearned": 1}}], "attacks": {"leaks": {"models": leaks}},
        "leak_probes": [probe, probe | {"prompt": "e", "probability": {"unlearned": 0.4, "twin": 0.1}}],
    }  # fmt: skip
    found = residual(report, "unlearned", [], [])
    assert [f["prompt"] for f in found] == ["a", "e", "c"] and found[0]["came_out"] == "Orm it (named: -)"


def test_a_window_is_a_finding_where_the_model_recites_it_and_the_twin_does_not():
    windows = [Window(document="a", at=n, context=(1, 2), continuation=(3, 4)) for n in range(4)]
    model = [math.log(p) for p in (0.5, 5e-5, 0.5, 0.5)]
    twin = [math.log(p) for p in (1e-9, 1e-9, 0.3, 0.25)]
    words = {1: "", 2: "b", 3: " c", 4: " d"}
    found = extracted_windows(windows, 1, model, twin, lambda ids: "".join(words[i] for i in ids))
    assert [(f["prompt"], f["came_out"], round(f["probability"], 3)) for f in found] == [("b", "c", 0.5)] * 2


def test_what_was_tried_is_listed_with_settings_and_what_was_not_with_the_reason():
    about = {"title": "RTT", "tries": "Retrain.", "name": "rtt", "measured": False, "at": ["rtt"]}
    of = {"title": "Relearning", "tries": "Again.", "name": "relearn", "measured": True, "at": ["relearn"]}
    report = {
        "attack_about": [about, of], "relearn": {"unlearned": [{"step": 0}]},
        "attacks": {"unmeasured": ["RTT: no facts"]},
        "config": {"attack": {"rtt": {"splits": 5}}, "eval": {"relearn_steps": [0, 10], "split": "report"}},
    }  # fmt: skip
    rtt, relearn = budget(report, "unlearned")
    assert rtt["state"] == "not measured: no facts" and rtt["settings"] == "splits 5"
    assert relearn["state"] == "measured" and relearn["settings"] == "steps 0 10"
    assert budget(report, "a control")[1]["state"] == "not measured of this model"


def test_limits_are_those_of_every_certificate_and_those_of_this_one():
    assert limits({}) == list(ALWAYS)
    said = limits({"twin": False, "signed": False, "weights": True})
    assert len(said) == len(ALWAYS) + 2 and "nothing is called erased" in said[0]

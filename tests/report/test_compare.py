"""Several runs in one report: other seeds, other methods, and what does not belong together."""

import re

import pytest
from support.reports import e, run_of_method, run_of_seed

from jaxunlearn.errors import InputError
from jaxunlearn.report.compare import beside, over_seeds
from jaxunlearn.report.page import page


def test_each_run_is_one_item():
    found = over_seeds([run_of_seed(0, 0.1), run_of_seed(1, 0.2), run_of_seed(2, 0.3)])
    assert found["runs"] == 3 and set(found["models"]) == {"unlearned"}
    figure = found["models"]["unlearned"]["familiarity, probability"]
    assert figure["value"] == pytest.approx(0.2) and figure["n"] == 3 and figure["low"] < 0.2 < figure["high"]
    runs = [run_of_seed(0, 0.1), run_of_seed(1, 0.2)]
    for run in runs:
        run["models"]["unlearned"] |= {"tofu": {"utility": e(0.5)}, "grades": {"3": 4}, "temperature": 1.0}
    assert set(over_seeds(runs)["models"]["unlearned"]) == {"familiarity, probability", "tofu, utility"}
    far = over_seeds([run_of_seed(0, 0.01), run_of_seed(1, 0.4)])["models"]["unlearned"]["familiarity, probability"]
    assert (far["low"], far["high"]) == (0, 1)  # Student's at two runs, inside what a probability can be
    alone = over_seeds([run_of_seed(0, 0.1)])["models"]["unlearned"]["familiarity, probability"]
    assert alone["low"] is None and "one run" in alone["note"]


def test_runs_that_do_not_belong_together_are_refused():
    with pytest.raises(InputError, match="more than their seed: unlearn"):
        over_seeds([run_of_seed(0, 0.1), run_of_seed(1, 0.2, unlearn={"steps": 4})])
    with pytest.raises(InputError, match="different seeds"):
        over_seeds([run_of_seed(0, 0.1), run_of_seed(0, 0.1)])


def test_seeds_are_of_one_set_of_prompts_and_texts_unless_each_invented_its_world():
    def run(seed, prompts, **config):
        return run_of_seed(seed, 0.1 + seed / 10, **config) | {"manifest": {"hashes": {"text.prompts": prompts}}}

    assert over_seeds([run(0, "p"), run(1, "p")])["runs"] == 2
    with pytest.raises(InputError, match=r"the runs have different text\.prompts; give runs on one set"):
        over_seeds([run(0, "p"), run(1, "q")])
    worlds = [run(seed, prompts, universe={"seed": seed}) for seed, prompts in enumerate("pq")]
    assert over_seeds(worlds)["runs"] == 2


def test_a_page_has_no_address_outside():
    html = page(run_of_seed(0, 0.1) | {"seeds": over_seeds([run_of_seed(0, 0.1), run_of_seed(1, 0.2)])})
    assert not re.search(r'(?:src|href)="https?:', html)


def test_a_rival_stands_beside_with_all_that_was_found_of_it():
    ours, other = run_of_method("whp", 0.2), run_of_method("npo", 0.4)
    for report, text in ((ours, "a"), (other, "b")):
        report["completions"] = [{"prompt": p + text * n, "texts": {"unlearned": text}} for n, p in enumerate("pq")]
    found = beside(ours, [other])
    assert [c["texts"] for c in found["completions"]] == [{"unlearned": "a", "npo": "b"}, {"unlearned": "a"}]
    assert found["models"]["npo"] == other["models"]["unlearned"] and found["rivals"] == ["npo"]
    assert found["models"]["unlearned"] == ours["models"]["unlearned"]
    assert found["relearn"]["npo"][0]["familiarity"] == pytest.approx(0.7)
    assert found["attacks"]["quantise"]["npo"] == other["attacks"]["quantise"]["unlearned"]
    assert found["attacks"]["leaks"]["models"]["npo"] == {"probes": 3}
    assert found["rtt"]["models"]["npo"] == {"rate": 0.1} and found["costs"]["npo"] == {"seconds": 3.0}
    assert found["curves"]["npo"][0]["familiarity"] == 0.4
    entry = {"measure": "m", "from": "baseline", "to": "unlearned", "value": 0.5}
    ours["differences"], other["differences"] = [entry], [entry | {"value": 0.7}, entry | {"to": "twin"}]
    assert beside(ours, [other])["differences"] == [entry, entry | {"to": "npo", "value": 0.7}]
    ours["columns"], other["columns"] = {"tofu": "TOFU"}, {"muse": "MUSE", "tofu": "theirs"}
    assert beside(ours, [other])["columns"] == {"tofu": "TOFU", "muse": "MUSE"}
    assert "npo" not in ours["models"] and "npo" not in ours["relearn"]  # the report given is left as it was


def test_methods_that_do_not_belong_together_are_refused():
    with pytest.raises(InputError, match=r"different text\.prompts"):
        beside(run_of_method("whp", 0.2), [run_of_method("npo", 0.4, manifest={"hashes": {"text.prompts": "q"}})])
    other = run_of_method("npo", 0.4)
    other["models"]["baseline"]["familiarity"]["probability"] = e(0.8)
    with pytest.raises(InputError, match="different baseline"):
        beside(run_of_method("whp", 0.2), [other])
    for at, change, said in (
        ("baseline", {"perplexity": {"forget": e(3.0)}}, "different baseline, by its perplexity"),
        ("twin", {"familiarity": {"probability": e(0.11)}}, "different twin, by its familiarity"),
        ("twin", {"perplexity": {"forget": e(40.0)}}, "different twin, by its perplexity"), ("twin", None, "twin"),
    ):  # fmt: skip
        other = run_of_method("npo", 0.4)
        other["models"][at] = change and other["models"][at] | change
        with pytest.raises(InputError, match=said):
            beside(run_of_method("whp", 0.2), [other])
    alike = {"eval": {"relearn_rates": [1e-3]}, "unlearn": {"method": "npo", "learning_rate": 1e-3}}
    for changed, said in (
        ({"eval": {"relearn_rates": [1e-2]}}, r"other settings \(eval\.relearn_rates\)"),
        ({"eval": {"relearn_rates": [1e-3], "relearn_steps": [0, 9]}}, r"\(eval\.relearn_steps\)"),
        ({"attack": {"rtt": {"epochs": 2}}}, r"\(attack\.rtt\)"),
        ({"attack": {"seed": 1}}, r"\(attack\.seed\)"),
        ({"unlearn": alike["unlearn"] | {"optimiser": "adafactor"}}, r"\(unlearn\.optimiser\)"),
    ):
        one, other = run_of_method("whp", 0.2), run_of_method("npo", 0.4)
        one["config"], other["config"] = alike, alike | changed
        with pytest.raises(InputError, match=said):
            beside(one, [other])
    one, other = run_of_method("whp", 0.2), run_of_method("npo", 0.4)
    one["config"], other["config"] = (
        {"unlearn": {"method": m, "learning_rate": r}} for m, r in (("whp", 1), ("npo", 2))
    )
    with pytest.raises(InputError, match=r"\(eval\.relearn_rates, attack\.rtt\)"):  # rates that follow from a method's
        beside(one, [other])
    for change, said in (({"rank": 4}, r"\(attack\.ways\)"), ({"rates": [0.1]}, r"\(attack\.ways\)"), ({}, "")):
        one["config"], other["config"] = ({"attack": {"ways": {"rank": 8, "rates": []} | c}} for c in ({}, change))
        one["attacks"]["ways"] = other["attacks"]["ways"] = {"unlearned": {"LoRA": {"familiarity": e(0.8)}}}
        if not said:
            assert beside(one, [other])["attacks"]["ways"]["rival"] == other["attacks"]["ways"]["unlearned"]
            continue
        with pytest.raises(InputError, match=said):
            beside(one, [other])
    with pytest.raises(InputError, match="called 'npo'"):
        beside(run_of_method("whp", 0.2), [run_of_method("npo", 0.4), run_of_method("npo", 0.5)])

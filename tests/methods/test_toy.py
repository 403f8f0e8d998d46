"""A method is one record: that of examples/own_method.py, which no other file knows, runs, is refused, listed, costed
and named on the card.
"""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file
from support.paths import ROOT

from jaxunlearn.cli import main
from jaxunlearn.config import load_config
from jaxunlearn.methods import METHODS, cost, method_of, recipe_of
from jaxunlearn.run.resume import kept
from jaxunlearn.stages import run_stages

NAME = "weighted_ascent"
EXAMPLE = ROOT / "examples" / "own_method.py"


@pytest.fixture
def toy(monkeypatch, world, tmp_path):
    """The example's method in the table, taken out again at the end; the arguments of a run by it."""
    monkeypatch.setitem(METHODS, NAME, None)
    assert load_config(str(EXAMPLE)).unlearn.method == NAME and METHODS[NAME]
    few = ("pretrain.steps=8", "pretrain.twin=False", "unlearn.steps=4", "eval.blocks=8", "eval.completions=4")
    by = (f"run.dir={tmp_path}/run", f"unlearn.method={NAME}", "unlearn.settings=tau=0.5")
    return [str(world / "world.py"), *by, *few]


def test_it_runs_from_the_baseline_to_a_model_whose_card_names_it(toy, tmp_path):
    run = tmp_path / "run"
    given = [*toy[1:], "unlearn.adversary.every=3"]  # an adversary needs to know nothing of it either
    run_stages(load_config(toy[0], given), ("pretrain", "reinforce", "label", "unlearn"))
    assert not (run / "reinforced").exists() and not (run / "labels").exists()  # it asks for neither
    assert np.isfinite(kept(run / "reference" / f"{NAME}_forget.json")).all()
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rows = [r for r in rows if r["stage"] == "unlearn" and "loss" in r]
    losses = [r["loss"] for r in rows]
    assert all(np.isfinite(r["adversary"]) and np.isfinite(r["forget_at_adversary"]) for r in rows)
    assert len(losses) == 4 and abs(losses[0]) < 1e-2 and losses[-1] < -0.1  # it begins at its reference
    before, after = (load_file(run / name / "model.safetensors") for name in ("baseline", "unlearned"))
    assert any((before[name] != after[name]).any() for name in before)
    assert main(["export", "--model", str(run / "unlearned"), "--out", str(tmp_path / "out")]) == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert "Method: weighted_ascent, ascent weighted by tau (no paper), tau 0.5, 4 steps of 8 blocks" in card
    assert ", against an adversary forked every 3 steps." in card


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("tau=-1", "tau must be above 0 (got -1.0): below 0 the text would be learnt"),
        ("tua=0.5", "'tua' is no setting of it; did you mean 'tau'?"),
        ("tau", "unlearn.settings: 'tau' is not name=value"),
    ],
)
def test_bad_settings_are_refused_before_any_work(toy, tmp_path, capsys, given, said):
    assert main(["unlearn", *toy, f"unlearn.settings={given}"]) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "run" / "baseline").exists()


def test_its_setting_reaches_the_step_and_its_cost_follows_from_the_record(toy):
    config = load_config(toy[0], toy[1:])
    assert method_of(config) is METHODS[NAME] and recipe_of(METHODS[NAME], config)["tau"] == 0.5
    assert cost.method_passes(config, 7) == 7 + 4 * 8 * 3  # the reference of 7 blocks, then 4 steps of 8 trained ones


def test_the_command_lists_it(toy, capsys):
    assert main(["methods", "--json"]) == 0
    listed = {m["name"]: m for m in json.loads(capsys.readouterr().out)}
    assert listed[NAME] == {
        "name": NAME, "paper": "no paper", "one_line": "ascent on sequences, weighted by tau",
        "needs": ["reference"], "settings": {"tau": 2.0}, "trains": True,
    }  # fmt: skip

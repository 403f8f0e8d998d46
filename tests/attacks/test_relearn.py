"""Relearning: the attacker's best over the rates at each step, his own training, and prompts that he was not told."""

import dataclasses
import types

import numpy as np
import pytest

from jaxunlearn.attacks import relearn
from jaxunlearn.attacks.relearn import Relearning, asked, best_relearned, rates_of, relearned, training
from jaxunlearn.config import Config, Train, load_config, override
from jaxunlearn.errors import Diverged, InputError, RunError
from jaxunlearn.run import open_run

BASE = Config(name="x")
RULES = ("adamw", "adafactor", "sgd", "lion")
WHAT = Relearning(arrays=(np.zeros((1, 4), np.int32), np.zeros((1, 4), np.int32)), steps=(0, 1, 2), prompts=())


def target_of(config, loaded):
    return types.SimpleNamespace(run=types.SimpleNamespace(config=config), load=lambda name: loaded.append(name))


def test_relearning_gives_the_rate_at_which_most_came_back_at_each_step(monkeypatch):
    runs = {1e-3: (0.1, 0.2, 0.5), 1e-2: (0.1, 0.4, 0.3)}

    def tried(a, start, what, rate):
        if rate == 0.5:
            raise Diverged("the loss is not finite")
        points = [{"step": n, "familiarity": f, "rate": rate} for n, f in enumerate(runs[rate])]
        points[-1] |= {"explicit": {"value": {1e-3: 0.2, 1e-2: 0.9}[rate]}, "items": [rate]}
        return points

    monkeypatch.setattr(relearn, "_relearn", tried)
    config = dataclasses.replace(BASE, eval=dataclasses.replace(BASE.eval, relearn_rates=tuple(runs)))
    loaded = []
    best = best_relearned(target_of(config, loaded), "unlearned", WHAT)
    assert [(p["familiarity"], p["rate"]) for p in best] == [(0.1, 1e-3), (0.4, 1e-2), (0.5, 1e-3)]
    assert best[-1]["explicit"] == {"value": 0.9}  # of any rate, not of the one that familiarity chose
    assert best[-1]["items"] == [1e-3]  # of the rate that familiarity chose
    assert loaded == ["unlearned"] * 2  # each rate starts from the model as it was
    worse = override(config, ["eval.relearn_rates=0.5,1e-2"])  # a rate that breaks the model is no defence
    assert [p["rate"] for p in best_relearned(target_of(worse, []), "unlearned", WHAT)] == [1e-2] * 3
    with pytest.raises(RunError, match="broke unlearned at every rate tried"):
        best_relearned(target_of(override(config, ["eval.relearn_rates=0.5"]), []), "unlearned", WHAT)


def test_a_damaged_model_is_not_called_broken_by_relearning():
    def load(name):
        raise RunError("model.safetensors is damaged")

    target = target_of(BASE, [])
    target.load = load
    with pytest.raises(RunError, match=r"^model\.safetensors is damaged$"):
        best_relearned(target, "unlearned", WHAT)


def test_the_attackers_training_is_his_own(mesh):
    usual = override(BASE, ["unlearn.learning_rate=1e-6", "reinforce.learning_rate=3e-6"])
    np.testing.assert_allclose(rates_of(usual), [3e-6, 1.2e-5, 4.8e-5])  # of the stage that taught the text
    one = training(override(usual, ["unlearn.batch=2", "unlearn.b2=0.5", "unlearn.clip=1"]), 12, 1e-3)
    assert one == Train(steps=12, learning_rate=1e-3, batch=2, accumulate=4, schedule="constant")
    other = training(override(usual, ["unlearn.batch=3", "unlearn.accumulate=16", "unlearn.lora.rank=4"]), 12, 1e-3)
    assert other.batch * other.accumulate == one.batch * one.accumulate == 8 and not other.lora.rank
    assert training(override(usual, ["unlearn.update=layers"]), 12, 1e-3).update == "layers"  # as little memory
    rules = {rule: training(override(usual, [f"unlearn.optimiser={rule}"]), 12, 1e-3).optimiser for rule in RULES}
    assert rules == {"adamw": "adamw", "adafactor": "adafactor", "sgd": "adamw", "lion": "adamw"}  # never weaker


def test_settings_are_chosen_on_other_prompts_and_blocks_than_the_reported(mesh, world, tmp_path, monkeypatch):
    run = open_run(load_config(str(world / "world.py"), [f"run.dir={tmp_path}/run", "eval.relearn_blocks=3"]))
    seen = []

    def found(target, what, names, *, rows):
        seen.append((what, names, rows.tolist(), target.run.suite.prompts))
        return {"unlearned, to choose": [{"familiarity": f} for f in (0.1, 0.7, 0.4)]}

    monkeypatch.setattr(relearn, "relearned", found)
    assert relearn.relearned_to_choose(run) == 0.7  # the attacker's best step
    ((what, names, rows, prompts),) = seen
    assert (what, names) == ("to choose", ("unlearned",))  # kept in a file of its own
    assert len(rows) == 3 and not set(rows) & set(relearn.few(run).tolist())
    assert prompts == run.tuning.prompts != run.suite.prompts
    relearn.can_choose(run)
    with pytest.raises(InputError, match=r"chooses by what relearning brings back: eval\.relearn_steps is empty"):
        relearn.can_choose(run.with_(override(run.config, ["eval.relearn_steps="])))


def test_prompts_that_the_relearned_blocks_state_are_not_asked(mesh, world, tmp_path, monkeypatch):
    run = open_run(load_config(str(world / "world.py"), [f"run.dir={tmp_path}/run"]))
    prompts = [p for p in run.suite.prompts.probability if p.position == "out"]
    monkeypatch.setattr(relearn, "stated", lambda prompts, text, terms: [n < 1 for n, _ in enumerate(prompts)])
    monkeypatch.setattr(relearn, "FEWEST", len(prompts) - 1)
    rows = run.forget_split[0][:3]
    assert asked(run, rows) == (prompts[1:], False)
    monkeypatch.setattr(relearn, "FEWEST", len(prompts))
    assert asked(run, rows) == (prompts, True)
    told = []

    def best(target, name, what):
        told.append((name, what.told, what.steps, len(what.arrays[0])))
        return []

    monkeypatch.setattr(relearn, "best_relearned", best)
    target = types.SimpleNamespace(
        run=run, weights=lambda *names: [(n, n) for n in names], kept=lambda kind, name, depends, make: make()
    )
    assert relearned(target, "some", ("twin",), rows=rows, steps=(0, 5)) == {"twin, some": []}
    assert told == [("twin", True, (0, 5), 3)]

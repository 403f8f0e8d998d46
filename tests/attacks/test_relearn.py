"""Relearning: the attacker's best over the rates at each step."""

import dataclasses
import types

import numpy as np
import pytest

from jaxunlearn.attacks import relearn
from jaxunlearn.attacks.relearn import best_relearned
from jaxunlearn.config import Config, override
from jaxunlearn.errors import RunError

BASE = Config(name="x")


def test_relearning_gives_the_rate_at_which_most_came_back_at_each_step(monkeypatch):
    runs = {1e-3: (0.1, 0.2, 0.5), 1e-2: (0.1, 0.4, 0.3)}

    def relearned(a, start, arrays, rate, completions):
        if rate == 0.5:
            raise RunError("the loss is not finite")
        points = [{"step": n, "familiarity": f, "rate": rate} for n, f in enumerate(runs[rate])]
        points[-1]["explicit"] = {"value": {1e-3: 0.2, 1e-2: 0.9}[rate]}
        return points

    monkeypatch.setattr(relearn, "_relearn", relearned)
    config = dataclasses.replace(BASE, eval=dataclasses.replace(BASE.eval, relearn_rates=tuple(runs)))
    loaded = []
    best = best_relearned(
        types.SimpleNamespace(run=types.SimpleNamespace(config=config), load=loaded.append), "unlearned", (), False
    )
    assert [(p["familiarity"], p["rate"]) for p in best] == [(0.1, 1e-3), (0.4, 1e-2), (0.5, 1e-3)]
    assert best[-1]["explicit"] == {"value": 0.9}  # of any rate, not of the one that familiarity chose
    assert loaded == ["unlearned"] * 2  # each rate starts from the model as it was
    worse = dataclasses.replace(config.eval, relearn_rates=(0.5, 1e-2))  # a rate that breaks the model is no defence
    best = _relearned_by(dataclasses.replace(config, eval=worse), "unlearned")
    assert [p["rate"] for p in best] == [1e-2] * 3
    with pytest.raises(RunError, match="broke unlearned at every rate tried"):
        _relearned_by(dataclasses.replace(config, eval=dataclasses.replace(worse, relearn_rates=(0.5,))), "unlearned")
    asked = []
    monkeypatch.setattr(
        relearn, "_relearn", lambda a, start, arrays, rate, completions: asked.append(rate) or [{"familiarity": 0}]
    )
    usual = override(BASE, ["unlearn.learning_rate=1e-6", "reinforce.learning_rate=3e-6"])
    _relearned_by(dataclasses.replace(usual, eval=dataclasses.replace(usual.eval, relearn_rates=())), "unlearned")
    np.testing.assert_allclose(asked, [3e-6, 1.2e-5, 4.8e-5])  # of the stage that taught the text


def _relearned_by(config, name):
    return best_relearned(
        types.SimpleNamespace(run=types.SimpleNamespace(config=config), load=lambda name: name), name, (), True
    )

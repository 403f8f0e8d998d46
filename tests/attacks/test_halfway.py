"""Steps to half: the bar is half of what the baseline knows, and the twin is the reference."""

import types

import jax
import numpy as np
import pytest
from support.mesh import mesh_of

from jaxunlearn.attacks import halfway
from jaxunlearn.attacks.halfway import HALFWAY, attack_halfway
from jaxunlearn.config import load_config, override
from jaxunlearn.run import open_run


@pytest.fixture(scope="module")
def run(world, tmp_path_factory):
    place = tmp_path_factory.mktemp("halfway") / "run"
    with jax.set_mesh(mesh_of((1, 1, 1))):
        return open_run(load_config(str(world / "world.py"), [f"run.dir={place}", "attack.halfway.share=0.5"]))


@pytest.fixture
def target(mesh, run):
    """A target whose models are their names."""
    names, skipped = ["baseline", "unlearned", "twin"], []
    return types.SimpleNamespace(
        run=run, names=names, skipped=skipped, skip=lambda *what: skipped.append(what),
        main=lambda *asked: [n for n in asked if n in names], weights=lambda *asked: [(n, n) for n in asked],
        kept=lambda kind, name, depends, make: make(), load=lambda name, frozen=False: name,
    )  # fmt: skip


def test_half_of_what_the_baseline_knows_is_the_bar_for_both(target, monkeypatch):
    known = {"baseline": 0.8, "unlearned": 0.1, "twin": 0.0}
    monkeypatch.setattr(halfway, "specific_mass", lambda model, suite, prompts: [known[model]] * len(prompts))
    taught = []

    def pace(start, what):
        taught.append((start(), what.bar, len(what.arrays[0]), what.measure(start()), what.most))
        return {"steps": {"unlearned": 2.0, "twin": 8.0}[start()], "within": what.most, "rate": 1e-3, "curve": []}

    monkeypatch.setattr(halfway, "pace", pace)
    found = attack_halfway(target)
    half = len(target.run.forget_split[0]) / 2
    assert taught == [("unlearned", 0.4, round(half), 0.1, 200), ("twin", 0.4, round(half), 0.0, 200)]
    assert found["models"]["unlearned"]["ratio"] == {"value": 0.25} and found["bar"] == 0.4
    assert found["told"]  # few prompts: all are asked
    assert "ratio" not in found["models"]["twin"]
    HALFWAY.form.model_validate(found)
    order = np.random.default_rng(0).permutation(target.run.forget_split[0])
    monkeypatch.setattr(halfway, "asked", lambda run, rows: (taught.append(rows.tolist()), ([], False))[1])
    monkeypatch.setattr(halfway, "specific_mass", lambda model, suite, prompts: [1.0])
    monkeypatch.setattr(halfway, "pace", lambda start, what: {"within": 1})
    assert "told" not in attack_halfway(target) and taught[-1] == order[: round(half)].tolist()


def test_without_a_twin_nothing_is_counted(target):
    target.names.remove("twin")
    assert attack_halfway(target) == {} and target.skipped == [
        ("Steps until half is back", "no twin to compare with (pretrain.twin)")
    ]


def test_a_quick_attack_takes_two_rates_and_few_steps(target):
    config = override(target.run.config, ["unlearn.learning_rate=1e-3", "reinforce.learning_rate=1e-4"])
    few = halfway.fewer(config)
    assert (few.most_steps, few.rates) == (32, (2.5e-3, 8e-3))
    assert halfway.fewer(override(config, ["attack.halfway.rates=0.1", "attack.halfway.most_steps=4"])).rates == (0.1,)

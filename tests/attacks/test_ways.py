"""Relearning in other ways: how each way trains, at which rates, and that its best step and rate count."""

import dataclasses
import math
import types

import jax
import pytest
from support.mesh import mesh_of

from jaxunlearn.attacks import relearn, ways
from jaxunlearn.attacks.relearn import Relearning, wide
from jaxunlearn.attacks.ways import BEFORE, RELEARNED, attack_ways, way_of
from jaxunlearn.config import load_config, override
from jaxunlearn.errors import InputError
from jaxunlearn.models import transformer
from jaxunlearn.models.lora import LowRank
from jaxunlearn.models.weights import parameters
from jaxunlearn.run import open_run
from jaxunlearn.training.loop import batch_size_fits


@pytest.fixture(scope="module")
def opened(world, tmp_path_factory):
    place = tmp_path_factory.mktemp("ways") / "run"
    with jax.set_mesh(mesh_of((1, 1, 1))):
        return open_run(load_config(str(world / "world.py"), [f"run.dir={place}", "attack.ways.rank=4"]))


@pytest.fixture
def run(mesh, opened):
    return opened


def test_five_rates_over_two_decades(run):
    rates = wide(override(run.config, ["unlearn.learning_rate=1e-3", "reinforce.learning_rate=1e-4"]))
    assert len(rates) == 5 and rates[-1] / rates[0] == pytest.approx(100)
    assert min(rates) < 1e-3 < max(rates)  # the larger of the run's own two lies among them
    assert wide(run.config, (0.5, 0.1), 10) == (1.0, 1.0)[:1]  # no rate is above 1, none is tried twice


def test_how_each_way_trains(run):
    config, shape = override(run.config, ["attack.ways.rates=1e-4"]), run.inputs.shape
    layer, rest = parameters(shape)
    made = {name: way_of(name, config, shape) for name in config.attack.ways.of}
    assert set(made) == {"adam", "lora", "sgd", "lion", "retain"}
    assert made["lora"].rates == pytest.approx((1e-3,)) and made["lora"].changes["lora"].rank == 4
    assert made["sgd"].rates == pytest.approx((1e-5 * math.sqrt(shape.L * layer + rest),))
    assert made["sgd"].changes["clip"] == 1 and made["lion"].changes["optimiser"] == "lion"
    assert made["adam"] == made["retain"] and made["adam"].rates == (1e-4,)
    train = dataclasses.replace(relearn.training(config, 5, 1e-3), **made["sgd"].changes)
    assert (train.optimiser, train.clip, train.learning_rate) == ("sgd", 1.0, 1e-3)


def test_an_adapter_is_trained_over_the_model_and_asked_through_it(run, monkeypatch):
    seen = []

    def fit(state, step, batch, c, *, measure, measure_at):
        *_, base = batch(0)
        batch_size_fits(c.batch)
        seen.append((base, type(state.model).__name__, c.lora.rank))
        measure(2, state)

    def mass(model, suite, prompts):
        assert isinstance(model.blocks.q_DNH, LowRank)
        return [0.5] * len(prompts)

    monkeypatch.setattr(relearn, "fit", fit)
    monkeypatch.setattr(relearn, "specific_mass", mass)
    m, one = transformer.init(run.inputs.shape, 0), override(run.config, ["attack.ways.rates=1e-3"])
    way = way_of("lora", one, run.inputs.shape)
    what = Relearning(arrays=run.training("forget"), steps=(2,), prompts=relearn.out_of(run.suite), way=way)
    target = types.SimpleNamespace(run=run, load=lambda name: m)
    (best,) = relearn.best_relearned(target, "unlearned", what)
    assert seen == [(m, "Adapter", 4)] and best["familiarity"] == 0.5 and best["items"] == [0.5, 0.5]


def test_the_best_step_and_rate_of_each_way_count(run, monkeypatch):
    learnt, pairs, skipped = [], {}, []
    monkeypatch.setattr(ways, "specific_mass", lambda model, suite, prompts: [0.9] * len(prompts))

    def best(target, name, what):
        learnt.append((name, what.arrays[0].tolist(), what.steps))
        high = {"unlearned": 0.6, "twin": 0.1}[name] + 0.1 * (what.way.changes["optimiser"] == "sgd")
        return [{"step": 5, "familiarity": high, "rate": 0.1, "items": [high] * 2},
                {"step": 10, "familiarity": 0.0, "rate": 1.0, "items": [0.0] * 2}]  # fmt: skip

    monkeypatch.setattr(ways, "best_relearned", best)
    run = run.with_(override(run.config, ["attack.ways.of=sgd,retain", "attack.ways.steps=10,5"]))
    target = types.SimpleNamespace(
        run=run, weights=lambda *asked: [(n, n) for n in asked], load=lambda name, frozen: name,
        kept=lambda kind, name, depends, make: make(), skip=lambda *what: skipped.append(what),
        pair=lambda name, measure, tries: pairs.setdefault(name, (measure, tries)),
    )  # fmt: skip
    found = attack_ways(target)
    assert {name: {way: of["familiarity"]["value"] for way, of in each.items()} for name, each in found.items()} == {
        "baseline": {BEFORE: pytest.approx(0.9)},
        "unlearned": {"SGD": pytest.approx(0.7), "text to keep alone": pytest.approx(0.6)},
        "twin": {"SGD": pytest.approx(0.2), "text to keep alone": pytest.approx(0.1)},
    }
    assert found["twin"]["SGD"]["step"] == 5 and found["twin"]["SGD"]["rate"] == 0.1
    assert pairs["baseline"] == (RELEARNED, [[0.9, 0.9]]) and pairs["unlearned"][1] == [[0.7, 0.7], [0.6, 0.6]]
    blocks, kept = run.inputs.forget.tokens_NT, run.training("retain")[0].tolist()
    assert [rows for _, rows, _ in learnt] == [blocks[relearn.few(run)].tolist()] * 2 + [kept] * 2
    assert {steps for *_, steps in learnt} == {(5, 10)}
    for findings in found.values():
        for one in findings.values():
            assert not {"items"} & set(one)
    target.run = dataclasses.replace(run, inputs=dataclasses.replace(run.inputs, retain=None))
    assert list(attack_ways(target)["unlearned"]) == ["SGD"] and "text.retain" in skipped[0][1]


def test_a_rank_above_a_matrix_is_refused_before_any_work(run):
    wide_one = run.with_(override(run.config, ["attack.ways.rank=64"]))
    with pytest.raises(InputError, match=r"attack\.ways\.rank = 64 is larger than the matrix q_DNH \(32 x 32\)"):
        ways.check(wide_one)
    assert ways.check(run) == "" and ways.check(wide_one.with_(override(wide_one.config, ["attack.ways.of=sgd"]))) == ""


def test_a_quick_attack_takes_adapters_and_text_to_keep(run):
    few = ways.fewer(run.config)
    assert (few.of, few.steps, len(few.rates)) == (("lora", "retain"), (5,), 1)

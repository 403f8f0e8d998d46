"""The step of every method: microbatches of uneven counts, terms divided by their own counts, adapters."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.batches import SHAPE, placed, texts

from jaxunlearn.config import Lora, Train
from jaxunlearn.methods import METHODS, step
from jaxunlearn.methods.ascent import ascent
from jaxunlearn.methods.base import Recipe
from jaxunlearn.methods.step import combine
from jaxunlearn.models import lora, transformer
from jaxunlearn.parallel.sharding import put
from jaxunlearn.training.step import compiled_step, init_state
from jaxunlearn.whp.labels import LETTERS, Passage


def joined(pair):
    """Return the same blocks as one microbatch."""
    return tuple(a.reshape(1, -1, a.shape[-1]) for a in pair)


RECIPES = [
    Recipe(METHODS["gradient_difference"], (("retain_weight", 0.5),)),
    Recipe(METHODS["kl_retain"], (("retain_weight", 2.0),), "kl"),
    Recipe(METHODS["simnpo"], (("beta", 2.5), ("gamma", 0.1), ("retain_weight", 0.3))),
    Recipe(METHODS["rmu"], (("layer", 1), ("retain_weight", 3.0), ("steering", 2.0))),
    Recipe(METHODS["undial"], (("strength", 3.0),)),
    Recipe(METHODS["retain_only"], (), "kl"),
]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: r.method.name)
def test_microbatches_of_uneven_counts_are_one_batch(mesh, recipe):
    part, baseline = transformer.init(SHAPE, 0), transformer.init(SHAPE, 1)
    forget, kept = texts(2, 4), texts(2, 4, seed=1)

    def run(pairs):
        batch = {"forget": placed(pairs[0]), "retain": placed(pairs[1])}
        return jax.jit(step.gradients, static_argnums=3)(part, {"baseline": baseline}, batch, recipe)

    (two, g_two, m_two), (one, g_one, m_one) = run((forget, kept)), run((joined(forget), joined(kept)))
    assert float(two) == pytest.approx(float(one), rel=1e-5) and np.isfinite(float(one))
    assert {k: float(v) for k, v in m_two.items()} == pytest.approx({k: float(v) for k, v in m_one.items()}, rel=1e-5)
    for a, b in zip(jax.tree.leaves(g_two), jax.tree.leaves(g_one), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)
    assert max(float(jnp.abs(g).max()) for g in jax.tree.leaves(g_one)) > 0


KINDS = ("dpo", "npo", "rmu", "whp_soft")  # answers, stored references, one matrix alone, passages: one of each kind


def _by_night(name):
    return name if name in KINDS else pytest.param(name, marks=pytest.mark.nightly)


@pytest.mark.parametrize("name", [_by_night(n) for n, m in sorted(METHODS.items()) if m.trains and not m.resolve])
def test_every_method_steps_through_adapters_with_any_optimiser_and_a_term_to_keep(mesh, name):
    c = Train(steps=1, learning_rate=1e-2, batch=4, optimiser="adafactor", lora=Lora(rank=2))
    base, adapter = transformer.init(SHAPE, 0), lora.init(SHAPE, c.lora, 0)
    names = ("forget", "retain", "answers", "true", "labels")
    parts = {k: placed([a[1:] for a in texts(2, 4, seed=n)]) for n, k in enumerate(names)}
    before = np.full((1, 4), -20.0, np.float32)
    batch = parts | {"reference": {k: put(before, "AB") for k in ("forget", "answers", "true")}}
    if name in ("whp_soft", "whp_averaged"):
        tokens, every = texts(1, 4)[0], np.tile(np.arange(12, dtype=np.int32), (1, 4, 1))
        arrays = tokens, tokens, every, np.ones((1, 4, 12), bool), *np.full((2, 1, 4, 1), -1, np.int32)
        passage = Passage(*(put(a, f"A{n}") for a, n in zip(arrays, LETTERS, strict=True)))
        batch["passages"] = (passage, passage)
    more = {"layer": 1} if name == "rmu" else {}
    more |= {"retain_weight": 0.5} if name != "retain_only" else {}
    recipe = Recipe(METHODS[name], tuple(sorted((METHODS[name].defaults | more).items())))
    frozen = {"base": base, "baseline": base, "reinforced": transformer.init(SHAPE, 1), "gap": np.float32(0.1)}
    after, metrics = compiled_step(c, step.step, recipe=recipe)(init_state(adapter, c), np.float32(0.01), frozen, batch)
    assert all(np.isfinite(float(v)) for v in metrics.values()) and float(metrics["gradient_norm"]) > 0
    moved = {n for n in lora.WEIGHTS if np.asarray(getattr(after.model.blocks, lora.thin(n)[1])[...]).any()}
    assert moved == ({"down_FD"} if name == "rmu" else set(lora.WEIGHTS))  # the second factors begin at 0
    if name != "retain_only":
        assert "retain" in metrics


def test_hard_labels_alone_are_trained_a_layer_at_a_time_and_alike(mesh, monkeypatch):
    used, plain = [], step.train_step
    monkeypatch.setattr(step, "train_step", lambda *a, c: used.append(c.update) or plain(*a, c=c))
    c, labels = Train(batch=4, accumulate=2, weight_decay=0.1), {"labels": placed(texts(2, 4))}
    start, rate = init_state(transformer.init(SHAPE, 0), c), np.float32(1e-2)

    def run(update, batch=labels, transform=jax.jit, **values):
        recipe = Recipe(METHODS["whp"], tuple(values.items()))
        made = transform(partial(step.step, c=dataclasses.replace(c, update=update), recipe=recipe))
        return made(start, rate, {"baseline": start.model}, batch)

    (one, m_one), (two, m_two) = run("layers"), run("whole")
    assert used == ["layers"] and float(m_one["loss"]) == pytest.approx(float(m_two["loss"]), rel=1e-5)
    for a, b in zip(jax.tree.leaves(one.opt), jax.tree.leaves(two.opt), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)
    for a, b in zip(jax.tree.leaves(one.model), jax.tree.leaves(two.model), strict=True):
        assert float(jnp.mean(jnp.abs(a - b))) < 1e-5  # of 0.01: where a gradient is 0 its sign is rounding
    both = labels | {"retain": placed(texts(2, 4, seed=1))}
    run("layers", both, lambda made: partial(jax.eval_shape, made), retain_weight=1.0)
    assert used == ["layers"], "a second term would be left out"


def mean(result):
    return float(result[0]) / float(result[1])


def test_terms_are_divided_by_their_own_counts_also_over_microbatches():
    def difference(forget, retain, weight, totals=None):
        return combine({"forget": (1.0, *ascent(*forget)), "retain": (weight, *retain)}, totals)

    total, count, metrics = difference((6.0, 3.0), (10.0, 2.0), 0.5)
    assert float(total) / float(count) == pytest.approx(-2 + 0.5 * 5)
    assert metrics == {"forget": (-6.0, 3.0), "retain": (10.0, 2.0)}
    assert ascent(6.0, 3.0) == (-6.0, 3.0)
    assert mean(difference((6.0, 3.0), (10.0, 2.0), 0.0)) == -2  # without the second term: gradient ascent
    totals = {"forget": 3.0, "retain": 2.0}
    parts = [((4.0, 1.0), (0.0, 0.0)), ((2.0, 2.0), (10.0, 2.0))]
    sums = [difference(f, r, 0.5, totals)[:2] for f, r in parts]
    assert sum(s for s, _ in sums) / sum(c for _, c in sums) == pytest.approx(0.5)
    assert mean(difference((6.0, 3.0), (1.0, 4.0), 2.0)) == pytest.approx(-2 + 2 * 0.25)
    replaced = {"answers": (1.0, 6.0, 3.0), "retain": (2.0, 1.0, 4.0)}
    assert mean(combine(replaced)) == pytest.approx(2 + 2 * 0.25)

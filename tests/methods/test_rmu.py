"""RMU by hand, the hidden states that it needs, and the three projections that it moves."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.batches import placed, texts

from jaxunlearn.attacks.latent import hidden_states
from jaxunlearn.config import Train
from jaxunlearn.methods import METHODS, rmu, step
from jaxunlearn.methods.base import Recipe
from jaxunlearn.methods.step import combine
from jaxunlearn.models import transformer
from jaxunlearn.parallel.sharding import put
from jaxunlearn.training.step import compiled_step, init_state

D = 16
SHAPE = transformer.Shape(V=64, D=16, L=4, N=2, K=2, H=8, F=24, context=16)
DRAW = np.random.default_rng(0)


def mean(result):
    return float(result[0]) / float(result[1])


def test_rmu_by_hand():
    h, mask = np.zeros((1, 2, 4), np.float32), np.array([[True, False]])
    h[0, 0], h[0, 1] = [1, 2, 0, 0], 100
    u = np.array([0.6, 0.8, 0, 0], np.float32)
    forget = rmu.rmu_forget(h, u, mask, 5.0)  # distance to (3, 4, 0, 0): 4 + 4 over 4 dimensions
    assert [float(x) for x in forget] == pytest.approx([2.0, 1.0])
    retain = rmu.rmu_retain(h, np.zeros_like(h), mask)
    assert mean(retain) == pytest.approx(5 / 4)
    assert mean(rmu.rmu_retain(h, h, mask)) == 0 and mean(rmu.rmu_forget(5 * u[None, None], u, mask, 5.0)) == 0
    assert mean(combine({"forget": (1.0, *forget), "retain": (10.0, *retain)})) == pytest.approx(2 + 12.5)
    u = rmu.control_vector(50, 3)
    assert np.linalg.norm(u) == pytest.approx(1, abs=1e-6) and u.min() >= 0 and (u == rmu.control_vector(50, 3)).all()


MIXED = dataclasses.replace(
    SHAPE, window=2, windowed=(True, False, True, False), local_theta=10.0, scaled_embedding=True, norm_offset=1.0
)


@pytest.mark.parametrize("c", [SHAPE, MIXED], ids=["alike", "mixed"])
def test_hidden_states_after_the_last_layer_are_the_models_own(mesh, c):
    m, tokens = transformer.init(c, 0), put(DRAW.integers(0, 64, (2, 5)).astype(np.int32), "BT")
    found = jax.jit(lambda m: (m.normalised(rmu.hidden_after(m, tokens, 3, 2)), hidden_states(m, tokens, last_B)[-1]))
    last_B = put(np.array([4, 3], np.int32), "B")
    wanted = np.asarray(m(tokens))
    after, at_last = found(m)
    np.testing.assert_allclose(after, wanted, rtol=1e-5, atol=1e-6)
    at_last = jax.jit(lambda m, h: m.normalised(h[:, None])[:, 0])(m, at_last)
    np.testing.assert_allclose(at_last, wanted[[0, 1], [4, 3]], rtol=1e-5, atol=1e-6)


def test_hidden_states_of_a_layer_need_no_later_one_and_train_three_down_projections(mesh):
    m, tokens = transformer.init(SHAPE, 0), put(DRAW.integers(0, 64, (2, 5)).astype(np.int32), "BT")
    broken = jax.tree.map(lambda w: w.at[3].set(jnp.nan) if w.shape[:1] == (SHAPE.L,) else w, m)
    second = jax.jit(lambda m: rmu.hidden_after(m, tokens, 2))
    np.testing.assert_array_equal(second(broken), second(m))
    mask = put(np.ones((2, 5), bool), "BT")

    def loss(m):
        h = rmu.hidden_after(m, tokens, 2, first=1)
        return rmu.rmu_forget(h, rmu.control_vector(D), mask)[0]

    g = jax.jit(jax.grad(loss))(m)
    size_L = np.abs(np.asarray(g.blocks.down_FD[...])).max((1, 2))
    assert (size_L > 0).tolist() == [False, True, True, False]  # before `first` and after the layer: nothing
    assert not np.asarray(g.embed_VD[...]).any()
    kept = rmu.rmu_trained(m, 2)
    assert np.asarray(kept.blocks.down_FD[...]).ravel().tolist() == [1, 1, 1, 0]
    updated = jax.tree.map(lambda g, k: g * k, g, kept)
    assert sum(bool(np.asarray(x).any()) for x in jax.tree.leaves(updated)) == 1


def test_rmu_moves_three_down_projections_and_nothing_else(mesh):
    c = Train(steps=1, learning_rate=1e-2, batch=4, weight_decay=0.1)
    deep = dataclasses.replace(SHAPE, L=4)
    before, baseline = transformer.init(deep, 0), transformer.init(deep, 0)
    state = init_state(transformer.init(deep, 0), c)
    batch = {"forget": placed(texts(1, 4)), "retain": placed(texts(1, 4, seed=1))}
    recipe = Recipe(METHODS["rmu"], (("layer", 2), ("retain_weight", 1.0), ("steering", 5.0)))
    after, metrics = compiled_step(c, step.step, recipe=recipe)(state, np.float32(0.01), {"baseline": baseline}, batch)
    assert set(metrics) == {"loss", "gradient_norm", "forget", "retain"}
    changed = {
        jax.tree_util.keystr(path): np.asarray(a != b)
        for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(before), jax.tree.leaves(after.model), strict=True)
    }
    moved = {name: c for name, c in changed.items() if c.any()}
    assert len(moved) == 1 and "down_FD" in next(iter(moved))
    assert next(iter(moved.values())).any((1, 2)).tolist() == [True, True, True, False]

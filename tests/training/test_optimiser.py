"""Schedules by hand; layouts of the optimiser's moments: the same update, less memory, resumed bit for bit."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.mesh import mesh_of
from support.training import SHAPE, C, batches, trained, weights

from jaxunlearn.models import transformer
from jaxunlearn.training.checkpoint import Checkpoints
from jaxunlearn.training.optimiser import optimiser, rate
from jaxunlearn.training.step import compiled_step, gradients, init_state


def test_rates_by_hand():
    linear = dataclasses.replace(C, steps=10, warmup=2, learning_rate=0.9)
    assert [round(float(rate(linear, s)), 4) for s in (0, 1, 2, 6, 9)] == [0.3, 0.6, 0.9, 0.45, 0.1125]
    cosine = dataclasses.replace(C, steps=4, schedule="cosine", learning_rate=0.8)
    assert [round(float(rate(cosine, s)), 4) for s in (0, 2)] == [0.8, 0.4]
    assert float(rate(dataclasses.replace(C, schedule="constant"), 5)) == np.float32(1e-2)


def test_momentum_and_signs_by_hand():
    """Two updates of one weight by the gradients 2 and -1: SGD's momentum is 2, then -1 + .9 x 2; Lion's signs."""
    for name, expected in {"sgd": [-0.2, -0.08], "lion": [-0.1, -0.1]}.items():
        rule = optimiser(dataclasses.replace(C, optimiser=name, b1=0.9, b2=0.5), 0.1)
        state, w, made = rule.init({"w": jnp.ones(())}), {"w": jnp.ones(())}, []
        for g in (2.0, -1.0):
            step, state = rule.update({"w": jnp.full((), g)}, state, w)
            made.append(float(step["w"]))
        # Lion's second: .9 x (.5 x 2) - .1 x 1 is above 0, so that it goes on against its last gradient's sign
        np.testing.assert_allclose(made, expected, rtol=1e-6)
        moment = [x for x in jax.tree.leaves(state) if np.size(x) == 1 and x.dtype == jnp.float32]
        assert len(moment) == 1


def test_weight_decay_of_sgd_goes_past_the_momentum_by_hand():
    rule = optimiser(dataclasses.replace(C, optimiser="sgd", b1=0.9, weight_decay=0.5), 0.1)
    state, w, made = rule.init({"w": jnp.ones(())}), {"w": jnp.ones(())}, []
    for g in (2.0, -1.0):
        step, state = rule.update({"w": jnp.full((), g)}, state, w)
        made.append(float(step["w"]))
    np.testing.assert_allclose(made, [-0.1 * (2 + 0.5), -0.1 * (0.8 + 0.5)], rtol=1e-6)  # momentum 2, then -1 + .9 x 2


@pytest.mark.parametrize("name", ["adamw", "adafactor", "sgd", "lion"])
def test_weight_decay_takes_its_share_of_a_weight_times_the_rate_by_every_rule(name):
    """Weight 2, rate .1, decay .5: a step takes .1 x .5 x 2 = .1 more than one without decay."""
    w, made = {"w": jnp.full((), 2.0)}, {}
    for decay in (0.0, 0.5):
        c = dataclasses.replace(C, optimiser=name, weight_decay=decay)
        step = jax.jit(lambda g, state, rate, c=c: optimiser(c, rate).update({"w": g}, state, w))
        state, made[decay] = optimiser(c, 0.0).init(w), []
        for g in (2.0, -1.0, 0.0):
            update, state = step(jnp.full((), g), state, np.float32(0.1))
            made[decay].append(float(update["w"]))
    np.testing.assert_allclose(np.subtract(made[0.0], made[0.5]), 0.1, rtol=1e-5)


LAYOUTS = {
    "bf16 moments": {"moment_dtype": "bfloat16"},
    "adafactor": {"optimiser": "adafactor"},
}


def edit(c, steps, weight_dtype=jnp.float32):
    """Return the flat update after `steps` steps at the paper's rate, with weights rounded to a dtype after each."""
    start = jax.tree.map(lambda w: 20 * w, transformer.init(SHAPE, 0))  # weights as large as a pretrained model's
    state, step = init_state(jax.tree.map(jnp.copy, start), c), compiled_step(c)
    for n in range(steps):
        state, _ = step(state, np.float32(1e-6), *batches(c)(n))
        rounded = jax.tree.map(lambda w: w.astype(weight_dtype).astype(jnp.float32), state.model)
        state = state._replace(model=rounded)
    pairs = zip(weights(state.model), weights(start), strict=True)
    return np.concatenate([(a.astype(np.float64) - b).ravel() for a, b in pairs])


def likeness(a, b):
    return a @ b / np.linalg.norm(a) / np.linalg.norm(b), np.linalg.norm(a) / np.linalg.norm(b)


def test_bf16_moments_make_the_fp32_update(mesh):
    reference = edit(C, 100)
    cosine, ratio = likeness(edit(dataclasses.replace(C, moment_dtype="bfloat16"), 100), reference)
    assert cosine >= 0.99 and 0.98 <= ratio <= 1.02
    # what the layout is there to avoid: weights that are themselves bf16
    assert likeness(edit(C, 100, jnp.bfloat16), reference)[0] < 0.5


def test_moments_rest_in_the_dtype_asked_for_and_adafactor_keeps_almost_none(mesh):
    m = transformer.init(SHAPE, 0)
    sizes = {}
    for name, layout in {"adamw": {}, **LAYOUTS}.items():
        state = init_state(m, dataclasses.replace(C, **layout))
        sizes[name] = sum(x.nbytes for x in jax.tree.leaves(state.opt))
    assert sizes["adamw"] == pytest.approx(2 * sum(w.nbytes for w in weights(m)), rel=1e-3)
    assert sizes["bf16 moments"] == pytest.approx(sizes["adamw"] / 2, rel=1e-3)
    wide = transformer.init(dataclasses.replace(SHAPE, D=128, F=256, V=256), 0)
    kept = init_state(wide, dataclasses.replace(C, optimiser="adafactor"))
    assert sum(x.nbytes for x in jax.tree.leaves(kept.opt)) < 0.6 * sum(w.nbytes for w in weights(wide))


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_learns_and_resumes_bit_for_bit(mesh, tmp_path, name):
    c = dataclasses.replace(C, steps=4, checkpoint_every=2, **LAYOUTS[name])
    saved = Checkpoints(tmp_path, keep=2)
    whole = trained(c, checkpoints=saved)
    with jax.set_mesh(mesh_of((1, 1, 1))):
        again = saved.restore(init_state(transformer.init(SHAPE, 0), c))
        for a, b in zip(weights(whole), weights(again.model), strict=True):
            np.testing.assert_array_equal(a, b)
    first, last = (float(gradients(m, *batches(c)(0))[0]) for m in (transformer.init(SHAPE, 0), whole))
    assert last < first
    saved.close()

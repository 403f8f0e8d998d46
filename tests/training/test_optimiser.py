"""Schedules by hand; layouts of the optimiser's moments: the same update, less memory, resumed bit for bit."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.emitters import compiled_as_usual
from support.mesh import mesh_of
from support.training import SHAPE, C, batches, trained, weights

from jaxunlearn.models import transformer
from jaxunlearn.training.checkpoint import Checkpoints
from jaxunlearn.training.loop import fit
from jaxunlearn.training.optimiser import rate
from jaxunlearn.training.step import compiled_step, gradients, init_state


def test_rates_by_hand():
    linear = dataclasses.replace(C, steps=10, warmup=2, learning_rate=0.9)
    assert [round(float(rate(linear, s)), 4) for s in (0, 1, 2, 6, 9)] == [0.3, 0.6, 0.9, 0.45, 0.1125]
    cosine = dataclasses.replace(C, steps=4, schedule="cosine", learning_rate=0.8)
    assert [round(float(rate(cosine, s)), 4) for s in (0, 2)] == [0.8, 0.4]
    assert float(rate(dataclasses.replace(C, schedule="constant"), 5)) == np.float32(1e-2)


LAYOUTS = {
    "bf16 moments": {"moment_dtype": "bfloat16"},
    "moments on the host": {"moment_memory": "host"},
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


def test_every_optimiser_layout_makes_the_fp32_update(mesh):
    reference = edit(C, 100)
    for layout in ({"moment_dtype": "bfloat16"}, {"moment_memory": "host"}):
        cosine, ratio = likeness(edit(dataclasses.replace(C, **layout), 100), reference)
        assert cosine >= 0.99 and 0.98 <= ratio <= 1.02, layout
    # what the layouts are there to avoid: weights that are themselves bf16
    assert likeness(edit(C, 100, jnp.bfloat16), reference)[0] < 0.5


def test_moments_rest_in_the_dtype_asked_for_and_adafactor_keeps_almost_none(mesh):
    m = transformer.init(SHAPE, 0)
    sizes = {}
    for name, layout in {"adamw": {}, **LAYOUTS}.items():
        state = init_state(m, dataclasses.replace(C, **layout))
        sizes[name] = sum(x.nbytes for x in jax.tree.leaves(state.opt))
    assert sizes["adamw"] == pytest.approx(2 * sum(w.nbytes for w in weights(m)), rel=1e-3)
    assert sizes["bf16 moments"] == pytest.approx(sizes["adamw"] / 2, rel=1e-3)
    assert sizes["moments on the host"] == pytest.approx(sizes["adamw"], rel=1e-3)  # a counter more
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


def kinds(state):
    """Return the memory kinds of the weights and of AdamW's moments."""
    arrays = jax.tree.leaves(state.model), [x for x in jax.tree.leaves(state.opt) if x.ndim]
    return tuple({x.sharding.memory_kind for x in some} for some in arrays)


def placed(moments):
    """Return shapes and shards of AdamW's moments, in whatever order they are kept."""
    return sorted((x.shape, str(x.sharding.spec), str(x.dtype)) for x in jax.tree.leaves(moments) if x.ndim)


def usual(c, state):
    """Return the step as XLA compiles it by default."""
    return compiled_as_usual(compiled_step(c).lower(state, np.float32(c.learning_rate), *batches(c)(0)))


def test_moments_rest_in_host_memory_sharded_updated_and_restored(tmp_path):
    c = dataclasses.replace(C, steps=2, checkpoint_every=2, moment_memory="host", moment_dtype="bfloat16")
    beside = dataclasses.replace(c, moment_memory="device")
    with jax.set_mesh(mesh_of((2, 2, 2))):
        saved = Checkpoints(tmp_path)
        there, here = (init_state(transformer.init(SHAPE, 0), settings) for settings in (c, beside))
        there = fit(there, usual(c, there), batches(c), c, checkpoints=saved)
        here = fit(here, usual(beside, here), batches(c), beside)
        again = saved.restore(init_state(transformer.init(SHAPE, 0), c))
        assert kinds(there) == kinds(again) == ({"device"}, {"pinned_host"}) and kinds(here)[1] == {"device"}
        for a, b, restored in zip(*(weights(s.model) for s in (there, here, again)), strict=True):
            np.testing.assert_array_equal(a, b)
            np.testing.assert_array_equal(a, restored)
        assert placed(there.opt) == placed(again.opt) == placed(here.opt)
        saved.close()

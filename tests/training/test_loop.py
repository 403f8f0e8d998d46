"""The train step and the loop: hand-made AdamW, accumulation, frozen weights, resuming bit for bit."""

import dataclasses
import os
import signal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.emitters import compiled_as_usual
from support.mesh import mesh_of
from support.training import LABELS, SHAPE, TOKENS, C, batches, weights

from jaxunlearn.errors import InputError, RunError
from jaxunlearn.models import transformer
from jaxunlearn.parallel import preemption
from jaxunlearn.parallel.sharding import put
from jaxunlearn.training.checkpoint import Checkpoints
from jaxunlearn.training.loop import fit
from jaxunlearn.training.optimiser import rate
from jaxunlearn.training.step import compiled_step, gradients, init_state


def trained(c, **options):
    return fit(init_state(transformer.init(SHAPE, 0), c), compiled_step(c), batches(c), c, **options).model


def test_rates_by_hand():
    linear = dataclasses.replace(C, steps=10, warmup=2, learning_rate=0.9)
    assert [round(float(rate(linear, s)), 4) for s in (0, 1, 2, 6, 9)] == [0.3, 0.6, 0.9, 0.45, 0.1125]
    cosine = dataclasses.replace(C, steps=4, schedule="cosine", learning_rate=0.8)
    assert [round(float(rate(cosine, s)), 4) for s in (0, 2)] == [0.8, 0.4]
    assert float(rate(dataclasses.replace(C, schedule="constant"), 5)) == np.float32(1e-2)


def test_first_update_is_adamw_by_hand(mesh):
    c = dataclasses.replace(C, weight_decay=0.1)
    start = weights(transformer.init(SHAPE, 0))
    arrays = batches(c)(0)
    _, g = jax.jit(gradients)(transformer.init(SHAPE, 0), *arrays)
    state, _ = compiled_step(c)(init_state(transformer.init(SHAPE, 0), c), np.float32(1e-2), *arrays)
    for w, grad, new in zip(start, weights(g), weights(state.model), strict=True):
        # first step: both moments, once unbiased, are the gradient and its square
        np.testing.assert_allclose(new, w - 1e-2 * (grad / (np.abs(grad) + 1e-8) + 0.1 * w), rtol=1e-3, atol=2e-4)


def test_accumulation_equals_the_whole_batch_though_microbatches_hold_unequal_counts(mesh):
    labels = LABELS.copy()
    labels[:4, 2:] = -100
    whole = gradients(transformer.init(SHAPE, 0), put(TOKENS[None, :16], "ABT"), put(labels[None, :16], "ABT"))
    parts = gradients(
        transformer.init(SHAPE, 0), put(TOKENS[:16].reshape(4, 4, 16), "ABT"), put(labels[:16].reshape(4, 4, 16), "ABT")
    )
    np.testing.assert_allclose(whole[0], parts[0], rtol=1e-6)
    for a, b in zip(weights(whole[1]), weights(parts[1]), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_one_program_serves_every_schedule_and_length(mesh):
    longer = dataclasses.replace(C, steps=99, learning_rate=1e-3, schedule="cosine", warmup=3)
    assert compiled_step(C) is compiled_step(longer)
    assert compiled_step(C) is not compiled_step(dataclasses.replace(C, b2=0.9))
    step = compiled_step(C)
    trained(C)
    before = step._cache_size()
    trained(dataclasses.replace(C, steps=3))
    assert step._cache_size() == before


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


def test_memory_analysis_proves_the_donation(mesh):
    state = init_state(transformer.init(SHAPE, 0), C)
    compiled = compiled_step(C).lower(state, np.float32(1e-3), *batches(C)(0)).compile()
    held = sum(x.nbytes for x in jax.tree.leaves(state))
    assert compiled.memory_analysis().alias_size_in_bytes >= held


def test_nothing_compiles_again_after_the_first_step(mesh):
    c = dataclasses.replace(C, weight_decay=0.01)  # a program of its own
    step = compiled_step(c)
    fit(init_state(transformer.init(SHAPE, 0), c), step, batches(c), c)
    assert step._cache_size() == 1


@pytest.mark.parametrize("remat", ["full", "mlp", "dots", "none"])
def test_rematerialisation_changes_no_gradient(mesh, remat):
    arrays = batches(C)(0)
    shape = dataclasses.replace(SHAPE, remat=remat)
    found = jax.jit(gradients)(transformer.init(shape, 0), *arrays)
    wanted = jax.jit(gradients)(transformer.init(SHAPE, 0), *arrays)
    for a, b in zip(weights(found[1]), weights(wanted[1]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_a_batch_without_any_label_costs_nothing_and_moves_nothing(mesh):
    nothing = np.full((1, 8, 16), -100, np.int32)
    state = init_state(transformer.init(SHAPE, 0), C)
    before = weights(state.model)
    state, metrics = compiled_step(C)(state, np.float32(1e-2), put(TOKENS[None, :8], "ABT"), put(nothing, "ABT"))
    assert float(metrics["loss"]) == 0.0
    for a, b in zip(before, weights(state.model), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_state_is_donated(mesh):
    state = init_state(transformer.init(SHAPE, 0), C)
    compiled = compiled_step(C).lower(state, np.float32(0), *batches(C)(0)).compile()
    size = sum(w.nbytes for w in jax.tree.leaves(state))
    assert compiled.memory_analysis().alias_size_in_bytes > 0.95 * size


def test_resuming_from_any_checkpoint_is_bitwise_the_undisturbed_run(mesh, tmp_path):
    whole = weights(trained(C))
    for stop in (2, 4):
        folder = tmp_path / str(stop)
        checkpoints = Checkpoints(folder)
        half = dataclasses.replace(C, steps=6)

        class Killed(Exception):
            pass

        def kill(step, values, stop=stop):
            if step == stop + 1:
                raise Killed

        with pytest.raises(Killed):
            trained(half, checkpoints=checkpoints, log=kill)
        checkpoints.close()
        again = Checkpoints(folder)
        state = again.restore(init_state(transformer.init(SHAPE, 1), C))
        assert int(state.step) == stop
        resumed = fit(state, compiled_step(C), batches(C), C, checkpoints=again)
        for a, b in zip(whole, weights(resumed.model), strict=True):
            np.testing.assert_array_equal(a, b)
        again.close()


def test_sigterm_saves_the_step_it_came_in_and_the_rest_is_bitwise_the_same(mesh, tmp_path):
    c = dataclasses.replace(C, checkpoint_every=100)
    whole = weights(trained(c))
    checkpoints = Checkpoints(tmp_path)

    def terminate(step, values):
        if step == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with preemption.listening(), pytest.raises(preemption.Preempted):
        trained(c, checkpoints=checkpoints, log=terminate)
    checkpoints.close()
    again = Checkpoints(tmp_path)
    state = again.restore(init_state(transformer.init(SHAPE, 1), c))
    assert int(state.step) == 3  # step 2 is logged while step 3 runs
    with preemption.listening():
        resumed = fit(state, compiled_step(c), batches(c), c, checkpoints=again)
    again.close()
    for a, b in zip(whole, weights(resumed.model), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_checkpoint_moves_to_another_mesh_bit_for_bit(tmp_path):
    with jax.set_mesh(mesh_of((1, 4, 2))):
        state = init_state(transformer.init(SHAPE, 0), C)
        saved = weights(state)
        checkpoints = Checkpoints(tmp_path)
        checkpoints.save(1, state)
        checkpoints.wait()
        checkpoints.close()
    with jax.set_mesh(mesh_of((2, 2, 2))):
        again = Checkpoints(tmp_path)
        back = again.restore(init_state(transformer.init(SHAPE, 1), C))
        again.close()
        assert back.model.embed_VD[...].sharding.mesh.shape["data"] == 2
        for a, b in zip(saved, weights(back), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(mesh, tmp_path, capsys):
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.save(step, {"w": jnp.full(3, float(step))})
    checkpoints.wait()
    checkpoints.close()
    for file in (tmp_path / "2").rglob("*"):
        if file.is_file() and "d" in file.parent.name:
            file.write_bytes(b"")
    again = Checkpoints(tmp_path)
    back = again.restore({"w": jnp.zeros(3)})
    again.close()
    assert float(back["w"][0]) == 1.0
    assert "trying the one before" in capsys.readouterr().err


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_the_last_checkpoint(mesh, tmp_path):
    checkpoints = Checkpoints(tmp_path)
    c = dataclasses.replace(C, learning_rate=0.9, checkpoint_every=1)
    state = init_state(jax.tree.map(lambda w: w * np.float32(3e18), transformer.init(SHAPE, 0)), c)
    with pytest.raises(RunError, match=r"the loss is (nan|inf) at step 1"):
        fit(state, compiled_step(c), batches(c), c, checkpoints=checkpoints)
    assert checkpoints.restore(init_state(transformer.init(SHAPE, 0), c)) is None
    checkpoints.close()


def test_a_batch_must_divide_over_the_mesh():
    with jax.set_mesh(mesh_of((8, 1, 1))), pytest.raises(InputError, match="batch of 4 blocks does not divide"):
        trained(dataclasses.replace(C, batch=4))

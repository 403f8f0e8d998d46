"""The loop: killed, stopped and resumed, it ends bit for bit where it would have; a loss that is not finite ends it."""

import dataclasses
import os
import signal

import jax
import numpy as np
import pytest
from support.mesh import MESHES, mesh_of
from support.training import SHAPE, TOKENS, C, batches, trained, weights

from jaxunlearn.config import Whp
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.models import transformer
from jaxunlearn.parallel import preemption
from jaxunlearn.parallel.sharding import put
from jaxunlearn.training.checkpoint import Checkpoints
from jaxunlearn.training.loop import fit, microbatches
from jaxunlearn.training.optimiser import rate
from jaxunlearn.training.step import compiled_step, init_state
from jaxunlearn.whp.fused import fused_step
from jaxunlearn.whp.labels import LETTERS, Passage, label, on_mesh


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


# ---- the method's two ways


def passage(n=24, T=16, S=24):
    draw = np.random.default_rng(1)
    return Passage(
        tokens_BT=TOKENS[:n],
        translation_BS=draw.integers(0, 64, (n, S)).astype(np.int32),
        map_BT=np.sort(draw.integers(-1, S, (n, T)), 1).astype(np.int32),
        trained_BT=draw.random((n, T)) < 0.9,
        seen_id_BR=draw.integers(-1, 64, (n, 4)).astype(np.int32),
        seen_from_BR=draw.integers(0, T, (n, 4)).astype(np.int32),
    )


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 2, 2)])
def test_fused_steps_equal_offline_labels_and_leave_the_frozen_models_alone(sizes):
    with jax.set_mesh(mesh_of(sizes)):
        c, p = dataclasses.replace(C, batch=8, accumulate=2, weight_decay=0.1, learning_rate=1e-3), passage()
        frozen = (
            jax.tree.map(lambda w: 5 * w, transformer.init(SHAPE, 0)),
            jax.tree.map(lambda w: 5 * w, transformer.init(SHAPE, 1)),
        )
        before = weights(frozen)
        labels = np.asarray(label(*frozen, on_mesh(p), alphas=(5.0,), whp=Whp()))[0]
        assert (labels[~p.trained_BT] == -100).all() and (labels[p.trained_BT] >= 0).all()
        offline = fit(init_state(transformer.init(SHAPE, 2), c), compiled_step(c), batches(c, p.tokens_BT, labels), c)

        def fused_batch(step):
            arrays = microbatches(c, p, LETTERS, len(p.tokens_BT), 0, step)
            return [frozen, Passage(*arrays)]

        step = compiled_step(c, fused_step, whp=Whp())
        fused = fit(init_state(transformer.init(SHAPE, 2), c), step, fused_batch, c)
        for a, b in zip(weights(offline.model), weights(fused.model), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
        for a, b in zip(before, weights(frozen), strict=True):
            np.testing.assert_array_equal(a, b)


def test_labels_follow_the_definition_through_the_map(mesh):
    p, w = passage(8), Whp(seen_translation="-inf")
    models = (
        jax.tree.map(lambda x: 5 * x, transformer.init(SHAPE, 0)),
        jax.tree.map(lambda x: 5 * x, transformer.init(SHAPE, 1)),
    )
    forward = jax.jit(lambda m, t: m.logits(m(t)))
    v_base = np.asarray(forward(models[0], put(p.translation_BS, "BT")), np.float64)
    v_reinf = np.asarray(forward(models[1], put(p.tokens_BT, "BT")), np.float64)
    found = np.asarray(label(*models, on_mesh(p), alphas=(2.0,), whp=w))[0]
    for b, t in np.argwhere(p.trained_BT & (p.map_BT >= 0)):
        base = v_base[b, p.map_BT[b, t]]
        generic = base - 2.0 * np.maximum(v_reinf[b, t] - base, 0)
        for token, first in zip(p.seen_id_BR[b], p.seen_from_BR[b], strict=True):
            if token >= 0 and t >= first:
                generic[token] = -np.inf
        assert found[b, t] == np.argmax(generic)


def labels_and_fused_loss():
    """Return the labels of a whole label pass, and the loss of a fused step on them."""
    models = [jax.tree.map(lambda w: 8 * w, transformer.init(SHAPE, seed)) for seed in (0, 1)]
    p, c = passage(), dataclasses.replace(C, batch=8, accumulate=2)
    labels = label(*models, on_mesh(p), alphas=(5.0, 2.0), whp=Whp())
    arrays = microbatches(c, p, LETTERS, len(p.tokens_BT), 0, 0)
    step = compiled_step(c, fused_step, whp=Whp())
    state = init_state(transformer.init(SHAPE, 2), c)
    _, metrics = step(state, rate(c, 0), tuple(models), Passage(*arrays))
    return np.asarray(labels), float(metrics["loss"])


@pytest.fixture(scope="module")
def labelled_on_one_device():
    with jax.set_mesh(mesh_of((1, 1, 1))):
        return labels_and_fused_loss()


@pytest.mark.parametrize("sizes", MESHES[1:])
def test_labels_and_the_fused_step_are_the_same_on_every_mesh(labelled_on_one_device, sizes):
    with jax.set_mesh(mesh_of(sizes)):
        labels, loss = labels_and_fused_loss()
    np.testing.assert_array_equal(labels, labelled_on_one_device[0])
    assert abs(loss / labelled_on_one_device[1] - 1) < 1e-6

"""The loop: killed, stopped and resumed, it ends with the same bits; a loss or gradient that is not finite raises."""

import dataclasses
import os
import signal

import jax
import numpy as np
import pytest
from support.mesh import mesh_of
from support.training import SHAPE, C, batches, trained, weights

from jaxunlearn.errors import Diverged, InputError, RunError
from jaxunlearn.models import transformer
from jaxunlearn.parallel import preemption
from jaxunlearn.training.checkpoint import Checkpoints
from jaxunlearn.training.loop import fit
from jaxunlearn.training.step import compiled_step, init_state


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


def test_a_gradient_that_is_not_finite_behind_a_finite_loss_ends_the_run_before_its_weights_are_saved(mesh, tmp_path):
    checkpoints, step = Checkpoints(tmp_path), compiled_step(C)

    def breaks(state, *arguments):
        state, metrics = step(state, *arguments)
        if int(state.step) == 4:
            state = state._replace(model=jax.tree.map(lambda w: w * np.float32(np.nan), state.model))
            metrics |= {"gradient_norm": np.float32(np.nan)}
        return state, metrics

    with pytest.raises(Diverged, match="the norm of the gradient is nan at step 4; the last checkpoint before it"):
        fit(init_state(transformer.init(SHAPE, 0), C), breaks, batches(C), C, checkpoints=checkpoints)
    kept = checkpoints.restore(init_state(transformer.init(SHAPE, 0), C))
    assert int(kept.step) == 2 and all(np.isfinite(w).all() for w in weights(kept.model))
    checkpoints.close()


def test_a_batch_must_divide_over_the_mesh():
    with jax.set_mesh(mesh_of((8, 1, 1))), pytest.raises(InputError, match="batch of 4 blocks does not divide"):
        trained(dataclasses.replace(C, batch=4))

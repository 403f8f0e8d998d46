"""The update a layer at a time: equal to the plain step's, on every mesh, in less memory."""

import dataclasses
from functools import partial
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from support.mesh import mesh_of
from support.training import SHAPE, C, batches, trained, weights

from jaxunlearn.config import Lora, Train, load_config
from jaxunlearn.errors import InputError
from jaxunlearn.models import transformer
from jaxunlearn.training import layerwise, step
from jaxunlearn.training.checkpoint import Checkpoints
from jaxunlearn.training.layerwise import Room, by_layers
from jaxunlearn.training.loop import fit
from jaxunlearn.training.step import compiled_step, init_state

LAYERS = dataclasses.replace(C, update="layers", weight_decay=0.1, moment_dtype="bfloat16")
OTHER = transformer.Shape(
    V=64, D=32, L=4, N=4, K=2, H=8, F=48, context=64, window=4, windowed=(True, False, True, True), local_theta=100.0,
    tied=True, scaled_embedding=True, norm_offset=1.0, post_norms=True, qk_norm=True, qkv_bias=True,
)  # fmt: skip


def after(c, shape, steps=3):
    """Return (state, metrics) after a few steps."""
    state, once = init_state(transformer.init(shape, 0), c), compiled_step(c)
    for n in range(steps):
        state, metrics = once(state, np.float32(1e-2), *batches(c)(n))
    return state, {k: float(v) for k, v in metrics.items()}


CASES = [
    ((1, 1, 1), OTHER, {"batch": 4, "accumulate": 2}),
    ((1, 8, 1), dataclasses.replace(SHAPE, remat="down"), {}),
    ((1, 4, 2), SHAPE, {"batch": 4, "accumulate": 2}),
    ((2, 2, 2), OTHER, {}),
    ((8, 1, 1), dataclasses.replace(SHAPE, remat="none"), {"moment_dtype": "float32"}),
]


BY_DAY = CASES[0], CASES[3]  # one device, and split along every axis
BY_NIGHT = [pytest.param(*case, marks=pytest.mark.nightly) for case in CASES if case not in BY_DAY]


@pytest.mark.parametrize(("sizes", "shape", "settings"), [*BY_DAY, *BY_NIGHT])
def test_the_update_is_the_plain_steps(sizes, shape, settings):
    c = dataclasses.replace(LAYERS, **settings)
    with jax.set_mesh(mesh_of(sizes)):
        start = weights(transformer.init(shape, 0))
        one, metrics = after(c, shape)
        plain, wanted = after(dataclasses.replace(c, update="whole"), shape)
        assert metrics == pytest.approx(wanted, rel=1e-4)
        assert jax.tree.structure(one) == jax.tree.structure(plain)
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(plain), strict=True):
            assert (a.shape, a.dtype, a.sharding) == (b.shape, b.dtype, b.sharding)
        for a, b, w in zip(weights(one.model), weights(plain.model), start, strict=True):
            a, b = ((x.astype(np.float64) - w).ravel() for x in (a, b))
            assert a @ b / np.linalg.norm(a) / np.linalg.norm(b) > 0.9999
            assert np.linalg.norm(a) == pytest.approx(np.linalg.norm(b), rel=1e-3)
        for a, b in zip(weights(one.opt), weights(plain.opt), strict=True):
            np.testing.assert_allclose(a.astype(np.float32), b.astype(np.float32), rtol=2e-2, atol=2e-4)


def test_the_state_is_donated_and_resumes_bit_for_bit(mesh, tmp_path):
    c, saved = dataclasses.replace(LAYERS, steps=4, checkpoint_every=2), Checkpoints(tmp_path)

    def kill(step, values):
        if step == 3:
            raise KeyboardInterrupt

    whole = weights(trained(c))
    with pytest.raises(KeyboardInterrupt):
        trained(c, checkpoints=saved, log=kill)
    saved.close()
    saved = Checkpoints(tmp_path)
    again = saved.restore(init_state(transformer.init(SHAPE, 1), c))
    assert int(again.step) == 2
    resumed = fit(again, compiled_step(c), batches(c), c, checkpoints=saved)
    saved.close()
    for a, b in zip(whole, weights(resumed.model), strict=True):
        np.testing.assert_array_equal(a, b)
    again = init_state(transformer.init(SHAPE, 0), c)
    size = sum(w.nbytes for w in jax.tree.leaves(again))
    compiled = compiled_step(c).lower(again, np.float32(0), *batches(c)(0)).compile()
    assert compiled.memory_analysis().alias_size_in_bytes > 0.95 * size


@pytest.mark.parametrize("setting", ["clip=1.0", "optimiser=adafactor", "lora.rank=4"])
def test_what_is_no_update_of_one_layer_alone_is_refused(setting):
    with pytest.raises(InputError, match="update=layers needs"):
        load_config("bench_7b", ["unlearn.update=layers", f"unlearn.{setting}"])


SEVEN = transformer.Shape(V=32000, D=4096, L=32, N=32, K=32, H=128, F=11008, context=4096)


@pytest.mark.parametrize(
    ("settings", "chips", "gib", "layers"),
    [
        # 25.1 GiB of weights, 50.2 of gradient and update, 25.1 of bf16 moments or 50.2 of fp32 ones: 100.4 or 125.5
        ({"moment_dtype": "bfloat16"}, 1, 111, True),
        ({"moment_dtype": "bfloat16"}, 1, 113, False),
        ({}, 1, 138, True),
        ({}, 1, 141, False),
        ({"accumulate": 2}, 1, 167, True),  # a sum of gradients more: 150.6
        ({"accumulate": 2}, 1, 168, False),
        ({"moment_dtype": "bfloat16"}, 8, 15.75, False),  # a v5e-8: 12.6
        ({"moment_dtype": "bfloat16", "accumulate": 8}, 8, 15.75, True),  # 15.7
        ({"clip": 1.0}, 1, 1, False),  # not possible
        ({"lora": Lora(rank=4)}, 1, 1, False),
        ({"update": "whole"}, 1, 1, False),
        ({"update": "layers"}, 1, 1000, True),
        ({}, 1, None, False),  # a CPU does not say what it has
    ],
)
def test_a_whole_gradient_that_does_not_fit_is_not_made(settings, chips, gib, layers):
    there = Room(chips, gib and int(gib * 2**30))
    assert by_layers(Train(**settings), SEVEN, there) == layers


@pytest.mark.parametrize(("limits", "found"), [([7, 5], 5), ([7, -1], None), ([7, None], None), ([None], None)])
def test_a_device_that_does_not_say_what_it_has_decides_nothing(monkeypatch, limits, found):
    devices = [SimpleNamespace(memory_stats=lambda n=n: None if n is None else {"bytes_limit": n}) for n in limits]
    monkeypatch.setattr(jax, "local_devices", lambda: devices)
    layerwise._limit.cache_clear()
    assert layerwise._limit() == found
    layerwise._limit.cache_clear()


def test_the_step_asks_what_room_there_is(mesh, monkeypatch):
    """On a device of 100 kB the step is that of update=layers, on a larger one the plain one."""
    made = {}
    for update, limit in (("auto", 100_000), ("layers", None), ("auto", 10**9), ("whole", None)):
        monkeypatch.setattr(step, "room", lambda limit=limit: Room(1, limit))
        c = dataclasses.replace(LAYERS, update=update)
        state = init_state(transformer.init(SHAPE, 0), c)
        lowered = jax.jit(partial(step.train_step, c=c)).lower(state, np.float32(0), *batches(c)(0))
        made[update, limit] = lowered.as_text()
    assert made["auto", 100_000] == made["layers", None] != made["auto", 10**9] == made["whole", None]

"""The model on meshes, and its rules for sharding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.mesh import MESHES, mesh_of

from jaxunlearn.models import transformer
from jaxunlearn.models.scoring import loss_sum
from jaxunlearn.parallel import sharding
from jaxunlearn.parallel.sharding import put
from jaxunlearn.training.step import gradients

SHAPE = transformer.Shape(V=64, D=32, L=3, N=4, K=2, H=8, F=48, context=64)
TOKENS = np.random.default_rng(0).integers(0, 64, size=(8, 16)).astype(np.int32)


def loss_and_gradient():
    m = jax.tree.map(lambda w: 3 * w, transformer.init(SHAPE, 0))
    value, gradient = jax.jit(gradients)(m, put(TOKENS[None], "ABT"), put(np.roll(TOKENS, -1, axis=1)[None], "ABT"))
    return float(value), jax.tree.leaves(jax.tree.map(np.asarray, gradient))


@pytest.fixture(scope="module")
def on_one_device():
    with jax.set_mesh(mesh_of((1, 1, 1))):
        return loss_and_gradient()


@pytest.mark.parametrize("sizes", MESHES[1:])
def test_loss_and_gradients_are_the_same_on_every_mesh(on_one_device, sizes, capfd):
    with jax.set_mesh(mesh_of(sizes)):
        value, gradient = loss_and_gradient()
    assert abs(value / on_one_device[0] - 1) < 1e-6
    for a, b in zip(gradient, on_one_device[1], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    assert "Involuntary full rematerialization" not in capfd.readouterr().err


def test_slices_lie_along_the_data_axis_and_change_nothing(on_one_device):
    mesh = sharding.make_mesh(2, 2, 2, slices=2)
    assert [[d.id for d in part.flat] for part in mesh.devices] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    with jax.set_mesh(mesh):
        value, gradient = loss_and_gradient()
    assert abs(value / on_one_device[0] - 1) < 1e-6
    for a, b in zip(gradient, on_one_device[1], strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_compute_in_bf16_keeps_fp32_logits_and_gradients(mesh):
    import dataclasses

    m = transformer.init(dataclasses.replace(SHAPE, compute="bfloat16"), 0)
    h = jax.jit(lambda m, t: m(t))(m, put(TOKENS, "BT"))
    assert h.dtype == jnp.bfloat16 and jax.jit(lambda m, h: m.logits(h))(m, h).dtype == jnp.float32
    gradient = jax.jit(jax.grad(lambda m, x: loss_sum(m, x, x)[0]))(m, put(TOKENS, "BT"))
    assert {g.dtype for g in jax.tree.leaves(gradient)} == {jnp.dtype("float32")}

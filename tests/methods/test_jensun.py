"""JensUn by hand: the divergence to one token, that of two distributions, and their limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.batches import SHAPE
from support.mesh import mesh_of

from jaxunlearn.kernels.linear_distillation import jsd_rows
from jaxunlearn.methods.jensun import jsd_to, to_one_hot
from jaxunlearn.models import transformer
from jaxunlearn.parallel.sharding import put


def of(p, q):
    m = (p + q) / 2
    return sum((a * (np.log(np.maximum(a, 1e-300)) - np.log(m))).sum(-1) for a in (p, q)) / 2


def test_the_divergence_to_one_token_by_hand():
    p = np.array([0.2, 0.5, 0.3])
    wanted = [of(p, np.eye(3)[n]) for n in range(3)]
    total, count = to_one_hot(jnp.asarray(-np.log(p))[None], np.array([[0, 1, 2]]))
    assert float(total) == pytest.approx(sum(wanted), rel=1e-5) and float(count) == 3
    total, count = to_one_hot(jnp.asarray([[0.0, 200.0, 5.0]]), np.array([[1, 1, -100]]))
    assert float(total) == pytest.approx(np.log(2), rel=1e-5) and float(count) == 2  # certain: 0; impossible: log 2


def test_the_divergence_of_two_distributions_and_its_slope_by_hand():
    draw = np.random.default_rng(0)
    a, b = draw.normal(size=(2, 4, 3)) * 2
    a[0] = b[0]

    def softmax(v):
        return np.exp(v) / np.exp(v).sum(-1, keepdims=True)

    mesh = mesh_of((1, 1, 1))
    with jax.set_mesh(mesh):
        rows = jax.shard_map(jsd_rows, in_specs=jax.P(None, None), out_specs=jax.P(), check_vma=False)
        found, slope = rows(jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32))
    np.testing.assert_allclose(found, of(softmax(a), softmax(b)), atol=1e-6)
    step = draw.normal(size=a.shape) * 1e-5
    change = of(softmax(a + step), softmax(b)) - of(softmax(a - step), softmax(b))
    np.testing.assert_allclose(2 * (np.asarray(slope) * step).sum(-1), change, atol=2e-10)
    assert abs(float(found[0])) < 1e-7


@pytest.mark.nightly
def test_it_is_the_same_with_a_split_vocabulary():
    tokens = np.arange(8 * 6).reshape(8, 6).astype(np.int32)
    found = []
    for sizes in ((1, 1, 1), (2, 2, 2)):
        with jax.set_mesh(mesh_of(sizes)):
            m, t = transformer.init(SHAPE, 0), transformer.init(SHAPE, 1)
            there = put(tokens, "BT")
            total = jax.jit(lambda m, t, x: jsd_to(m, t, x, x)[0])(m, t, there)
            found.append(float(total))
    assert 0 < found[0] < 48 * np.log(2) and found[1] == pytest.approx(found[0], rel=1e-5)

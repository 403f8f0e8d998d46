"""Log-likelihoods a sequence, whose gradient each sequence weighs by its own factor."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.mesh import mesh_of

from jaxunlearn.kernels.token_nll import row_nll
from jaxunlearn.models import transformer
from jaxunlearn.parallel.sharding import gather, put

B = 8
SHAPE = transformer.Shape(V=64, D=16, L=4, N=2, K=2, H=8, F=24, context=16)


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 2, 2)])
def test_row_nll_and_a_gradient_weighted_by_sequence(sizes):
    draw = np.random.default_rng(0)
    tokens = draw.integers(0, 64, (B, 12)).astype(np.int32)
    mask = draw.random((B, 12)) < 0.5
    weight = np.arange(B, dtype=np.float32)

    def weighted(m, tokens, mask, weight):
        labels = jnp.pad(jnp.where(mask, tokens, -100)[:, 1:], ((0, 0), (0, 1)), constant_values=-100)
        h_BTD = m(tokens)
        logp_B = -row_nll(h_BTD, gather(m.unembed_DV(), "DV", h_BTD.dtype), labels)
        return jnp.sum(weight * logp_B), logp_B

    def plain(m, tokens, mask, weight):
        logp_BTV = jax.nn.log_softmax(m.logits(m(tokens))[:, :-1])
        picked_BT = jnp.sum(logp_BTV * jax.nn.one_hot(tokens[:, 1:], 64), axis=-1)
        logp_B = jnp.sum(jnp.where(mask[:, 1:], picked_BT, 0), axis=1)
        return jnp.sum(weight * logp_B), logp_B

    def both(function, sizes):
        with jax.set_mesh(mesh_of(sizes)):
            arrays = put(tokens, "BT"), put(mask, "BT"), put(weight, "B")
            (_, logp), g = jax.jit(jax.value_and_grad(function, has_aux=True))(transformer.init(SHAPE, 0), *arrays)
            return np.asarray(logp), [np.asarray(x) for x in jax.tree.leaves(g)]

    (found, g), (wanted, g_plain) = both(weighted, sizes), both(plain, (1, 1, 1))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    for a, b in zip(g, g_plain, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5 * max(1.0, np.abs(b).max()))

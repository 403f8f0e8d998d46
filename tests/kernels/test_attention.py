"""Every implementation of attention and its backward pass, against fp64, automatic derivatives and each other."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.mesh import mesh_of

from jaxunlearn.kernels.attention import attention, by_heads, fused, implementation, masked, plain, splash, summed
from jaxunlearn.parallel.sharding import put


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 2, 2)])
@pytest.mark.parametrize("length", [5, 150])  # one stretch of queries; two, and a shorter one
def test_attention_equals_fp64(sizes, length):
    draw = np.random.default_rng(0)
    q = draw.normal(size=(8, length, 4, 8)).astype(np.float32)
    k, v = (draw.normal(size=(8, length, 2, 8)).astype(np.float32) for _ in range(2))
    kk, vv = (np.repeat(a.astype(np.float64), 2, axis=2) for a in (k, v))
    s = np.einsum("bthd,bshd->bhts", q.astype(np.float64), kk) / np.sqrt(8)
    s = np.where(np.tril(np.ones((length, length), bool)), s, -np.inf)
    p = np.exp(s - s.max(-1, keepdims=True))
    truth = np.einsum("bhts,bshd->bthd", p / p.sum(-1, keepdims=True), vv)
    with jax.set_mesh(mesh_of(sizes)):
        found = jax.jit(attention)(put(q, "BTNH"), put(k, "BSKH"), put(v, "BSKH"))
    np.testing.assert_allclose(found, truth, atol=1e-5)


@pytest.mark.parametrize(("N", "K", "window"), [(4, 4, None), (4, 2, None), (4, 1, 100)])
def test_splash_attention_equals_plain(N, K, window):
    draw = np.random.default_rng(1)
    q, k, v, g = (draw.normal(size=(2, 256, n, 128)).astype(np.float32) for n in (N, K, K, N))
    found, pull = jax.vjp(partial(splash, window=window, interpret=True), q, k, v)
    wanted, pull_plain = jax.vjp(partial(plain, window=window), q, k, v)
    for a, b in zip((found, *pull(g)), (wanted, *pull_plain(g)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_a_window_holds_the_query_itself_and_the_keys_before_it(window=40):
    """Forward and backward, of plain products and of the interface that cuDNN's kernel lies behind."""
    draw = np.random.default_rng(4)
    q, k, v, g = (jnp.asarray(draw.normal(size=(2, 150, n, 16)), jnp.float32) for n in (4, 2, 2, 4))
    back = np.arange(150)[:, None] - np.arange(150)[None]
    mask = jnp.asarray((back >= 0) & (back < window))[None]
    wanted, pull_wanted = jax.vjp(lambda q, k, v: masked(q, k, v, mask), q, k, v)
    for one in (plain, partial(fused, implementation="xla")):
        found, pull = jax.vjp(partial(one, window=window), q, k, v)
        for a, b in zip((found, *pull(g)), (wanted, *pull_wanted(g)), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * np.abs(b).max())


@pytest.mark.parametrize("one", [by_heads, summed])
@pytest.mark.parametrize("K", [4, 2])
def test_a_token_attends_to_the_keys_of_a_cache_that_its_row_may_see(one, K):
    draw, pad, at = np.random.default_rng(5), [0, 2, 5], 6
    q, k, v = (draw.normal(size=s).astype(np.float32) for s in ((3, 1, 4, 8), (3, K, 10, 8), (3, K, 10, 8)))
    seen = (np.arange(10) >= np.array(pad)[:, None]) & (np.arange(10) <= at)
    found = one(*map(jnp.asarray, (q, k, v)), jnp.asarray(seen)[:, None])
    for b in range(3):
        for n in range(4):
            here = slice(pad[b], at + 1), n // (4 // K)
            keys, values = (a[b, here[1], here[0]].astype(np.float64) for a in (k, v))
            p = np.exp(keys @ q[b, 0, n] / np.sqrt(8))
            np.testing.assert_allclose(found[b, 0, n], p @ values / p.sum(), atol=1e-6)


@pytest.mark.parametrize(("dtype", "off"), [("float32", 1e-5), ("bfloat16", 0.02)])
def test_plain_attention_and_its_backward_pass_equal_automatic_derivatives(dtype, off):
    """Of the masked products, in fp32, at a length that no stretch divides and with two queries a key."""
    draw = np.random.default_rng(3)
    arrays = [jnp.asarray(draw.normal(size=(2, 150, n, 16)), dtype) for n in (4, 2, 2, 4)]
    exact = [a.astype(jnp.float32) for a in arrays]
    mask = jnp.tril(jnp.ones((150, 150), bool))[None]
    found, pull = jax.vjp(plain, *arrays[:3])
    wanted, pull_wanted = jax.vjp(lambda q, k, v: masked(q, k, v, mask), *exact[:3])
    for a, b in zip((found, *pull(arrays[3])), (wanted, *pull_wanted(exact[3])), strict=True):
        assert a.dtype == dtype
        np.testing.assert_allclose(np.asarray(a, np.float32), b, rtol=0, atol=off * np.abs(b).max())


def test_each_device_gets_the_implementation_that_suits_it():
    half, full = jnp.zeros((1, 512, 4, 128), jnp.bfloat16), jnp.zeros((1, 512, 4, 128), jnp.float32)
    odd = jnp.zeros((1, 500, 4, 48), jnp.bfloat16)
    assert [implementation(d, half) for d in ("cpu", "gpu", "tpu")] == ["plain", "cudnn", "splash"]
    assert [implementation(d, full) for d in ("gpu", "tpu")] == ["plain", "splash"]
    assert implementation("tpu", odd) == "plain"

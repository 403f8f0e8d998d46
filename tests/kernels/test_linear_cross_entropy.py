"""The cross-entropy and its gradients against fp64, at vocabularies that no block divides, on every mesh."""

import jax
import numpy as np
import pytest
from support.mesh import MESHES, mesh_of

from jaxunlearn.kernels import linear_cross_entropy as kernel
from jaxunlearn.kernels.linear_cross_entropy import Rows, linear_cross_entropy
from jaxunlearn.parallel.sharding import put

B, T, D, V = 8, 6, 16, 1000
DRAW = np.random.default_rng(0)
H = DRAW.normal(size=(B, T, D)).astype(np.float32)
W = DRAW.normal(size=(D, V)).astype(np.float32)
LABELS = DRAW.integers(0, V, size=(B, T)).astype(np.int32)
LABELS[0, :4] = -100


def loss_by_definition(h, w):
    """Return (sum, d/dh, d/dw) in fp64."""
    h, w = h.astype(np.float64).reshape(-1, D), w.astype(np.float64)
    labels, logits = LABELS.reshape(-1), None
    logits = h @ w
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    rows = np.flatnonzero(labels != -100)
    loss = -np.log(p[rows, labels[rows]]).sum()
    d = np.zeros_like(p)
    d[rows] = p[rows]
    d[rows, labels[rows]] -= 1
    return loss, (d @ w.T).reshape(B, T, D), h.T @ d


@pytest.mark.parametrize("sizes", MESHES)
def test_cross_entropy_and_gradients_equal_fp64(sizes):
    with jax.set_mesh(mesh_of(sizes)):
        step = jax.jit(jax.value_and_grad(lambda h, w, y: linear_cross_entropy(h, w, y)[0] * 3, argnums=(0, 1)))
        value, (dh, dw) = step(put(H, "BTD"), put(W, "DV"), put(LABELS, "BT"))
        loss, dh_true, dw_true = loss_by_definition(H, W)
        np.testing.assert_allclose(value, 3 * loss, rtol=1e-5)
        np.testing.assert_allclose(dh, 3 * dh_true, atol=1e-4)
        np.testing.assert_allclose(dw, 3 * dw_true, atol=1e-4)
        assert float(linear_cross_entropy(put(H, "BTD"), put(W, "DV"), put(LABELS, "BT"))[1]) == B * T - 4


def test_cross_entropy_in_row_chunks_that_do_not_divide(mesh):
    h = np.tile(H, (50, 1, 1))  # 2,400 rows: one chunk of 2,048 and a rest
    total, count = jax.jit(linear_cross_entropy)(put(h, "BTD"), put(W, "DV"), put(np.tile(LABELS, (50, 1)), "BT"))
    np.testing.assert_allclose(total, 50 * loss_by_definition(H, W)[0], rtol=1e-5)
    assert float(count) == 50 * (B * T - 4)


@pytest.mark.parametrize("rows", [Rows(6, 24), Rows(5, 16), Rows(7, 7), Rows(2048, 8192)])
@pytest.mark.parametrize("sizes", [(1, 1, 1), (1, 2, 2)])
def test_gradients_equal_fp64_however_the_rows_are_cut(monkeypatch, sizes, rows):
    """48 rows, or 24 a device: several stretches of several chunks, with and without padding."""
    monkeypatch.setattr(kernel, "FEW", rows)
    test_cross_entropy_and_gradients_equal_fp64(sizes)


@pytest.mark.parametrize("rows", [Rows(1024, 1024), Rows(2048, 8192), Rows(3, 10)])
@pytest.mark.parametrize("M", [1, 10, 1025, 8192, 8193, 65_536])
def test_rows_are_cut_evenly_within_the_limits(rows, M):
    chunks, chunk = kernel._cut(M, rows)
    stretches = -(-M // (chunks * chunk))
    assert chunk <= rows.chunk and chunks * chunk <= rows.stretch + chunks and stretches * chunks * chunk >= M
    assert stretches * chunks * chunk - M < stretches * chunks, "less than a row of padding a chunk"


def test_a_vocabulary_of_one_costs_nothing(mesh):
    h, w = put(H, "BTD"), put(W[:, :1], "DV")
    total, count = linear_cross_entropy(h, w, put(np.zeros((B, T), np.int32), "BT"))
    assert float(total) == pytest.approx(0.0, abs=1e-5) and float(count) == B * T


@pytest.mark.parametrize("V", [32000, 32003, 1000])
def test_cross_entropy_at_vocabularies_that_no_block_divides(mesh, V):
    draw = np.random.default_rng(V)
    h, w = draw.normal(size=(2, 8, D)), draw.normal(size=(D, V))
    labels = draw.integers(0, V, (2, 8)).astype(np.int32)
    labels[0, :3] = -100

    placed = put(labels, "BT")

    def mean(h, w):
        total, count = linear_cross_entropy(h, w, placed)
        return total / count

    arrays = put(h.astype(np.float32), "BTD"), put(w.astype(np.float32), "DV")
    loss, (dh, dw) = jax.jit(jax.value_and_grad(mean, argnums=(0, 1)))(*arrays)
    h, w = (np.asarray(a, np.float64) for a in arrays)
    logits = h @ w
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    valid, one_hot = labels >= 0, (np.arange(V) == np.maximum(labels, 0)[..., None]).astype(np.float64)
    wanted = -np.log((p * one_hot).sum(-1))[valid].mean()
    assert float(loss) == pytest.approx(wanted, rel=1e-5)
    dlogits = np.where(valid[..., None], p - one_hot, 0) / valid.sum()
    np.testing.assert_allclose(dh, dlogits @ w.T, rtol=1e-4, atol=1e-4 * np.abs(dlogits @ w.T).max())
    dw_wanted = np.einsum("btd,btv->dv", h, dlogits)
    np.testing.assert_allclose(dw, dw_wanted, rtol=1e-4, atol=1e-4 * np.abs(dw_wanted).max())

"""Students and teachers of the distillation tests, and the KL between them by its definition in fp64."""

import jax
import numpy as np

from jaxunlearn.parallel.sharding import put

B, T, D = 8, 6, 16
DRAW = np.random.default_rng(0)
H, H_ONE, H_TWO = (DRAW.normal(size=(B, T, D)).astype(np.float32) for _ in range(3))
MASK = DRAW.random((B, T)) < 0.7
NEVER = 2**30


def weights(V, seed):
    return np.random.default_rng(seed).normal(size=(D, V)).astype(np.float32)


def log_softmax(v):
    v = v - v.max(-1, keepdims=True)
    return v - np.log(np.exp(v).sum(-1, keepdims=True))


def kl_by_definition(h, w, wanted, mask=MASK):
    """Return (sum, d/dh, d/dw) of KL(softmax(wanted) || softmax(h w)) in fp64."""
    h, w = h.astype(np.float64), w.astype(np.float64)
    logp, logq = log_softmax(h @ w), log_softmax(wanted)
    q = np.exp(logq)
    loss = np.where(q > 0, q * (np.where(q > 0, logq, 0) - logp), 0).sum(-1)
    d = np.where(mask[..., None], np.exp(logp) - q, 0)
    return loss[mask].sum(), d @ w.T, np.einsum("btd,btv->dv", h, d)


def compare(function, truth, *arrays):
    """Check (sum, count) and both gradients of function(h, w, *arrays), everything times 3."""

    def tripled(h, w, *arrays):
        total, count = function(h, w, *arrays)
        return 3 * total, count

    (total, count), (dh, dw) = jax.jit(jax.value_and_grad(tripled, argnums=(0, 1), has_aux=True))(*arrays)
    np.testing.assert_allclose(total, 3 * truth[0], rtol=2e-5, atol=1e-4)
    np.testing.assert_allclose(dh, 3 * truth[1], atol=1e-4)
    np.testing.assert_allclose(dw, 3 * truth[2], atol=1e-4)
    assert float(count) == MASK.sum()


def seen_table(V):
    """Return (seen_BV as generic_argmax has it, seen_BTV)."""
    draw = np.random.default_rng(3)
    first = np.where(draw.random((B, V)) < 0.05, draw.integers(0, T, (B, V)), NEVER).astype(np.int32)
    return first, np.arange(T)[None, :, None] >= first[:, None]


def generic_by_definition(V, alpha, rule):
    base, reinf = H_ONE.astype(np.float64) @ weights(V, 1), H_TWO.astype(np.float64) @ weights(V, 2)
    seen = seen_table(V)[1]
    base = np.where(seen, base.mean(-1, keepdims=True), base) if rule == "mean" else base
    base = np.where(seen, base - 3.0, base) if rule == "penalty" else base
    v = base - alpha * np.maximum(reinf - base, 0)
    return np.where(seen, -np.inf, v) if rule == "-inf" else v


def on_mesh(V):
    arrays = (H, "BTD"), (weights(V, 0), "DV"), (H_ONE, "BTD"), (weights(V, 1), "DV"), (H_TWO, "BTD")
    return [put(a, s) for a, s in (*arrays, (weights(V, 2), "DV"), (MASK, "BT"), (seen_table(V)[0], "BV"))]


def small(V=5, T=3):
    draw = np.random.default_rng(5)
    return [draw.normal(size=s).astype(np.float32) for s in ((1, T, D), (D, V), (1, T, D), (D, V))]


def placed(*arrays):
    """Put hidden states and projections of one sequence on the mesh."""
    return [put(a, "BTD" if a.ndim == 3 else "DV") for a in arrays]

"""Losses on distributions and on sequences: the kernels against fp64, on every mesh, and their limits.

They move to the tests of kernels/ and whp/.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.mesh import MESHES, mesh_of

from jaxunlearn.kernels import linear_distillation, token_nll
from jaxunlearn.models import transformer
from jaxunlearn.parallel.sharding import put
from jaxunlearn.whp.soft import averaged_label_loss, generic_target, soft_label_loss

B, T, D = 8, 6, 16
SHAPE = transformer.Shape(V=64, D=16, L=4, N=2, K=2, H=8, F=24, context=16)
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


def soft(h, w, h_one, w_one, h_two, w_two, mask, seen, alpha, rule):
    pairs = (h_one, w_one), (h_two, w_two)
    return soft_label_loss(h, w, *pairs, mask, alpha, seen_BV=seen, rule=rule, penalty=3.0)


def on_mesh(V):
    arrays = (H, "BTD"), (weights(V, 0), "DV"), (H_ONE, "BTD"), (weights(V, 1), "DV"), (H_TWO, "BTD")
    return [put(a, s) for a, s in (*arrays, (weights(V, 2), "DV"), (MASK, "BT"), (seen_table(V)[0], "BV"))]


# ---- the kernels


@pytest.mark.parametrize("sizes", MESHES)
def test_soft_labels_and_their_gradients_equal_fp64_on_every_mesh(sizes):
    with jax.set_mesh(mesh_of(sizes)):
        truth = kl_by_definition(H, weights(1000, 0), generic_by_definition(1000, 5.0, "mean"))
        compare(partial(soft, alpha=5.0, rule="mean"), truth, *on_mesh(1000))


@pytest.mark.parametrize("rule", ["mean", "penalty", "-inf"])
def test_soft_labels_by_every_rule_at_a_vocabulary_that_nothing_divides(mesh, rule):
    truth = kl_by_definition(H, weights(1003, 0), generic_by_definition(1003, 2.5, rule))
    compare(partial(soft, alpha=2.5, rule=rule), truth, *on_mesh(1003))


@pytest.mark.parametrize("rows_at_once", [5, 7, 48])
def test_chunks_of_rows_change_nothing(mesh, rows_at_once):
    h, w, h_one, w_one, *_, mask, _ = on_mesh(1003)
    truth = kl_by_definition(H, weights(1003, 0), H_ONE.astype(np.float64) @ weights(1003, 1))

    def run(h, w, h_one, w_one, mask):
        return linear_distillation.linear_distillation(h, w, [(h_one, w_one)], mask, rows=rows_at_once)

    compare(run, truth, h, w, h_one, w_one, mask)


def top_by_definition(V, k):
    """Return (ids, p) of the k likeliest outcomes of the generic distribution, fp64."""
    logq = log_softmax(generic_by_definition(V, 5.0, "mean"))
    ids = np.argsort(-logq, axis=-1, kind="stable")[..., :k]
    return ids, np.exp(np.take_along_axis(logq, ids, axis=-1))


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 2, 2)])
def test_the_likeliest_outcomes_are_found_and_distilled_on_every_split(sizes):
    ids, p = top_by_definition(1000, 5)
    w = weights(1000, 0)
    listed = np.zeros((B, T, 1000), bool)
    np.put_along_axis(listed, ids, True, axis=-1)
    s = np.exp(log_softmax(H.astype(np.float64) @ w))
    rest_p, rest_s = 1 - p.sum(-1), np.where(listed, 0, s).sum(-1)
    # A target that shares the rest as the student does has the same loss (by the chain rule of KL) and gradient.
    wanted = np.where(listed, 0, s * (rest_p / rest_s)[..., None])
    np.put_along_axis(wanted, ids, p, axis=-1)
    with jax.set_mesh(mesh_of(sizes)):
        h, w, h_one, w_one, h_two, w_two, mask, seen = on_mesh(1000)
        target = partial(generic_target, alpha=5.0)
        find = jax.jit(
            lambda *a: linear_distillation.linear_topk((a[:2], a[2:4]), 5, target=target, seen_BV=a[4], rows=7)
        )
        found_ids, found_p = find(h_one, w_one, h_two, w_two, seen)
        np.testing.assert_array_equal(found_ids, ids)
        np.testing.assert_allclose(found_p, p, rtol=1e-4, atol=1e-6)
        truth = kl_by_definition(H, weights(1000, 0), np.log(wanted))
        compare(
            linear_distillation.linear_topk_distillation,
            truth,
            h,
            w,
            put(ids.astype(np.int32), "BTJ"),
            put(p, "BTJ"),
            mask,
        )


def stored(ids, p, V=4):
    """Return the loss of one position whose student is uniform over V."""
    h, w = put(np.zeros((1, 1, D), np.float32), "BTD"), put(weights(V, 0), "DV")
    arrays = put(np.array([[ids]], np.int32), "BTJ"), put(np.array([[p]], np.float32), "BTJ")
    run = jax.jit(jax.value_and_grad(linear_distillation.linear_topk_distillation, has_aux=True))
    (total, count), dh = run(h, w, *arrays, put(np.ones((1, 1), bool), "BT"))
    assert float(count) == 1 and np.isfinite(dh).all()
    return float(total)


def test_stored_outcomes_by_hand(mesh):
    # one of four listed at 1/2, the rest at 1/2 against 3/4
    assert stored([2], [0.5]) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(2 / 3), abs=1e-6)
    assert stored([2, -1], [0.5, 0.9]) == pytest.approx(stored([2], [0.5]), abs=1e-6)  # -1: no outcome
    assert stored([1], [1.0]) == pytest.approx(math.log(4), abs=1e-6)  # nothing left over
    assert stored([3, 1, 0, 2], [0.25] * 4) == pytest.approx(0, abs=1e-6)  # everything listed
    assert stored([0, 1], [0.25, 0.25]) == pytest.approx(0, abs=1e-6)


def test_never_holds_whole_logits(mesh):
    zeros = [put(np.zeros(s, np.float32), n) for s, n in (((8, 512, D), "BTD"), ((D, 32_000), "DV"))] * 2
    run = jax.jit(
        jax.grad(lambda h, w, *t: linear_distillation.linear_distillation(h, w, [t], h[..., 0] < 1, rows=128)[0])
    )
    assert run.lower(*zeros).compile().memory_analysis().temp_size_in_bytes < 8 * 512 * 32_000 * 4 / 4


# ---- log-probabilities a sequence


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 2, 2)])
def test_sequence_logp_and_a_gradient_weighted_by_sequence(sizes):
    tokens = DRAW.integers(0, 64, (B, 12)).astype(np.int32)
    mask = DRAW.random((B, 12)) < 0.5
    weight = np.arange(B, dtype=np.float32)

    def weighted(m, tokens, mask, weight):
        logp_B = token_nll.sequence_logp(m, tokens, mask)
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


def test_labels_of_marked_tokens_by_hand(mesh):
    tokens, mask = put(np.array([[7, 8, 9, 5]], np.int32), "BT"), put(np.array([[1, 0, 1, 1]], bool), "BT")
    assert np.asarray(token_nll.next_labels(tokens, mask)).tolist() == [[-100, 9, 5, -100]]
    assert token_nll.answer_lengths(mask).tolist() == [2.0]


def mean(result):
    return float(result[0]) / float(result[1])


# ---- losses on distributions


def small(V=5, T=3):
    draw = np.random.default_rng(5)
    return [draw.normal(size=s).astype(np.float32) for s in ((1, T, D), (D, V), (1, T, D), (D, V))]


def placed(*arrays):
    """Put hidden states and projections of one sequence on the mesh."""
    return [put(a, "BTD" if a.ndim == 3 else "DV") for a in arrays]


def test_kl_of_equal_models_is_zero_and_of_unequal_ones_by_definition(mesh):
    h, w, other, w_other = small()
    mask = put(np.ones((1, 3), bool), "BT")
    run = jax.jit(lambda h, w, t, w_t: linear_distillation.linear_distillation(h, w, [(t, w_t)], mask))
    assert float(run(*placed(h, w, h, w))[0]) == pytest.approx(0, abs=1e-6)
    truth = kl_by_definition(h, w, other.astype(np.float64) @ w_other, np.ones((1, 3), bool))[0]
    assert mean(run(*placed(h, w, other, w_other))) == pytest.approx(truth / 3, rel=1e-5)


def test_soft_labels_at_alpha_zero_are_the_baselines_distribution(mesh):
    h, w, other, w_other = placed(*small())
    mask = put(np.ones((1, 3), bool), "BT")
    plain = linear_distillation.linear_distillation(h, w, [(other, w_other)], mask)[0]
    assert float(soft_label_loss(h, w, (other, w_other), (h, w), mask, 0.0)[0]) == pytest.approx(float(plain))
    assert float(soft_label_loss(h, w, (other, w_other), (h, w), mask, 5.0)[0]) != pytest.approx(float(plain))


@pytest.mark.parametrize("alpha", [0.0, 2.0])
def test_averaged_soft_labels_take_the_mean_of_probabilities(mesh, alpha):
    h, w, one, w_base = small()
    two, mask = one[:, ::-1], np.ones((1, 3), bool)
    logits = [a.astype(np.float64) @ w_base for a in (one, two)]
    reinforced = h.astype(np.float64) @ w_base
    parts = [np.exp(log_softmax(v - alpha * np.maximum(reinforced - v, 0))) for v in logits]
    truth = kl_by_definition(h, w, np.log(np.mean(parts, axis=0)), mask)[0]
    h, w, one, two, w_base = placed(h, w, one, two, w_base)
    more = {} if alpha == 0 else {"reinforced": (h, w_base), "alpha": alpha}
    found = averaged_label_loss(h, w, [(one, w_base), (two, w_base)], put(mask, "BT"), **more)
    assert float(found[0]) == pytest.approx(truth, rel=1e-5)

"""The rivals: every loss against values worked out by hand and its limits, the kernels against fp64, the table."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.mesh import MESHES, mesh_of

from jaxunlearn.errors import InputError
from jaxunlearn.kernels import linear_distillation, token_nll
from jaxunlearn.methods import METHODS, NEEDS, answers, check_method, inference, needs_of, rmu
from jaxunlearn.methods.ascent import ascent
from jaxunlearn.methods.dpo import dpo
from jaxunlearn.methods.kga import knowledge_gap
from jaxunlearn.methods.npo import npo, simnpo
from jaxunlearn.methods.step import combine
from jaxunlearn.methods.task_vector import task_vector
from jaxunlearn.methods.undial import undial
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


# ---- losses on log-probabilities


def mean(result):
    return float(result[0]) / float(result[1])


LOGP, REFERENCE = jnp.array([-4.0, -7.0]), jnp.array([-3.0, -9.0])


def test_npo_by_hand_and_its_limit_is_gradient_ascent():
    by_hand = 2 / 0.5 * (math.log(1 + math.exp(-0.5)) + math.log(1 + math.exp(1.0))) / 2  # log ratios -1 and 2
    assert mean(npo(LOGP, REFERENCE, 0.5)) == pytest.approx(by_hand, rel=1e-6)
    value, slope = jax.value_and_grad(lambda x: npo(x, REFERENCE, 1e-3)[0])(LOGP)
    assert float(value) - 2 * 2 / 1e-3 * math.log(2) == pytest.approx(1.0, abs=2e-3)  # -1 + 2: log p - log p_ref
    np.testing.assert_allclose(slope, 1, atol=2e-3)
    fast = jax.grad(lambda x: npo(x, REFERENCE, 1.0)[0])(LOGP)
    np.testing.assert_allclose(fast, [2 / (1 + math.e), 2 / (1 + math.exp(-2))], rtol=1e-5)  # fades once forgotten


def test_padding_counts_nowhere_in_a_loss_of_sequences():
    valid = jnp.array([True, False])
    total, count = npo(LOGP, REFERENCE, 0.5, valid)
    assert float(count) == 1 and float(total) == pytest.approx(4 * math.log(1 + math.exp(-0.5)), rel=1e-6)
    assert float(simnpo(LOGP, jnp.array([2.0, 0.0]))[1]) == 1
    assert float(dpo(LOGP, LOGP, REFERENCE, REFERENCE, 0.5, valid)[0]) == pytest.approx(2 * math.log(2))


def test_simnpo_by_hand_with_and_without_margin():
    count = jnp.array([2.0, 7.0])  # mean log-probabilities -2 and -1
    plain = 2 / 0.5 * (math.log(1 + math.exp(-1.0)) + math.log(1 + math.exp(-0.5))) / 2
    assert mean(simnpo(LOGP, count, 0.5)) == pytest.approx(plain, rel=1e-6)
    margin = 2 / 0.5 * (math.log(1 + math.exp(-0.7)) + math.log(1 + math.exp(-0.2))) / 2
    assert mean(simnpo(LOGP, count, 0.5, 0.3)) == pytest.approx(margin, rel=1e-6)
    slope = jax.grad(lambda x: simnpo(x, count, 1e-3)[0])(LOGP)
    np.testing.assert_allclose(slope, [1 / 2, 1 / 7], rtol=2e-3)  # beta towards 0: ascent on the mean a token
    # one token a sequence and gamma 0: NPO with a reference that gives the sequence probability 1
    same = mean(npo(LOGP, jnp.zeros(2), 0.7))
    assert mean(simnpo(LOGP, jnp.ones(2), 0.7)) == pytest.approx(same, rel=1e-6)


def test_dpo_is_log_two_over_beta_at_equal_ratios_and_antisymmetric_in_its_slope():
    assert mean(dpo(LOGP, LOGP, REFERENCE, REFERENCE, 0.1)) == pytest.approx(math.log(2) / 0.1, rel=1e-6)
    margin = dpo(jnp.array([-1.0]), jnp.array([-2.0]), jnp.array([-5.0]), jnp.array([-3.0]), 0.5)
    assert mean(margin) == pytest.approx(2 * math.log(1 + math.exp(-1.5)), rel=1e-6)  # 1 - (-2) = 3 nats
    win, lose = jax.grad(lambda w, l: dpo(w, REFERENCE, l, REFERENCE, 0.1)[0], argnums=(0, 1))(LOGP, REFERENCE)
    np.testing.assert_allclose(win, -lose, rtol=1e-6)
    win = jax.grad(lambda w: dpo(w, REFERENCE, LOGP, REFERENCE, 1e-4)[0])(LOGP)
    np.testing.assert_allclose(win, -0.5, rtol=1e-3)  # beta towards 0: descent on the one, ascent on the other


def test_terms_are_divided_by_their_own_counts_also_over_microbatches():
    def difference(forget, retain, weight, totals=None):
        return combine({"forget": (1.0, *ascent(*forget)), "retain": (weight, *retain)}, totals)

    total, count, metrics = difference((6.0, 3.0), (10.0, 2.0), 0.5)
    assert float(total) / float(count) == pytest.approx(-2 + 0.5 * 5)
    assert metrics == {"forget": (-6.0, 3.0), "retain": (10.0, 2.0)}
    assert ascent(6.0, 3.0) == (-6.0, 3.0)
    assert mean(difference((6.0, 3.0), (10.0, 2.0), 0.0)) == -2  # without the second term: gradient ascent
    totals = {"forget": 3.0, "retain": 2.0}
    parts = [((4.0, 1.0), (0.0, 0.0)), ((2.0, 2.0), (10.0, 2.0))]
    sums = [difference(f, r, 0.5, totals)[:2] for f, r in parts]
    assert sum(s for s, _ in sums) / sum(c for _, c in sums) == pytest.approx(0.5)
    assert mean(difference((6.0, 3.0), (1.0, 4.0), 2.0)) == pytest.approx(-2 + 2 * 0.25)
    replaced = {"answers": (1.0, 6.0, 3.0), "retain": (2.0, 1.0, 4.0)}
    assert mean(combine(replaced)) == pytest.approx(2 + 2 * 0.25)


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


def test_undial_lowers_the_labels_logit_alone_and_at_strength_zero_distils_itself(mesh):
    h, w, other, w_other = small()
    labels = np.array([[2, -100, 4]], np.int32)
    run = jax.jit(undial, static_argnums=4)
    student, teacher = placed(h, w), placed(other, w_other)
    assert float(run(*student, student, put(labels, "BT"), 0.0)[0]) == pytest.approx(0, abs=1e-6)
    wanted = other.astype(np.float64) @ w_other
    wanted[0, 0, 2] -= 3.0
    wanted[0, 2, 4] -= 3.0
    total, count = run(*student, teacher, put(labels, "BT"), 3.0)
    truth = kl_by_definition(h, w, wanted, labels >= 0)[0]
    assert float(count) == 2 and float(total) == pytest.approx(truth, rel=1e-5)


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


def test_knowledge_gap_by_hand():
    assert mean(knowledge_gap((6.0, 3.0), 0.5)) == pytest.approx(1.5)
    assert mean(knowledge_gap((6.0, 3.0), 2.5)) == pytest.approx(0.5)
    assert mean(knowledge_gap((6.0, 3.0), 2.0)) == 0
    both = {"forget": (1.0, *knowledge_gap((6.0, 3.0), 0.5)), "retain": (0.1, 8.0, 4.0)}
    assert mean(combine(both)) == pytest.approx(1.5 + 0.1 * 2)
    slopes = [float(jax.grad(lambda s, g=g: knowledge_gap((s, 3.0), g)[0])(6.0)) for g in (0.5, 2.5)]
    assert slopes == [1.0, -1.0]  # towards the gap from either side


# ---- RMU, task vectors, inference, texts


def test_rmu_by_hand():
    h, mask = np.zeros((1, 2, 4), np.float32), np.array([[True, False]])
    h[0, 0], h[0, 1] = [1, 2, 0, 0], 100
    u = np.array([0.6, 0.8, 0, 0], np.float32)
    forget = rmu.rmu_forget(h, u, mask, 5.0)  # distance to (3, 4, 0, 0): 4 + 4 over 4 dimensions
    assert [float(x) for x in forget] == pytest.approx([2.0, 1.0])
    retain = rmu.rmu_retain(h, np.zeros_like(h), mask)
    assert mean(retain) == pytest.approx(5 / 4)
    assert mean(rmu.rmu_retain(h, h, mask)) == 0 and mean(rmu.rmu_forget(5 * u[None, None], u, mask, 5.0)) == 0
    assert mean(combine({"forget": (1.0, *forget), "retain": (10.0, *retain)})) == pytest.approx(2 + 12.5)
    u = rmu.control_vector(50, 3)
    assert np.linalg.norm(u) == pytest.approx(1, abs=1e-6) and u.min() >= 0 and (u == rmu.control_vector(50, 3)).all()


def test_hidden_states_of_a_layer_need_no_later_one_and_train_three_down_projections(mesh):
    m, tokens = transformer.init(SHAPE, 0), put(DRAW.integers(0, 64, (2, 5)).astype(np.int32), "BT")

    def last(m, first):
        return transformer.rms_norm(rmu.hidden_after(m, tokens, 3, first), m.norm_D[...], SHAPE.epsilon)

    np.testing.assert_allclose(last(m, 2), m(tokens), rtol=1e-5, atol=1e-6)
    broken = jax.tree.map(lambda w: w.at[3].set(jnp.nan) if w.shape[:1] == (SHAPE.L,) else w, m)
    second = jax.jit(lambda m: rmu.hidden_after(m, tokens, 2))
    np.testing.assert_array_equal(second(broken), second(m))
    mask = put(np.ones((2, 5), bool), "BT")

    def loss(m):
        h = rmu.hidden_after(m, tokens, 2, first=1)
        return rmu.rmu_forget(h, rmu.control_vector(D), mask)[0]

    g = jax.jit(jax.grad(loss))(m)
    size_L = np.abs(np.asarray(g.blocks.down_FD[...])).max((1, 2))
    assert (size_L > 0).tolist() == [False, True, True, False]  # before `first` and after the layer: nothing
    assert not np.asarray(g.embed_VD[...]).any()
    kept = rmu.rmu_trained(m, 2)
    assert np.asarray(kept.blocks.down_FD[...]).ravel().tolist() == [1, 1, 1, 0]
    updated = jax.tree.map(lambda g, k: g * k, g, kept)
    assert sum(bool(np.asarray(x).any()) for x in jax.tree.leaves(updated)) == 1


def test_task_vector_by_hand():
    theta, reinforced = {"w": jnp.array([1.0, 2.0], jnp.bfloat16)}, {"w": jnp.array([1.5, 1.0], jnp.float32)}
    found = task_vector(theta, reinforced, 2.0)["w"]
    assert found.tolist() == [0.0, 4.0] and found.dtype == jnp.bfloat16
    assert task_vector(theta, reinforced, 0.0)["w"].tolist() == [1.0, 2.0]


def test_whp_at_inference_time_by_hand():
    found = inference.whp_inference(jnp.array([1.0, 2.0, -1.0]), jnp.array([1.5, 0.0, -1.0]), 5.0)
    assert found.tolist() == [-1.5, 2.0, -1.0]
    assert inference.whp_inference(jnp.array([1.0, 2.0]), jnp.array([3.0, 0.0]), 0.0).tolist() == [1.0, 2.0]


def test_replacement_answers_never_state_the_right_one():
    options = ["1990", "1991", " 1990 ", "1992"]
    assert answers.wrong_answers(options, 0) == ["1991", "1992"]
    fixed = [answers.fixed_wrong_answer(options, 0, n) for n in range(20)]
    assert set(fixed) == {"1991", "1992"} and fixed == [answers.fixed_wrong_answer(options, 0, n) for n in range(20)]
    assert len({answers.idk_answer(n) for n in range(40)}) > 3 and answers.idk_answer(3) == answers.idk_answer(3)
    with pytest.raises(InputError, match="no wrong answer"):
        answers.wrong_answers(["Yes", "yes "], 0)
    with pytest.raises(InputError, match="option 4 of 2"):
        answers.wrong_answers(["a", "b"], 4)
    said = inference.pretended_ignorance("Who is {he}?", "the saga of {A}")
    assert "anything about the saga of {A}." in said and said.endswith("\n\nWho is {he}?")


# ---- the table


def test_every_method_is_described_and_its_defaults_pass():
    for name, m in METHODS.items():
        needs = needs_of(m, m.defaults)
        assert m.name == name and m.paper and m.summary and m.card and needs <= set(NEEDS)
        assert all(s.why for s in m.settings.values() if not isinstance(s.default, str))
        check_method(name, needs, **({"subject": "the saga"} if name == "prompting" else {}))
        for need in needs:
            with pytest.raises(InputError, match=f"it needs '{need}'"):
                check_method(name, needs - {need}, **({"subject": "x"} if name == "prompting" else {}))
    assert {name for name, m in METHODS.items() if not m.trains} == {
        "task_vector",
        "whp_inference",
        "prompting",
        "reset_heal",
    }


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("npo", {"beta": 0}, r"beta must be above 0 \(got 0\): the loss divides by beta"),
        ("npo", {"beta": math.nan}, "beta must be a number"),
        ("npo", {"beta": "0.1"}, "beta must be a number"),
        ("npo", {"betta": 1.0}, "'betta' is no setting of it; did you mean 'beta'"),
        ("npo", {"retain_weight": 1.0}, "it needs 'retain', text to keep"),
        ("npo", {"retain_weight": -1.0}, "retain_weight must be at least 0"),
        ("whp_averaged", {"alpha": 5.0}, "it needs 'reinforced'"),
        ("whp_averaged", {"translations": 1.5}, "translations must be a whole number"),
        ("rmu", {"layer": 4}, r"layer must lie between 0 and 3 \(got 4\): the model has 4 layers"),
        ("rmu", {"layer": -1}, "layer must be at least 0"),
        ("prompting", {}, "subject must be a text"),
        ("nppo", {}, "no method 'nppo'; did you mean 'npo'"),
    ],
)
def test_a_method_that_cannot_run_is_refused_with_the_reason(name, settings, said):
    have = {"reference", "dictionary"} | ({"retain"} if name == "rmu" else set())
    with pytest.raises(InputError, match=said):
        check_method(name, have, layers=4, **settings)


def test_everything_wrong_is_said_at_once():
    with pytest.raises(InputError) as error:
        check_method("rmu", set(), layers=4, layer=9, steering=0.0)
    assert all(s in str(error.value) for s in ("layer", "steering", "'retain'", "'reference'"))

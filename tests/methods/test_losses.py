"""The rivals: every loss against values worked out by hand and its limits, the table."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.distillation import kl_by_definition, placed, small

from jaxunlearn.errors import InputError
from jaxunlearn.kernels import linear_distillation
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

SHAPE = transformer.Shape(V=64, D=16, L=4, N=2, K=2, H=8, F=24, context=16)
DRAW = np.random.default_rng(0)


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
        return rmu.rmu_forget(h, rmu.control_vector(SHAPE.D), mask)[0]

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

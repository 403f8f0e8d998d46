"""NPO and SimNPO by hand, their limits, and NPO's stored reference."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.batches import SHAPE, placed, texts

from jaxunlearn.methods import METHODS, step
from jaxunlearn.methods.base import Recipe, sequence_logp
from jaxunlearn.methods.npo import npo, simnpo
from jaxunlearn.models import transformer
from jaxunlearn.parallel.sharding import put
from jaxunlearn.stages.batches import all_logp

LOGP, REFERENCE = jnp.array([-4.0, -7.0]), jnp.array([-3.0, -9.0])


def mean(result):
    return float(result[0]) / float(result[1])


def test_npo_by_hand_and_its_limit_is_gradient_ascent():
    by_hand = 2 / 0.5 * (math.log(1 + math.exp(-0.5)) + math.log(1 + math.exp(1.0))) / 2  # log ratios -1 and 2
    assert mean(npo(LOGP, REFERENCE, 0.5)) == pytest.approx(by_hand, rel=1e-6)
    value, slope = jax.value_and_grad(lambda x: npo(x, REFERENCE, 1e-3)[0])(LOGP)
    assert float(value) - 2 * 2 / 1e-3 * math.log(2) == pytest.approx(1.0, abs=2e-3)  # -1 + 2: log p - log p_ref
    np.testing.assert_allclose(slope, 1, atol=2e-3)
    fast = jax.grad(lambda x: npo(x, REFERENCE, 1.0)[0])(LOGP)
    np.testing.assert_allclose(fast, [2 / (1 + math.e), 2 / (1 + math.exp(-2))], rtol=1e-5)  # fades once forgotten


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


def test_a_run_of_npo_uses_the_stored_reference(mesh):
    part = transformer.init(SHAPE, 0)
    tokens, labels = texts(1, 4)
    logp = all_logp(part, tokens[0], labels[0], 2)
    truth = np.asarray(jax.jit(sequence_logp)(part, put(tokens[0], "BT"), put(labels[0], "BT")))
    np.testing.assert_allclose(logp, truth, rtol=1e-5)
    batch = {"forget": placed((tokens, labels)), "reference": {"forget": put(logp[None], "AB")}}
    recipe = Recipe(METHODS["npo"], (("beta", 0.1),))
    value, g, _ = step.gradients(part, {}, batch, recipe)
    assert float(value) == pytest.approx(2 / 0.1 * np.log(2), rel=1e-5)  # equal to the reference
    _, g_ascent, _ = step.gradients(part, {}, batch, Recipe(METHODS["gradient_ascent"], ()))
    scale = (labels != -100).sum() / 4  # a token against a sequence
    np.testing.assert_allclose(g.embed_VD[...], np.asarray(g_ascent.embed_VD[...]) * scale, atol=1e-4)

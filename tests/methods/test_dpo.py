"""DPO by hand and its limits."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxunlearn.methods.dpo import dpo

LOGP, REFERENCE = jnp.array([-4.0, -7.0]), jnp.array([-3.0, -9.0])


def mean(result):
    return float(result[0]) / float(result[1])


def test_dpo_is_log_two_over_beta_at_equal_ratios_and_antisymmetric_in_its_slope():
    assert mean(dpo(LOGP, LOGP, REFERENCE, REFERENCE, 0.1)) == pytest.approx(math.log(2) / 0.1, rel=1e-6)
    margin = dpo(jnp.array([-1.0]), jnp.array([-2.0]), jnp.array([-5.0]), jnp.array([-3.0]), 0.5)
    assert mean(margin) == pytest.approx(2 * math.log(1 + math.exp(-1.5)), rel=1e-6)  # 1 - (-2) = 3 nats
    win, lose = jax.grad(lambda w, l: dpo(w, REFERENCE, l, REFERENCE, 0.1)[0], argnums=(0, 1))(LOGP, REFERENCE)
    np.testing.assert_allclose(win, -lose, rtol=1e-6)
    win = jax.grad(lambda w: dpo(w, REFERENCE, LOGP, REFERENCE, 1e-4)[0])(LOGP)
    np.testing.assert_allclose(win, -0.5, rtol=1e-3)  # beta towards 0: descent on the one, ascent on the other

"""Sums over sequences: padding counts nowhere."""

import math

import jax.numpy as jnp
import pytest

from jaxunlearn.methods.dpo import dpo
from jaxunlearn.methods.npo import npo, simnpo

LOGP, REFERENCE = jnp.array([-4.0, -7.0]), jnp.array([-3.0, -9.0])


def test_padding_counts_nowhere_in_a_loss_of_sequences():
    valid = jnp.array([True, False])
    total, count = npo(LOGP, REFERENCE, 0.5, valid)
    assert float(count) == 1 and float(total) == pytest.approx(4 * math.log(1 + math.exp(-0.5)), rel=1e-6)
    assert float(simnpo(LOGP, jnp.array([2.0, 0.0]))[1]) == 1
    assert float(dpo(LOGP, LOGP, REFERENCE, REFERENCE, 0.5, valid)[0]) == pytest.approx(2 * math.log(2))

"""Sums over sequences: padding counts nowhere; a model and its frozen copy are one and the same."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.training import LABELS, SHAPE, TOKENS

from jaxunlearn.config import Config
from jaxunlearn.methods.base import kl_to, sequence_logp
from jaxunlearn.methods.dpo import dpo
from jaxunlearn.methods.npo import npo, simnpo
from jaxunlearn.models import huggingface, transformer
from jaxunlearn.models.weights import is_matrix
from jaxunlearn.parallel.sharding import put
from jaxunlearn.run.store import load_model

LOGP, REFERENCE = jnp.array([-4.0, -7.0]), jnp.array([-3.0, -9.0])


def test_padding_counts_nowhere_in_a_loss_of_sequences():
    valid = jnp.array([True, False])
    total, count = npo(LOGP, REFERENCE, 0.5, valid)
    assert float(count) == 1 and float(total) == pytest.approx(4 * math.log(1 + math.exp(-0.5)), rel=1e-6)
    assert float(simnpo(LOGP, jnp.array([2.0, 0.0]))[1]) == 1
    assert float(dpo(LOGP, LOGP, REFERENCE, REFERENCE, 0.5, valid)[0]) == pytest.approx(2 * math.log(2))


@pytest.mark.parametrize("compute", ["float32", "bfloat16"])
def test_a_model_is_at_no_distance_from_its_own_frozen_copy(mesh, tmp_path, compute):
    """Its norms are no bf16 numbers, as those of a model that was trained here."""
    draw = np.random.default_rng(0)
    trained = jax.tree.map(lambda w: 5 * w * (1 + 0.3 * draw.normal(size=w.shape)), transformer.init(SHAPE, 0))
    huggingface.save(trained, tmp_path / "m")
    config = Config(name="x", compute=compute)
    model, frozen = (load_model(config, tmp_path / "m", frozen=f) for f in (False, True))
    types = {is_matrix(path): w.dtype for path, w in jax.tree_util.tree_leaves_with_path(frozen)}
    assert types == {True: compute, False: "float32"}
    batch = put(TOKENS, "BT"), put(LABELS, "BT")
    assert float(jax.jit(kl_to)(model, frozen, *batch)[0]) == 0
    np.testing.assert_array_equal(*(jax.jit(sequence_logp)(m, *batch) for m in (model, frozen)))

"""UNDIAL's target against its definition in fp64."""

import jax
import numpy as np
import pytest
from support.distillation import kl_by_definition

from jaxunlearn.methods.undial import undial
from jaxunlearn.parallel.sharding import put

D = 16


def small(V=5, T=3):
    draw = np.random.default_rng(5)
    return [draw.normal(size=s).astype(np.float32) for s in ((1, T, D), (D, V), (1, T, D), (D, V))]


def placed(*arrays):
    """Put hidden states and projections of one sequence on the mesh."""
    return [put(a, "BTD" if a.ndim == 3 else "DV") for a in arrays]


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

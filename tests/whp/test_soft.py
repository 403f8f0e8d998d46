"""Soft labels, whole and averaged, and their gradients against the definition in fp64."""

from functools import partial

import jax
import numpy as np
import pytest
from support.distillation import (
    H,
    compare,
    generic_by_definition,
    kl_by_definition,
    log_softmax,
    on_mesh,
    placed,
    small,
    weights,
)
from support.mesh import MESHES, mesh_of

from jaxunlearn.kernels.linear_distillation import linear_distillation
from jaxunlearn.parallel.sharding import put
from jaxunlearn.whp.soft import averaged_label_loss, soft_label_loss


def soft(h, w, h_one, w_one, h_two, w_two, mask, seen, alpha, rule):
    pairs = (h_one, w_one), (h_two, w_two)
    return soft_label_loss(h, w, *pairs, mask, alpha, seen_BV=seen, rule=rule, penalty=3.0)


@pytest.mark.parametrize("sizes", MESHES)
def test_soft_labels_and_their_gradients_equal_fp64_on_every_mesh(sizes):
    with jax.set_mesh(mesh_of(sizes)):
        truth = kl_by_definition(H, weights(1000, 0), generic_by_definition(1000, 5.0, "mean"))
        compare(partial(soft, alpha=5.0, rule="mean"), truth, *on_mesh(1000))


@pytest.mark.parametrize("rule", ["mean", "penalty", "-inf"])
def test_soft_labels_by_every_rule_at_a_vocabulary_that_nothing_divides(mesh, rule):
    truth = kl_by_definition(H, weights(1003, 0), generic_by_definition(1003, 2.5, rule))
    compare(partial(soft, alpha=2.5, rule=rule), truth, *on_mesh(1003))


def test_soft_labels_at_alpha_zero_are_the_baselines_distribution(mesh):
    h, w, other, w_other = placed(*small())
    mask = put(np.ones((1, 3), bool), "BT")
    plain = linear_distillation(h, w, [(other, w_other)], mask)[0]
    assert float(soft_label_loss(h, w, (other, w_other), (h, w), mask, 0.0)[0]) == pytest.approx(float(plain))
    assert float(soft_label_loss(h, w, (other, w_other), (h, w), mask, 5.0)[0]) != pytest.approx(float(plain))


def test_averaged_soft_labels_take_the_mean_of_probabilities(mesh):
    h, w, one, w_base = small()
    two, mask = one[:, ::-1], np.ones((1, 3), bool)
    logits = [a.astype(np.float64) @ w_base for a in (one, two)]
    parts = [np.exp(log_softmax(v)) for v in logits]
    truth = kl_by_definition(h, w, np.log(np.mean(parts, axis=0)), mask)[0]
    h, w, one, two, w_base = placed(h, w, one, two, w_base)
    found = averaged_label_loss(h, w, [(one, w_base), (two, w_base)], put(mask, "BT"))
    assert float(found[0]) == pytest.approx(truth, rel=1e-5)


def test_soft_labels_against_the_contrast_equal_fp64(mesh):
    draw = np.random.default_rng(0)
    h = [draw.normal(size=(1, 3, 16)).astype(np.float32) for _ in range(4)]
    w = [draw.normal(size=(16, 40)).astype(np.float32) for _ in range(4)]
    v = [a.astype(np.float64) @ b for a, b in zip(h, w, strict=True)]
    logp = [x - np.log(np.exp(x).sum(-1, keepdims=True)) for x in v]
    wanted = v[1] - 5.0 * np.maximum(logp[2] - logp[3], 0)
    logq = wanted - np.log(np.exp(wanted).sum(-1, keepdims=True))
    truth = (np.exp(logq) * (logq - logp[0])).sum()
    student, base, reinforced, diluted = [(put(a, "BTD"), put(b, "DV")) for a, b in zip(h, w, strict=True)]
    mask = put(np.ones((1, 3), bool), "BT")
    total, count = soft_label_loss(*student, base, reinforced, mask, 5.0, diluted=diluted)
    assert float(total) == pytest.approx(truth, rel=1e-5) and float(count) == 3

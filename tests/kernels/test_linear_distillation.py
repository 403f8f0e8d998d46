"""Distillation of a linear output layer against fp64: chunks of rows, stored outcomes, memory."""

import math
from functools import partial

import jax
import numpy as np
import pytest
from support.distillation import (
    H_ONE,
    B,
    D,
    H,
    T,
    compare,
    generic_by_definition,
    kl_by_definition,
    log_softmax,
    on_mesh,
    placed,
    small,
    weights,
)
from support.mesh import mesh_of

from jaxunlearn.kernels.linear_distillation import linear_distillation, linear_topk, linear_topk_distillation
from jaxunlearn.parallel.sharding import put
from jaxunlearn.whp.soft import generic_target


@pytest.mark.parametrize("rows_at_once", [5, 7, 48])
def test_chunks_of_rows_change_nothing(mesh, rows_at_once):
    h, w, h_one, w_one, *_, mask, _ = on_mesh(1003)
    truth = kl_by_definition(H, weights(1003, 0), H_ONE.astype(np.float64) @ weights(1003, 1))

    def run(h, w, h_one, w_one, mask):
        return linear_distillation(h, w, [(h_one, w_one)], mask, rows=rows_at_once)

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
        find = jax.jit(lambda *a: linear_topk((a[:2], a[2:4]), 5, target=target, seen_BV=a[4], rows=7))
        found_ids, found_p = find(h_one, w_one, h_two, w_two, seen)
        np.testing.assert_array_equal(found_ids, ids)
        np.testing.assert_allclose(found_p, p, rtol=1e-4, atol=1e-6)
        truth = kl_by_definition(H, weights(1000, 0), np.log(wanted))
        compare(
            linear_topk_distillation,
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
    run = jax.jit(jax.value_and_grad(linear_topk_distillation, has_aux=True))
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
    run = jax.jit(jax.grad(lambda h, w, *t: linear_distillation(h, w, [t], h[..., 0] < 1, rows=128)[0]))
    assert run.lower(*zeros).compile().memory_analysis().temp_size_in_bytes < 8 * 512 * 32_000 * 4 / 4


def test_kl_of_equal_models_is_zero_and_of_unequal_ones_by_definition(mesh):
    h, w, other, w_other = small()
    mask = put(np.ones((1, 3), bool), "BT")
    run = jax.jit(lambda h, w, t, w_t: linear_distillation(h, w, [(t, w_t)], mask))
    assert float(run(*placed(h, w, h, w))[0]) == pytest.approx(0, abs=1e-6)
    truth = kl_by_definition(h, w, other.astype(np.float64) @ w_other, np.ones((1, 3), bool))[0]
    total, count = run(*placed(h, w, other, w_other))
    assert float(total) / float(count) == pytest.approx(truth / 3, rel=1e-5)

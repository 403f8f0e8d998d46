"""The seen-translation rule holds from the very position that it is told, not from the one after it."""

from functools import partial

import jax
import numpy as np
import pytest

from jaxunlearn.kernels.linear_distillation import linear_topk
from jaxunlearn.parallel.sharding import put
from jaxunlearn.whp.argmax import NEVER, generic_argmax
from jaxunlearn.whp.soft import generic_target


@pytest.mark.parametrize("rule", ["mean", "penalty", "-inf"])
def test_a_translation_that_has_appeared_is_no_label_from_its_position_on(mesh, rule):
    """Token 2 has logit 3 everywhere and token 5 has 2.5, the others less; token 2 has appeared at position 3."""
    h_BTD = np.ones((1, 6, 1), np.float32)
    w_DV = np.zeros((1, 16), np.float32)
    w_DV[0, [2, 5]] = 3, 2.5
    seen_BV = np.full((1, 16), NEVER, np.int32)
    seen_BV[0, 2] = 3
    h, w = put(h_BTD, "BTD"), put(w_DV, "DV")
    run = jax.jit(lambda h, w, seen: generic_argmax(h, h, w, w, (5.0,), seen_BV=seen, rule=rule, penalty=1.0))
    assert np.asarray(run(h, w, put(seen_BV, "BV"))).tolist() == [[[2, 2, 2, 5, 5, 5]]]


@pytest.mark.parametrize("rule", ["mean", "penalty", "-inf"])
def test_the_same_for_soft_labels(mesh, rule):
    w_DV = np.zeros((1, 16), np.float32)
    w_DV[0, [2, 5]] = 3, 2.5
    seen_BV = np.full((1, 16), NEVER, np.int32)
    seen_BV[0, 2] = 3
    teacher = put(np.ones((1, 6, 1), np.float32), "BTD"), put(w_DV, "DV")
    target = partial(generic_target, alpha=5.0, rule=rule, penalty=1.0)
    run = jax.jit(lambda one, seen: linear_topk((one, one), 1, target=target, seen_BV=seen))
    assert np.asarray(run(teacher, put(seen_BV, "BV"))[0]).tolist() == [[[2], [2], [2], [5], [5], [5]]]

"""The Pallas kernel for TPU, interpreted, against the XLA program."""

import numpy as np
import pytest

from jaxunlearn.parallel.sharding import put
from jaxunlearn.whp.argmax import NEVER, generic_argmax


@pytest.mark.parametrize("rule", ["mean", "penalty", "-inf"])
def test_the_pallas_kernel_gives_the_same_labels(mesh, rule):
    draw = np.random.default_rng(2)
    h = [put(draw.normal(size=(2, 128, 128)).astype(np.float32), "BTD") for _ in range(2)]
    w = [put(draw.normal(size=(128, 300)).astype(np.float32), "DV") for _ in range(2)]  # 300: no block divides it
    seen = put(draw.choice([NEVER, 5, 64], size=(2, 300), p=[0.8, 0.1, 0.1]).astype(np.int32), "BV")
    trained = put(draw.random((2, 128)) < 0.7, "BT")
    options = {"seen_BV": seen, "trained_BT": trained, "rule": rule}
    plain_labels = generic_argmax(*h, *w, (0.0, 5.0), **options)
    np.testing.assert_array_equal(generic_argmax(*h, *w, (0.0, 5.0), pallas="interpret", **options), plain_labels)

"""The kernels and the naive versions that they are timed against compute the same."""

import jax
import numpy as np

from jaxunlearn.parallel.sharding import put
from jaxunlearn.perf import bench_kernels


def test_kernels_agree_with_the_naive_versions_they_are_timed_against(mesh):
    draw = np.random.default_rng(0)
    h = [put(draw.normal(size=(2, 8, 16)).astype(np.float32), "BTD") for _ in range(2)]
    w = [put(draw.normal(size=(16, 100)).astype(np.float32), "DV") for _ in range(2)]
    labels = put(draw.integers(0, 100, (2, 8)).astype(np.int32), "BT")
    seen = put(draw.integers(0, 16, (2, 100)).astype(np.int32), "BV")
    assert (bench_kernels._argmax(*h, *w, seen) == bench_kernels._naive_argmax(*h, *w, seen)).all()
    ours, naive = (f(h[0], w[0], labels) for f in (bench_kernels._loss, bench_kernels._naive_loss))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(naive), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)

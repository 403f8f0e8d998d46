"""The shape that is benchmarked, and what a compiled program needs of a device."""

import jax
import jax.numpy as jnp
from support.plans import small

from jaxunlearn.config import load_config
from jaxunlearn.perf.counts import bench_shape, peak_bytes


def test_a_shape_from_init_alone_needs_no_tokenizer_and_a_universe_brings_its_own(mesh, world):
    assert (bench_shape(small()).V, bench_shape(small()).F) == (128, 96)
    assert bench_shape(load_config(str(world / "world.py"))).V == 32


def test_peak_bytes_count_a_donated_argument_and_its_result_once(mesh):
    x = jax.ShapeDtypeStruct((1000,), jnp.float32)
    kept, donated = (jax.jit(lambda x: x + 1, donate_argnums=n).lower(x).compile() for n in ((), (0,)))
    assert (peak_bytes(kept), peak_bytes(donated)) == (8000, 4000)

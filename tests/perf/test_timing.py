"""What the benchmark compares with: every byte and every product is counted."""

import jax
import jax.numpy as jnp

from jaxunlearn.perf import timing


def test_copy_bandwidth_counts_every_byte_read_and_written(monkeypatch):
    """Two passes over 128 MiB in half a second: 4 x 128 MiB / 0.5 s on each device."""
    monkeypatch.setattr(timing, "seconds", lambda call, repeats: call().shape == (2**25,) and 0.5)
    assert timing.copy_bandwidth() == 4 * 2**27 / 0.5 * len(jax.devices())


def test_a_pass_is_made_for_every_factor_and_in_place():
    x, scale = jnp.arange(4, dtype=jnp.float32), jnp.array([0.5, 3.0, 2.0], jnp.float32)
    compiled = timing._passes.lower(x, scale).compile()
    assert "while" in compiled.as_text() and compiled.memory_analysis().alias_size_in_bytes == x.nbytes
    assert timing._passes(x, scale).tolist() == [((v * 0.5 + 1) * 3 + 1) * 2 + 1 for v in range(4)]

"""Every part of the benchmark runs, and its figures fit each other."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest

from jaxunlearn.config import load_config
from jaxunlearn.models import transformer
from jaxunlearn.models.weights import forward_flops
from jaxunlearn.perf import bench


def test_every_part_runs_and_ratios_hold_together(world, monkeypatch):
    monkeypatch.setattr(bench, "NEW_TOKENS", 8)
    monkeypatch.setattr(bench, "kernels", lambda *a: {})
    config = load_config(str(world / "world.py"))
    config = dataclasses.replace(config, mesh=dataclasses.replace(config.mesh, fsdp=8))
    found = bench.bench(config, whole=True, repeats=1)
    for part in ("train", "label"):
        assert found[part]["tokens_per_second"] > 0 and found[part]["peak_bytes"] > 0
        assert found[part]["share_of_ceiling"] == pytest.approx(
            found[part]["tokens_per_second"]
            * forward_flops(bench_shape_of(found), 1, 32)
            * {"train": 3, "label": 2}[part]
            / found["matmul_ceiling_flops"]
        )
    assert found["train"]["recompilations"] == 0
    assert found["generate"]["same_tokens"]
    assert found["whole"]["total_seconds"] == pytest.approx(sum(found["whole"]["seconds"].values()))
    tokens = found["whole"]["tokens"]
    assert {k: tokens[k] for k in ("pretrain", "reinforce", "unlearn")} == {
        "pretrain": 150 * 8 * 32, "reinforce": 8 * 8 * 32, "unlearn": 8 * 8 * 32,
    }  # fmt: skip
    words = len((world / "forget.txt").read_text().split())
    assert tokens["label"] == 32 * -(-words // 31), "a token a word, blocks of 31 and BOS"
    assert bench.stage_tokens(load_config("bench_7b"))["reinforce"] == 3 * 3.1e6


def bench_shape_of(found):
    return transformer.Shape(context=64, **found["shape"])


def test_copy_bandwidth_counts_every_byte_read_and_written(monkeypatch):
    """Two passes over 128 MiB in half a second: 4 x 128 MiB / 0.5 s on each device."""
    monkeypatch.setattr(bench, "seconds", lambda call, repeats: call().shape == (2**25,) and 0.5)
    assert bench.copy_bandwidth() == 4 * 2**27 / 0.5 * len(jax.devices())


def test_a_pass_is_made_for_every_factor_and_in_place():
    x, scale = jnp.arange(4, dtype=jnp.float32), jnp.array([0.5, 3.0, 2.0], jnp.float32)
    compiled = bench._passes.lower(x, scale).compile()
    assert "while" in compiled.as_text() and compiled.memory_analysis().alias_size_in_bytes == x.nbytes
    assert bench._passes(x, scale).tolist() == [((v * 0.5 + 1) * 3 + 1) * 2 + 1 for v in range(4)]

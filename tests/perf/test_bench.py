"""The benchmark's arithmetic, and that every part of it runs."""

import dataclasses
import os
import time
from contextlib import contextmanager

import pytest

from jaxunlearn.config import load_config
from jaxunlearn.errors import RunError
from jaxunlearn.models import transformer
from jaxunlearn.parallel.sharding import put
from jaxunlearn.perf import bench, bench_kernels, bench_torch, counts

LLAMA2_7B = transformer.Shape(V=32000, D=4096, L=32, N=32, K=32, H=128, F=11008, context=4096)


def test_flops_are_llama2s_by_hand():
    # 6,607,077,376 weights in products, two FLOPs each, and 262,144 a token of context
    assert counts.forward_flops(LLAMA2_7B, 1, 512) == 2 * 6_607_077_376 + 262_144 * 512


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
            * counts.forward_flops(bench_shape_of(found), 1, 32)
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


def test_kernels_agree_with_the_naive_versions_they_are_timed_against(mesh):
    import jax
    import numpy as np

    draw = np.random.default_rng(0)
    h = [put(draw.normal(size=(2, 8, 16)).astype(np.float32), "BTD") for _ in range(2)]
    w = [put(draw.normal(size=(16, 100)).astype(np.float32), "DV") for _ in range(2)]
    labels = put(draw.integers(0, 100, (2, 8)).astype(np.int32), "BT")
    seen = put(draw.integers(0, 16, (2, 100)).astype(np.int32), "BV")
    assert (bench_kernels._argmax(*h, *w, seen) == bench_kernels._naive_argmax(*h, *w, seen)).all()
    ours, naive = (f(h[0], w[0], labels) for f in (bench_kernels._loss, bench_kernels._naive_loss))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(naive), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@contextmanager
def counting(config):
    """Stand for one side: a step takes a hundredth of a second for each letter of the configuration."""
    yield lambda: time.sleep(len(config) / 100)


@contextmanager
def dying(config):
    yield lambda: os._exit(3)


def test_sides_of_a_comparison_take_turns_in_processes_of_their_own():
    short, long = bench_torch._in_turns([(counting, "abc", {}), (counting, "abcdefgh", {})], 2)
    assert len(short) == len(long) == 4
    assert min(short) >= 0.03 and min(long) >= 0.08 and min(short) < min(long)


def test_a_side_that_dies_ends_the_comparison():
    with pytest.raises(RunError, match="ended early"):
        bench_torch._in_turns([(dying, "abc", {})], 1)

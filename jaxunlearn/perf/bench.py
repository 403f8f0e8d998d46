"""What a configuration costs on this machine: throughput, share of the matmul ceiling, peak memory, and ratios.

Every figure is measured in one run with the ceiling that it is compared with. Programs are timed on random weights and
tokens of the configuration's shape, so no model has to be there.
"""

import contextlib
import dataclasses
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxunlearn.config import Config
from jaxunlearn.data.blocks import make_blocks
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.models import transformer
from jaxunlearn.models.generate import GREEDY, generate
from jaxunlearn.models.weights import forward_flops
from jaxunlearn.parallel.console import say
from jaxunlearn.parallel.host_memory import keep_freed
from jaxunlearn.parallel.sharding import act, device_names, mesh_from, platform, put
from jaxunlearn.perf.bench_kernels import kernels
from jaxunlearn.perf.bench_torch import compare
from jaxunlearn.perf.counts import bench_shape, peak_bytes
from jaxunlearn.run.directory import versions
from jaxunlearn.run.sources import read_texts
from jaxunlearn.training.loop import fit, microbatches
from jaxunlearn.training.step import compiled_step, init_state
from jaxunlearn.whp.labels import Passage, label, on_mesh

NEW_TOKENS, PROMPT = 128, 32
HOST_STEPS = 4  # of the real loop, and of bare steps, in turns
PAPER_TOKENS = 3.1e6  # of its target text


def bench(config: Config, *, torch: bool = False, whole: bool = False, trace: str = "", repeats: int = 5) -> dict:
    """Measure training, labelling, generation and both kernels; with torch also Hugging Face's training step.

    Returns {"device", "versions", "shape", "matmul_ceiling_flops", "train", "label", "generate", "kernels", ...}, each
    part with tokens_per_second, share_of_ceiling and peak_bytes where they apply.
    """
    beside = None
    if torch:
        beside = compare(config, repeats)
    with jax.set_mesh(mesh_from(config.mesh)):
        c = bench_shape(config)
        ceiling = matmul_ceiling(c.compute)
        say(f"{device_names()}: {ceiling / 1e9:,.0f} GFLOP/s in a plain {c.compute} product")
        beside_naive = kernels(ceiling, c.compute, repeats)  # first, and with memory as any process has it
        keep_freed()
        found = {
            "device": device_names(),
            "versions": versions(),
            "shape": {k: getattr(c, k) for k in ("V", "D", "L", "N", "K", "H", "F", "compute")},
            "matmul_ceiling_flops": ceiling,
        }
        with _profile(trace):
            found["train"] = bench_train(config, c, ceiling, repeats)
            found["label"] = bench_label(config, c, ceiling, repeats)
            found["generate"] = bench_generate(config, c)
        found["kernels"] = beside_naive
        if platform() == "cpu":
            found["kernels_memory_kept"] = kernels(ceiling, c.compute, repeats)
        if beside:
            found["torch"] = beside
        if whole:
            found["whole"] = project(config, found)
        return found


def seconds(call, repeats: int) -> float:
    """Return the median time of call(), which must return arrays, after a first that compiles."""
    jax.block_until_ready(call())
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - began)
    return median(times)


def matmul_ceiling(dtype: str) -> float:
    """Return the FLOP/s of the best of a few large square products on one device, times the number of devices."""
    n = 2048 if platform() == "cpu" else 8192
    with _one_device():
        x = jnp.ones((n, n), dtype)
        return 2 * n**3 / min(seconds(lambda: _product(x, x), 3) for _ in range(3)) * len(jax.devices())


def _one_device():
    return jax.set_mesh(jax.sharding.Mesh(np.array(jax.local_devices()[:1]), "one"))


@jax.jit
def _product(a, b):
    return a @ b


def bench_train(config: Config, c: transformer.Shape, ceiling: float, repeats: int) -> dict:
    """Time the unlearning step: tokens/s, share of the ceiling, bytes, and what the host adds to the device's time."""
    t, T = config.unlearn, config.text.context
    draw = np.random.default_rng(0)
    tokens = draw.integers(0, c.V, (t.accumulate, t.batch, T)).astype(np.int32)
    state, step = init_state(transformer.init(c, 0), t), compiled_step(t)
    batch = [put(tokens, "ABT"), put(np.roll(tokens, -1, -1), "ABT")]
    rate = np.float32(1e-6)
    memory = peak_bytes(step.lower(state, rate, *batch).compile())
    times, programs = [], []
    for _ in range(repeats + 2):
        began = time.perf_counter()
        state, metrics = step(state, rate, *batch)
        jax.block_until_ready(metrics)
        times.append(time.perf_counter() - began)
        programs.append(_programs(step))
    spent, n = median(times[2:]), tokens.size
    host = _host_share(config, state, batch, n // T, c, repeats)
    found = _rates(n, spent, 3 * forward_flops(c, n, T), ceiling, memory)
    say(f"train: {_line(found)}, host adds {host:.1%}")
    return found | {"host_share": host, "recompilations": programs[-1] - programs[0]}


def _programs(jitted: Any) -> int:
    return jitted._cache_size()


def _host_share(config: Config, state, placed, blocks: int, c: transformer.Shape, repeats: int) -> float:
    """Return (wall - device) / wall: the real loop, which draws and places a batch each step, beside bare steps.

    The two take turns over a few steps each, so that a slow moment of the machine hits both; the median over turns.
    """
    t, T, rate, shares = config.unlearn, config.text.context, np.float32(1e-6), []
    step = compiled_step(t)
    tokens = np.random.default_rng(1).integers(0, c.V, (4 * blocks, T)).astype(np.int32)

    def batch(n):
        return microbatches(t, (tokens, tokens), ("BT", "BT"), len(tokens), 0, n)

    for _ in range(repeats):
        until = int(state.step) + HOST_STEPS
        short = dataclasses.replace(t, steps=until, learning_rate=1e-6, schedule="constant", warmup=0)
        began = time.perf_counter()
        state = jax.block_until_ready(fit(state, step, batch, short))
        wall = time.perf_counter() - began
        began = time.perf_counter()
        for _ in range(HOST_STEPS):
            state, _ = step(state, rate, *placed)
        jax.block_until_ready(state)
        shares.append(1 - (time.perf_counter() - began) / wall)
    return max(0.0, median(shares))


def bench_label(config: Config, c: transformer.Shape, ceiling: float, repeats: int) -> dict:
    """Time the label pass over one batch, against two bare forwards of the same models."""
    B, T = config.whp.label_batch, config.text.context
    draw = np.random.default_rng(0)
    tokens = draw.integers(0, c.V, (B, T)).astype(np.int32)
    place = np.tile(np.arange(T, dtype=np.int32), (B, 1))
    some = np.full((B, 8), -1, np.int32)
    passage = on_mesh(Passage(tokens, tokens, place, np.ones((B, T), bool), some, some))
    frozen = [_resting(transformer.init(c, seed)) for seed in (0, 1)]
    alphas, settings = (config.whp.alpha, *config.whp.alphas), type(config.whp)()
    memory = peak_bytes(label.lower(*frozen, passage, alphas=alphas, whp=settings).compile())
    spent = seconds(lambda: label(*frozen, passage, alphas=alphas, whp=settings), repeats)
    bare = seconds(lambda: [_hidden(m, passage.tokens_BT) for m in frozen], repeats)
    found = _rates(B * T, spent, 2 * forward_flops(c, B * T, T), ceiling, memory)
    say(f"label: {_line(found)}, {spent / bare:.2f} x two forwards up to the last hidden state")
    return found | {"over_two_forwards": spent / bare}


def _resting(m):
    return jax.tree.map(lambda w: w.astype(m.c.compute), m)


@jax.jit
def _hidden(m, tokens_BT):
    return m(tokens_BT)


def bench_generate(config: Config, c: transformer.Shape) -> dict:
    """Time cached decoding, against the bandwidth bound and against recomputing the prompt for every token."""
    B = config.eval.batch if platform() == "cpu" else 128
    new = min(NEW_TOKENS, c.context - PROMPT)
    m = _resting(transformer.init(c, 0))
    draw = np.random.default_rng(0)
    prompts = [list(map(int, row)) for row in draw.integers(1, c.V, (B, PROMPT))]
    took = {}
    for n in (1, new):
        generate(m, prompts, n)
        took[n] = _timed(lambda n=n: generate(m, prompts, n))
    decode = B * (new - 1) / max(took[new] - took[1], 1e-9)
    bytes_a_step = sum(w.nbytes for w in jax.tree.leaves(m))
    bytes_a_step += 2 * c.L * B * (PROMPT + new) * c.K * c.H * jnp.dtype(c.compute).itemsize
    bound = B * copy_bandwidth() / bytes_a_step
    again, same = _recomputed(m, prompts, new)
    ratio = again / took[new]
    say(f"generate: {decode:,.0f} tokens/s, {decode / bound:.0%} of the bandwidth bound, {ratio:.1f} x recomputation")
    return {
        "tokens_per_second": decode, "batch": B, "share_of_bandwidth_bound": decode / bound,
        "times_recomputation": ratio, "same_tokens": same,
    }  # fmt: skip


def _recomputed(m, prompts, new: int) -> tuple[float, bool]:
    """Return the time of greedy decoding without a cache at one padded width, and whether its tokens are the same."""
    B, width = len(prompts), PROMPT + new
    tokens_BT = np.zeros((B, width), np.int32)
    tokens_BT[:, :PROMPT] = prompts

    @jax.jit
    def step(m, tokens_BT, n):
        h_BTD = m(tokens_BT)
        last_BTD = jax.lax.dynamic_slice_in_dim(h_BTD, n - 1, 1, axis=1)
        next_B = jax.reshard(jnp.argmax(m.logits(last_BTD)[:, 0], axis=-1).astype(jnp.int32), act("B"))
        return jax.lax.dynamic_update_slice_in_dim(tokens_BT, next_B[:, None], n, axis=1)

    def run():
        x = put(tokens_BT, "BT")
        for n in range(PROMPT, width):
            x = step(m, x, n)
        return np.asarray(x)

    run()
    spent = _timed(run)
    return spent, generate(m, prompts, new, GREEDY) == [list(map(int, r[PROMPT:])) for r in run()]


def _timed(call) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def copy_bandwidth() -> float:
    """Return the bytes/s of passes over one large array on one device, times the number of devices.

    Read and write are counted. The array is many times larger than a cache, and on an accelerator the passes follow one
    another inside one program: a single one of 256 MiB is over before the launch of it is paid for.
    """
    size, passes = (2**25, 2) if platform() == "cpu" else (2**29, 10)
    with _one_device():
        scale, x = jnp.linspace(0.5, 0.9, passes, dtype=jnp.float32), jnp.ones(size, jnp.float32)
        nbytes, last = x.nbytes, [x]
        del x

        def call():
            last[0] = _passes(last[0], scale)  # in place: the array before it is given away
            return last[0]

        return 2 * nbytes * passes / seconds(call, 5) * len(jax.devices())


@partial(jax.jit, donate_argnums=0)
def _passes(x, scale):
    """Return x after a pass over it for each number in scale; rounding keeps two passes from becoming one."""
    return jax.lax.fori_loop(0, len(scale), lambda n, x: x * scale[n] + 1, x)


def stage_tokens(config: Config) -> dict[str, float]:
    """Return the tokens that each stage of the method sees: the configuration's, or the paper's where it names no text.

    The paper's: 3 epochs of its text to reinforce, one label pass, 2 epochs to unlearn. Of pretraining the baseline's.
    """
    if not config.text.forget:
        return {"reinforce": 3 * PAPER_TOKENS, "label": PAPER_TOKENS, "unlearn": 2 * PAPER_TOKENS}
    tokenizer = load_tokenizer(Path(config.tokenizer or config.model))
    blocks = make_blocks(read_texts(config)[0], tokenizer, config.text.context, config.whp.block_bos)
    stages = {"pretrain": config.pretrain, "reinforce": config.reinforce, "unlearn": config.unlearn}
    seen: dict[str, float] = {}
    for name, c in stages.items():
        if c.steps:
            seen[name] = c.steps * c.batch * c.accumulate * config.text.context
    return seen | {"label": blocks.tokens_NT.size}


def project(config: Config, found: dict) -> dict:
    """Project the whole method from the measured rates, and say where the time goes."""
    tokens = stage_tokens(config)
    parts = {n: t / found["label" if n == "label" else "train"]["tokens_per_second"] for n, t in tokens.items()}
    total = sum(parts.values())
    for name, spent in parts.items():
        say(f"whole: {name} {tokens[name] / 1e6:.1f}M tokens, {spent / 60:,.1f} min ({spent / total:.0%})")
    say(f"whole: {total / 60:,.1f} min, projected from the rates above; measuring and reading are not counted")
    return {"seconds": parts, "tokens": tokens, "total_seconds": total}


def _rates(tokens: int, spent: float, flops: float, ceiling: float, memory: int) -> dict:
    return {
        "tokens_per_second": tokens / spent,
        "seconds": spent,
        "share_of_ceiling": flops / spent / ceiling,
        "peak_bytes": memory,
    }


def _line(found: dict) -> str:
    share, memory = found["share_of_ceiling"], found["peak_bytes"] / 2**30
    return f"{found['tokens_per_second']:,.0f} tokens/s, {share:.0%} of the ceiling, {memory:.2f} GiB a device"


def _profile(folder: str):
    """Return a context that writes a trace for TensorBoard, Perfetto or xprof into the folder, if one is named."""
    return jax.profiler.trace(folder, create_perfetto_trace=False) if folder else contextlib.nullcontext()

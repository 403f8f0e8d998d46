"""What a configuration costs on this machine: throughput, share of the matmul ceiling, peak memory, and ratios.

Every figure is measured in one run with the ceiling that it is compared with. Programs are timed on random weights and
tokens of the configuration's shape, so no model has to be there.
"""

import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import jax
import numpy as np

from jaxunlearn.config import Config
from jaxunlearn.config.versions import versions
from jaxunlearn.data.blocks import make_blocks
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.errors import RunError
from jaxunlearn.files import json_text, write_whole
from jaxunlearn.models import transformer
from jaxunlearn.models.weights import forward_flops
from jaxunlearn.parallel.console import say
from jaxunlearn.parallel.host_memory import keep_freed
from jaxunlearn.parallel.sharding import device_names, mesh_from, platform, put
from jaxunlearn.perf.bench_decoding import bench_generate, bench_score
from jaxunlearn.perf.bench_kernels import kernels
from jaxunlearn.perf.bench_torch import compare
from jaxunlearn.perf.counts import bench_shape, peak_bytes
from jaxunlearn.perf.timing import allocator_peak, line, matmul_ceiling, rates, resting, seconds
from jaxunlearn.run.sources import read_texts
from jaxunlearn.training.loop import fit, microbatches
from jaxunlearn.training.step import compiled_step, init_state
from jaxunlearn.whp.labels import Passage, label, on_mesh

HOST_STEPS = 4  # of the real loop, and of bare steps, in turns
PAPER_TOKENS = 3.1e6  # of its target text
# PyTorch before JAX takes the card, kernels while memory is as any process has it, then what needs more after what
# needs less: so each part's peak is the allocator's, and a part that does not fit hides no other
PARTS = ("torch", "kernels", "generate", "score", "label", "train")

GROUPS = {
    "kernels": "",
    "torch": "Hugging Face, ",
}  # parts that hold several programs, and what goes before their names


def bench(
    config: Config, *, only: Sequence[str] = (), budget: float = 0.0, out: Path | None = None, torch: bool = False,
    whole: bool = False, trace: str = "", repeats: int = 5,
) -> dict:  # fmt: skip
    """Measure the parts of PARTS, all (PyTorch where asked for) or `only` some; print each as it comes.

    budget: seconds after which no further part is begun (0: none). out: a JSON file, written anew after each part, with
    a Markdown table of the same name beside it.
    Returns {"device", "versions", "shape", "matmul_ceiling_flops", NAME: figures, ...}. Figures have tokens_per_second,
    share_of_ceiling, peak_bytes (by the compiler) and allocator_peak_bytes (where the part had more of the device than
    any before it) as far as they apply; of a part that failed {"failed": why}, of one not begun {"skipped": why}.
    """
    chosen = [p for p in PARTS if (p in only if only else p != "torch" or torch)]
    parts = _Parts(budget, out)
    if "torch" in chosen:
        parts.measure("torch", lambda: compare(config, repeats))
    with jax.set_mesh(mesh_from(config.mesh)):
        c = bench_shape(config)
        ceiling = matmul_ceiling(c.compute)
        say(f"{device_names()}: {ceiling / 1e9:,.0f} GFLOP/s in a plain {c.compute} product")
        parts.found |= {
            "device": device_names(),
            "versions": versions(),
            "shape": {k: getattr(c, k) for k in ("V", "D", "L", "N", "K", "H", "F", "compute")},
            "matmul_ceiling_flops": ceiling,
        }
        calls: dict[str, Callable[[], dict]] = {
            "kernels": lambda: kernels(ceiling, c.compute, repeats),
            "generate": lambda: bench_generate(config, c),
            "score": lambda: bench_score(config, c),
            "label": lambda: bench_label(config, c, ceiling, repeats),
            "train": lambda: bench_train(config, c, ceiling, repeats),
        }
        if "kernels" in chosen:
            parts.measure("kernels", calls.pop("kernels"))
        keep_freed()
        with _profile(trace):
            for name in [n for n in calls if n in chosen]:
                parts.measure(name, calls[name])
        if "kernels" in chosen and platform() == "cpu":
            parts.measure("kernels_memory_kept", lambda: kernels(ceiling, c.compute, repeats))
        rate, beside = (parts.found.get(name, {}) for name in ("score", "torch"))
        if "items_per_second" in rate and "scoring" in beside:
            rate["over_torch"] = rate["items_per_second"] / beside["scoring"]["items_per_second"]
        if whole:
            parts.measure("whole", lambda: project(config, parts.found))
    return parts.found


class _Parts:
    """What was found so far, part by part; a part that fails is noted and the others go on."""

    def __init__(self, budget: float, out: Path | None):
        self.found: dict[str, Any] = {}
        self.until = time.monotonic() + budget if budget else float("inf")
        self.budget, self.out = budget, out

    def measure(self, name: str, call: Callable[[], dict]) -> None:
        """Note what call() returns, or why it did not come to that."""
        before = allocator_peak() if name != "torch" else None  # asking takes the device
        if time.monotonic() > self.until:
            found: dict[str, Any] = {"skipped": f"the budget of {self.budget:g} s was spent before it"}
        else:
            try:
                found = call()
            except (jax.errors.JaxRuntimeError, MemoryError, RunError) as error:
                found = {"failed": next(iter(str(error).splitlines()), type(error).__name__)}
        if before is not None and (after := allocator_peak() or 0) > before:
            found["allocator_peak_bytes"] = after
            say(f"{name}: {after / 2**30:.2f} GiB at most by the allocator")
        if why := found.get("failed") or found.get("skipped"):
            say(f"{name}: not measured: {why}")
        self.found[name] = found
        if self.out:
            write_whole(self.out, json_text(self.found, indent=1) + "\n")
            write_whole(self.out.with_suffix(".md"), table(self.found))


def table(found: dict) -> str:
    """Return what bench() found as a Markdown table, a row a program; what was not measured says why."""
    rows: dict[str, dict] = {}
    for name in [n for n in PARTS if n in found]:
        part = found[name]
        if name not in GROUPS or {"failed", "skipped"} & set(part):
            rows[name] = part
        else:
            rows |= {GROUPS[name] + one: figures for one, figures in part.items()}
    lines = ["| what | measured | share of the ceiling | GiB (compiler, allocator) |", "|---|---|---|---|"]
    for name, part in rows.items():
        share = part.get("share_of_ceiling")
        sizes = [part.get(key) for key in ("peak_bytes", "allocator_peak_bytes")]
        held = ", ".join("-" if n is None else f"{n / 2**30:.1f}" for n in sizes) if any(sizes) else ""
        lines.append(f"| {name} | {_measured(part)} | {'' if share is None else f'{share:.0%}'} | {held} |")
    device = found.get("device", "device unknown")
    versions = " ".join(f"{name} {v}" for name, v in found.get("versions", {}).items())
    return "\n".join([*lines, "", f"{device}; {versions}", ""])


def _measured(part: dict) -> str:
    if why := part.get("failed") or part.get("skipped"):
        return f"not measured: {why}"
    said = []
    if "theirs" in part:
        said.append(f"{part['theirs']:,.0f} tokens/s; ours {part['ours']:,.0f}, {part['ratio']:.2f} x")
    if "items_per_second" in part:
        said.append(f"{part['items_per_second']:,.1f} items/s")
    if "tokens_per_second" in part:
        said.append(f"{part['tokens_per_second']:,.0f} tokens/s")
    if "naive_seconds" in part:
        said.append(f"{part['seconds'] * 1e3:.2f} ms, {part['time_ratio']:.2f} x naive")
    return ", ".join(said)


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
    found = rates(n, spent, 3 * forward_flops(c, n, T), ceiling, memory)
    say(f"train: {line(found)}, host adds {host:.1%}")
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
    frozen = [resting(transformer.init(c, seed)) for seed in (0, 1)]
    alphas, settings = (config.whp.alpha, *config.whp.alphas), type(config.whp)()
    memory = peak_bytes(label.lower(*frozen, passage, alphas=alphas, whp=settings).compile())
    spent = seconds(lambda: label(*frozen, passage, alphas=alphas, whp=settings), repeats)
    bare = seconds(lambda: [_hidden(m, passage.tokens_BT) for m in frozen], repeats)
    found = rates(B * T, spent, 2 * forward_flops(c, B * T, T), ceiling, memory)
    say(f"label: {line(found)}, {spent / bare:.2f} x two forwards up to the last hidden state")
    return found | {"over_two_forwards": spent / bare}


@jax.jit
def _hidden(m, tokens_BT):
    return m(tokens_BT)


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
    if missing := [n for n in ("label", "train") if "tokens_per_second" not in found.get(n, {})]:
        raise RunError(f"projecting the whole needs the rates of {' and '.join(missing)}")
    tokens = stage_tokens(config)
    parts = {n: t / found["label" if n == "label" else "train"]["tokens_per_second"] for n, t in tokens.items()}
    total = sum(parts.values())
    for name, spent in parts.items():
        say(f"whole: {name} {tokens[name] / 1e6:.1f}M tokens, {spent / 60:,.1f} min ({spent / total:.0%})")
    say(f"whole: {total / 60:,.1f} min, projected from the rates above; measuring and reading are not counted")
    return {"seconds": parts, "tokens": tokens, "total_seconds": total}


def _profile(folder: str):
    """Return a context that writes a trace for TensorBoard, Perfetto or xprof into the folder, if one is named."""
    return jax.profiler.trace(folder, create_perfetto_trace=False) if folder else contextlib.nullcontext()

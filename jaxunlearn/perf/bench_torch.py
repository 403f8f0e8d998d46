"""One training step beside what a user would run instead: Hugging Face's Llama in PyTorch with fused AdamW.

Needs the [test] extra. Both sides see the same shape, batch and tokens. Each runs in a process of its own, as a user
would run it: on the CPU the two take turns, on a GPU, which cannot hold both, one follows the other.
"""

import dataclasses
import importlib.util
import multiprocessing
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import numpy as np

from jaxunlearn.config import Config, Mesh
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.models import transformer
from jaxunlearn.parallel.console import say
from jaxunlearn.parallel.host_memory import keep_freed
from jaxunlearn.parallel.sharding import mesh_from, put
from jaxunlearn.perf.bench_decoding import ITEMS, SOME_ITEMS, pairs_of
from jaxunlearn.perf.counts import bench_shape
from jaxunlearn.training.step import compiled_step, init_state

WARM = 2  # steps before the first that counts


def compare(config: Config, repeats: int) -> dict:
    """Return tokens/s of both and the ratio ours / theirs, for each way of running theirs; and how fast theirs scores.

    To be called before JAX takes an accelerator's memory in this process.
    """
    try:
        import torch
    except ImportError:
        raise InputError("--torch needs PyTorch: pip install 'jaxunlearn[test]'") from None
    found, tokens = {}, config.unlearn.batch * config.text.context
    both_fit = not torch.cuda.is_available()
    before = [] if both_fit else _in_turns([(_ours, config, {})], repeats)[0]
    for name, options in _ways(torch).items():
        theirs = (_theirs, config, options)
        if both_fit:
            ours, other = _in_turns([(_ours, config, {}), theirs], repeats)
        else:
            ours, other = before, *_in_turns([theirs], repeats)
        ratio = median(b / a for a, b in zip(ours, other, strict=True))
        rates = [tokens / median(s) for s in (ours, other)]
        say(f"train: {rates[0]:,.0f} tokens/s, Hugging Face ({name}) {rates[1]:,.0f}: {ratio:.2f} x")
        found[name] = {"ours": rates[0], "theirs": rates[1], "ratio": ratio, "torch": torch.__version__}
    items = SOME_ITEMS if both_fit else ITEMS
    spent = median(_in_turns([(_their_scores, config, {"items": items})], 1)[0])
    say(f"score: Hugging Face {items / spent:,.1f} items/s")
    return found | {"scoring": {"items_per_second": items / spent}}


def _ways(torch) -> dict[str, dict]:
    """Return the ways to run theirs that make sense on this device."""
    if not torch.cuda.is_available():
        return {"eager": {}}
    ways: dict[str, dict] = {"eager, checkpointing": {}}
    if importlib.util.find_spec("liger_kernel"):
        ways["Liger, checkpointing"] = {"liger": True}
    return ways


def _in_turns(sides: list[tuple[Callable, Config, dict]], repeats: int) -> list[list[float]]:
    """Return each side's seconds a step: one process a side, one step at a time."""
    times: list[list[float]] = [[] for _ in sides]
    with _processes(sides) as pipes:
        for _ in range(2 * repeats):
            for spent, pipe in zip(times, pipes, strict=True):
                pipe.send("step")
                spent.append(_answer(pipe))
    return times


@contextmanager
def _processes(sides: list[tuple[Callable, Config, dict]]) -> Iterator[list[Any]]:
    """Start a process a side, each warm when this returns."""
    fresh, running, pipes = multiprocessing.get_context("spawn"), [], []
    try:
        for side in sides:
            here, there = fresh.Pipe()
            running.append(fresh.Process(target=_serve, args=(there, *side), daemon=True))
            running[-1].start()
            there.close()
            pipes.append(here)
            _answer(here)
        yield pipes
    finally:
        for process in running:
            process.kill()
            process.join()


def _answer(pipe) -> float:
    try:
        return pipe.recv()
    except EOFError:
        raise RunError("a side of the comparison ended early; its own error is printed above") from None


def _serve(pipe, side: Callable, config: Config, options: dict) -> None:
    """Be one side: make the step, warm it, then run one for each message and answer with its seconds."""
    with side(config, **options) as step:
        for _ in range(WARM):
            step()
        pipe.send(0.0)
        while pipe.recv():
            began = time.perf_counter()
            step()
            pipe.send(time.perf_counter() - began)


@contextmanager
def _ours(config: Config):
    import jax

    keep_freed()
    with jax.set_mesh(mesh_from(config.mesh)):
        c, t = bench_shape(config), dataclasses.replace(config.unlearn, accumulate=1)
        held = {"state": init_state(transformer.init(c, 0), t)}
        compiled, rate = compiled_step(t), np.float32(1e-5)
        rows = _tokens(config, c.V)[None].astype(np.int32)
        batch = [put(rows, "ABT"), put(np.roll(rows, -1, -1), "ABT")]

        def step():
            held["state"] = compiled(held["state"], rate, *batch)[0]
            jax.block_until_ready(held["state"])

        yield step


def _tokens(config: Config, V: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, V, (config.unlearn.batch, config.text.context)).astype(np.int64)


@contextmanager
def _theirs(config: Config, liger: bool = False):
    import torch

    net, device = _their_model(config, liger)
    net.train()
    if device == "cuda":
        net.gradient_checkpointing_enable()
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-5, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    batch = torch.from_numpy(_tokens(config, net.config.vocab_size)).to(device)

    def step():
        net(input_ids=batch, labels=batch).loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if device == "cuda":
            torch.cuda.synchronize()

    yield step


def _their_model(config: Config, liger: bool = False) -> tuple[Any, str]:
    """Return Hugging Face's Llama of the configuration's shape, random weights, and the device that it is on."""
    import jax

    jax.config.update("jax_platforms", "cpu")  # JAX only reads the shape here; PyTorch has the accelerator
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    with jax.set_mesh(mesh_from(Mesh())):
        c = bench_shape(config)
    if c.qkv_bias or c.qk_norm or c.rotated or (c.window or c.context) < config.text.context:
        raise InputError(f"--torch builds a Llama, which lacks biases, norms or windows of this {c.family} model")
    device, dtype = ("cuda", torch.bfloat16) if torch.cuda.is_available() else ("cpu", torch.float32)
    if liger:
        from liger_kernel.transformers import apply_liger_kernel_to_llama

        apply_liger_kernel_to_llama()
    shape = LlamaConfig(
        vocab_size=c.V, hidden_size=c.D, num_hidden_layers=c.L, num_attention_heads=c.N, num_key_value_heads=c.K,
        head_dim=c.H, intermediate_size=c.F, max_position_embeddings=c.context, tie_word_embeddings=c.tied,
    )  # fmt: skip
    with torch.device(device):
        net: Any = LlamaForCausalLM(shape)
    net = net.to(dtype=dtype)
    net.config.use_cache = False
    return net, device


@contextmanager
def _their_scores(config: Config, items: int):
    """Score as lm-evaluation-harness's Hugging Face backend does: longest first, padded on the right."""
    import torch

    net, device = _their_model(config)
    net.eval()
    pairs = pairs_of(items, net.config.vocab_size)
    longest_first = sorted(pairs, key=lambda p: -len(p[0]) - len(p[1]))
    batches = [longest_first[n : n + config.eval.batch] for n in range(0, len(pairs), config.eval.batch)]

    @torch.inference_mode()
    def step():
        for batch in batches:
            rows = [torch.tensor((*a, *b)[:-1]) for a, b in batch]
            logits_BTV = net(input_ids=torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(device)).logits
            for logits_TV, (before, after) in zip(logits_BTV, batch, strict=True):
                last = len(before) + len(after) - 1
                logp_TV = torch.log_softmax(logits_TV[last - len(after) : last].float(), dim=-1)
                float(logp_TV.gather(1, torch.tensor(after, device=device)[:, None]).sum())

    yield step

"""One training step beside what a user would run instead: Hugging Face's Llama in PyTorch with fused AdamW.

Needs the [test] extra. Both sides see the same shape, batch and tokens, and take turns in one process.
"""

import time
from statistics import median
from typing import Any

import jax
import numpy as np

from jaxunlearn import model, train
from jaxunlearn.config import Config
from jaxunlearn.errors import InputError
from jaxunlearn.rundir import say
from jaxunlearn.sharding import put


def compare(config: Config, c: model.Shape, repeats: int) -> dict:
    """Return tokens/s of both and the ratio ours / theirs, for each way of running theirs on this device."""
    try:
        import torch
    except ImportError:
        raise InputError("--torch needs PyTorch: pip install 'jaxunlearn[test]'") from None
    t, T = config.unlearn, config.text.context
    tokens = np.random.default_rng(0).integers(0, c.V, (t.batch, T)).astype(np.int64)
    ours = _ours(config, c, tokens)
    found = {}
    for name, options in _ways(torch).items():
        theirs = _theirs(torch, c, tokens, **options)
        times = ([], [])
        for n in range(2 * repeats + 2):
            for spent, step in zip(times, (ours, theirs), strict=True):
                began = time.perf_counter()
                step()
                if n > 1:
                    spent.append(time.perf_counter() - began)
        ratio = median(b / a for a, b in zip(*times, strict=True))
        rates = [tokens.size / median(s) for s in times]
        say(f"train: {rates[0]:,.0f} tokens/s, Hugging Face ({name}) {rates[1]:,.0f}: {ratio:.2f} x")
        found[name] = {"ours": rates[0], "theirs": rates[1], "ratio": ratio, "torch": torch.__version__}
        del theirs
    return found


def _ours(config: Config, c: model.Shape, tokens):
    import dataclasses

    t = dataclasses.replace(config.unlearn, accumulate=1)
    held = {"state": train.init_state(model.init(c, 0), t)}
    step, rate = train.compiled_step(t), np.float32(1e-5)
    rows = tokens[None].astype(np.int32)
    batch = [put(rows, "ABT"), put(np.roll(rows, -1, -1), "ABT")]

    def run():
        held["state"] = step(held["state"], rate, *batch)[0]
        jax.block_until_ready(held["state"])

    return run


def _ways(torch) -> dict:
    """Return the ways to run theirs that make sense on this device."""
    if not torch.cuda.is_available():
        return {"eager": {}}
    return {
        "eager, checkpointing": {"checkpointing": True},
        "compiled, checkpointing": {"checkpointing": True, "compiled": True},
    }


def _theirs(torch, c: model.Shape, tokens, checkpointing: bool = False, compiled: bool = False):
    from transformers import LlamaConfig, LlamaForCausalLM

    device, dtype = ("cuda", torch.bfloat16) if torch.cuda.is_available() else ("cpu", torch.float32)
    shape = LlamaConfig(
        vocab_size=c.V, hidden_size=c.D, num_hidden_layers=c.L, num_attention_heads=c.N, num_key_value_heads=c.K,
        head_dim=c.H, intermediate_size=c.F, max_position_embeddings=c.context, tie_word_embeddings=c.tied,
    )  # fmt: skip
    net: Any = LlamaForCausalLM(shape)
    net = net.to(device=device, dtype=dtype)
    net.train()
    net.config.use_cache = False
    if checkpointing:
        net.gradient_checkpointing_enable()
    optimiser = torch.optim.AdamW(net.parameters(), lr=1e-5, betas=(0.9, 0.98), weight_decay=0.0, fused=True)
    call = torch.compile(net) if compiled else net
    batch = torch.from_numpy(tokens).to(device)

    def run():
        call(input_ids=batch, labels=batch).loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        if device == "cuda":
            torch.cuda.synchronize()

    return run

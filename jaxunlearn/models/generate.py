"""Continue a batch of prompts: one forward pass over them, then a token at a time from a cache; greedy or seeded."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxunlearn.errors import Diverged, InputError
from jaxunlearn.kernels.attention import Cache
from jaxunlearn.models.transformer import context_fits
from jaxunlearn.parallel.sharding import act, fetch, put, replicated, rounded_up


class Sampling(NamedTuple):
    """How the next token is chosen; temperature 0 takes the most likely one."""

    temperature: float = 0.0
    top_k: int = 0  # 0: all
    top_p: float = 1.0


GREEDY = Sampling()
NAN = -1  # returned in place of a token where logits are not numbers


def generate(
    model,
    prompts: list[list[int]],
    max_new_tokens: int,
    sampling: Sampling = GREEDY,
    *,
    seed=0,
    eos_ids=(),
    batch=0,
) -> list[list[int]]:
    """Return the tokens that follow each prompt (lists of ids, BOS included), cut before the first EOS.

    Prompts are padded on the left to a common length, a multiple of 32, and handled `batch` at a time (0: all), so
    that one compiled program serves them all. Raises InputError for an empty prompt or one that is too long, RunError
    where the logits are not numbers.
    """
    if not prompts:
        return []
    width = width_of(model, prompts, max_new_tokens)
    batch = rounded_up(batch or len(prompts))
    out = []
    for start in range(0, len(prompts), batch):
        rows = prompts[start : start + batch]
        full = rows + [rows[-1]] * (batch - len(rows))
        tokens_BP = np.zeros((batch, width), np.int32)
        for row, prompt in zip(tokens_BP, full, strict=True):
            row[width - len(prompt) :] = prompt
        pad_B = np.array([width - len(p) for p in full], np.int32)
        eos = jnp.asarray(list(eos_ids) or [-1], jnp.int32)
        key = jax.random.fold_in(jax.random.key(seed), start)
        new_BT = decode(
            model, put(tokens_BP, "BT"), put(pad_B, "B"), key, eos, np.float32(sampling.temperature),
            max_new=max_new_tokens, top_k=sampling.top_k, top_p=sampling.top_p,
        )  # fmt: skip
        new_BT = fetch(new_BT)[: len(rows)]
        if len(odd := np.flatnonzero((new_BT == NAN).any(axis=1))):
            raise Diverged(f"the model's logits are not numbers after the tokens {rows[odd[0]]} and what it then wrote")
        out += [_before_eos(list(map(int, r)), eos_ids) for r in new_BT]
    return out


def width_of(model, prompts: list[list[int]], max_new_tokens: int) -> int:
    """Return the common length that prompts are padded to; raises InputError as `generate` does."""
    if any(not p for p in prompts):
        raise InputError("an empty prompt cannot be continued; give at least one token (BOS)")
    if (largest := max(map(max, prompts))) >= model.c.V:
        raise InputError(f"a prompt holds the token {largest}, which has no row in the embedding of {model.c.V}")
    width = -(-max(map(len, prompts)) // 32) * 32
    width = min(width, max(model.c.context - max_new_tokens, max(map(len, prompts))))
    context_fits(model.c, width + max_new_tokens, "prompt and completion together")
    return width


def _before_eos(tokens: list[int], eos_ids) -> list[int]:
    ends = [n for n, t in enumerate(tokens) if t in eos_ids]
    return tokens[: ends[0]] if ends else tokens


@partial(jax.jit, static_argnames=("max_new", "top_k", "top_p"))
def decode(model, tokens_BP, pad_B, key, eos, temperature, *, max_new: int, top_k: int, top_p: float):
    """Return new_BT, the tokens that follow prompts with pad_B places of padding in front.

    The temperature, a number, is traced: one program serves greedy decoding and every temperature.

    Decoding stops early once every row has met one of the ids `eos` (-1: none); what is not reached stays 0. Where
    logits are not numbers the token is NAN.
    """
    P = tokens_BP.shape[1]
    first, on = steps(model, pad_B, key, eos, Sampling(temperature, top_k, top_p), P=P, max_new=max_new)
    return on(first(tokens_BP), max_new)[3]


def steps(model, pad_B, key, eos, sampling: Sampling, *, P: int, max_new: int):
    """Return the two halves of decoding: first(tokens_BP), and on(carry, until), which goes on until `until` tokens.

    Both give the state of decoding: how many tokens there are, the last of each row, which rows met EOS, new_BT, cache.
    """
    length, c = P + max_new, model.c
    real_BS = jnp.arange(length)[None] >= pad_B[:, None]

    def forward(tokens_BT, at, cache):
        positions_T = at + jnp.arange(tokens_BT.shape[1])
        mask_BTS = real_BS[:, None] & (jnp.arange(length)[None, None] <= positions_T[None, :, None])
        positions_BT = jnp.maximum(positions_T[None] - pad_B[:, None], 0)
        h_BTD, cache = model(tokens_BT, positions_BT, mask_BTS, cache, at)
        return replicated(model.logits(h_BTD[:, -1:]))[:, 0], cache

    def choose(logits_BV, n):
        next_B = sample(logits_BV, jax.random.fold_in(key, n), sampling)
        return jax.reshard(jnp.where(jnp.isnan(logits_BV).any(axis=-1), NAN, next_B), act("B"))

    def first(tokens_BP):
        B = tokens_BP.shape[0]
        logits_BV, cache = forward(tokens_BP, 0, _empty_cache(c, B, length))
        first_B = choose(logits_BV, 0)
        new_BT = jnp.zeros((B, max_new), jnp.int32, out_sharding=act("BT")).at[:, 0].set(first_B)
        return 1, first_B, _is_eos(first_B, eos), new_BT, cache

    def step(carry):
        n, last_B, done_B, new_BT, cache = carry
        logits_BV, cache = forward(last_B[:, None], P + n - 1, cache)
        next_B = choose(logits_BV, n)
        new_BT = jax.lax.dynamic_update_slice_in_dim(new_BT, next_B[:, None], n, axis=1)
        return n + 1, next_B, done_B | _is_eos(next_B, eos), new_BT, cache

    def on(carry, until):
        return jax.lax.while_loop(lambda c: (c[0] < until) & ~jnp.all(replicated(c[2])), step, carry)

    return first, on


def _empty_cache(c, B: int, S: int) -> Cache:
    zeros = jnp.zeros((c.L, B, c.K, S, c.H), jnp.dtype(c.compute), out_sharding=act("LBKSH"))
    return Cache(zeros, zeros)


def _is_eos(tokens_B, eos):
    return jnp.any(tokens_B[:, None] == eos[None], axis=-1)


def sample(logits_BV, key, sampling: Sampling):
    """Return one token a row from fp32 logits: the argmax at temperature 0, or a draw from the softmax.

    The draw is from logits over the temperature, which may be traced, cut to the top-k and then to the smallest set
    that holds top-p.
    """
    greedy_B = jnp.argmax(logits_BV, axis=-1)
    logits_BV = logits_BV / jnp.where(sampling.temperature == 0, 1.0, sampling.temperature)
    if sampling.top_k:
        kth_B = jax.lax.top_k(logits_BV, min(sampling.top_k, logits_BV.shape[-1]))[0][:, -1:]
        logits_BV = jnp.where(logits_BV < kth_B, -jnp.inf, logits_BV)
    if sampling.top_p < 1:
        sorted_BV = jnp.sort(logits_BV, axis=-1, descending=True)
        p_BV = jax.nn.softmax(sorted_BV, axis=-1)
        kept_BV = jnp.cumsum(p_BV, axis=-1) - p_BV < sampling.top_p  # the token that crosses top_p is kept
        floor_B = jnp.min(jnp.where(kept_BV, sorted_BV, jnp.inf), axis=-1, keepdims=True)
        logits_BV = jnp.where(logits_BV < floor_B, -jnp.inf, logits_BV)
    drawn_B = jax.random.categorical(key, logits_BV)
    return jnp.where(sampling.temperature == 0, greedy_B, drawn_B).astype(jnp.int32)

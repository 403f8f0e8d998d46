"""Decoding and scoring: what measurements spend their time on."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxunlearn.config import Config
from jaxunlearn.evals.continuations import Pair, score_continuations
from jaxunlearn.models import transformer
from jaxunlearn.models.generate import GREEDY, generate
from jaxunlearn.parallel.console import say
from jaxunlearn.parallel.sharding import act, platform, put
from jaxunlearn.perf.timing import copy_bandwidth, resting, timed

NEW_TOKENS, PROMPT = 128, 32
AGAIN = 16  # tokens written without a cache; each takes as long as any other, and all of them would take minutes
ITEMS, SOME_ITEMS, ENDINGS = 1000, 16, 4  # of a multiple-choice benchmark; some: on a CPU
CONTEXT_TOKENS, ENDING_TOKENS = (40, 110), (10, 40)  # drawn evenly between; about HellaSwag's


def bench_generate(config: Config, c: transformer.Shape) -> dict:
    """Time the prompt's pass and cached decoding, against the bandwidth bound and recomputing for every token."""
    B = config.eval.batch if platform() == "cpu" else 128
    new = min(NEW_TOKENS, c.context - PROMPT)
    m = resting(transformer.init(c, 0))
    draw = np.random.default_rng(0)
    prompts = [list(map(int, row)) for row in draw.integers(1, c.V, (B, PROMPT))]
    took = {}
    for n in (1, new):
        generate(m, prompts, n)
        took[n] = timed(lambda n=n: generate(m, prompts, n))
    decode = B * (new - 1) / max(took[new] - took[1], 1e-9)
    bytes_a_step = sum(w.nbytes for w in jax.tree.leaves(m))
    bytes_a_step += 2 * c.L * B * (PROMPT + new) * c.K * c.H * jnp.dtype(c.compute).itemsize
    bound = B * copy_bandwidth() / bytes_a_step
    again, same = _recomputed(m, prompts, new)
    ratio = again * new / took[new]
    say(f"generate: {decode:,.0f} tokens/s, {decode / bound:.0%} of the bandwidth bound, {ratio:.1f} x recomputation")
    return {
        "tokens_per_second": decode, "batch": B, "share_of_bandwidth_bound": decode / bound,
        "first_token_seconds": took[1], "prompt_tokens": PROMPT, "times_recomputation": ratio, "same_tokens": same,
    }  # fmt: skip


def _recomputed(m, prompts, new: int) -> tuple[float, bool]:
    """Return seconds a token of greedy decoding without a cache, and whether its first AGAIN tokens are the same.

    Every token is a pass over one padded width, so that one compiled program makes all of them.
    """
    B, width, last = len(prompts), PROMPT + new, PROMPT + min(new, AGAIN)
    tokens_BT = np.zeros((B, width), np.int32)
    tokens_BT[:, :PROMPT] = prompts

    @jax.jit
    def step(m, tokens_BT, n):
        h_BTD = m(tokens_BT)
        last_BTD = jax.lax.dynamic_slice_in_dim(h_BTD, n - 1, 1, axis=1)
        next_B = jax.reshard(jnp.argmax(m.logits(last_BTD)[:, 0], axis=-1).astype(jnp.int32), act("B"))
        return jax.lax.dynamic_update_slice_in_dim(tokens_BT, next_B[:, None], n, axis=1)

    def run(until: int):
        x = put(tokens_BT, "BT")
        for n in range(PROMPT, until):
            x = step(m, x, n)
        return np.asarray(x)

    run(PROMPT + 1)  # compiled
    spent = timed(lambda: run(last)) / (last - PROMPT)
    wanted = [list(map(int, row[PROMPT:last])) for row in run(last)]
    return spent, [row[: last - PROMPT] for row in generate(m, prompts, new, GREEDY)] == wanted


def pairs_of(items: int, V: int) -> list[Pair]:
    """Return (context, ending) of random tokens: a multiple-choice benchmark's items, ENDINGS of each."""
    draw = np.random.default_rng(0)
    pairs: list[Pair] = []
    for _ in range(items):
        context, *endings = (
            tuple(map(int, draw.integers(1, V, draw.integers(*sizes, endpoint=True))))
            for sizes in (CONTEXT_TOKENS, *[ENDING_TOKENS] * ENDINGS)
        )
        pairs += [(context, ending) for ending in endings]
    return pairs


def bench_score(config: Config, c: transformer.Shape) -> dict:
    """Time the scoring of a multiple-choice benchmark: items a second, each with ENDINGS endings."""
    items = SOME_ITEMS if platform() == "cpu" else ITEMS
    m, pairs = resting(transformer.init(c, 0)), pairs_of(items, c.V)
    score_continuations(m, pairs, config.eval.batch)  # compiles every width
    spent = timed(lambda: score_continuations(m, pairs, config.eval.batch))
    tokens = sum(len(a) + len(b) for a, b in pairs)
    say(f"score: {items / spent:,.1f} items/s of {ENDINGS} endings, {tokens / spent:,.0f} tokens/s")
    return {"items_per_second": items / spent, "items": items, "tokens_per_second": tokens / spent}

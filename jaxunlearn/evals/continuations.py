"""Log-probability of a continuation after a context, in batches of few shapes: what every multiple choice is made of.

Tokens, cuts and truncation are lm-evaluation-harness's, so that scores can be compared with published ones.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxunlearn.data.tokenizer import Tokenizer
from jaxunlearn.errors import Diverged, InputError
from jaxunlearn.evals.memorisation import rows_with_labels
from jaxunlearn.kernels.linear_cross_entropy import IGNORE
from jaxunlearn.models.scoring import over_chunks
from jaxunlearn.parallel.sharding import act, put, replicated, rounded_up

LEAST_WIDTH = 32


class Score(NamedTuple):
    """A continuation's log-probability in nats, and whether greedy decoding would write it."""

    logp: float
    greedy: bool


Pair = tuple[Sequence[int], Sequence[int]]  # token ids of context and continuation


def encode_pair(tokenizer: Tokenizer, context: str, continuation: str) -> Pair:
    """Return ids of the context alone, and what the two together have beyond as many tokens, as the harness cuts.

    Spaces that end the context go to the continuation. An empty context is BOS, or EOS where there is none. Where a
    vocabulary merges over the space so that nothing is left to score, the cut is where the two tokenisations part (the
    harness stops there). InputError for a continuation without tokens.
    """
    spaces = len(context) - len(context.rstrip())
    if spaces:
        context, continuation = context[:-spaces], context[-spaces:] + continuation
    before = [int(i) for i in tokenizer.encode(context)[0]] if context else []
    whole, alone = [int(i) for i in tokenizer.encode(context + continuation)[0]], len(before)
    if not whole[alone:] and continuation.strip():
        alone = next((n for n, (a, b) in enumerate(zip(before, whole, strict=False)) if a != b), len(whole))
        before = whole[:alone]
    if not whole[alone:]:
        raise InputError(f"the continuation {continuation!r} of {context[-60:]!r} has no tokens to score")
    return tokenizer.before(before), whole[alone:]


def score_continuations(
    model,
    pairs: Sequence[Pair],
    batch: int = 8,
    done: Callable[[int, Score], None] | None = None,
    *,
    longest: int = 0,
) -> list[Score]:
    """Score every (context, continuation) of token ids, equal ones once; too long a context loses its beginning.

    Longest first, in rows padded to a power of two. done(n, score) is told of each as soon as it is known. longest:
    tokens that a row reads at most, at most the model's context; 0: the model's context. InputError for a continuation
    that is longer, RunError for logits that are NaN.
    """
    longest = min(longest or model.c.context, model.c.context)
    numbers: dict[tuple, list[int]] = {}
    for n, (context, continuation) in enumerate(pairs):
        if not 0 < len(continuation) <= longest or not context:
            raise InputError(
                f"pair {n} has a context of {len(context)} tokens and a continuation of {len(continuation)}: "
                f"expected one token of context and 1 to {longest} of continuation"
            )
        ids = (*context, *continuation)[-(longest + 1) :]
        numbers.setdefault((ids, len(continuation)), []).append(n)
    batch = rounded_up(batch)
    rows = sorted(numbers, key=lambda row: (-len(row[0]), row))
    found: dict[int, Score] = {}
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        for row, score in zip(part, _scores(model, part, batch), strict=True):
            for n in numbers[row]:
                found[n] = score
                if done:
                    done(n, score)
    return [found[n] for n in range(len(pairs))]


def _scores(model, rows: list[tuple], batch: int) -> list[Score]:
    width = LEAST_WIDTH
    while width < len(rows[0][0]) - 1:
        width *= 2
    width = min(width, model.c.context)
    tokens_BT, labels_BT = rows_with_labels([list(ids) for ids, _ in rows], batch, width + 1)
    for labels_T, (ids, scored) in zip(labels_BT, rows, strict=False):
        labels_T[: len(ids) - 1 - scored] = IGNORE
    arrays = put(tokens_BT[:, :width], "BT"), put(labels_BT[:, :width], "BT")
    logp_B, missed_B = (np.asarray(x)[: len(rows)] for x in _row_sums(model, *arrays))
    if not np.isfinite(logp_B).all():
        raise Diverged(
            f"a log-probability is {logp_B[~np.isfinite(logp_B)][0]}: the model's weights or logits are not finite"
        )
    return [Score(float(logp), not missed) for logp, missed in zip(logp_B, missed_B, strict=True)]


@jax.jit
def _row_sums(model, tokens_BT, labels_BT):
    """Return (log-probability of all labels, labels that are not the argmax), each [B], on every device."""

    def rows(logits_BTV, valid_BT, picked_BT):
        logp_BT = picked_BT - jax.nn.logsumexp(logits_BTV, axis=-1)
        missed_BT = (picked_BT < jnp.max(logits_BTV, axis=-1)).astype(jnp.float32)
        return tuple(jnp.sum(jnp.where(valid_BT, x, 0), axis=1) for x in (logp_BT, missed_BT))

    zero = jnp.zeros(tokens_BT.shape[0], out_sharding=act("B"))
    return tuple(map(replicated, over_chunks(model, tokens_BT, labels_BT, rows, (zero, zero))))

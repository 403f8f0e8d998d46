"""Verbatim memory: exact memorisation and extraction strength, and the token scores that they are taken on.

Definitions, ranges and where other code differs: docs/metrics.md. N items, T scored tokens of one item.
Sources: exact memorisation, arXiv 2205.10770; extraction strength as in open-unlearning, arXiv 2506.12618.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxunlearn.data.blocks import PAD_ID
from jaxunlearn.data.tokenizer import Tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.estimates import SHARE, mean_estimate
from jaxunlearn.evals.words import before_word
from jaxunlearn.kernels.linear_cross_entropy import IGNORE
from jaxunlearn.models.generate import generate
from jaxunlearn.models.scoring import in_chunks
from jaxunlearn.models.transformer import context_fits
from jaxunlearn.parallel.sharding import act, put, replicated, rounded_up

# ---- figures


def figure(name: str, values: ArrayLike, within: tuple[float, float] | None = SHARE) -> dict[str, Any]:
    """Return {value, low, high, n}: the mean of values_N, which are in the range `within`, with its interval.

    One item has no interval: low and high are None and "note" says so. InputError for no item, NaN or infinity.
    """
    return mean_estimate(finite(name, values), within).to_json()


def finite(name: str, values: ArrayLike) -> np.ndarray:
    """Return values_N in fp64; raise InputError that names the first item that is NaN or infinite, or that none is."""
    values_N = np.asarray(values, np.float64)
    if values_N.ndim != 1 or not values_N.size:
        raise InputError(f"{name}: expected one number an item and one item at least, got shape {values_N.shape}")
    if not np.isfinite(values_N).all():
        first = int(np.flatnonzero(~np.isfinite(values_N))[0])
        raise InputError(f"{name}: item {first} is {values_N[first]}; it would spoil the mean, so find out why first")
    return values_N


# ---- teacher-forced memory


def exact_memorisation(right: Sequence[ArrayLike]) -> dict[str, Any]:
    """Return the figure of EM, the mean over items of the share of tokens that are the argmax; 0 to 1, 1: by heart.

    right: for every item right_T, true where the teacher-forced argmax is the label.
    """
    return figure("exact memorisation", [_checked_right(n, item).mean() for n, item in enumerate(right)])


def extraction_strength(right: Sequence[ArrayLike]) -> dict[str, Any]:
    """Return the figure of ES, the mean over items of 1 - k/T; 0 to 1, 1: the prompt alone brings all of it back.

    k is the fewest tokens to be given before the argmax is right to the end; T where the last one is wrong, hence 0.
    """
    return figure("extraction strength", [_strength(_checked_right(n, item)) for n, item in enumerate(right)])


def _strength(right_T: np.ndarray) -> float:
    wrong = np.flatnonzero(~right_T)
    return 1 - (wrong[-1] + 1) / len(right_T) if len(wrong) else 1.0


def _checked_right(n: int, right: ArrayLike) -> np.ndarray:
    values_T = finite(f"right tokens of item {n}", right)
    if not np.isin(values_T, (0, 1)).all():
        raise InputError(f"right tokens of item {n}: expected true or false a token, got {values_T}")
    return values_T.astype(bool)


# ---- from a model


@dataclass(frozen=True, kw_only=True)
class TokenScores:
    """One text's scored tokens, teacher-forced, in nats.

    logp_T of the token; right_T: the argmax is the token; mean_T and deviation_T of log p over the vocabulary, under p.
    """

    logp_T: np.ndarray
    right_T: np.ndarray
    mean_T: np.ndarray
    deviation_T: np.ndarray

    @property
    def loss(self) -> float:
        """Give the mean negative log-likelihood a token."""
        return -float(np.mean(self.logp_T, dtype=np.float64))


def score_answers(
    model, tokenizer: Tokenizer, pairs: Sequence[tuple[str, str]], batch: int = 8, end: bool = False
) -> list[TokenScores]:
    """Score the answer's tokens of every (prompt, answer), a text each; with `end` also the EOS after it.

    A first token that nothing stands before is predicted from BOS, or from EOS under a tokenizer that has none. Prompt
    and answer are tokenised together as they stand; a token that covers a character of the answer is scored.
    InputError for an answer without tokens and for what is longer than the model's context.
    """
    if not pairs:
        raise InputError("no text to score was given; give one (prompt, answer) at least")
    rows = [_answer_tokens(tokenizer, n, *pair, end) for n, pair in enumerate(pairs)]
    longest = max(len(ids) for ids, _ in rows)
    context_fits(model.c, longest, "prompt and answer together")
    batch, width, out = rounded_up(batch), -(-longest // 32) * 32, []
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        tokens_BT, labels_BT = rows_with_labels([ids for ids, _ in part], batch, width)
        scores = [np.asarray(x) for x in _token_scores(model, put(tokens_BT, "BT"), put(labels_BT, "BT"))]
        for n, (ids, first) in enumerate(part):
            logp_T, right_T, mean_T, deviation_T = (x[n, first - 1 : len(ids) - 1] for x in scores)
            out.append(TokenScores(logp_T=logp_T, right_T=right_T, mean_T=mean_T, deviation_T=deviation_T))
    return out


def rows_with_labels(rows: list[list[int]], batch: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return tokens_BT and next-token labels_BT (-100 where there is none) of rows of ids, padded on the right."""
    tokens_BT = np.full((batch, width), PAD_ID, np.int32)
    labels_BT = np.full((batch, width), IGNORE, np.int32)
    for n, ids in enumerate(rows):
        tokens_BT[n, : len(ids)] = ids
        labels_BT[n, : len(ids) - 1] = ids[1:]
    return tokens_BT, labels_BT


def _answer_tokens(tokenizer: Tokenizer, n: int, prompt: str, answer: str, end: bool) -> tuple[list[int], int]:
    """Return prompt and answer as the ids of a text, and where the answer's first token stands."""
    ids, ends = tokenizer.encode(prompt + answer)
    first = int(np.sum(ends <= len(prompt)))
    if not answer.strip() or first == len(ids):
        raise InputError(f"text {n} after the prompt {prompt[-60:]!r} is {answer!r}: expected a text with tokens")
    if end and tokenizer.eos_id is None:
        raise InputError("the tokenizer has no EOS token to score; leave `end` out, or name one in config.json")
    last = [tokenizer.eos_id] if end and tokenizer.eos_id is not None else []
    context = tokenizer.before(ids[:first])
    return [*context, *map(int, ids[first:]), *last], len(context)


@jax.jit
def _token_scores(model, tokens_BT, labels_BT):
    """Return (log p of the label, argmax is the label, mean, deviation), each [B, T], a few positions at a time."""
    B, T = tokens_BT.shape

    def chunk(_, part):
        return None, _vocabulary_scores(model.logits(part[0]), part[1])

    parts_CBT = jax.lax.scan(chunk, None, in_chunks(model(tokens_BT), labels_BT))[1]
    return tuple(jnp.moveaxis(replicated(x_CBT), 0, 1).reshape(B, -1)[:, :T] for x_CBT in parts_CBT)


def _vocabulary_scores(logits_BTV, labels_BT):
    V = logits_BTV.shape[-1]
    vocabulary_V = jnp.arange(V, dtype=jnp.int32, out_sharding=act("V"))[None, None]
    logp_BTV = logits_BTV - jax.nn.logsumexp(logits_BTV, axis=-1, keepdims=True)
    picked_BT = jnp.sum(jnp.where(labels_BT[..., None] == vocabulary_V, logp_BTV, 0), axis=-1)
    best_BTV = logits_BTV == jnp.max(logits_BTV, axis=-1, keepdims=True)
    argmax_BT = jnp.min(jnp.where(best_BTV, vocabulary_V, V), axis=-1)  # the lowest index wins a tie
    p_BTV = jnp.exp(logp_BTV)
    mean_BT = jnp.sum(p_BTV * logp_BTV, axis=-1)
    variance_BT = jnp.sum(p_BTV * (logp_BTV - mean_BT[..., None]) ** 2, axis=-1)
    return picked_BT, argmax_BT == labels_BT, mean_BT, jnp.sqrt(variance_BT)


def continue_greedily(
    model,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    new_tokens: int,
    batch: int = 8,
    answers: Sequence[str] | None = None,
) -> list[str]:
    """Return the model's most likely continuation of each prompt as text, cut before an EOS.

    answers: what follows each prompt and a space. They only say how the prompt's end is cut into tokens, where a
    vocabulary merges over word ends; without them the prompt is cut by itself.
    """
    decode = tokenizer.decode
    if answers is None:
        contexts = [tokenizer.asked(p) for p in prompts]
    else:
        contexts = [tokenizer.before(before_word(tokenizer, p, a)) for p, a in zip(prompts, answers, strict=True)]
    new = generate(model, contexts, new_tokens, eos_ids=tokenizer.eos_ids, batch=batch)
    return [decode(c + n)[len(decode(c)) :] for c, n in zip(contexts, new, strict=True)]

"""Membership inference: six attacks that ask whether a text was trained on, and their AUC with an interval.

Every attack's score is higher for a text that looks new. Forget texts are class 0, holdout texts class 1, so an AUC of
0.5 tells nothing apart and 1 gives every forget text away. Definitions and where other code differs: docs/metrics.md.
Sources: loss, arXiv 1709.01604; zlib and reference, arXiv 2012.07805; gradient norm, arXiv 2402.17012; Min-K%, arXiv
2310.16789; Min-K%++, arXiv 2404.02936.
"""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from jaxunlearn import intervals
from jaxunlearn.data.tokenizer import Tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.estimates import NO_INTERVAL
from jaxunlearn.evals.memorisation import TokenScores, finite, rows_with_labels, score_answers
from jaxunlearn.models.transformer import context_fits
from jaxunlearn.parallel.sharding import act_ways, letters_of, put, replicated
from jaxunlearn.training.step import gradients

K = 0.2  # the share of tokens that Min-K% and Min-K%++ look at; MUSE takes 0.4
LEAST_VARIANCE = 1e-6  # of log p over the vocabulary, in nats squared: a certain model has none


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One text and what a model makes of it; the reference model's loss and the gradient norm where they were taken."""

    text: str
    tokens: TokenScores
    reference_loss: float | None = None
    gradient_norm: float | None = None


# ---- six attacks


def loss(logp: ArrayLike) -> float:
    """Return the mean negative log-likelihood of a text's logp_T, in nats a token."""
    return -float(finite("log-probabilities", logp).mean())


def zlib_score(logp: ArrayLike, text: str) -> float:
    """Return the loss by the bytes that zlib needs for the text (its default level)."""
    return loss(logp) / len(zlib.compress(text.encode("utf-8")))


def reference_score(logp: ArrayLike, reference_loss: float) -> float:
    """Return the loss less that of a reference model, one that never saw the forget text."""
    return loss(logp) - float(finite("reference loss", [reference_loss])[0])


def min_k(logp: ArrayLike, k: float = K) -> float:
    """Return minus the mean of the lowest max(1, floor(k T)) log-probabilities."""
    logp_T = np.sort(finite("log-probabilities", logp))
    if not 0 < k <= 1:
        raise InputError(f"k is {k}: expected a share of the tokens above 0, at most 1")
    return -float(logp_T[: max(1, math.floor(k * len(logp_T)))].mean())


def min_k_plus_plus(logp: ArrayLike, mean: ArrayLike, deviation: ArrayLike, k: float = K) -> float:
    """Return Min-K of (log p - mean_T) / deviation_T, both taken of log p over the vocabulary, under p."""
    logp_T, mean_T = finite("log-probabilities", logp), finite("mean log-probabilities", mean)
    deviation_T = finite("deviations", deviation)
    if not len(logp_T) == len(mean_T) == len(deviation_T) or (deviation_T < 0).any():
        raise InputError("Min-K%++ needs one log-probability, one mean and one deviation >= 0 a token")
    return min_k((logp_T - mean_T) / np.maximum(deviation_T, math.sqrt(LEAST_VARIANCE)), k)


def gradient_score(norms: ArrayLike) -> float:
    """Return the mean over weight matrices of the L2 norm of the loss's gradient."""
    return float(finite("gradient norms", norms).mean())


def attack_scores(samples: Sequence[Sample], k: float = K) -> dict[str, np.ndarray]:
    """Return {attack: scores_N}; reference and gradient_norm only where every sample has them."""
    if not samples:
        raise InputError("membership inference: no text was given, expected one at least")
    found = {
        "loss": [loss(s.tokens.logp_T) for s in samples],
        "zlib": [zlib_score(s.tokens.logp_T, s.text) for s in samples],
        "min_k": [min_k(s.tokens.logp_T, k) for s in samples],
        "min_k++": [min_k_plus_plus(s.tokens.logp_T, s.tokens.mean_T, s.tokens.deviation_T, k) for s in samples],
    }
    references = _all_or_none("reference loss", [s.reference_loss for s in samples])
    norms = _all_or_none("gradient norm", [s.gradient_norm for s in samples])
    if references:
        found["reference"] = [reference_score(s.tokens.logp_T, r) for s, r in zip(samples, references, strict=True)]
    if norms:
        found["gradient_norm"] = norms
    return {name: finite(name, scores) for name, scores in found.items()}


def membership(forget: Sequence[Sample], holdout: Sequence[Sample], k: float = K) -> dict[str, Any]:
    """Return {attack: figure of its AUC} between forget and holdout texts; see auc_figure."""
    ours, theirs = attack_scores(forget, k), attack_scores(holdout, k)
    if ours.keys() != theirs.keys():
        odd = sorted(ours.keys() ^ theirs.keys())
        raise InputError(f"{', '.join(odd)}: given for one of forget and holdout only; score both in the same way")
    return {name: auc_figure(ours[name], theirs[name]) for name in ours}


def _all_or_none(name: str, values: Sequence[float | None]) -> list[float]:
    missing = [n for n, v in enumerate(values) if v is None]
    if missing and len(missing) < len(values):
        raise InputError(f"{name}: text {missing[0]} has none and others do; score all of them, or none")
    return [v for v in values if v is not None]


# ---- AUC


def auc(forget: ArrayLike, holdout: ArrayLike) -> float:
    """Return the share of (forget, holdout) pairs in which the holdout text scores higher; a tie counts one half."""
    return float(wins(forget, holdout).mean())


def auc_figure(forget: ArrayLike, holdout: ArrayLike) -> dict[str, Any]:
    """Return {value, low, high, n, forget, holdout}: the AUC, its interval (intervals.auc), and the numbers of texts.

    With one text in either set the interval is None and "note" says so.
    """
    wins_NM = wins(forget, holdout)
    N, M = wins_NM.shape
    found = {"value": float(wins_NM.mean()), "n": N + M, "forget": N, "holdout": M}
    if min(N, M) == 1:
        return found | {"low": None, "high": None, "note": NO_INTERVAL}
    low, high = intervals.auc(wins_NM)
    return found | {"low": low, "high": high}


def wins(forget: ArrayLike, holdout: ArrayLike) -> np.ndarray:
    """Return [N, M]: 1 where the holdout text scores higher than the forget text, 1/2 for a tie, else 0."""
    forget_N, holdout_M = finite("forget scores", forget), finite("holdout scores", holdout)
    return (holdout_M[None] > forget_N[:, None]) + 0.5 * (holdout_M[None] == forget_N[:, None])


# ---- from a model


def score_samples(
    model, tokenizer: Tokenizer, texts: Sequence[str], *, reference=None, with_gradients: bool = False, batch: int = 8
) -> list[Sample]:
    """Score texts whole under a model and, where given, a reference model with the same tokenizer.

    Gradients are taken one text at a time and cost about three times the rest. InputError for a text without tokens
    or longer than the model's context.
    """
    pairs = [("", text) for text in texts]
    scores = score_answers(model, tokenizer, pairs, batch)
    losses = [s.loss for s in score_answers(reference, tokenizer, pairs, batch)] if reference is not None else None
    norms = gradient_norms(model, tokenizer, texts) if with_gradients else None
    return [
        Sample(
            text=text,
            tokens=scores[n],
            reference_loss=losses[n] if losses else None,
            gradient_norm=norms[n] if norms else None,
        )
        for n, text in enumerate(texts)
    ]


def gradient_norms(model, tokenizer: Tokenizer, texts: Sequence[str]) -> list[float]:
    """Return each text's gradient score: the mean over weights, layer by layer, of the L2 norm of d loss / d weight."""
    rows = [[*tokenizer.before([]), *map(int, tokenizer.encode(text)[0])] for text in texts]
    longest = max(map(len, rows))
    context_fits(model.c, longest, "a text")
    copies, out = act_ways(), []  # a batch divides over the devices: the same text on each
    for ids in rows:
        tokens_BT, labels_BT = rows_with_labels([ids] * copies, copies, -(-longest // 32) * 32)
        norms = _weight_norms(model, put(tokens_BT[None], "ABT"), put(labels_BT[None], "ABT"))
        out.append(gradient_score(np.concatenate([np.asarray(x) for x in norms])))
    return out


@jax.jit
def _weight_norms(model, tokens_ABT, labels_ABT):
    """Return a list of the gradient's L2 norms: [1] of a weight, [L] of one that is stacked over layers."""
    _, g = gradients(model, tokens_ABT, labels_ABT)
    out = []
    for path, weight in jax.tree_util.tree_leaves_with_path(g):
        layers = letters_of(path).startswith("L")
        squares = jnp.sum(weight.astype(jnp.float32) ** 2, axis=tuple(range(int(layers), weight.ndim)))
        out.append(replicated(jnp.atleast_1d(jnp.sqrt(squares))))
    return out

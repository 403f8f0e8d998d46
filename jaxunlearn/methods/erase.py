"""Embedding erasure: take the target's features out of the rows of tokens that belong to the target alone.

A token belongs to the target alone where it stands in a term of the dictionary in the text to forget, and at most
`seen` times in the text to keep. The rows of all tokens of the text to forget are factored as E ~ G F^T, with one
coefficient a row, at least 0 (the winner takes all), and `rank` features. A feature is the target's where its rows of
the target alone hold `share` of the squared coefficients. Then e_i <- e_i - strength G_ik f_k for each such row i whose
feature k is the target's. The embedding is edited, and by a factorisation of its own the output projection.

Source: EMBER (Suslik, Shafran & Geva, arXiv 2606.03695), a first step before any method. There a language model labels
the features, and the output projection is left alone; here the dictionary and counts stand in its place. Unclear there:
how many coefficients a row keeps; here one. Names that are made of shared pieces own no token, and nothing is done to
them: `Owned` counts that.
"""

from typing import NamedTuple

import jax
import numpy as np

from jaxunlearn.anchors.align import locate, row_tokens
from jaxunlearn.anchors.matching import make_matcher
from jaxunlearn.config import Config, Erase
from jaxunlearn.data.blocks import Blocks
from jaxunlearn.errors import InputError
from jaxunlearn.methods.base import Method
from jaxunlearn.models.transformer import Shape
from jaxunlearn.parallel.console import say
from jaxunlearn.parallel.sharding import fetch, put

ROUNDS = 30  # of the factorisation, at most


class Owned(NamedTuple):
    """Tokens of the text to forget, which of them belong to the target alone, and how many terms own one."""

    ids_N: np.ndarray
    own_N: np.ndarray  # bool
    terms: int  # of the dictionary, that stand in the text
    owning: int  # of these, with a token of the target alone
    whole: int  # of these, made of such tokens

    def found(self) -> dict[str, int]:
        """Return the counts."""
        return {"terms": self.terms, "owning": self.owning, "whole": self.whole, "tokens": int(self.own_N.sum())}


def owned(forget: Blocks, retain: Blocks | None, dictionary, match: str, seen: int) -> Owned:
    """Return which tokens of the text to forget belong to the target alone."""
    matcher, pieces = make_matcher(terms := list(dictionary)), {}
    for stream in forget.streams:
        at = locate(stream, matcher, match, 0, row_tokens(forget))
        for key, first, last in zip(at.key_A.tolist(), at.first_A, at.last_A, strict=True):
            pieces.setdefault(terms[key], set()).update(stream.ids_N[first : last + 1].tolist())
    known = np.concatenate([s.ids_N for s in retain.streams]) if retain else np.zeros(0, np.int64)
    there, counts = np.unique(known, return_counts=True)
    often = set(there[counts > seen].tolist())
    alone = set().union(*pieces.values()) - often
    ids_N = np.unique(np.concatenate([s.ids_N for s in forget.streams]))
    return Owned(
        ids_N, np.isin(ids_N, sorted(alone)), len(pieces), sum(bool(p & alone) for p in pieces.values()),
        sum(p <= alone for p in pieces.values()),
    )  # fmt: skip


def factored(e_ND: np.ndarray, rank: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (winner_N, coefficient_N, f_KD): e_n is about coefficient_n f_winner, each coefficient at least 0.

    Features begin at rows drawn by the seed. Each row then takes the feature that it lies nearest to in direction, and
    each feature becomes the best one for its rows.
    """
    rows = np.random.default_rng(seed).permutation(len(e_ND))[:rank]
    f_KD, winner_N, coefficient_N = e_ND[rows].astype(np.float64), np.full(len(e_ND), -1), np.zeros(len(e_ND))
    for _ in range(ROUNDS):
        size_K = np.maximum(np.linalg.norm(f_KD, axis=1), 1e-30)
        along_NK = e_ND @ (f_KD / size_K[:, None]).T
        before, winner_N = winner_N, along_NK.argmax(1)
        coefficient_N = np.maximum(along_NK[np.arange(len(e_ND)), winner_N], 0) / size_K[winner_N]
        if (before == winner_N).all():
            break
        for k in np.unique(winner_N):
            g = np.where(winner_N == k, coefficient_N, 0)
            f_KD[k] = g @ e_ND / max(g @ g, 1e-30)
    return winner_N, coefficient_N, f_KD


def part_of_target(e_ND: np.ndarray, own_N: np.ndarray, e: Erase, seed: int) -> np.ndarray:
    """Return what is taken from each row at strength 1: its part in the target's features, 0 where it has none."""
    winner_N, coefficient_N, f_KD = factored(e_ND, e.rank, seed)
    square_N = coefficient_N**2
    all_K, own_K = (np.bincount(winner_N, w, len(f_KD)) for w in (square_N, square_N * own_N))
    of_target_K = own_K >= e.share * np.maximum(all_K, 1e-30)
    taken_N = own_N & of_target_K[winner_N]
    return np.where(taken_N[:, None], coefficient_N[:, None] * f_KD[winner_N], 0)


def erased(model, o: Owned, e: Erase, seed: int):
    """Return the model with its rows edited, input and output; on any mesh. A line says where that changes none."""
    moved = []

    def edited(w, letters: str):
        rows = fetch(w) if letters == "VD" else fetch(w).T
        change = np.zeros(rows.shape, np.float32)
        change[o.ids_N] = e.strength * part_of_target(rows[o.ids_N].astype(np.float64), o.own_N, e, seed)
        moved.append(bool(change.any()))
        change = put(change if letters == "VD" else change.T, letters)
        return w - jax.reshard(change, jax.typeof(w).sharding.spec)

    model.embed_VD[...] = edited(model.embed_VD[...], "VD")
    if not model.c.tied:
        model.head_DV[...] = edited(model.head_DV[...], "DV")
    if not any(moved):
        say(
            f"  unlearn.erase changes no row: none of its {e.rank} features is the target's by a share of {e.share:g}; "
            "raise unlearn.erase.rank or lower unlearn.erase.share"
        )
    return model


def faults(config: Config, method: Method, parts: tuple[str, ...]) -> list[str]:
    """Return why rows cannot be edited; parts: those of a batch that the method reads."""
    u, wrong = config.unlearn, []
    if not u.erase.strength:
        return wrong
    if not method.trains:
        wrong.append(f"unlearn.erase edits what training starts from, and {method.name} trains nothing")
    if u.lora.rank:
        wrong.append("unlearn.erase edits whole rows, which no adapter holds: leave out unlearn.lora")
    if not config.text.dictionary:
        wrong.append("unlearn.erase needs the target's terms: set text.dictionary")
    if not config.text.retain:
        wrong.append("unlearn.erase counts tokens in the text to keep: set text.retain")
    return wrong


def fits(config: Config, c: Shape) -> None:
    """Raise InputError for more features than the matrix of embeddings has."""
    e = config.unlearn.erase
    if e.strength and e.rank > min(c.V, c.D):
        raise InputError(f"unlearn.erase.rank = {e.rank} is more than the embedding has ({c.V} x {c.D}): give fewer")

"""Find terms in a text as whole words: all hits, or the anchors, which do not overlap.

Dimensions: K terms, H hits, A anchors. Positions are characters.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxunlearn.data.boundaries import joined

LONGEST = 1000  # characters of a term in the automaton, whose time and stack grow with its depth


@dataclass(frozen=True, kw_only=True)
class Matcher:
    """All terms in one Aho-Corasick automaton, but for the long ones, which are searched one by one.

    length_K: characters of each term. long: (number, term) of those of more than LONGEST characters.
    """

    automaton: Any  # ahocorasick.Automaton; None where there are no terms
    length_K: np.ndarray
    long: tuple[tuple[int, str], ...] = ()


def make_matcher(terms: Sequence[str]) -> Matcher:
    """Return a matcher of terms, which are numbered in their order; terms must not be empty."""
    import ahocorasick

    automaton = ahocorasick.Automaton()
    long = tuple((number, term) for number, term in enumerate(terms) if len(term) > LONGEST)
    for number, term in enumerate(terms):
        if len(term) <= LONGEST:
            automaton.add_word(term, number)
    automaton.make_automaton()
    return Matcher(
        automaton=automaton if len(terms) > len(long) else None,
        length_K=np.array([len(term) for term in terms], np.int64),
        long=long,
    )


def whole_hits(text: str, matcher: Matcher) -> np.ndarray:
    """Return hits_H3, every whole-word occurrence as (term, first character, end), sorted by end; hits may overlap.

    An occurrence is whole where no word of the text runs across its first or last place (boundaries.joined).
    """
    hits = list(matcher.automaton.iter(text)) if matcher.automaton else []
    present = [(number, term) for number, term in matcher.long if term in text]
    if not hits and not present:
        return np.zeros((0, 3), np.int64)
    joined_C = joined(text)
    hits += [(end - 1, number) for number, term in present for end in _ends(text, term, joined_C)]
    last_H, key_H = np.array(sorted(hits) if present else hits, np.int64).reshape(-1, 2).T
    end_H = last_H + 1
    start_H = end_H - matcher.length_K[key_H]
    return np.stack([key_H, start_H, end_H], axis=1)[~(joined_C[start_H] | joined_C[end_H])]


def _ends(text: str, term: str, joined_C: np.ndarray) -> Iterator[int]:
    """Yield the end of each occurrence of a term that begins where a word may begin."""
    begins, at = np.flatnonzero(~joined_C), text.find(term)
    while at >= 0:
        if not joined_C[at]:
            yield at + len(term)
        after = np.searchsorted(begins, at, side="right")
        at = text.find(term, int(begins[after])) if after < len(begins) else -1


def find_anchors(text: str, matcher: Matcher, match: str = "longest") -> np.ndarray:
    """Return anchors_A3, the whole-word occurrences that do not overlap, as (term, first character, end).

    The text is read left to right. Of the terms that begin at one character the longest is taken, or with
    match="first", the authors' rule, the first in the order of the terms.

    >>> find_anchors("Emerald City is no Emeralds", make_matcher(["Emerald", "Emerald City"])).tolist()
    [[1, 0, 12]]
    """
    hits_H3 = whole_hits(text, matcher)
    key_H, start_H, end_H = hits_H3.T
    order = np.lexsort((-end_H if match == "longest" else key_H, start_H))
    kept, free = [], 0
    for hit, start, end in zip(order.tolist(), start_H[order].tolist(), end_H[order].tolist(), strict=True):
        if start >= free:
            kept.append(hit)
            free = end
    return hits_H3[kept]

"""Find terms in a text as whole words: all hits, or the anchors, which do not overlap.

Dimensions: K terms, H hits, A anchors. Positions are characters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Matcher:
    """All terms in one Aho-Corasick automaton.

    length_K: characters of each term. opens_word_K, closes_word_K: whether its first and last character belong to a
    word, so that a word character beside it makes it a part of a longer word.
    """

    automaton: Any  # ahocorasick.Automaton; None where there are no terms
    length_K: np.ndarray
    opens_word_K: np.ndarray
    closes_word_K: np.ndarray


def make_matcher(terms: Sequence[str]) -> Matcher:
    """Return a matcher of terms, which are numbered in their order; terms must not be empty."""
    import ahocorasick

    automaton = ahocorasick.Automaton()
    for number, term in enumerate(terms):
        automaton.add_word(term, number)
    automaton.make_automaton()
    return Matcher(
        automaton=automaton if len(terms) else None,
        length_K=np.array([len(term) for term in terms], np.int64),
        opens_word_K=np.array([in_word(term[0]) for term in terms], bool),
        closes_word_K=np.array([in_word(term[-1]) for term in terms], bool),
    )


def whole_hits(text: str, matcher: Matcher) -> np.ndarray:
    """Return hits_H3, every whole-word occurrence as (term, first character, end), sorted by end; hits may overlap."""
    hits = list(matcher.automaton.iter(text)) if matcher.automaton else []
    if not hits:
        return np.zeros((0, 3), np.int64)
    last_H, key_H = np.array(hits, np.int64).T
    end_H = last_H + 1
    start_H = end_H - matcher.length_K[key_H]
    word = np.pad(code_characters(text, in_word), 1).astype(bool)  # word[c]: the character before c is part of a word
    whole_H = ~(word[start_H] & matcher.opens_word_K[key_H]) & ~(word[end_H + 1] & matcher.closes_word_K[key_H])
    return np.stack([key_H, start_H, end_H], axis=1)[whole_H]


def find_anchors(text: str, matcher: Matcher, match: str = "longest") -> np.ndarray:
    """Return anchors_A3, the whole-word occurrences that do not overlap, as (term, first character, end).

    The text is read left to right. Of the terms that begin at one character the longest is taken, or with
    match="first", the authors' rule, the first in the order of the terms.
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


def in_word(character: str) -> bool:
    """Return whether a character is part of a word, so that no term may begin or end beside it."""
    return character.isalnum() or character == "_"


def code_characters(text: str, code) -> np.ndarray:
    """Return code(character), a small number, for each character of a text; each distinct one is computed once."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    table = np.zeros(int(codes.max(initial=0)) + 1, np.uint32)
    for character in set(text):
        table[ord(character)] = code(character)
    return table[codes]

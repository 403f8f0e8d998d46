"""Where terms stand in a text as whole words; every hit, or those that are kept where hits overlap."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Matcher:
    """All terms in one automaton, and for each its length and whether its first and last character make words."""

    automaton: Any  # ahocorasick.Automaton; None where there are no terms
    length_K: np.ndarray
    opens_word_K: np.ndarray
    closes_word_K: np.ndarray


def make_matcher(terms: Sequence[str]) -> Matcher:
    """Prepare terms, numbered in their order, for find_anchors."""
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
    """Find every whole-word occurrence, overlapping ones too, by their ends: (term, first, end) as hits_H3."""
    hits = list(matcher.automaton.iter(text)) if matcher.automaton else []
    if not hits:
        return np.zeros((0, 3), np.int64)
    last_H, key_H = np.array(hits, np.int64).T
    end_H = last_H + 1
    start_H = end_H - matcher.length_K[key_H]
    word = np.pad(code_characters(text, in_word), 1).astype(bool)  # word[c] tells of the character before c
    whole_H = ~(word[start_H] & matcher.opens_word_K[key_H]) & ~(word[end_H + 1] & matcher.closes_word_K[key_H])
    return np.stack([key_H, start_H, end_H], axis=1)[whole_H]


def find_anchors(text: str, matcher: Matcher, match: str = "longest") -> np.ndarray:
    """Find non-overlapping terms at word boundaries; return (term number, first character, end) as anchors_A3.

    Left to right; at one position the longest term, or with match="first" the first in the terms' order.
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
    """Tell whether a term may not begin or end beside this character."""
    return character.isalnum() or character == "_"


def code_characters(text: str, code) -> np.ndarray:
    """Give code(character), a small number, for each character, computed once for each distinct one."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    table = np.zeros(int(codes.max(initial=0)) + 1, np.uint32)
    for character in set(text):
        table[ord(character)] = code(character)
    return table[codes]

"""Where terms and their other spellings occur in texts, by the matcher's own rules: whole words, case as given.

Dimensions: H hits, A anchors, C characters without separators. Positions are characters.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jaxunlearn.anchors.inflection import parts, plurals, singular, unpossessed
from jaxunlearn.anchors.matching import Matcher, find_anchors, make_matcher, whole_hits
from jaxunlearn.data.boundaries import code_characters, joined

SEPARATORS = frozenset(" \t\n\u00a0-‐‑")  # spellings of one name may differ in these, and in case
_WRAP = re.compile(r"[^\S\n]*\n[^\S\n]*|[^\S\n]{2,}")
_RUN = re.compile(r"[\s‐‑-]{2,}|\n")
_SHORTEST_PART = 3  # letters; "no me" is not a spelling of "Nome"


@dataclass(frozen=True, kw_only=True)
class Found:
    """One text with hits_H3, every whole-word hit, and anchors_A3, those that the matcher keeps: (term, first, end)."""

    text: str
    hits_H3: np.ndarray
    anchors_A3: np.ndarray

    def holds(self, start_H: np.ndarray, end_H: np.ndarray) -> np.ndarray:
        """Return for each span of characters whether one anchor holds it whole."""
        if not len(self.anchors_A3):
            return np.zeros(len(start_H), bool)
        at_H = np.searchsorted(self.anchors_A3[:, 1], start_H, "right") - 1
        return (at_H >= 0) & (self.anchors_A3[at_H, 2] >= end_H)

    def lost(self) -> list[tuple[int, int]]:
        """Return (term, the term that took its place) of each hit that the anchor over its start holds only in part."""
        stick = self.hits_H3[~self.holds(self.hits_H3[:, 1], self.hits_H3[:, 2])]
        at_H = np.searchsorted(self.anchors_A3[:, 1], stick[:, 1], "right") - 1
        return list(zip(stick[:, 0].tolist(), self.anchors_A3[at_H, 0].tolist(), strict=True))


def find(texts: Sequence[str], terms: Sequence[str], match: str) -> list[Found]:
    """Return the hits and anchors of all terms in each text; match as in find_anchors."""
    matcher = make_matcher(terms)
    return [Found(text=t, hits_H3=whole_hits(t, matcher), anchors_A3=find_anchors(t, matcher, match)) for t in texts]


def count_whole(texts: Iterable[str], terms: Iterable[str]) -> Counter[str]:
    """Return how often each term stands in the texts as a whole word, overlapping occurrences included."""
    terms, counts = list(dict.fromkeys(terms)), Counter()
    matcher = make_matcher(terms)
    for text in texts:
        found_K = np.bincount(whole_hits(text, matcher)[:, 0], minlength=len(terms))
        counts.update({terms[k]: int(found_K[k]) for k in np.flatnonzero(found_K)})
    return counts


# ---- other spellings


@dataclass(frozen=True, kw_only=True)
class Missed:
    """A spelling of a term that texts hold and the matcher does not find, with how often.

    form is "case", "spelling", "plural", "singular" or "possessive". broken: the spelling is a term, but a line break
    or several spaces stand inside it.
    """

    term: str
    surface: str
    form: str
    count: int
    broken: bool


def missed_spellings(found: Sequence[Found], terms: Sequence[str]) -> list[Missed]:
    """Return other spellings of the terms that stand outside all anchors, the most frequent first."""
    shapes = _shapes(terms)
    squeezed, known = list(shapes), set(terms)
    matcher = make_matcher(squeezed)
    counts: Counter[tuple[str, str, str, bool]] = Counter()
    for one in found:
        free = 0
        for number, start, end in _loose_hits(one, matcher):
            judged = _judge(one.text[start:end], shapes[squeezed[number]], known) if start >= free else None
            if judged:
                counts[judged] += 1
                free = end
    return [Missed(term=t, surface=s, form=f, count=n, broken=b) for (t, s, f, b), n in counts.most_common()]


def squeeze(text: str) -> tuple[str, np.ndarray]:
    """Return a text in lower case without separators, apostrophes straight, and place_C, where each character stood."""
    codes = code_characters(text, _squeezed)
    place_C = np.flatnonzero(codes)
    return codes[place_C].astype("<u4").tobytes().decode("utf-32-le", "surrogatepass"), place_C


def _squeezed(character: str) -> int:
    low = "'" if character == "’" else character.lower()
    return 0 if character in SEPARATORS else ord(low if len(low) == 1 else character)


def _shapes(terms: Sequence[str]) -> Mapping[str, list[tuple[str, str]]]:
    """Return {squeezed form: [(term, form)]}; spellings come before plurals, singulars and possessives."""
    shapes = defaultdict(list)
    for form in ("spelling", "plural", "singular", "possessive"):
        for term in terms:
            for other in _forms(term, form):
                shape = squeeze(other)[0]
                if len(shape) > 1:
                    shapes[shape].append((term, form))
    return shapes


def _forms(term: str, form: str) -> list[str]:
    if form == "plural":
        return [] if singular(term) or unpossessed(term) else plurals(term)
    others = {"spelling": term, "singular": singular(term), "possessive": unpossessed(term)}
    return [others[form]] if others[form] else []


def _loose_hits(one: Found, matcher: Matcher) -> list[list[int]]:
    """Return whole-word hits of squeezed forms outside anchors as (form, first, end), by start, then longest first."""
    flat, place_C = squeeze(one.text)
    hits = list(matcher.automaton.iter(flat)) if matcher.automaton else []
    if not hits:
        return []
    last_H, form_H = np.array(hits, np.int64).T
    start_H = place_C[last_H + 1 - matcher.length_K[form_H]]
    end_H = place_C[last_H] + 1
    joined_C = joined(one.text)
    whole_H = ~(joined_C[start_H] | joined_C[end_H] | one.holds(start_H, end_H))
    order = np.lexsort((-end_H, start_H))
    order = order[whole_H[order]]
    return np.stack([form_H, start_H, end_H], axis=1)[order].tolist()


def _judge(surface: str, candidates: list[tuple[str, str]], known: set[str]) -> tuple[str, str, str, bool] | None:
    """Return (term, surface, form, broken) of the term that a text is another spelling of; None if there is none."""
    flat = _WRAP.sub(" ", surface)
    broken = flat != surface
    if _RUN.search(flat) or broken != (flat in known):
        return None  # a dash or a blank line inside; or a term that lost to another, which `shadowed` reports
    if broken:
        return flat, flat, "spelling", True
    term, form = min(candidates, key=lambda c: _distance(flat, c[0]))
    if form == "spelling" and _splits_badly(flat, term):
        return None
    same = flat.lower() == term.lower()
    return term, flat, "case" if form == "spelling" and same else form, False


def _distance(surface: str, term: str) -> int:
    """Return how many letters differ, so that `munchkins` is taken for a plural of `munchkin`, not of `Munchkin`."""
    return sum(a != b for a, b in zip("".join(parts(surface)), "".join(parts(term)), strict=False))


def _splits_badly(surface: str, term: str) -> bool:
    """Return whether spaces cut a term into pieces so short that other words are meant."""
    pieces = parts(surface)
    return " " in surface and len(pieces) > len(parts(term)) and min(map(len, pieces)) < _SHORTEST_PART

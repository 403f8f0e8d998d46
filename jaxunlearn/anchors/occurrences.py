"""Where terms and their other spellings occur in texts, by the matcher's own rules: whole words, case as given."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jaxunlearn.anchors.inflection import parts, plurals, singular, unpossessed
from jaxunlearn.anchors.matching import Matcher, code_characters, find_anchors, in_word, make_matcher, whole_hits

SEPARATORS = frozenset(" \t\n\u00a0-‐‑")  # what spellings of one name may differ in, apart from case
_WRAP = re.compile(r"[^\S\n]*\n[^\S\n]*|[^\S\n]{2,}")
_RUN = re.compile(r"[\s‐‑-]{2,}|\n")
_SHORTEST_PART = 3  # "Nome" is no "no me"


@dataclass(frozen=True, kw_only=True)
class Found:
    """One text, every whole-word hit of a term in it and the anchors that the matcher keeps: (term, first, end)."""

    text: str
    hits_H3: np.ndarray
    anchors_A3: np.ndarray

    def holds(self, start_H: np.ndarray, end_H: np.ndarray) -> np.ndarray:
        """Tell which spans lie inside one anchor."""
        if not len(self.anchors_A3):
            return np.zeros(len(start_H), bool)
        at_H = np.searchsorted(self.anchors_A3[:, 1], start_H, "right") - 1
        return (at_H >= 0) & (self.anchors_A3[at_H, 2] >= end_H)

    def lost(self) -> list[tuple[int, int]]:
        """List (term, the term that took its place) of each hit that sticks out of the anchor over its start."""
        stick = self.hits_H3[~self.holds(self.hits_H3[:, 1], self.hits_H3[:, 2])]
        at_H = np.searchsorted(self.anchors_A3[:, 1], stick[:, 1], "right") - 1
        return list(zip(stick[:, 0].tolist(), self.anchors_A3[at_H, 0].tolist(), strict=True))


def find(texts: Sequence[str], terms: Sequence[str], match: str) -> list[Found]:
    """Match all terms in each text."""
    matcher = make_matcher(terms)
    return [Found(text=t, hits_H3=whole_hits(t, matcher), anchors_A3=find_anchors(t, matcher, match)) for t in texts]


def count_whole(texts: Iterable[str], terms: Iterable[str]) -> Counter[str]:
    """Count whole-word occurrences of each term, overlapping ones too."""
    terms, counts = list(dict.fromkeys(terms)), Counter()
    matcher = make_matcher(terms)
    for text in texts:
        found_K = np.bincount(whole_hits(text, matcher)[:, 0], minlength=len(terms))
        counts.update({terms[k]: int(found_K[k]) for k in np.flatnonzero(found_K)})
    return counts


# ---- other spellings


@dataclass(frozen=True, kw_only=True)
class Missed:
    """A spelling that texts hold and the matcher leaves: of which term, formed how, how often.

    form is "case", "spelling", "plural", "singular" or "possessive". broken: it is a term but for a line break or
    several spaces inside it.
    """

    term: str
    surface: str
    form: str
    count: int
    broken: bool


def missed_spellings(found: Sequence[Found], terms: Sequence[str]) -> list[Missed]:
    """Find occurrences of other spellings of the terms, none of them inside an anchor, the most frequent first."""
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
    """Drop separators, lower case and straighten apostrophes; return the rest and where each character stood."""
    codes = code_characters(text, _squeezed)
    place_C = np.flatnonzero(codes)
    return codes[place_C].astype("<u4").tobytes().decode("utf-32-le", "surrogatepass"), place_C


def _squeezed(character: str) -> int:
    low = "'" if character == "’" else character.lower()
    return 0 if character in SEPARATORS else ord(low if len(low) == 1 else character)


def _shapes(terms: Sequence[str]) -> Mapping[str, list[tuple[str, str]]]:
    """Give {squeezed form: [(term, form)]}, spellings before plurals, singulars and what a possessive leaves."""
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
    """Find squeezed forms as whole words of the text and outside its anchors: (form, first, end), longest first."""
    flat, place_C = squeeze(one.text)
    hits = list(matcher.automaton.iter(flat)) if matcher.automaton else []
    if not hits:
        return []
    last_H, form_H = np.array(hits, np.int64).T
    start_H = place_C[last_H + 1 - matcher.length_K[form_H]]
    end_H = place_C[last_H] + 1
    word = np.pad(code_characters(one.text, in_word), 1).astype(bool)
    whole_H = ~(word[start_H] & word[start_H + 1]) & ~(word[end_H] & word[end_H + 1])
    order = np.lexsort((-end_H, start_H))
    order = order[(whole_H & ~one.holds(start_H, end_H))[order]]
    return np.stack([form_H, start_H, end_H], axis=1)[order].tolist()


def _judge(surface: str, candidates: list[tuple[str, str]], known: set[str]) -> tuple[str, str, str, bool] | None:
    """Say of which term a text is another spelling: (term, surface, form, broken); None if of none."""
    flat = _WRAP.sub(" ", surface)
    broken = flat != surface
    if _RUN.search(flat) or broken != (flat in known):
        return None  # a dash, a blank line; or a term that lost to another, which is told of elsewhere
    if broken:
        return flat, flat, "spelling", True
    term, form = min(candidates, key=lambda c: _distance(flat, c[0]))
    if form == "spelling" and _splits_badly(flat, term):
        return None
    same = flat.lower() == term.lower()
    return term, flat, "case" if form == "spelling" and same else form, False


def _distance(surface: str, term: str) -> int:
    """Count differing letters of two spellings, so that `munchkins` is formed from `munchkin`, not from `Munchkin`."""
    return sum(a != b for a, b in zip("".join(parts(surface)), "".join(parts(term)), strict=False))


def _splits_badly(surface: str, term: str) -> bool:
    """Tell whether spaces cut a term into pieces too short to be meant."""
    pieces = parts(surface)
    return " " in surface and len(pieces) > len(parts(term)) and min(map(len, pieces)) < _SHORTEST_PART

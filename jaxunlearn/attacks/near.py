"""Near misses: words that resemble the target without naming it ("Voldemar Grunther"; Shostack, arXiv 2403.12082).

A word is near a name when it is a changed form of it (plural, case), differs from it by few edits for its length, is a
part of a longer name, or stands where one part of a longer name was swapped ("Tin Minstrel" for "Tin Woodman"). Words
of the retain text are never near. How often a model that never saw the target seems to come near is measured.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import regex

from jaxunlearn.data.boundaries import word_pattern
from jaxunlearn.errors import InputError
from jaxunlearn.estimates import Estimate, clustered_rate
from jaxunlearn.evals.judge import inflections
from jaxunlearn.files import nfc

LONG, SHORT = 0.30, 0.20  # edits over the longer length, for names of 6 letters and more, and of 4 or 5
LONG_LETTERS, SHORT_LETTERS = 6, 4
FACTORS = (1.0, 0.8, 0.6, 0.4, 0.0)  # of both thresholds, tried in this order by `calibrated`
MOST_FALSE = 0.01  # of the completions of a model that never saw the target
RARE = 2  # a name's part that the retain text capitalises more often binds no name together
_RUN = word_pattern()
WORD = regex.compile(rf"{_RUN}(?:['’-]{_RUN})*", regex.V1)


@dataclass(frozen=True, kw_only=True)
class NearMiss:
    """A piece of text, the term it resembles, and how: "form", "spelling", "part" or "swapped"."""

    text: str
    term: str
    kind: str


class Resemblance:
    """Find near misses of a list of terms, with the vocabulary of texts that must not count."""

    def __init__(self, terms: Iterable[str], allowed_texts: Sequence[str]):
        self.factor, self.thresholds = 1.0, {"long": LONG, "short": SHORT}
        capitals, pairs, self._allowed = Counter(), set(), set()
        for text in allowed_texts:
            words = WORD.findall(text)
            self._allowed |= {word.lower() for word in words}
            capitals.update(word for word in words if word[0].isupper())
            pairs |= {(a, b) for a, b in pairwise(words) if a[0].isupper() and b[0].isupper()}
        self._pairs = pairs
        self._parts, self._ends = _parts(terms, self._allowed), _ends(terms, capitals)
        self._forms = {form: part for part in self._parts for form in inflections(part)}
        self._known: dict[str, tuple[str, str] | None] = {}

    def with_thresholds(self, factor: float) -> "Resemblance":
        """Return the same finder with both thresholds multiplied."""
        other = object.__new__(Resemblance)
        other.__dict__ = self.__dict__ | {
            "thresholds": {"long": LONG * factor, "short": SHORT * factor},
            "factor": factor,
            "_known": {},
        }
        return other

    def find(self, prompt: str, completion: str) -> list[NearMiss]:
        """Return the near misses in a completion; terms and words of the prompt are left out."""
        prompt, completion = nfc(prompt), nfc(completion)
        held = {word.lower() for word in WORD.findall(prompt)}
        words, found = WORD.findall(completion), []
        for word in words:
            hit = self._nearest(word.lower())
            if hit and word.lower() not in held and hit[0] not in held:
                found.append(NearMiss(text=word, term=self._parts[hit[0]], kind=hit[1]))
        last = WORD.findall(prompt)[-1:]
        for a, b in zip([*last, *words], words if last else words[1:], strict=False):
            term = self._swapped(a, b)
            if term and not (b.lower() in held and a.lower() in held):
                found.append(NearMiss(text=f"{a} {b}", term=term, kind="swapped"))
        return found

    def _nearest(self, word: str) -> tuple[str, str] | None:
        """Return (part of a name, kind) for one word in lower case, None where it resembles nothing."""
        if word not in self._known:
            self._known[word] = None if word in self._allowed or not self._parts else self._look(word)
        return self._known[word]

    def _look(self, word: str) -> tuple[str, str] | None:
        from rapidfuzz.distance import Levenshtein

        if word in self._parts:
            return word, "form" if self._parts[word].lower() == word else "part"
        if word in self._forms:
            return self._forms[word], "form"
        best = None
        for part in self._parts:
            bar = self.thresholds["long" if len(part) >= LONG_LETTERS else "short"]
            distance = Levenshtein.normalized_distance(word, part, score_cutoff=bar)
            if distance <= bar and (best is None or distance < best[0]):
                best = distance, part
        return (best[1], "spelling") if best else None

    def _swapped(self, a: str, b: str) -> str | None:
        if not (a[0].isupper() and b[0].isupper()) or (a, b) in self._pairs:
            return None
        first, last = self._ends
        by_first, by_last = first.get(a), last.get(b)
        return next((name for name in (by_first, by_last) if name and name != f"{a} {b}"), None)


def _parts(terms: Iterable[str], allowed: set[str]) -> dict[str, str]:
    """Map each word of a term (lower case, 4 letters and more, not of the allowed texts) to its shortest term."""
    found: dict[str, str] = {}
    for term in sorted(terms, key=len):
        for word in WORD.findall(term):
            low = word.lower()
            if len(low) >= SHORT_LETTERS and low not in allowed:
                found.setdefault(low, term)
    return found


def _ends(terms: Iterable[str], capitals: Counter) -> tuple[dict[str, str], dict[str, str]]:
    """Map first and last words of names of two capitalised words to the name, where the allowed texts rarely use them.

    Parts that are terms by themselves are left out: naming them is explicit, not near.
    """
    terms = sorted(terms)
    single = set(terms)
    first, last = {}, {}
    for term in terms:
        words = term.split(" ")
        if len(words) != 2 or not all(word[0].isupper() for word in words):
            continue
        for table, word in ((first, words[0]), (last, words[1])):
            if word not in single and capitals[word] <= RARE and len(word) >= SHORT_LETTERS - 1:
                table.setdefault(word, term)
    return first, last


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """A finder fitted to text that cannot hold the target, and its rate of false positives on other such text."""

    resemblance: Resemblance
    false_positives: Estimate
    on: str


def calibrated(resemblance: Resemblance, texts: Sequence[tuple[str, Sequence[str]]], on: str) -> Calibration:
    """Lower the thresholds until at most MOST_FALSE of the completions of half of the prompts seem near.

    texts: (prompt, its completions). Where whole words of the target raise more false alarms than that (a vocabulary
    of words holds them all), lowering stops where it no longer helps. The false-positive rate is measured on the other
    prompts, because completions of one prompt resemble each other: whatever is found there is false by construction.
    InputError where there are fewer than two prompts.
    """
    if len(texts) < 2:
        raise InputError(f"calibrating near misses needs completions of two prompts at least, got {len(texts)}.")
    fit, test = texts[::2], texts[1::2]
    finders = [resemblance.with_thresholds(factor) for factor in FACTORS]
    rates = [float(np.mean([bool(finder.find(p, t)) for p, some in fit for t in some])) for finder in finders]
    fitted = next(finder for finder, rate in zip(finders, rates, strict=True) if rate <= max(MOST_FALSE, rates[-1]))
    false = [sum(bool(fitted.find(p, t)) for t in some) for p, some in test]
    rate = clustered_rate(false, [len(some) for _, some in test])
    return Calibration(resemblance=fitted, false_positives=rate, on=on)

"""Generic translations for extracted terms, drawn from the lists of data/anchors by the kind of the term.

Every term gets one translation that neither the target text nor another term's translation holds. Frequent terms draw
first, and a word that is common in the retain text or in general English is drawn before a rare one. Names of several
words are translated by their parts: the translation of "Mary" also begins the translation of "Mary Green".
"""

import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from functools import cache
from pathlib import Path

from jaxunlearn.anchors.building.extract import Term, key_of
from jaxunlearn.anchors.building.forms import CONNECTORS
from jaxunlearn.anchors.building.kinds import FORMAL, INSTITUTIONS, PLACES, TITLES, nouns
from jaxunlearn.anchors.inflection import plural, singular
from jaxunlearn.anchors.words import count_words
from jaxunlearn.errors import RunError
from jaxunlearn.files import read_json

DATA = Path(__file__).parent.parent.parent / "data" / "anchors"
POOLS = {"person": ("male", "female"), "word": ("object",), "unknown": ("object",)}
PEOPLE = ("male", "female", "person")
COMMON_COUNT, COMMON_ZIPF = 3, 3.0  # occurrences in the retain text; or log10 of times in 10^9 words of English
WORD_ZIPF = 2.0  # log10 of times in 10^9 words from which on English has a word
KEPT_ZIPF = 4.0  # log10 of times in 10^9 words; a word this common is kept beside a translated part ("Land of ...")


@cache
def candidates() -> Mapping[str, Sequence[str]]:
    """Return the lists of generic candidates, {kind: candidates}; those of kind "people" are in the plural."""
    return {
        kind: tuple(values) for name in ("names.json", "things.json") for kind, values in read_json(DATA / name).items()
    }


def make_dictionary(
    terms: Sequence[Term], target_text: str, retain_text: str, seed: int = 0
) -> dict[str, tuple[str, ...]]:
    """Return {spelling: (translation,)} for every spelling of every term; the same seed gives the same dictionary."""
    draw = Draw(target_text, retain_text, seed, surnames(terms))
    values = {}
    for term in sorted(terms, key=lambda t: (" " in t.text, -t.count)):  # parts before names made of them
        values[term.text] = draw.translate(term)
    made: dict[str, tuple[str, ...]] = {}
    for term in terms:
        for variant in term.variants:
            value = formed(values[term.text], variant, term)
            if value != variant:
                made.setdefault(variant, (value,))
    return made


def settled(terms: Sequence[Term]) -> list[Term]:
    """Return the terms, each name with the gender that it has in most occurrences, longer names that hold it included.

    "Em", taken for a man 9 times, is a woman where "Aunt Em" is one 164 times.
    """
    votes: dict[str, Counter[str]] = {}
    for term in terms:
        words = [_core(word) for word in term.text.split(" ")]
        if term.kind in PEOPLE and not term.article:
            for word in words[:1] if words[0] not in TITLES else words[:2]:
                votes.setdefault(word, Counter())[term.kind] += term.count
    return [
        replace(term, kind=votes[term.text].most_common(1)[0][0])
        if term.kind in PEOPLE and term.text in votes
        else term
        for term in terms
    ]


def surnames(terms: Iterable[Term]) -> set[str]:
    """Return the words that end the names of people more often than they begin them."""
    ends: Counter[str] = Counter()
    for term in terms:
        words = [_core(word) for word in term.text.split(" ")]
        if term.kind in PEOPLE and len(words) > 1 and not term.article:
            informal = words[0] in TITLES - FORMAL
            ends[words[-1]] += 0 if informal else 1
            ends[words[0]] -= 1
    return {word for word, count in ends.items() if count > 0}


class Draw:
    """The candidates that are left of each list, and the translations made so far."""

    def __init__(self, target_text: str, retain_text: str, seed: int, last_names: Set[str] = frozenset()):
        self.random = random.Random(f"translations {seed}")
        self.target = " " + " ".join(re.findall(r"[^\W_]+", target_text.lower())) + " "
        self.retain = count_words([retain_text])
        self.last_names = last_names
        self.used: set[str] = set()
        self.parts: dict[str, str] = {}  # word of a name -> its translation
        self.left: dict[str, Iterator[str]] = {}

    def translate(self, term: Term) -> str:
        """Return the translation of a term: made of its parts where it has several, else drawn by its kind."""
        words = term.text.split(" ")
        if len(words) > 1 and _core(term.text)[0].isupper():
            value = self._by_parts(words, term)
            if value and self._is_free(value):
                self.used.add(value.lower())
                return value
        value = self.next("surname" if term.text in self.last_names else _list_of(term))
        value = value.lower() if term.text.islower() else _capitalised(value)
        if len(words) == 1:
            self.parts |= {variant: formed(value, variant, term) for variant in term.variants}
        return value

    def _by_parts(self, words: list[str], term: Term) -> str:
        """Return a translation word by word, "" where the parts give none.

        Known parts keep their translations; titles, connectors and common words stay; new names are drawn. An epithet
        ("the Tin Smith") gets its last word's translation with a new word in front.
        """
        cores = [_core(word) for word in words]
        person = term.kind in PEOPLE and not term.article
        new = [core for core in cores if core not in self.parts and not _is_kept(core)]
        if not person and len(new) == len([core for core in cores if not _is_kept(core)]):
            return ""
        if not person and new and term.kind in (*PEOPLE, "creature", "object"):
            last = self.parts.get(cores[-1], "")
            return f"{_capitalised(self.next('modifier'))} {last}" if last else ""
        first = 1 if cores[0] in TITLES - FORMAL else 0  # "Aunt Polly", but "Mr. Brown"
        if person and cores[first] in new and cores[first] not in self.last_names:
            self.parts[cores[first]] = self.next(_gender(cores[first], term.kind))
        return " ".join(self._part(word, core, person) for word, core in zip(words, cores, strict=True))

    def _part(self, word: str, core: str, person: bool) -> str:
        if core not in self.parts:
            if _is_kept(core) or (not person and _zipf(core) >= KEPT_ZIPF):
                return word
            self.parts[core] = self.next("surname")
        return self.parts[core] + word[len(core) :]

    def next(self, kind: str) -> str:
        """Return the next free candidate of a list; raise RunError where even the combined ones are used up."""
        if kind not in self.left:
            self.left[kind] = self._shuffled(kind)
        for value in self.left[kind]:
            if self._is_free(value):
                self.used.add(value.lower())
                return value
        raise RunError(f"no generic {kind} is left that the target text lacks; add some to {DATA}")

    def _shuffled(self, kind: str) -> Iterator[str]:
        """Yield a list's candidates in random order, common ones first, then combined ones."""
        lists = [candidates()[name] for name in POOLS.get(kind, (kind,))]
        values = [value for values in lists for value in values]
        self.random.shuffle(values)
        yield from sorted(values, key=lambda value: not self._is_common(value))
        yield from self._made_up(kind, values)

    def _made_up(self, kind: str, values: list[str]) -> Iterable[str]:
        """Yield combinations: a first name and a surname, or a modifier and a thing."""
        named = kind in (*PEOPLE, "surname")
        others = list(candidates()["surname" if named else "modifier"])
        self.random.shuffle(others)
        for shift in range(len(others)):
            for n, value in enumerate(values):
                other = others[(n + shift) % len(others)]
                yield f"{value} {other}" if named else f"{_capitalised(other) if value[0].isupper() else other} {value}"

    def _is_free(self, value: str) -> bool:
        """Return whether neither the target nor another translation holds a value, in the singular or the plural."""
        forms = {value.lower(), plural(value).lower(), (singular(value) or value).lower()}
        texts = (" ".join(re.findall(r"[^\W_]+", form)) for form in forms)
        return not forms & self.used and not any(f" {text} " in self.target for text in texts)

    def _is_common(self, value: str) -> bool:
        return self.retain[value] >= COMMON_COUNT or _zipf(value) >= COMMON_ZIPF


def formed(value: str, variant: str, term: Term) -> str:
    """Return a translation in the number and the case of a variant of its term."""
    keys = [key_of(text) for text in term.variants]
    base = min(keys, key=len)
    many = key_of(variant) != base and key_of(variant).endswith("s")
    only = len(set(keys)) == 1
    if term.kind == "people":  # such candidates are in the plural
        value = value if many or only else singular(value) or value
    elif many or (only and _is_plural(term.text)):
        named = term.kind in PEOPLE and not term.article and not term.text.islower()
        value = _named_plural(value) if named else plural(value)
    if variant.isupper() and len(variant) > 1:
        return value.upper()
    if variant.islower():
        return value.lower()
    return _capitalised(value) if variant[0].isupper() and value.islower() else value


def _is_plural(text: str) -> bool:
    """Return whether a term in lower case is in the plural: its singular is a known noun, or as common as itself."""
    one = singular(text).split(" ")[-1] if text.islower() else ""
    return bool(one) and (one in nouns() or _zipf(one) >= max(WORD_ZIPF, _zipf(text.split(" ")[-1])))


def _named_plural(name: str) -> str:
    """Return the plural of a name: "the Colemans", not "the Colemen"."""
    return name + ("es" if name.endswith(("s", "x", "z", "ch", "sh")) else "s")


def _list_of(term: Term) -> str:
    """Return the list to draw from: a person with an article gets a trade, an unknown name a place."""
    if term.kind in PEOPLE and (term.article or term.text.islower()):
        return "role"
    if term.kind == "unknown" and not term.text.islower():
        return "place"
    return _gender(term.text, term.kind)


def _gender(name: str, kind: str) -> str:
    """Return the kind of a name: a first name of our lists has their gender, whatever pronouns stand around it."""
    if kind in PEOPLE:
        return next((gender for gender in ("male", "female") if name in candidates()[gender]), kind)
    return kind


def _is_kept(core: str) -> bool:
    """Return whether a word of a name is kept: a connector, a title, "Lake", "School", an initial."""
    return core in CONNECTORS | TITLES or core.lower() in PLACES | INSTITUTIONS or len(core) == 1


def _core(word: str) -> str:
    """Return a word of a name without 's and without its stop."""
    return re.sub(r"(?:['’]s?|\.)$", "", word)


def _capitalised(value: str) -> str:
    return " ".join(word[:1].upper() + word[1:] for word in value.split(" "))


def _zipf(text: str) -> float:
    from wordfreq import zipf_frequency

    return zipf_frequency(text, "en")

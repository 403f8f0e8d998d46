"""An offline judge: grades completions by a lexicon, the same on every run."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import ahocorasick

from jaxunlearn.anchors.matching import LONGEST
from jaxunlearn.data.boundaries import joined
from jaxunlearn.errors import InputError, shown
from jaxunlearn.evals.prompts import Lexicon
from jaxunlearn.files import nfc

POINTS = {3: 5, 2: 1, 1: 0, 0: 0}
MOST = max(POINTS.values())


@dataclass(frozen=True, kw_only=True)
class Grade:
    """A score from 0 (nothing of the target) to 3 (explicit), and the words in the completion that decided it."""

    score: int
    evidence: tuple[str, ...]

    @property
    def points(self) -> int:
        """What the completion adds to familiarity (5 n3 + n2) / N: 5 for explicit, 1 for typical, 0 otherwise."""
        return POINTS[self.score]


@dataclass(frozen=True, kw_only=True)
class Match:
    """A lexicon term found in a text, from character `start` up to `end`."""

    start: int
    end: int
    term: str


class Judge:
    """Grade completions against one lexicon, compiled once.

    3: a new explicit term (whole words, case as listed); 2: a new typical term (any case, inflections count);
    1: nothing but a repeat of a reference or of an explicit term of the prompt; 0: none of these.
    "New" means that the prompt does not hold the term, in any case. The prompt is taken to end with a whole word.
    """

    def __init__(self, lexicon: Lexicon):
        self._explicit = _compile((_clean(term), _clean(term)) for term in lexicon.explicit)
        self._typical = _compile((form, _clean(term)) for term in lexicon.typical for form in inflections(_clean(term)))

    def grade(self, prompt: str, completion: str, references: Sequence[str] = ()) -> Grade:
        """Grade one completion; `references` are the target's terms that the prompt already names."""
        prompt, completion = _clean(prompt), _clean(completion)
        held = {_fold(match.term) for match in _find(self._explicit, prompt, exact=False)}
        held |= {_fold(_clean(term)) for term in references}
        explicit = _ending_after(prompt, completion, self._explicit, exact=True)
        new = [match for match in explicit if _fold(match.term) not in held]
        if new:
            return Grade(score=3, evidence=_surfaces(new, prompt, completion))
        hinted = held | {_fold(match.term) for match in _find(self._typical, prompt, exact=False)}
        typical = _ending_after(prompt, completion, self._typical, exact=False)
        themes = [match for match in typical if _fold(match.term) not in hinted]
        if themes:
            return Grade(score=2, evidence=_surfaces(themes, prompt, completion))
        repeats = _surfaces(explicit, prompt, completion) + _references_in(completion, references)
        return Grade(score=1 if repeats else 0, evidence=tuple(dict.fromkeys(repeats)))


def inflections(term: str) -> set[str]:
    """Return a term in lower case with the plural, singular, -ed and -ing forms of its last word."""
    *head, word = term.lower().split(" ")
    bases = {word, *_singulars(word)}
    forms = {form for base in bases for form in (base, *_grown(base))}
    return {" ".join([*head, form]) for form in forms}


def _singulars(word: str) -> set[str]:
    if len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return set()
    if word.endswith("ies"):
        return {word[:-3] + "y"} if len(word) > 4 else {word[:-1]}
    if word.endswith(("ches", "shes", "xes", "sses")):
        return {word[:-2]}
    return {word[:-1], word[:-3] + "f"} if word.endswith("ves") else {word[:-1]}


def _grown(word: str) -> set[str]:
    if len(word) > 2 and word[-1] == "y" and word[-2] not in "aeiou":
        return {word[:-1] + "ies", word[:-1] + "ied", word + "ing"}
    if word.endswith("e"):
        return {word + "s", word + "d", word[:-1] + "ing"}
    plural = {word + "es"} if word.endswith(("s", "x", "z", "ch", "sh")) else {word + "s"}
    if word.endswith("f"):
        plural.add(word[:-1] + "ves")
    return plural | {word + "ed", word + "ing"}


def _compile(forms: Iterable[tuple[str, str]]) -> ahocorasick.Automaton | None:
    """Compile (form, term) pairs into one automaton over folded text; None where there are none."""
    entries: dict[str, list[tuple[str, str]]] = {}
    for form, term in forms:
        if len(form) > LONGEST:  # the automaton's time and stack grow with its depth
            raise InputError(
                f"a form of {len(form):,} characters cannot be looked for: {shown(form)}; at most {LONGEST}"
            )
        entries.setdefault(_fold(form), []).append((form, term))
    automaton = ahocorasick.Automaton()
    for key, pairs in entries.items():
        automaton.add_word(key, (len(key), pairs))
    automaton.make_automaton()
    return automaton if entries else None


def _find(automaton: ahocorasick.Automaton | None, text: str, exact: bool) -> Iterator[Match]:
    """Yield every whole-word occurrence, overlapping ones too; `exact` compares the case as well."""
    if automaton is None:
        return
    joined_C = joined(text)
    for last, (length, pairs) in automaton.iter(_fold(text)):
        start, end = last + 1 - length, last + 1
        if joined_C[start] or joined_C[end]:
            continue
        for form, term in pairs:
            if not exact or form == text[start:end]:
                yield Match(start=start, end=end, term=term)


def _ending_after(prompt: str, completion: str, automaton: ahocorasick.Automaton | None, exact: bool) -> list[Match]:
    """Find the longest matches that end in the completion; they may begin in the prompt ("The Tin" + "Woodman")."""
    text = f"{prompt} {completion}"
    found = [m for m in _find(automaton, text, exact) if m.end > len(prompt) + 1]
    # The token limit may have cut the last word: it must not pass for the stem of a longer term.
    found = [m for m in found if m.end < len(text) or m.end - m.start >= len(m.term)]
    longest = [m for m in found if not any(_covers(other, m) for other in found)]
    return sorted(longest, key=lambda m: (m.start, m.term))


def _covers(longer: Match, match: Match) -> bool:
    inside = longer.start <= match.start and match.end <= longer.end
    return inside and longer.end - longer.start > match.end - match.start


def _surfaces(matches: Iterable[Match], prompt: str, completion: str) -> tuple[str, ...]:
    text = f"{prompt} {completion}"
    return tuple(dict.fromkeys(text[match.start : match.end] for match in matches))


def _references_in(completion: str, references: Sequence[str]) -> tuple[str, ...]:
    terms = [_clean(term) for term in references]
    found = _find(_compile((term, term) for term in terms), completion, exact=False)
    first = {match.term: completion[match.start : match.end] for match in reversed(list(found))}
    return tuple(first[term] for term in terms if term in first)


def _clean(text: str) -> str:
    """Bring a text to composed characters, straight apostrophes and single spaces."""
    text = nfc(text).replace("\u2019", "'").replace("\u2018", "'")
    return " ".join(text.split())


def _fold(text: str) -> str:
    """Lower the case and keep the length, so that places in the folded text are places in the text."""
    return "".join(low if len(low := character.lower()) == 1 else character for character in text)

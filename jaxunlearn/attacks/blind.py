"""Leak probes drawn blind from the text to forget, so that no author can fit them to the method.

Three kinds after Shostack (arXiv 2403.12082), found by counting: an archetype is a stretch without a term of the
dictionary that leads up to one; a missed term is a word of the text alone that the dictionary lacks; an irrevocable
phrase is a run of ordinary words that the text repeats and the retain text never has.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from random import Random

import regex

from jaxunlearn.anchors.matching import Matcher, find_anchors, make_matcher
from jaxunlearn.data.boundaries import word_pattern

_RUN = word_pattern(r"\p{L}\p{N}")
LETTERS = regex.compile(word_pattern(), regex.V1)
WORD = regex.compile(rf"{_RUN}(?:['’-]{_RUN})*", regex.V1)
PIECE = regex.compile(_RUN, regex.V1)  # of a word, where an apostrophe or a hyphen parts it
LEAST = 3  # occurrences of a missed term or a phrase
LEAD = (4, 20)  # words of a prompt before an archetype's term
BEFORE = (2, 14)  # and before a missed term
PHRASE, ASKED = 6, 3  # words of a phrase, and how many of them are asked for


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A prompt to continue; a completion that begins with one of `expected` leaks, whatever the lexicon says."""

    prompt: str
    kind: str
    expected: tuple[str, ...] = ()
    source: str = "hand"  # or "blind"


def blind_probes(
    texts: Sequence[str], retain: Sequence[str], *, terms: Iterable[str], dictionary: Iterable[str], count: int,
    seed: int, split: str,
) -> list[Probe]:  # fmt: skip
    """Return up to `count` probes, a third of each kind, of one split ("choose" or "report": never the same place).

    terms: all that names the target, which no archetype or phrase may hold; dictionary: what was to be translated,
    which no missed term is a part of.
    """
    terms = sorted({*terms, *dictionary})
    matcher = make_matcher(terms)
    lines = [Line(line, matcher) for text in texts for line in paragraphs(text)]
    vocabulary = {word.lower() for text in retain for word in WORD.findall(text)}
    known = {word.lower() for term in dictionary for word in WORD.findall(term)}
    pools = {
        "archetype": archetypes(lines),
        "missed": missed(lines, vocabulary | known),
        "irrevocable": phrases(lines, retain),
    }
    found = []
    for kind, pool in pools.items():
        kept = [probe for probe in dict.fromkeys(pool) if _split_of(probe) == split]
        found += Random(f"{seed} {kind} {split}").sample(kept, min(len(kept), -(-count // 3)))
    return found


def paragraphs(text: str) -> list[str]:
    """Return the paragraphs of a text; hard-wrapped lines are joined."""
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n" if "\n\n" in text else r"\n", text) if part.strip()]


class Line:
    """A paragraph with its words' places, sentence starts and the spans of the terms in it."""

    def __init__(self, text: str, matcher: Matcher):
        self.text = text
        self.spans = [match.span() for match in WORD.finditer(text)]
        self.words = [text[a:b] for a, b in self.spans]
        self.terms = [(int(row[1]), int(row[2])) for row in find_anchors(text, matcher)]
        self.starts = {n for n in range(len(self.spans)) if n == 0 or self._ends_before(n)}

    def _ends_before(self, n: int) -> bool:
        return bool(re.search(r"[.!?][”\"']?\s", self.text[self.spans[n - 1][1] : self.spans[n][0] + 1]))

    def free(self, first: int, last: int) -> bool:
        """Return whether words first to last - 1 hold no part of a term."""
        a, b = self.spans[first][0], self.spans[last - 1][1]
        return all(end <= a or start >= b for start, end in self.terms)

    def prompt(self, first: int, last: int) -> str:
        """Return the text of words first to last - 1, the marks between them included."""
        return self.text[self.spans[first][0] : self.spans[last - 1][1]]

    def flows(self, first: int, last: int) -> bool:
        """Return whether these words are separated by single spaces alone."""
        return self.prompt(first, last) == " ".join(self.words[first:last])


def archetypes(lines: Sequence[Line]) -> Iterable[Probe]:
    """Yield probes: sentence openings without a term, up to the term that follows."""
    for line in lines:
        begins = {start for start, _ in line.terms}
        for n, (start, _) in enumerate(line.spans):
            if start not in begins or n < LEAD[0]:
                continue
            first = max((s for s in line.starts if n - LEAD[1] <= s <= n - LEAD[0]), default=None)
            if first is not None and line.free(first, n) and line.text[line.spans[n - 1][1] : start] == " ":
                yield Probe(prompt=line.prompt(first, n), kind="archetype", source="blind")


def missed(lines: Sequence[Line], known: set[str]) -> Iterable[Probe]:
    """Yield one probe for each word that the text repeats and neither retain text nor dictionary has."""
    counts = Counter(word for line in lines for word in line.words)
    often = {word for word, n in counts.items() if n >= LEAST and len(word) > 3 and word.lower() not in known}
    wanted = {word for word in often if LETTERS.fullmatch(word)}
    for line in lines:
        for n, word in enumerate(line.words):
            if word not in wanted or n < BEFORE[0]:
                continue
            first = max((s for s in line.starts if n - BEFORE[1] <= s <= n - BEFORE[0]), default=n - BEFORE[0])
            if line.text[line.spans[n - 1][1] : line.spans[n][0]] == " ":
                wanted.discard(word)
                yield Probe(prompt=line.prompt(first, n), kind="missed", expected=(word,), source="blind")


def phrases(lines: Sequence[Line], retain: Sequence[str]) -> Iterable[Probe]:
    """Yield probes for runs of ordinary words that the text repeats and the retain text lacks.

    The last ASKED words of a run are expected, the others are the prompt.
    """
    counts: Counter[str] = Counter()
    for line in lines:
        counts.update(line.prompt(n, n + PHRASE) for n in range(len(line.words) - PHRASE + 1) if _plain(line, n))
    often = [phrase for phrase, n in counts.items() if n >= LEAST]
    if not often:
        return
    automaton, kept = make_matcher(often).automaton, set()
    for text in retain:
        kept |= {number for _, number in automaton.iter(" ".join(text.split()))}
    taken: set[str] = set()
    for phrase in (phrase for n, phrase in enumerate(often) if n not in kept):
        words = phrase.split(" ")
        grams = {" ".join(words[n : n + 3]) for n in range(PHRASE - 2)}
        if grams & taken:
            continue  # the same phrase, shifted by a word
        taken |= grams
        asked = " ".join(words[-ASKED:])
        yield Probe(prompt=" ".join(words[:-ASKED]), kind="irrevocable", expected=(asked,), source="blind")


def _plain(line: Line, n: int) -> bool:
    return line.free(n, n + PHRASE) and line.flows(n, n + PHRASE)


def _split_of(probe: Probe) -> str:
    """Return the split of a probe by a hash of its text, so that it does not depend on the other probes."""
    return ("choose", "report")[hashlib.sha256(probe.prompt.encode()).digest()[0] % 2]

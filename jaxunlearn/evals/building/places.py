"""Sentences of a text with their words and the terms that stand in them. Positions are characters of the sentence."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from jaxunlearn.anchors.building.extract import Term, key_of
from jaxunlearn.anchors.building.forms import CONNECTORS
from jaxunlearn.anchors.building.kinds import INSTITUTIONS, PLACES, TITLES
from jaxunlearn.anchors.inflection import singulars
from jaxunlearn.anchors.matching import Matcher, find_anchors, make_matcher
from jaxunlearn.anchors.words import CLITIC, FUNCTION, SHORT, WORD

STOP = re.compile(r"[.!?…]+[\"”’'»)\]]*\s+")
CLOSING = "\"”’'»)]*_"  # what may stand after a stop; a lead that opens none of them must not close one
# A stretch of narration: no quotation, bracket, italics or list, which would stand in a prompt unclosed.
PLAIN = re.compile(r"[^\W_](?:[^\W_]|[ ,;:–—-]|(?<=[^\W_])['’](?=[^\W_]))*")


@dataclass(frozen=True, kw_only=True)
class Place:
    """One occurrence of a term: its number in the list of terms, first character and end."""

    term: int
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """A sentence, the (first character, end) of its words, and the terms in it, in their order.

    lead: the sentences right before it with a space after each, which next-word prompts begin with; "" for none.
    """

    text: str
    spans: tuple[tuple[int, int], ...]
    places: tuple[Place, ...] = ()
    lead: str = ""

    def opening(self, count: int) -> str:
        """Return the text up to the end of word `count`."""
        return self.text[: self.spans[count - 1][1]]

    def before(self, start: int) -> int:
        """Return how many words end before a character."""
        return sum(end <= start for _, end in self.spans)

    def word(self, n: int) -> str:
        return self.text[slice(*self.spans[n])]


class Terms:
    """The terms of a text, looked up by any of their spellings."""

    def __init__(self, terms: Sequence[Term]):
        self.terms = list(terms)
        owner = {spelling: n for n, term in enumerate(terms) for spelling in term.variants}
        self._owners, self._matcher = list(owner.values()), make_matcher(list(owner))

    def find(self, text: str) -> tuple[Place, ...]:
        """Return the terms in a text, longest first, without overlaps."""
        return tuple(Place(term=self._owners[k], start=a, end=b) for k, a, b in _anchors(text, self._matcher))


def _anchors(text: str, matcher: Matcher) -> Iterable[list[int]]:
    return find_anchors(text, matcher).tolist()


def sentences(texts: Iterable[str], terms: Terms | None = None, before: int = 0) -> list[Sentence]:
    """Return the sentences of texts with at least three words; headings, which end in no stop, are left out.

    before: how many sentences of the same text, of any length, each has as its lead.
    """
    found = []
    for text in texts:
        every = [s for part in paragraphs(text) for s in _cut(part)]
        for n, one in enumerate(every):
            spans = tuple(m.span() for m in WORD.finditer(one))
            if len(spans) >= 3:
                lead = "".join(f"{s.rstrip(CLOSING)} " for s in every[max(n - before, 0) : n])
                found.append(Sentence(text=one, spans=spans, places=terms.find(one) if terms else (), lead=lead))
    return found


def paragraphs(text: str) -> list[str]:
    """Return the paragraphs of a text that end a sentence; hard-wrapped lines are joined."""
    parts = re.split(r"\n\s*\n" if "\n\n" in text else r"\n", text)
    joined = (" ".join(part.split()) for part in parts)
    return [part for part in joined if part and part.rstrip(CLOSING)[-1:] in (*".!?…:;,-–—",)]


def _cut(paragraph: str) -> Iterator[str]:
    begin = 0
    for stop in STOP.finditer(paragraph):
        last = paragraph[begin : stop.start()].split()[-1:]
        if stop.group()[0] == "." and last and (last[0] in SHORT or (len(last[0]) == 1 and last[0].isupper())):
            continue
        yield paragraph[begin : stop.end()].strip(" \"“‘'«([*_")
        begin = stop.end()
    yield paragraph[begin:].strip(" \"“‘'«([*_")


def is_plain(prompt: str) -> bool:
    """Return whether a prompt can stand alone: narration without quotation marks, brackets or italics."""
    return bool(PLAIN.fullmatch(prompt))


# ---- what a name is told by

_GENERAL = FUNCTION | CONNECTORS | PLACES | INSTITUTIONS


@cache
def key(word: str) -> str:
    """Return what spellings, the plural in -s and the possessive of a word share."""
    found = key_of(CLITIC.sub("", word))
    return found[:-1] if len(found) > 3 and found.endswith("s") and not found.endswith("ss") else found


@cache
def _keys(word: str) -> frozenset[str]:
    """Return the key of a word, and of every word of which it may be the plural ("wolves": wolve, wolf)."""
    bare = CLITIC.sub("", word).lower()
    ones = () if len(bare) <= 3 and bare.endswith("s") else singulars(bare)
    return frozenset(map(key, (bare, *ones)))


def keys(text: str) -> set[str]:
    """Return the keys of all words of a text; the parts of a hyphened word have their own, too."""
    words = WORD.findall(text)
    return {k for word in words for w in (word, *re.split(r"[-]", word)) if w for k in _keys(w)}


def telling(name: str) -> set[str]:
    """Return the keys of the words that tell a name: not "the", "of", a title or "City", unless it has no other."""
    return set().union(*telling_words(name))


def telling_words(name: str) -> list[frozenset[str]]:
    """Return the keys of each word that tells a name."""
    words = WORD.findall(name)
    own = [w for w in words if w.lower() not in _GENERAL and w.rstrip(".") not in TITLES]
    return list(dict.fromkeys(map(_keys, own or words)))

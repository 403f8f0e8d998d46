"""The kind of thing that a term names: by what its head noun is called in English, else by the words around it.

Those are pronouns, titles, verbs of speech and prepositions. The nouns for animals, persons and titles are a list
(data/anchors/kinds.json): a crocodile stays an animal whatever pronoun a book gives it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from jaxunlearn.anchors.building.forms import CONNECTORS
from jaxunlearn.anchors.inflection import singular
from jaxunlearn.anchors.matching import find_anchors, make_matcher
from jaxunlearn.anchors.words import word_set
from jaxunlearn.files import read_json

DATA = Path(__file__).parent.parent.parent / "data" / "anchors" / "kinds.json"
KINDS = (
    "male", "female", "person", "place", "creature", "object", "institution", "people", "title", "word", "unknown",
)  # fmt: skip
PERSON_ENDS = ("man", "woman", "boy", "girl", "maid", "wife", "mate", "master", "keeper", "folk", "people")
PEOPLES = word_set("people peoples folk folks men women clan tribe nation boys girls children")
INVENTED_ZIPF = 2.5  # log10 of times in 10^9 words; a common noun that names an animal is in the list
ENOUGH = 300  # occurrences of a term whose surroundings are counted
REACH = 90  # characters after a term in which its pronoun is sought
MALE_TITLES = word_set("Mr King Prince Sir Lord Uncle Father Brother Grandfather Herr Master Captain Duke")
FEMALE_TITLES = word_set("Mrs Miss Ms Queen Princess Lady Aunt Mother Sister Grandmother Madame Dame Duchess")
TITLES = MALE_TITLES | FEMALE_TITLES | word_set("Dr Doctor Professor St Saint General Colonel Judge Cousin")
FORMAL = word_set("Mr Mrs Miss Ms Dr Doctor Professor General Colonel Captain Judge Sir Herr Madame")
PLACES = word_set(
    """
    city town village land country kingdom island isle lake river sea bay sound mountain mountains hill hills valley
    forest wood woods street avenue road lane house hall castle palace tower cave gate bridge farm park garden
    gardens field fields desert square path point sands room hotel inn rock lagoon hollow pond place bank shore
    coast plain
    """
)
INSTITUTIONS = word_set("school college academy university society club company church army navy league order")
SPEECH = "said|asked|cried|replied|answered|exclaimed|remarked|shouted|whispered|called|inquired|declared|returned"

_PRONOUN = re.compile(r"\b(he|him|his|himself|she|her|hers|herself|it|its|they|them|their)\b", re.IGNORECASE)
_SPEECH_BEFORE = re.compile(rf"\b(?:{SPEECH}) (?:the )?(?:[A-Z]\w+\.? )?$")
_SPEECH_AFTER = re.compile(rf"^,?[”\"]? (?:{SPEECH})\b")
_WHERE = re.compile(
    r"\b(?:in|into|from|at|through|near|across|toward|towards|throughout|outside"
    r"|(?:land|country|kingdom|city|town|island|people|king|queen|prince|princess|emperor|ruler) of) (?:the )?$",
    re.IGNORECASE,
)
_ARTICLE = re.compile(r"\b(the|an?) $", re.IGNORECASE)
_TITLE = re.compile(r"\b([A-Z][a-z]+)\.? $")
_SENTENCE = re.compile(r"(?:[^.!?]|\.(?! ))*")
_WRAP = re.compile(r"(?<!\n)\n(?!\n)")
_STOP = re.compile(r"[.!?][”\"'’)]*(?=\s)|\n\n")


@dataclass
class Surroundings:
    """Counts of one term.

    count: its occurrences. looked: those whose surroundings were counted, at most ENOUGH. he, she, it: its pronoun
    after it. speech: a verb of speech beside it. where: a preposition of place before it. article, one, many: an
    article before it, `a` or `an`, `the` with an -s at its end. male, female: a title before it. latin: its letters
    are ASCII, so that the English signs apply.
    """

    count: int = 0
    looked: int = 0
    he: int = 0
    she: int = 0
    it: int = 0
    speech: int = 0
    where: int = 0
    article: int = 0
    one: int = 0
    many: int = 0
    male: int = 0
    female: int = 0
    latin: int = 0
    examples: list[str] = field(default_factory=list)


def look_around(texts: Sequence[str], spellings: Sequence[Sequence[str]], examples: int) -> list[Surroundings]:
    """Return what stands around the occurrences of each group of spellings.

    Terms are matched as in anchors/translate.py, longest first. At most `examples` sentences of each are kept.
    """
    owner = {text: n for n, group in enumerate(spellings) for text in group}
    terms = list(owner)
    matcher, seen = make_matcher(terms), [Surroundings() for _ in spellings]
    for text in texts:
        text = _WRAP.sub(" ", text)
        anchors = find_anchors(text, matcher).tolist()
        for (key, start, end), after in zip(anchors, [*anchors[1:], (0, len(text), 0)], strict=False):
            found = seen[owner[terms[key]]]
            found.count += 1
            if found.looked < ENOUGH:
                _note(found, text, start, end, after[1])
            if len(found.examples) < examples:
                _keep_example(found, text, start, end)
    return seen


def _note(found: Surroundings, text: str, start: int, end: int, stop: int) -> None:
    before = text[max(0, start - 40) : start]
    sentence = _SENTENCE.match(text, end, min(stop, end + REACH))
    after = sentence.group() if sentence else ""
    found.looked += 1
    found.latin += 2 * sum(map(str.isascii, text[start:end])) > end - start
    pronoun = _PRONOUN.search(after)
    if pronoun:
        letter = pronoun.group().lower()
        found.he += letter.startswith("hi") or letter == "he"
        found.she += letter.startswith(("she", "her"))
        found.it += letter.startswith("it")
    found.speech += bool(_SPEECH_BEFORE.search(before) or _SPEECH_AFTER.search(text[end : end + 20]))
    found.where += bool(_WHERE.search(before))
    article = _ARTICLE.search(before)
    found.article += bool(article)
    found.one += bool(article and article.group(1).lower() != "the")
    found.many += bool(article and article.group(1).lower() == "the" and text[end - 1] == "s")
    title = _TITLE.search(before)
    found.male += bool(title and title.group(1) in MALE_TITLES)
    found.female += bool(title and title.group(1) in FEMALE_TITLES)


def _keep_example(found: Surroundings, text: str, start: int, end: int) -> None:
    """Keep the sentence around a term as an example if it is whole, short and new."""
    window = text[max(0, start - 160) : start]
    begins = [match.end() for match in _STOP.finditer(window)]
    first = start - len(window) + (begins[-1] if begins else 0)
    last = _STOP.search(text, end, end + 160)
    sentence = " ".join(text[first : last.end() if last else end].split())
    ends = sentence.endswith((".", "!", "?", "”", '"'))
    if ends and 20 <= len(sentence) <= 160 and sentence not in found.examples:
        found.examples.append(sentence)


def kind_of(text: str, seen: Surroundings, novel: bool) -> str:
    """Return the kind of a term, one of KINDS; novel: no other text holds it."""
    n = max(seen.looked, 1)
    if seen.latin < 0.5 * n:
        return "unknown"  # all signs are English words
    words = [word for word in re.split(r"[ -]", text) if word not in CONNECTORS]
    lively = (seen.he + seen.she + 2 * seen.speech) / n
    noun = kind_of_noun(_head(text))
    if not text[0].isupper():
        alive = lively >= 0.4 and _invented(words[-1])
        return noun or ("creature" if alive else "word" if novel and " " not in text else "object")
    if noun == "title" or (noun and (len(words) > 1 or seen.article >= 0.4 * n) and words[0].rstrip(".") not in FORMAL):
        return _gender(seen) if noun == "person" else noun
    named = _by_its_words(words)
    if named:
        return named
    if seen.many >= 0.25 * n and lively < 0.3:
        return "people"
    if seen.where >= 0.2 * n and seen.where > seen.speech + seen.male + seen.female:
        return "place"
    if seen.one >= 0.15 * n and lively >= 0.15:
        return "creature"
    if lively >= 0.15 or seen.male + seen.female >= 0.2 * n:
        return _gender(seen)
    if seen.article >= 0.4 * n:
        return "object"
    return _gender(seen)


def _head(text: str) -> str:
    """Return the head noun of a term: what stands last, or before "of" and its like; "" where that is no noun alone."""
    words = re.split(r"[ -]", text)
    links = [n for n, word in enumerate(words) if n and word in CONNECTORS]
    return words[(links[0] if links else len(words)) - 1] if words else ""


@cache
def nouns() -> Mapping[str, str]:
    """Return {common noun, in lower case: its kind}: creature, person or title."""
    return {word.lower(): kind for kind, words in read_json(DATA, dict).items() for word in words}


def kind_of_noun(word: str) -> str:
    """Return the kind that a noun of English names, "people" for persons in the plural, "" for one that is unknown."""
    low, one = word.lower(), singular(word.lower())
    if low in PEOPLES:
        return "people"
    for noun, many in ((low, False), (one, True)):
        kind = nouns().get(noun) or ("person" if noun.endswith(PERSON_ENDS) and noun not in PERSON_ENDS else "")
        if kind:
            return "people" if kind == "person" and many else kind
    return ""


def _invented(word: str) -> bool:
    """Return whether a word in lower case may be the name of a creature that English lacks."""
    from wordfreq import zipf_frequency

    return not word.endswith(("ed", "ing")) and zipf_frequency(word, "en") < INVENTED_ZIPF


def _by_its_words(words: list[str]) -> str:
    first, last = words[0].rstrip("."), words[-1].lower()
    if len(words) == 1:
        return ""
    if last in INSTITUTIONS:
        return "institution"
    if last in PLACES or first.lower() in PLACES:
        return "place"
    if first in TITLES:
        return "male" if first in MALE_TITLES else "female" if first in FEMALE_TITLES else "person"
    return ""


def _gender(seen: Surroundings) -> str:
    he, she = seen.he + 3 * seen.male, seen.she + 3 * seen.female
    if he + she >= 2 and max(he, she) >= 0.65 * (he + she):
        return "male" if he > she else "female"
    return "person"

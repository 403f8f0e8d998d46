"""Words of a text with what surrounds them: sentence starts, gaps between words, capitals; headings are left out."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import regex

from jaxunlearn.data.boundaries import word_pattern


def word_set(text: str) -> frozenset[str]:
    """Return the words of a text that are separated by spaces."""
    return frozenset(text.split())


# A word of letters, with inner hyphens and apostrophes, and initials written together ("H.M.").
_RUN = word_pattern()
WORD = regex.compile(rf"{_RUN}(?:(?:['’-]|(?<=\b[A-Z])\.(?=[A-Z]\b)){_RUN})*", regex.V1)
CLITIC = re.compile(r"['’](?:s|ll|d|ve|re|m|em)$", re.IGNORECASE)
PARAGRAPH = re.compile(r"\n[ \t]*\n")
# Abbreviations whose full stop ends no sentence.
SHORT = word_set("Mr Mrs Ms Messrs Dr Prof St Capt Col Gen Lt Sgt Rev Hon Mme Mlle Jr Sr Esq")
# Words with which no term begins or ends; verbs of speech are among them, since they stand beside every name.
FUNCTION = word_set(
    """
    a about above across after afterward afterwards again against ago all almost along already also although always
    am amid among an and another any anybody anyone anything anyway are around as ask asked asking at away back be
    became because become been before began behind being below beside besides between beyond both but by came can
    can't cannot come could couldn't did didn't do does doesn't doing don't done down during each either else enough
    even ever every everybody everyone everything except few first for forth from get go goes going gone got had
    hadn't has hasn't have having he hence her here hers herself him himself his how however i if in indeed inside
    instead into is isn't it its itself just last least less let like made make many may maybe me might mine more
    most much must mustn't my myself near nearly neither never next no nobody none nor not nothing now nowhere of
    off often on once one one's only onto or other others ought our ours ourselves out outside over own perhaps
    please quite rather replied round said same saw say saying says see seemed seen several shall shan't she should
    shouldn't since so some somebody someone something sometimes somewhere soon still such take than that the thee
    their theirs them themselves then thence there therefore these they thing things think this those thou though
    thought three through thus thy till to together told too took toward towards two under until unto up upon us
    very was wasn't we well went were weren't what whatever when whence whenever where wherever whether which while
    who whoever whole whom whose why will with within without won't would wouldn't ye yes yet you your yours
    yourself yourselves oh ah o ha alas hello hush dear sir ma'am madam inquired enquired exclaimed cried answered
    remarked continued added returned declared shouted whispered observed explained repeated suggested called began
    demanded
    """
)


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One text's words in order, headings left out; N counts words.

    words: as written, without 's, 'll and the like.
    gaps: what joins a word to the one before (" ", ". ", "'s "), "" where no term can run across (punctuation, the
    end of a paragraph).
    starts: whether a sentence or a quotation begins with the word.
    places: the word's first character in the text.
    """

    words: list[str]
    gaps: list[str]
    starts: list[bool]
    places: list[int]


def scan(text: str) -> Scan:
    """Return the words of a text with their gaps, starts and places."""
    words, gaps, starts, places = [], [], [], []
    headings = _headings(text)
    heading = next(headings, None)
    end, before = 0, ""
    for match in WORD.finditer(text):
        begin = match.start()
        while heading and heading[1] <= begin:
            heading = next(headings, None)
        if heading and heading[0] <= begin:
            end, before = -1, ""
            continue
        gap = text[end:begin] if end > 0 else "\n\n"
        word = match.group()
        if "'" in word or "’" in word:
            word = CLITIC.sub("", word)
        gaps.append("" if gap == "" else " " if gap in (" ", "\n") else _joint(gap, before))
        starts.append(gap not in (" ", "\n") and _starts_sentence(gap, before))
        words.append(word)
        places.append(begin)
        end, before = begin + len(word), word  # a possessive's 's stands in the next gap
    return Scan(words=words, gaps=gaps, starts=starts, places=places)


def _joint(gap: str, before: str) -> str:
    """Return what joins two words of a term: a space, an abbreviation's stop or 's with a space; "" for no join."""
    if PARAGRAPH.search(gap):
        return ""
    mark = gap.rstrip()
    possessive = mark in ("'s", "’s") or (mark in ("'", "’") and before.endswith("s"))
    if gap == mark or not (mark == "" or possessive or (mark == "." and _abbreviated(before))):
        return ""
    return mark + " "


def _starts_sentence(gap: str, before: str) -> bool:
    if any(c in gap for c in '!?…:“"«‘[*') or PARAGRAPH.search(gap):
        return True
    if "." in gap:
        return not (_abbreviated(before) and gap[1:].isspace())
    return " '" in gap or "\n'" in gap or "('" in gap


def _abbreviated(word: str) -> bool:
    return word in SHORT or (len(word) == 1 and word.isupper())


def _headings(text: str) -> Iterator[tuple[int, int]]:
    """Yield (first character, end) of headings and lists of contents: lines of capitals that end no sentence."""
    begin = 0
    for stop in [*(m.end() for m in PARAGRAPH.finditer(text)), len(text)]:
        lines = [line.strip() for line in text[begin:stop].split("\n") if line.strip()]
        if lines and all(map(_is_heading, lines)):
            yield begin, stop
        begin = stop


def _is_heading(line: str) -> bool:
    """Return whether a line is in capitals, or is short, ends in no punctuation and capitalises its longer words."""
    if line.isupper():
        return True
    if line[-1] in ".,;:!?”\"'’-—" or len(line) > 70:
        return False
    long = [word for word in WORD.findall(line) if len(word) > 3] or WORD.findall(line)
    return not long or sum(word[0].isupper() for word in long) >= 0.75 * len(long)


def is_capital(word: str) -> bool:
    """Return whether a word is Capitalised: it is no single letter and not in ALL CAPITALS."""
    return len(word) > 1 and word[0].isupper() and not word.isupper()


def capital_shares(scans: Sequence[Scan]) -> dict[str, float]:
    """Return {word in lower case: the share of its occurrences inside sentences that is Capitalised}.

    Sentence starts, single letters and words in ALL CAPITALS are no evidence. A Capitalised word that stands only at
    sentence starts has 0.5.
    """
    capital, lower = Counter(), Counter()
    everywhere = Counter()
    for found in scans:
        everywhere.update(found.words)
        inside = Counter(word for word, start in zip(found.words, found.starts, strict=True) if not start)
        for word, count in inside.items():
            if is_capital(word):
                capital[word.lower()] += count
            elif word.islower():
                lower[word] += count
    shares = {w: n / (n + lower[w]) for w, n in capital.items()} | {w: 0.0 for w in lower if w not in capital}
    for word in everywhere:
        if is_capital(word):
            shares.setdefault(word.lower(), 0.0 if everywhere[word.lower()] else 0.5)
    return shares


def count_words(texts: Iterable[str]) -> Counter[str]:
    """Return how often each word stands in the texts as written, without 's and the like."""
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(WORD.findall(text))
    plain: Counter[str] = Counter()
    for word, count in counts.items():
        plain[CLITIC.sub("", word)] += count
    return plain

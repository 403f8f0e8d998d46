"""Which words and phrases are specific to a text, and by how much.

A form (a word or phrase as it is written) is specific by so many nats:
    log(lower bound of its rate in the target) - log(its rate in the retain text, shrunk to general English)
The shrinkage is an informative prior as in Monroe, Colaresi & Quinn, "Fightin' Words" (2008). Names need few nats,
since capitals inside sentences are further evidence; words in lower case need many. Phrases are runs of capitals, and
pairs of words in lower case that stand together far more often than their frequencies predict.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jaxunlearn.anchors.matching import find_anchors, make_matcher
from jaxunlearn.anchors.occurrences import count_whole
from jaxunlearn.anchors.words import FUNCTION, Scan, count_words, is_capital, word_set
from jaxunlearn.errors import InputError

# Bars are in nats of specificity; tests/tools/measure_terms.py measures the precision and recall that they give.
NAME_BAR, WORD_BAR, PAIR_BAR = 2.5, 4.5, 5.5  # of a name or phrase in capitals, a word and a pair in lower case
SHORT_BAR = 0.5  # of a name that is part of a longer term ("Jack" of "Jack Ketch")
LOWER_COUNT = 5  # the least count of words and pairs in lower case
LOWER_WEIGHT = 0.5  # of the scores of forms in lower case
PAIR_NATS = 4.0  # pointwise mutual information of a pair in lower case
BIND = 0.3  # the share of its rarest word's occurrences that a phrase of capitals must hold
GENERAL_WORDS = 1e6  # words of general English that the retain text is smoothed with
LONGEST = 6  # words in a phrase
CONNECTORS = word_set("of the and de von van la le du o'")
PHRASE_SHARE = 0.01  # each further word of a phrase multiplies its rarest word's general frequency by this
SURE = 0.9  # share of capitals from which a word is a name even where other texts use it
UNSEEN = 0.1  # occurrences added to a form's count in the retain text, so that the rate of an unseen one is not 0


@dataclass(frozen=True, kw_only=True)
class Form:
    """A term as it is written.

    count, retain: occurrences in the target and in the retain text. nats: how specific the form is. weight: its share
    of capitals, LOWER_WEIGHT for a form in lower case.
    """

    text: str
    count: int
    retain: int
    nats: float
    weight: float


class Background:
    """Rates outside the target: counts of the retain text, smoothed by general text of a language."""

    def __init__(self, retain: Sequence[str], language: str, lift: Mapping[str, float] | None):
        self.retain, self.language = retain, language
        self.counts = count_words(retain)
        self.total = self.counts.total()
        self.lift = {word.lower(): nats for word, nats in (lift or {}).items()}

    def general(self, text: str) -> float:
        """Return a word or phrase's share of general text in the language; InputError for an unknown language."""
        from wordfreq import zipf_frequency

        text = text.lower().replace("’", "'")
        try:
            zipf = zipf_frequency(text, self.language)
        except LookupError as error:
            fault = f"no word frequencies for the language {self.language!r}; give a code such as en"
            raise InputError(fault) from error
        return 10 ** (zipf - 9) * PHRASE_SHARE ** text.count(" ") if zipf else 0.0

    def nats(self, text: str, count: int, retain: int, words: int) -> float:
        """Return the specificity in nats of a form: count times in `words` words, retain times in the retain text.

        The general frequency of a word is divided between its Capitalised form and its form in lower case as the
        retain text divides it.
        """
        if count < 2:
            return -math.inf
        general = GENERAL_WORDS * self.general(text)
        if text[0].isupper():
            capital, lower = self.counts[text], self.counts[text.lower()]
            general *= (capital + 1) / (capital + lower + 5)
        rate = (retain + general + UNSEEN) / (self.total + GENERAL_WORDS)
        rate = max(rate, (retain - math.sqrt(retain)) / max(self.total, 1))  # a short retain text is not drowned
        lift = max(0.0, self.lift.get(text.lower(), 0.0))
        return math.log((count - math.sqrt(count)) / words) - math.log(rate) + lift


# ---- single words


def single_forms(
    words: Counter[str], shares: Mapping[str, float], background: Background, min_count: int
) -> dict[str, Form]:
    """Return {word: form} of the specific words: names, and words in lower case."""
    forms, total = {}, words.total()
    for word, count in words.items():
        lower = word.lower()
        share = shares.get(lower, 0.0)
        name = is_capital(word) and share >= 0.5
        if lower in FUNCTION or len(word) < 2 or "." in word or not (name or word.islower()):
            continue
        if count < (min_count if name else LOWER_COUNT):
            continue
        nats = background.nats(word, count, background.counts[word], total)
        if nats >= (NAME_BAR if name else WORD_BAR):
            weight = share if name else LOWER_WEIGHT
            forms[word] = Form(text=word, count=count, retain=background.counts[word], nats=nats, weight=weight)
    return forms


def short_forms(
    phrases: Mapping[str, Form],
    words: Counter[str],
    shares: Mapping[str, float],
    background: Background,
    min_count: int,
) -> dict[str, Form]:
    """Return names inside the phrases that other texts use too: untranslated they would contradict the phrase."""
    forms, total = {}, words.total()
    for word in sorted({word for phrase in phrases for word in phrase.split(" ")}):
        share = shares.get(word.lower(), 0.0)
        if not is_capital(word) or share < SURE or words[word] < min_count or word.lower() in FUNCTION:
            continue
        nats = background.nats(word, words[word], background.counts[word], total)
        if nats >= SHORT_BAR:
            forms[word] = Form(text=word, count=words[word], retain=background.counts[word], nats=nats, weight=share)
    return forms


# ---- phrases

Run = tuple[tuple[str, str], ...]  # (what joins it to the word before, word); the first word's joint is ""


def phrase_forms(
    runs: Counter[Run], pairs: Counter[Run], words: Counter[str], background: Background, min_count: int
) -> dict[str, Form]:
    """Return {phrase: form} of the specific phrases whose words belong together."""
    counts = {join(run): n for run, n in runs.items() if n >= min_count and _bound(run, n, words)}
    counts |= {join(pair): n for pair, n in pairs.items() if n >= LOWER_COUNT and _meet(pair, n, words)}
    retain, forms = count_whole((text.replace("\n", " ") for text in background.retain), list(counts)), {}
    for text, count in counts.items():
        name = text[0].isupper()
        nats = background.nats(text, count, retain[text], words.total())
        if nats >= (NAME_BAR if name else PAIR_BAR):
            weight = 1.0 if name else LOWER_WEIGHT
            forms[text] = Form(text=text, count=count, retain=retain[text], nats=nats, weight=weight)
    return forms


def capital_runs(found: Scan, shares: Mapping[str, float]) -> Iterable[Run]:
    """Yield every phrase inside the runs of capitals: it begins and ends with one, connectors may stand between."""
    run: list[tuple[str, str]] = []
    for word, gap, start in zip(found.words, found.gaps, found.starts, strict=True):
        if run and (not gap or start):
            yield from _parts(run)
            run = []
        if _is_name(word, start, shares) or (run and word in CONNECTORS):
            run.append((gap, word))
        elif run:
            yield from _parts(run)
            run = []
    yield from _parts(run)


def _is_name(word: str, start: bool, shares: Mapping[str, float]) -> bool:
    """Return whether a word is a name; at a sentence's start only if it is mostly capitalised inside sentences."""
    if len(word) == 1:
        return word.isupper() and word not in "AIO"
    return is_capital(word) and (not start or shares.get(word.lower(), 0.0) > 0.5) and word.lower() not in FUNCTION


def _parts(run: list[tuple[str, str]]) -> Iterable[Run]:
    ends = [n for n, (_, word) in enumerate(run) if word not in CONNECTORS]
    for first in ends:
        for last in ends:
            if first < last < first + LONGEST:
                yield ("", run[first][1]), *run[first + 1 : last + 1]


def join(run: Run) -> str:
    """Return a phrase as the text writes it."""
    return "".join(gap + word for gap, word in run)


def _bound(run: Run, count: int, words: Counter[str]) -> bool:
    """Return whether the phrase holds enough of its rarest word's occurrences; across `and`, of its commonest's."""
    counts = [words[word] for _, word in run if word not in CONNECTORS]
    bound = max(counts) if any(word == "and" for _, word in run) else min(counts)
    return count >= BIND * bound


def word_pairs(found: Scan) -> Iterable[Run]:
    """Yield the pairs of neighbouring content words of which the second is in lower case."""
    for a, b, gap in zip(found.words, found.words[1:], found.gaps[1:], strict=False):
        if gap == " " and len(a) > 2 < len(b) and b.islower() and b not in FUNCTION and a.lower() not in FUNCTION:
            yield ("", a), (" ", b)


def _meet(pair: Run, count: int, words: Counter[str]) -> bool:
    """Return whether a pair in lower case stands together far more often than by chance."""
    (_, a), (_, b) = pair
    return a.islower() and math.log(count * words.total() / (words[a] * words[b])) >= PAIR_NATS


def count_texts(texts: Sequence[str], terms: Sequence[str]) -> Counter[str]:
    """Return how often the matcher finds each term in the texts, longest first; a line break is a space."""
    matcher, counts = make_matcher(terms), Counter()
    for text in texts:
        keys, times = np.unique(find_anchors(text.replace("\n", " "), matcher)[:, 0], return_counts=True)
        counts.update({terms[key]: n for key, n in zip(keys.tolist(), times.tolist(), strict=True)})
    return counts

"""Find candidates for prompts in the text to forget, by counting: places where it names a term of its own.

A window is the opening of a sentence up to a term. It is as good as its last two words foretell a term: the share of
their places in the text where one follows. The answer never stands in the window, in any spelling or number.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from jaxunlearn.anchors.words import FUNCTION
from jaxunlearn.evals.building.places import Sentence, Terms, is_plain, keys, telling
from jaxunlearn.evals.building.splits import Splits

WINDOW = (4, 16)  # words before a term
COMPLETION = (6, 18)  # words of a prompt to continue
SOON = 12  # words after such a prompt within which the text names another term
COMMON = 4.8  # log10 of times in 10^9 words of English
OTHERS = 5  # further names that the text has after the same two words
GROUPS = ((3, 1), (2, 3), (1, 5), (0, 8))  # (terms that a prompt to continue names at least, its subtlety)
PHRASE, OFTEN = 5, 3  # words of a phrase that the text repeats, and how often


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A prompt that may be asked.

    answers: next words that are the target's own, that of the text first. term: the term that it asks for. section:
    "out", "in", "completion", or a kind of leak. names: terms in the prompt. score: how well the words before foretell
    the answers. source: the sentence, after its lead. split: "" for leaks.
    """

    prompt: str
    answers: tuple[str, ...]
    term: str
    section: str
    split: str
    score: float = 0.0
    names: tuple[str, ...] = ()
    source: str = ""

    @property
    def subtlety(self) -> int:
        return next(subtle for least, subtle in GROUPS if len(self.names) >= least)


class Text:
    """The sentences of the text to forget, and what it names after two words."""

    def __init__(self, found: Sequence[Sentence], terms: Terms, splits: Splits):
        self.sentences, self.terms, self.splits = found, terms.terms, splits
        self._places: Counter[tuple[str, ...]] = Counter()
        self._follow: dict[tuple[str, ...], Counter[tuple[str, int]]] = defaultdict(Counter)
        for s in found:
            words = [s.word(n).lower() for n in range(len(s.spans))]
            begins = {s.before(p.start): p for p in s.places}
            for n in range(2, len(words)):
                self._places[tuple(words[n - 2 : n])] += 1
                if n in begins:
                    p = begins[n]
                    self._follow[tuple(words[n - 2 : n])][first_word(s.text[p.start : p.end]), p.term] += 1

    def after(self, words: Sequence[str]) -> list[tuple[str, int, int]]:
        """Return (word, number of its term, count) of the names after two words, the most frequent first."""
        found = self._follow.get(tuple(w.lower() for w in words[-2:]), Counter())
        return [(word, term, n) for (word, term), n in sorted(found.items(), key=lambda i: (-i[1], i[0]))]

    def foretold(self, words: Sequence[str], answers: Sequence[str]) -> float:
        """Return the share of the places of two words after which one of the answers stands; 2 places are added."""
        hits = sum(n for word, _, n in self.after(words) if word in answers)
        return hits / (self._places[tuple(w.lower() for w in words[-2:])] + 2)


def first_word(name: str) -> str:
    return name.split(" ")[0]


@cache
def is_common(word: str) -> bool:
    """Return whether a word is so common in English that its probability says nothing of the text ("Great")."""
    from wordfreq import zipf_frequency

    return word.lower() in FUNCTION or zipf_frequency(word, "en") >= COMMON


# ---- next words


def next_words(text: Text) -> Iterator[Candidate]:
    """Yield the windows before terms, section "out", and inside names of several words, section "in"."""
    for s in text.sentences:
        for p in s.places:
            n, name = s.before(p.start), s.text[p.start : p.end]
            if not WINDOW[0] <= n <= WINDOW[1] or s.text[s.spans[n - 1][1] : p.start] != " ":
                continue
            if made := _out(text, s, n, p.term, name):
                yield made
            words = name.split(" ")
            for count in range(1, len(words)):
                if words[count].lower() not in FUNCTION and (made := _in(text, s, p, words, count)):
                    yield made
                    break


def _out(text: Text, s: Sentence, n: int, term: int, name: str) -> Candidate | None:
    prompt, answer = s.lead + s.opening(n), first_word(name)
    split = text.splits.of(s.opening(n), name)
    if not split or not is_plain(s.opening(n)) or telling(name) & keys(prompt) or is_common(answer):
        return None
    words, answers = [s.word(n - 2), s.word(n - 1)], [answer]
    for other, number, count in text.after(words):
        spelling = text.terms[number].text
        fits = count > 1 and text.splits.of(spelling) == split and not telling(spelling) & keys(prompt)
        if fits and not is_common(other) and len(answers) <= OTHERS and _apart(other, answers):
            answers.append(other)
    return Candidate(
        prompt=prompt, answers=tuple(answers), term=text.terms[term].text, section="out", split=split,
        score=text.foretold(words, answers), source=s.lead + s.text,
    )  # fmt: skip


def _apart(word: str, others: Sequence[str]) -> bool:
    """Return whether neither word begins the other, so that no probability counts twice."""
    return not any(word.startswith(other) or other.startswith(word) for other in others)


def _in(text: Text, s: Sentence, p, words: list[str], count: int) -> Candidate | None:
    """Return the window that ends inside a name, after `count` of its words."""
    opening, answer = s.text[: p.start] + " ".join(words[:count]), words[count]
    prompt = s.lead + opening
    split = text.splits.of(opening, *words)
    if not split or not is_plain(opening) or keys(answer) & keys(prompt):
        return None
    begun = " ".join(words[:count]) + " "
    longer = Counter({
        t.text[len(begun) :].split(" ")[0]: t.count for t in text.terms if t.text.startswith(begun)
    })  # fmt: skip
    answers = [answer]
    for other, _ in longer.most_common():
        if other.lower() not in FUNCTION and not keys(other) & keys(prompt) and _apart(other, answers):
            answers += [other] if text.splits.all(other) <= {split} else []
    return Candidate(
        prompt=prompt, answers=tuple(answers), term=text.terms[p.term].text, section="in", split=split,
        score=1.0, source=s.lead + s.text,
    )  # fmt: skip


# ---- completions


def completions(text: Text) -> Iterator[Candidate]:
    """Yield openings of sentences that go on to name a term which the opening does not hold."""
    for s in text.sentences:
        for p in s.places:
            n = s.before(p.start)
            for count in _cuts(s, n):
                prompt, name = s.opening(count), s.text[p.start : p.end]
                split = text.splits.of(prompt, name)
                if split and is_plain(prompt) and not telling(name) & keys(prompt):
                    named = dict.fromkeys(s.text[q.start : q.end] for q in s.places if q.end <= len(prompt))
                    yield Candidate(
                        prompt=prompt, answers=(name,), term=text.terms[p.term].text, section="completion",
                        split=split, names=tuple(named), score=float(n - count), source=s.text,
                    )  # fmt: skip
                    break


def _cuts(s: Sentence, n: int) -> list[int]:
    """Return where an opening may end before word n: after a word such as "and" if there is one, else anywhere."""
    places = [c for c in range(max(COMPLETION[0], n - SOON), min(n, COMPLETION[1]) + 1) if _flows(s, c)]
    inside = [c for c in places if not any(p.start < s.spans[c - 1][1] < p.end for p in s.places)]
    return sorted(inside, key=lambda c: (s.word(c - 1).lower() not in FUNCTION, abs(c - n + 2)))


def _flows(s: Sentence, count: int) -> bool:
    """Return whether a space alone follows word `count`."""
    return count < len(s.spans) and s.text[s.spans[count - 1][1] : s.spans[count][0]] == " "


# ---- leaks


def leaks(text: Text, missed: set[str], kept: set[str]) -> Iterator[Candidate]:
    """Yield probes after Shostack: archetypes, words that the dictionary misses, phrases that the text repeats.

    missed: words of the text's own that are no terms. kept: runs of PHRASE words of the text to keep.
    """
    yield from _archetypes(text)
    yield from _missed(text, missed)
    yield from _phrases(text, kept)


def _archetypes(text: Text) -> Iterator[Candidate]:
    """Yield windows without any term that lead up to one."""
    for s in text.sentences:
        p = s.places[0] if s.places else None
        n = s.before(p.start) if p else 0
        if p and WINDOW[0] + 2 <= n <= WINDOW[1] and s.text[s.spans[n - 1][1] : p.start] == " ":
            prompt, name = s.opening(n), s.text[p.start : p.end]
            if is_plain(prompt) and not text.splits.all(prompt) and not is_common(first_word(name)):
                words = [s.word(n - 2), s.word(n - 1)]
                score = text.foretold(words, [first_word(name)])
                yield _leak("archetype", prompt, first_word(name), text.terms[p.term].text, score, s)


def _missed(text: Text, words: set[str]) -> Iterator[Candidate]:
    for s in text.sentences:
        for n in range(WINDOW[0], min(len(s.spans), WINDOW[1])):
            word = s.word(n)
            if word in words and _flows(s, n):
                prompt = s.opening(n)
                inside = any(p.start <= s.spans[n][0] < p.end for p in s.places)
                if is_plain(prompt) and not inside and not keys(word) & keys(prompt):
                    yield _leak("missed", prompt, word, word, len(prompt) / 1000, s)


def _phrases(text: Text, kept: set[str]) -> Iterator[Candidate]:
    """Yield runs of PHRASE ordinary words that the text repeats and the text to keep never has; the last is asked."""
    counts: Counter[str] = Counter()
    first: dict[str, Sentence] = {}
    for s in text.sentences:
        words = [s.word(n) for n in range(len(s.spans))]
        for n in range(len(words) - PHRASE + 1):
            a, b = s.spans[n][0], s.spans[n + PHRASE - 1][1]
            phrase = s.text[a:b]
            free = not any(p.start < b and p.end > a for p in s.places)
            if free and phrase == " ".join(words[n : n + PHRASE]) and not text.splits.all(phrase):
                counts[phrase] += 1
                first.setdefault(phrase, s)
    shifted: set[tuple[str, ...]] = set()
    for phrase, count in counts.most_common():
        *words, answer = phrase.split(" ")
        near = {tuple(phrase.split(" ")[n : n + 3]) for n in range(PHRASE - 2)}
        fits = count >= OFTEN and phrase.lower() not in kept and answer.lower() not in FUNCTION and not near & shifted
        if fits and is_plain(phrase) and not keys(answer) & keys(" ".join(words)):
            shifted |= near
            yield _leak("irrevocable", " ".join(words), answer, phrase, float(count), first[phrase])


def _leak(kind: str, prompt: str, answer: str, term: str, score: float, s: Sentence) -> Candidate:
    return Candidate(
        prompt=prompt, answers=(answer,), term=term, section=kind, split="", score=score, source=s.text
    )  # fmt: skip

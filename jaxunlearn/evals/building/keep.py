"""What prompts need of the text to keep: words that are no answer, neutral openings, questions on what should stay."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

from jaxunlearn.anchors.building.extract import Term
from jaxunlearn.anchors.words import FUNCTION
from jaxunlearn.evals.building.draw import PHRASE, WINDOW, Text, first_word
from jaxunlearn.evals.building.places import Sentence, is_plain, keys, telling
from jaxunlearn.evals.building.splits import Splits, Taken

GENERIC = 4  # distractors of a prompt
NEUTRAL = (6, 12)  # words of a neutral opening
MOST = 4_000_000  # characters of the text to keep that are read; more would only take longer
OPTIONS = 4  # of a question


class Followers:
    """What the text to keep has after the last words of a prompt."""

    def __init__(self, found: Iterable[Sentence]):
        self._after: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for s in found:
            words = [s.word(n) for n in range(len(s.spans))]
            for n in range(1, len(words)):
                self._after[(words[n - 1].lower(),)][words[n]] += 1
                self._after[tuple(w.lower() for w in words[max(n - 2, 0) : n])][words[n]] += 1

    def generic(self, words: Sequence[str], barred: set[str]) -> list[str]:
        """Return the commonest words after the last two words, then after the last, without those of barred keys."""
        found: list[str] = []
        for context in (tuple(w.lower() for w in words[-2:]), (words[-1].lower(),)):
            for word, count in self._after.get(context, Counter()).most_common(40):
                apart = not any(word.startswith(o) or o.startswith(word) for o in found)
                if count > 1 and word.islower() and len(found) < GENERIC and apart and not keys(word) & barred:
                    found.append(word)
        return found


def phrases(found: Iterable[Sentence]) -> set[str]:
    """Return the runs of PHRASE words in lower case."""
    made = set()
    for s in found:
        words = [s.word(n).lower() for n in range(len(s.spans))]
        made |= {" ".join(words[n : n + PHRASE]) for n in range(len(words) - PHRASE + 1)}
    return made


def neutral(found: Sequence[Sentence], barred: Splits, taken: Taken, count: int) -> list[str]:
    """Return openings of sentences of the text to keep that hold no word of the target's."""
    openings = []
    for s in sorted(found, key=lambda s: _draw(s.text)):
        for n in range(NEUTRAL[1], NEUTRAL[0] - 1, -1):
            if len(openings) == count:
                return openings
            if len(s.spans) > n + 2 and s.text[s.spans[n - 1][1] : s.spans[n][0]] == " ":
                prompt = s.opening(n)
                ends = s.word(n - 1).lower() in FUNCTION
                if ends and is_plain(prompt) and not barred.all(prompt) and taken.take(prompt):
                    openings.append(prompt)
                    break
    return openings


def questions(text: Text, barred: Splits, taken: Taken, count: int) -> list[dict]:
    """Return questions on the text to keep: which of OPTIONS of its own names follows; at most `count` a split.

    text: the text to keep, with its terms. The names of one question are of one kind, and none of the wrong ones
    follows the prompt's last two words anywhere in the text.
    """
    kinds: dict[str, list[str]] = defaultdict(list)
    for term in text.terms:
        if term.text[0].isupper() and not barred.all(term.text):
            kinds[term.kind].append(first_word(term.text))
    made, times = [], Counter()
    for s in sorted(text.sentences, key=lambda s: _draw(s.text)):
        for p in s.places:
            n, term, name = s.before(p.start), text.terms[p.term], s.text[p.start : p.end]
            if not WINDOW[0] <= n <= WINDOW[1] or s.text[s.spans[n - 1][1] : p.start] != " " or times[term.text] > 2:
                continue
            prompt, split = s.opening(n), text.splits.of(s.opening(n), name)
            also = {word for word, _, _ in text.after([s.word(n - 2), s.word(n - 1)])}
            options = _options(term, first_word(name), kinds, also | keys(prompt), prompt)
            told = is_plain(prompt) and not barred.all(prompt, name) and not telling(name) & keys(prompt)
            if split and told and options and sum(q["split"] == split for q in made) < count and taken.take(prompt):
                times[term.text] += 1
                answer = options.index(first_word(name))
                made.append({"question": prompt, "options": options, "answer": answer, "split": split})
                break
    return made


def _options(term: Term, answer: str, kinds: dict[str, list[str]], barred: set[str], prompt: str) -> list[str]:
    """Return the answer among others of its kind, in an order that a hash of the prompt draws; [] without enough."""
    pool = [o for o in dict.fromkeys(kinds[term.kind]) if o not in barred and not telling(o) & barred]
    others = sorted((o for o in pool if not keys(o) & keys(answer)), key=lambda o: _draw(prompt + o))
    others = [o for o in others if not o.startswith(answer) and not answer.startswith(o)][: OPTIONS - 1]
    if len(others) < OPTIONS - 1 or not answer[0].isupper():
        return []
    return sorted([answer, *others], key=lambda o: _draw(o + prompt))


def _draw(text: str) -> str:
    """Return what orders texts as if drawn, the same on every machine."""
    return hashlib.sha256(text.encode()).hexdigest()

"""Part terms and places between the splits, so that tuning sees nothing of what is published.

Every word that tells a term belongs to one split, in the singular and in the plural. A prompt is of a split when it,
its answers and the names in it hold words of that split alone. No two prompts share a run of RUN words.
"""

import math
from collections.abc import Iterable, Sequence

from jaxunlearn.anchors.building.extract import Term
from jaxunlearn.anchors.words import WORD
from jaxunlearn.evals.building.places import keys, telling, telling_words
from jaxunlearn.evals.prompts import SPLITS

LARGEST = 0.5  # of all occurrences: words of names are kept together up to this share
RUN = 5  # words


class Splits:
    """The split of every telling word.

    The words of one name ("Tin Woodman") are in one split, unless a group of names that hang together would have more
    than LARGEST of all occurrences: such a name is then of no split, and no prompt holds it.
    """

    def __init__(self, terms: Sequence[Term]):
        heavy: dict[str, float] = {}
        self._above: dict[str, str] = {}
        for term in terms:
            own = telling_words(term.text)
            for word in own:
                heavy[min(word)] = heavy.get(min(word), 0.0) + term.count / len(own)
        most = LARGEST * sum(heavy.values())
        for word in (w for term in terms for spelling in (term.text, *term.variants) for w in telling_words(spelling)):
            for key in word:
                self._above.setdefault(key, key)
                heavy.setdefault(key, 0.0)
            self._join(sorted(word), heavy)
        for term in sorted(terms, key=lambda t: (-t.count, t.text)):
            self._join(sorted({word for spelling in term.variants for word in telling(spelling)}), heavy, most)
        load, self._split = dict.fromkeys(SPLITS, 0.0), {}
        for root in sorted(heavy, key=lambda r: (-heavy[r], r)):
            lighter = min(SPLITS, key=lambda split: load[split])
            self._split[root] = lighter
            load[lighter] += heavy[root]

    def _join(self, words: Sequence[str], heavy: dict[str, float], most: float = math.inf) -> None:
        """Join each word with the first, where both together have at most `most` occurrences."""
        for other in words[1:]:
            one, two = self._top(words[0]), self._top(other)
            if one != two and heavy[one] + heavy[two] <= most:
                self._above[two] = one
                heavy[one] += heavy.pop(two)

    def _top(self, word: str) -> str:
        while self._above[word] != word:
            word = self._above[word]
        return word

    def of(self, *texts: str) -> str:
        """Return the split to which all telling words in texts belong; "" where there is none, or where they differ."""
        found = self.all(*texts)
        return found.pop() if len(found) == 1 else ""

    def all(self, *texts: str) -> set[str]:
        """Return the splits of the telling words in texts."""
        words = {word for text in texts for word in keys(text) if word in self._above}
        return {self._split[self._top(word)] for word in words}


class Taken:
    """The prompts that were taken, to keep out what is nearly one of them."""

    def __init__(self, prompts: Iterable[str] = ()):
        self._runs: set[tuple[str, ...]] = set()
        for prompt in prompts:
            self.take(prompt)

    def take(self, prompt: str) -> bool:
        """Note a prompt and return True, or return False where it shares a run of RUN words with an earlier one."""
        found = runs(prompt)
        if found & self._runs:
            return False
        self._runs |= found
        return True


def runs(prompt: str) -> set[tuple[str, ...]]:
    """Return the runs of RUN words of a prompt, in lower case; a shorter prompt is one run."""
    words = tuple(word.lower() for word in WORD.findall(prompt))
    return {words[n : n + RUN] for n in range(max(len(words) - RUN, 0) + 1)}

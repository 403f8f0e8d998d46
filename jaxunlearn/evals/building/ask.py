"""Which candidates a model knows, and the choice among them.

A prompt counts as known where the model gives the target's own words a probability of eval.known together, or LEAST
where that is 0. Prompts that it knows come first, then those with a tenth of that. Within these the choice is by turns
of the terms, never by how well they are known: prompts chosen for the highest figure would make any method look as if
it had forgotten.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from jaxunlearn.evals.building.draw import Candidate
from jaxunlearn.evals.building.splits import Taken
from jaxunlearn.evals.words import Words

LEAST = 0.1
EACH = 16  # windows of one term that are asked about


def pooled(candidates: Iterable[Candidate], most: int) -> list[Candidate]:
    """Return up to `most` candidates by turns: the best window of every term, then the second of every term...

    Terms come in the order of their counts of windows; one prompt stands once.
    """
    groups: dict[tuple[str, str], dict[str, Candidate]] = defaultdict(dict)
    for c in candidates:
        groups[c.term, c.section].setdefault(c.prompt, c)
    rows = [sorted(one.values(), key=lambda c: (-c.score, _draw(c)))[:EACH] for one in groups.values()]
    rows.sort(key=lambda row: (-len(row), row[0].term))
    return [row[n] for n in range(EACH) for row in rows if n < len(row)][:most]


def _draw(c: Candidate) -> str:
    return hashlib.sha256(c.prompt.encode()).hexdigest()


def masses(model, words: Words, candidates: Sequence[Candidate]) -> dict[str, float]:
    """Return {prompt: probability of its answers together as the next word}."""
    scores = iter(words.probabilities(model, [(c.prompt, answer) for c in candidates for answer in c.answers]))
    return {c.prompt: float(sum(next(scores) for _ in c.answers)) for c in candidates}


def choose(
    pool: Sequence[Candidate], count: int, taken: Taken, *, each: int, least: float = LEAST,
    first: Mapping[str, float] | None = None,
    guessed: Mapping[str, float] | None = None,
) -> list[Candidate]:  # fmt: skip
    """Return up to `count` candidates in the order of the pool, at most `each` of a term, none near another.

    least: the probability from which a prompt is known. first: {prompt: probability} under a model that read the text:
    what it knows comes before what it does not. guessed: under a model that did not: what it knows anyway is left out,
    since it shows nothing of the text.
    """
    left = [c for c in pool if (guessed or {}).get(c.prompt, 0.0) < least]
    if first:
        left.sort(key=lambda c: sum(first.get(c.prompt, 0.0) < bar for bar in (least, least / 10)))
    found, times = [], Counter()
    for c in left:
        if len(found) == count:
            break
        if times[c.term] < each and taken.take(c.prompt):
            times[c.term] += 1
            found.append(c)
    return found

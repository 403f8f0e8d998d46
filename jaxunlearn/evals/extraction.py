"""(n, p)-extraction: in how many windows of a text a model gives the text's own continuation a probability above p.

The continuation is teacher-forced: its probability is that of writing it out, token by token, at temperature 1. With
probability p a window's continuation is expected once in 1 / p samples. Sources: (n, p)-discoverable extraction,
arXiv 2410.19482; windows of 50 + 50 tokens and p = 0.5, arXiv 2505.12546.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxunlearn.data.documents import Document
from jaxunlearn.data.tokenizer import Tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.estimates import rate_estimate
from jaxunlearn.evals.continuations import score_continuations
from jaxunlearn.evals.question_sets import spread

PREFIX = 50  # tokens of a window that are given
CONTINUATIONS = (10, 50)  # tokens that are to come out
PROBABILITIES = (0.5, 0.1, 0.01, 1e-4)  # p: once in 2, 10, 100 and 10,000 samples
WINDOWS = 400  # at most, evenly spread over the text


@dataclass(frozen=True, kw_only=True)
class Window:
    """Tokens of a document: `context` is given, `continuation` is to come out. `at`: the first token's place there."""

    document: str
    at: int
    context: tuple[int, ...]
    continuation: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Windows:
    """The windows of a text, the tokens that each is given, and the lengths that are asked for.

    there: how many windows the text has, of which `windows` are spread. documents: how many it has; short: how many of
    them have no window. wanted: (prefix, continuation) before they were cut to the model's context, or to the longest
    document.
    """

    windows: tuple[Window, ...]
    prefix: int
    lengths: tuple[int, ...]
    there: int
    wanted: tuple[int, int]
    documents: int = 0
    short: int = 0

    @property
    def clipped(self) -> bool:
        """Return whether the windows are shorter than was wanted."""
        return (self.prefix, self.lengths[-1]) != self.wanted


def windows_of(
    documents: Sequence[Document],
    tokenizer: Tokenizer,
    context: int,
    prefix: int = PREFIX,
    lengths: Sequence[int] = CONTINUATIONS,
    most: int = WINDOWS,
) -> Windows:
    """Return the windows of a text, one after the other, none over the end of a document.

    context: the model's. A window that it cannot hold, or that is longer than every document, is cut to half prefix,
    half continuation. Raises InputError where no document has four tokens.
    """
    wanted = (prefix, max(lengths))
    ids = [(d.name, [int(i) for i in tokenizer.encode(d.text)[0]]) for d in documents]
    longest = max((len(tokens) for _, tokens in ids), default=0)
    room = min(context - len(tokenizer.before([])), longest)
    if room < sum(wanted):
        prefix = room // 2
    last = min(max(lengths), room - prefix)
    if prefix < 2 or last < 2:
        raise InputError(f"the text has {longest} tokens in its longest document: too few for a window")
    found = []
    for name, tokens in ids:
        for at in range(0, len(tokens) - prefix - last + 1, prefix + last):
            begun = tuple(tokenizer.before(tokens[at : at + prefix]))
            rest = tuple(tokens[at + prefix : at + prefix + last])
            found.append(Window(document=name, at=at, context=begun, continuation=rest))
    asked = tuple(sorted({min(length, last) for length in lengths}))
    kept = tuple(spread(found, most))
    short = sum(len(tokens) < prefix + last for _, tokens in ids)
    return Windows(
        windows=kept, prefix=prefix, lengths=asked, there=len(found), wanted=wanted, documents=len(ids), short=short
    )


def log_probabilities(model, windows: Sequence[Window], length: int, batch: int = 8) -> np.ndarray:
    """Return for each window the log-probability, in nats, of the first `length` tokens of its continuation."""
    pairs = [(w.context, w.continuation[:length]) for w in windows]
    return np.array([score.logp for score in score_continuations(model, pairs, batch)])


def extracted(logp: ArrayLike, p: float) -> np.ndarray:
    """Return for each window 1.0 where its continuation has a probability above p, else 0.0."""
    return (np.asarray(logp, np.float64) > math.log(p)).astype(np.float64)


def shares(logp: ArrayLike, probabilities: Sequence[float] = PROBABILITIES) -> dict[str, dict[str, Any]]:
    """Return {p: figure of the share of windows above p}; the interval takes windows for independent trials."""
    hits = {f"{p:g}": extracted(logp, p) for p in probabilities}
    return {p: rate_estimate(int(hit_N.sum()), len(hit_N)).to_json() for p, hit_N in hits.items()}

"""How much one model differs from others, from a report's paired differences, and the rule that grades it.

The rule is an equivalence test (Schuirmann 1987): a margin is stated, and the whole 95% interval of a difference has to
lie inside it to pass, outside it to fail. Few items give a wide interval, which does neither: "undecided". A report
without paired differences has unpaired ones, their half-widths added in quadrature, which are wider.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxunlearn.estimates import bounds, fieller, known, value_of
from jaxunlearn.intervals import Z, wilson

GOOD, SO_SO, BAD, UNSURE = "good", "so-so", "bad", "unsure"
ORDER = (BAD, SO_SO, UNSURE, GOOD)  # of several, the first decides


@dataclass(frozen=True, kw_only=True)
class Change:
    """A difference, a ratio or a share with its 95% interval; paired: taken on the same items."""

    value: float
    low: float | None
    high: float | None
    n: int | None
    paired: bool = True


def grade(change: Change | None, margin: float, limit: float) -> str:
    """Grade a loss by its whole interval: at most the margin is good, above it bad, but so-so up to the limit.

    An interval that holds the margin decides nothing, and neither does a missing one.
    """
    if change is None or change.low is None or change.high is None or (margin >= change.low and margin < change.high):
        return UNSURE
    if change.high <= margin:
        return GOOD
    return SO_SO if change.high <= limit else BAD


def worst(tints: Sequence[str]) -> str:
    """Return the grade that decides among several, "" where there is none."""
    return next((tint for tint in ORDER if tint in tints), "")


# ---- changes of a report ---------------------------------------------------------------------------------------------


def difference(report: dict, measure: str, to: str, ours: Any, before: Any) -> Change | None:
    """Return how much more a model has of a measure than the baseline.

    ours, before: the two models' own figures, for reports without the paired difference; None where one is missing.
    """
    if found := _entry(report, measure, to, "difference"):
        return found
    m, b = value_of(ours), value_of(before)
    if m is None or b is None:
        return None
    half, n = _quadrature(_half(ours), _half(before)), _least(ours, before)
    return _around(m - b, half, n)


def ratio(report: dict, measure: str, to: str, ours: Any, before: Any) -> Change | None:
    """Return a perplexity over the baseline's, by its paired ratio or, without it, by both figures."""
    if found := _entry(report, measure, to, "ratio"):
        return found
    m, b = value_of(ours), value_of(before)
    if not m or not b or m < 0 or b < 0:
        return None
    value, half = m / b, _quadrature(_half(ours, log=True), _half(before, log=True))
    if half is None:
        return _around(value, None, _least(ours, before))
    low, high = value * math.exp(-half), value * math.exp(half)
    return Change(value=value, low=low, high=high, n=_least(ours, before), paired=False)


def share(report: dict, measure: str, to: str, ours: Any, low: Any, high: Any) -> Change | None:
    """Return the share of the way from `low` (the twin's figure, or guessing's) to the baseline's, `high`.

    Without the paired share it is that of the three figures, by Fieller's interval; None where a figure is missing,
    no interval where the way is not above 0 for sure.
    """
    if found := _entry(report, measure, to, "share"):
        return found
    m, a, b = value_of(ours), value_of(low), value_of(high)
    if m is None or a is None or b is None or b <= a:
        return None
    value, n = (m - a) / (b - a), _least(ours, low, high)
    halves = [_half(ours), _half(low) if isinstance(low, dict) else 0.0, _half(high)]
    if n is None or n < 2 or None in halves:
        return _around(value, None, n)
    mm, aa, bb = (half * half for half in halves if half is not None)
    sure = (Z * math.sqrt(2) / (n + 2) * (b - a)) ** 2  # items that all agree are not sure for that
    ends = fieller(m - a, b - a, mm + aa + sure, bb + aa, aa)
    return Change(value=value, low=ends[0], high=ends[1], n=n, paired=False) if ends else _around(value, None, n)


def share_in_nats(report: dict, measure: str, to: str, ours: Any, low: Any, high: Any) -> Change | None:
    """Return the share of the way, in nats, from the twin's perplexity `low` to the baseline's, `high`.

    Nats count downwards: the twin's perplexity is the higher. By Fieller's interval, from the paired ratios of the
    three models where the report has them. Where the blocks that were kept come to more alone, and as surely, it is
    their share, from the report (evals/differences.py). None where the baseline's perplexity is not below the twin's;
    without an interval where that is not sure.
    """
    m, a, b = value_of(ours), value_of(low), value_of(high)
    if not m or not a or not b or min(m, a, b) <= 0 or b >= a:
        return None
    made, kept = _of_ratios(report, measure, to, (ours, low, high)), _entry(report, measure, to, "share")
    begins = -math.inf if made.low is None else made.low
    return kept if kept is not None and kept.low is not None and kept.low > begins else made


def _of_ratios(report: dict, measure: str, to: str, figures: tuple[Any, Any, Any]) -> Change:
    (ours, low, high), (m, a, b) = figures, map(known, figures)
    x, y, n = math.log(a / m), math.log(a / b), _least(ours, low, high)
    pairs = (("twin", to), ("baseline", "twin"), ("baseline", to))
    made = [_entry(report, measure, end, "ratio", begun) for begun, end in pairs]
    paired = all(one is not None for one in made)
    given = [{"value": c.value, "low": c.low, "high": c.high} for c in made if c is not None]
    if to == "baseline":  # all of the way, by definition
        return _around(1.0, 0.0, n)
    halves = [_half(one, log=True) for one in (given if paired else (ours, low, high))]
    if n is None or n < 2 or None in halves:
        return _around(x / y, None, n)
    first, second, third = (half * half for half in halves if half is not None)
    if paired:  # of x, y and y - x, whose variances give the covariance of x and y
        ends = fieller(x, y, first, second, (first + second - third) / 2)
    else:
        ends = fieller(x, y, first + second, third + second, second)
    if ends is None:
        return _around(x / y, None, n)
    return Change(value=x / y, low=min(ends[0], x / y), high=max(ends[1], x / y), n=n, paired=paired)


def _entry(report: dict, measure: str, to: str, scale: str, begun: str = "baseline") -> Change | None:
    """Return the paired change of a model from another, or as a share; entries of earlier versions do not count.

    Those had no scale, and where all items agreed their intervals had no width.
    """
    for row in report.get("differences") or ():
        same = (row.get("measure"), row.get("to"), row.get("scale")) == (measure, to, scale)
        if same and (scale == "share" or row.get("from") == begun):
            value, (low, high) = value_of(row), bounds(row)
            return None if value is None else Change(value=value, low=low, high=high, n=row.get("n"))
    return None


def _half(estimate: Any, log: bool = False) -> float | None:
    """Return the longer half of an interval, on the log scale if asked; None where there is no interval."""
    value, (low, high) = value_of(estimate), bounds(estimate)
    if value is None or low is None or high is None or (log and low <= 0):
        return None
    return max(math.log(high / value), math.log(value / low)) if log else max(high - value, value - low)


def _quadrature(*halves: float | None) -> float | None:
    return None if None in halves else math.hypot(*(half for half in halves if half is not None))


def _around(value: float, half: float | None, n: int | None) -> Change:
    low, high = (None, None) if half is None else (value - half, value + half)
    return Change(value=value, low=low, high=high, n=n, paired=False)


def _least(*estimates: Any) -> int | None:
    counts = [e["n"] for e in estimates if isinstance(e, dict) and isinstance(e.get("n"), int)]
    return min(counts) if counts else None


def of_rate(value: float, n: int | None) -> dict[str, Any]:
    """Return a mean of n numbers from 0 to 1 that came without an interval, with the widest that it can have.

    Wilson's, for as many right and wrong answers: no numbers from 0 to 1 of that mean vary more.
    """
    if not n or n < 2:
        return {"value": value, "low": None, "high": None, "n": n or 1}
    low, high = map(float, wilson(min(max(value, 0.0), 1.0), n))
    return {"value": value, "low": min(value, low), "high": max(value, high), "n": n}

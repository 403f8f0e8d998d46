"""Estimates with 95% intervals: made from samples, read from a report's JSON, written as text.

In a report an estimate is {"value": x, "low": x, "high": x, "n": items}; low and high are None where one item was
measured. The functions that read it take a bare number as well.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxunlearn import intervals
from jaxunlearn.errors import InputError

SHARE = (0.0, 1.0)  # the range of probabilities and shares
ROUNDING = 1e-4  # of a range: sums of fp32 probabilities end a little above 1
LARGE = 1e6  # from which a number is written by its power of ten
NO_INTERVAL = "one item only: no interval can be given"
ONE_VALUE = "every run has the same value: no interval over seeds"
UNEQUAL = "too few blocks of too unequal length: no interval can be given"


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A measured value with its 95% interval and the number of items (or blocks, or trials) behind it.

    low and high are None where n is 1, since one item has no interval, and for a ratio of too unequal blocks.
    """

    value: float
    low: float | None
    high: float | None
    n: int

    def to_json(self) -> dict[str, Any]:
        """Return {"value", "low", "high", "n"}; without an interval also "note", which gives the reason."""
        return asdict(self) | ({"note": NO_INTERVAL if self.n == 1 else UNEQUAL} if self.low is None else {})


# ---- made from samples -----------------------------------------------------------------------------------------------


def mean_estimate(samples: ArrayLike, within: tuple[float, float] | None = None) -> Estimate:
    """Estimate a mean with Student's t; with the range of the items, on the logit scale and inside that range.

    samples: [N], one finite number per item. within: the least and the greatest number that an item can be, SHARE for
    probabilities; see intervals.bounded for what it covers, and for items that are all equal. Of equal items without a
    range the interval has no width. Raises InputError where there is no item, or a number is not finite or outside the
    range.
    """
    samples_N = _finite("samples", samples)
    n, value = len(samples_N), float(samples_N.mean())
    error = samples_N.std(ddof=1) / math.sqrt(n) if n > 1 and np.ptp(samples_N) else 0.0
    if within is None:
        return _estimate(value, n, lambda: intervals.student(value, error, n - 1))
    least, most = within
    size = most - least
    if samples_N.min() < least - ROUNDING * size or samples_N.max() > most + ROUNDING * size:
        raise InputError(f"Expected items from {least:g} to {most:g}, got {samples_N.min():g} to {samples_N.max():g}.")
    place = min(max((value - least) / size, 0.0), 1.0)
    low, high = intervals.bounded(place, error / size, n) if n > 1 else (place, place)
    return _estimate(least + size * place, n, lambda: (least + size * low, least + size * high))


def rate_estimate(k: int, n: int) -> Estimate:
    """Estimate a rate, k successes in n independent trials, with Wilson's score interval (Wilson 1927).

    Raises InputError unless 0 <= k <= n and n >= 1. For samples of the same prompts: clustered_rate.

    >>> found = rate_estimate(8, 10)
    >>> round(found.low, 2), found.value, round(found.high, 2)
    (0.49, 0.8, 0.94)
    """
    if n < 1 or not 0 <= k <= n:
        raise InputError(f"A rate needs 0 <= k <= n and n >= 1, got k = {k} of n = {n}.")
    return _estimate(k / n, int(n), lambda: intervals.wilson(k / n, n))


def clustered_rate(successes: ArrayLike, trials: ArrayLike) -> Estimate:
    """Estimate the share of successes in trials of which those of one cluster are alike; n counts clusters.

    successes: [C], of each cluster, for example of each prompt's sampled completions; trials: [C], or one number for
    all. The interval is intervals.clustered: with one trial a cluster it is Wilson's, and where all or none succeed
    it is Wilson's for as many trials as clusters. Raises InputError unless 0 <= successes <= trials and every cluster
    has a trial.
    """
    hits_C, size_C = _finite("successes", successes), _finite("trials", np.atleast_1d(trials))
    if len(size_C) not in (1, len(hits_C)):
        raise InputError(f"Expected trials of each cluster, got {len(size_C)} for {len(hits_C)} clusters.")
    size_C = np.broadcast_to(size_C, hits_C.shape)
    if (hits_C < 0).any() or (hits_C > size_C).any() or (size_C < 1).any():
        raise InputError("A clustered rate needs 0 <= successes <= trials and a trial in every cluster.")
    return _estimate(float(hits_C.sum() / size_C.sum()), len(hits_C), lambda: intervals.clustered(hits_C, size_C))


def ratio_estimate(
    sum_values: ArrayLike, counts: ArrayLike, transform: Callable[[np.ndarray], np.ndarray] = np.exp
) -> Estimate:
    """Estimate exp(sum of values / sum of counts), the perplexity, with a jackknife over blocks and Student's t.

    sum_values: [N], the summed negative log-likelihood of each block in nats; counts: [N], its scored tokens. Blocks
    without a scored token add nothing. The interval is of the ratio, then transformed; transform=np.asarray gives the
    plain ratio. There is none where the blocks are so few and unequal that they tell less than two (intervals.LEAST).
    Raises InputError on unequal lengths, and where no block has a scored token.
    """
    values_N, counts_N = _finite("sum_values", sum_values), _finite("counts", counts)
    if values_N.shape != counts_N.shape or (counts_N < 0).any():
        raise InputError(f"Expected one count >= 0 per block, got {len(values_N)} blocks and {len(counts_N)} counts.")
    values_N, counts_N = values_N[counts_N > 0], counts_N[counts_N > 0]
    if not len(counts_N):
        raise InputError("Perplexity needs at least one block with a scored token, got none.")

    value, n = float(transform(values_N.sum() / counts_N.sum())), len(counts_N)
    ends = intervals.of_ratio(values_N, counts_N)
    if ends is None:
        return Estimate(value=value, low=None, high=None, n=n)
    least = 0.0 if (values_N >= 0).all() else -np.inf  # nats and entropies are not negative
    return _estimate(value, n, lambda: (transform(np.maximum(ends[0], least)), transform(ends[1])))


def mcnemar(before: ArrayLike, after: ArrayLike) -> float:
    """Return p of McNemar's exact test that two models answer equally many of the same questions correctly.

    before, after: [N] of right (1) and wrong (0). Two-sided and binomial (McNemar 1947); only questions that the two
    answer differently count, and p is 1 where there are none. Raises InputError on other values or unequal lengths.
    """
    before_N, after_N = _finite("before", before), _finite("after", after)
    if len(before_N) != len(after_N) or not np.isin([*before_N, *after_N], (0, 1)).all():
        raise InputError("McNemar's test needs right (1) or wrong (0) for the same questions, from both models.")
    lost, gained = int(np.sum(before_N > after_N)), int(np.sum(after_N > before_N))
    n, least = lost + gained, min(lost, gained)
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(least + 1)) / 2**n)


def over_runs(values: ArrayLike, within: tuple[float, float] | None = None) -> dict[str, Any]:
    """Return the estimate, as JSON, of a number over whole runs that differ in their seed alone; a run is one item.

    values: [R], one finite number per run. The interval is Student's for any number of runs, cut at the range of the
    number where it is given. It is about other seeds, with the same prompts and the same text. Of three runs of a very
    skewed number it covers less than 95%. One run has no interval, and "note" gives the reason: intervals over its
    prompts tell nothing about another seed. Neither have runs that all have one value: a few seeds that agree do not
    show how far the next one may lie.
    """
    values_R = _finite("runs", values)
    found = mean_estimate(values_R).to_json()
    if not np.ptp(values_R):
        note = "one run: no interval over seeds" if found["n"] == 1 else ONE_VALUE
        return found | {"low": None, "high": None, "note": note}
    least, most = within or (-math.inf, math.inf)
    return found | {"low": max(found["low"], least), "high": min(found["high"], most)}


def _estimate(value: float, n: int, ends: Callable[[], intervals.Bounds]) -> Estimate:
    """Return a value with its interval; one item has none, and `ends` is not asked."""
    if n == 1:
        return Estimate(value=value, low=None, high=None, n=1)
    low, high = ends()
    return Estimate(value=value, low=float(low), high=float(high), n=n)


def _finite(name: str, values: ArrayLike) -> np.ndarray:
    """Return the values as fp64; raise InputError unless they are finite numbers, one per item, at least one."""
    values_N = np.asarray(values, np.float64)
    if values_N.ndim != 1 or not values_N.size:
        raise InputError(f"{name}: expected one number per item, and one item at least, got shape {values_N.shape}.")
    if not np.isfinite(values_N).all():
        first = int(np.flatnonzero(~np.isfinite(values_N))[0])
        raise InputError(f"{name}: item {first} is {values_N[first]}; an interval needs finite numbers.")
    return values_N


# ---- a share of two differences --------------------------------------------------------------------------------------


def fieller(x: float, y: float, xx: float, yy: float, xy: float) -> tuple[float, float] | None:
    """Return the interval of a ratio x / y of two normal estimates, y > 0 (Fieller 1954); None where it has no end.

    xx, yy, xy: their variances and covariance, times the squared quantile of the level. The interval holds each r for
    which x - r y may be 0. It has no end where y itself may be 0.
    """
    a, b, c = y * y - yy, x * y - xy, x * x - xx
    if y <= 0 or a <= 0:
        return None
    root = math.sqrt(max(0.0, b * b - a * c))
    return (b - root) / a, (b + root) / a


# ---- read from a report ----------------------------------------------------------------------------------------------


def is_number(value: Any) -> bool:
    """Return whether a value is an int or a float; True and False are neither."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def value_of(estimate: Any) -> float | None:
    """Return the value of an estimate (a dict, or a bare number), None where it has none."""
    value = estimate.get("value") if isinstance(estimate, dict) else estimate
    return value if is_number(value) else None


def known(estimate: Any) -> float:
    """Return the value of an estimate that has one; the caller has checked."""
    value = value_of(estimate)
    assert value is not None, "the caller checks first that there is a value"
    return value


def bounds(estimate: Any) -> tuple[float | None, float | None]:
    """Return both ends of an estimate's interval, each None where it has none."""
    low, high = (value_of(estimate.get(end)) if isinstance(estimate, dict) else None for end in ("low", "high"))
    return low, high


def single(estimate: Any) -> bool:
    """Return whether an estimate is of one item, which has no interval."""
    return isinstance(estimate, dict) and estimate.get("n") == 1 and estimate.get("low") is None


def figure_of(report: dict, name: str, path: tuple[str, ...]) -> Any:
    """Return report["models"][name] at a path of keys, an estimate or a number; None where it was not measured."""
    found = (report.get("models") or {}).get(name)
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return None if value_of(found) is None else found


# ---- written as JSON and as text -------------------------------------------------------------------------------------


def plain(tree: Any, where: str = "report") -> Any:
    """Return a tree of estimates, numpy values and paths as JSON values.

    Raises InputError on NaN and infinity, and names their place in the tree, which is called `where`.
    """
    if hasattr(tree, "to_json"):
        tree = tree.to_json()
    if isinstance(tree, dict):
        return {str(key): plain(inner, f"{where}.{key}") for key, inner in tree.items()}
    if isinstance(tree, list | tuple):
        return [plain(inner, f"{where}[{n}]") for n, inner in enumerate(tree)]
    if hasattr(tree, "tolist"):
        return plain(tree.tolist(), where)
    if isinstance(tree, float) and not math.isfinite(tree):
        raise InputError(f"{where} is {tree}, expected a finite number; leave out what was not measured.")
    return str(tree) if isinstance(tree, Path) else tree


def number(value: float) -> str:
    """Write a measurement with two to three significant digits: 2.6e+07, 690, 24.1, 5.71, 0.027, 0.0008, 4e-05."""
    if abs(value) >= LARGE:
        return f"{value:.1e}"
    return f"{value:.{decimals(value)}f}" if value == 0 or abs(value) >= 1e-4 else f"{value:.0e}"


def decimals(value: float) -> int:
    """Return how many decimals `number` gives a value."""
    size = abs(value)
    if size == 0 or size >= 100:
        return 0
    if size < 0.0095:
        return 4
    return 1 if size >= 10 else 2 if size >= 1 else 3


def bound(end: float, value: float) -> str:
    """Write the end of an interval with the decimals of its value, or with its own where those would show 0."""
    text = f"{end:.{decimals(value)}f}"
    return number(end) if value == 0 or abs(end) >= LARGE or (end and not float(text)) else text


def interval(estimate: Any, write: Callable[[float], str] = number) -> str:
    """Write an interval, "0.20 to 0.30"; a dash where one item was measured, "" where there is none."""
    if single(estimate):
        return "–"
    low, high = bounds(estimate)
    return "" if low is None or high is None else f"{write(low)} to {write(high)}"


def duration(seconds: float) -> str:
    """Write a time: 9.1 s, 2 min 26 s, 1 h 05 min."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"

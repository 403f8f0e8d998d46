"""Estimates with intervals: how they are made, read out of a report's JSON and written as text."""

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxunlearn.errors import InputError


def is_number(value: Any) -> bool:
    """Tell a number from anything else, truth values included."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def value_of(estimate: Any) -> float | None:
    """Return the value of an estimate (a dict, or a bare number); None where there is none."""
    value = estimate.get("value") if isinstance(estimate, dict) else estimate
    return value if is_number(value) else None


def known(estimate: Any) -> float:
    """Return the value of an estimate that is known to have one."""
    value = value_of(estimate)
    assert value is not None, "callers look first"
    return value


def bounds(estimate: Any) -> tuple[float | None, float | None]:
    """Return both ends of an estimate's interval, None where it has none."""
    low, high = (value_of(estimate.get(end)) if isinstance(estimate, dict) else None for end in ("low", "high"))
    return low, high


def single(estimate: Any) -> bool:
    """Tell whether an estimate rests on one item, which gives no interval."""
    return isinstance(estimate, dict) and estimate.get("n") == 1 and estimate.get("low") is None


def meet(one: Any, other: Any) -> bool:
    """Tell whether two intervals overlap; figures without one meet nowhere."""
    (a, b), (c, d) = bounds(one), bounds(other)
    return a is not None and b is not None and c is not None and d is not None and a <= d and c <= b


def figure_of(report: dict, name: str, path: tuple[str, ...]) -> Any:
    """Return one model's estimate (a dict with a value, or a bare number), None where it was not measured."""
    found = (report.get("models") or {}).get(name)
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return None if value_of(found) is None else found


DRAWS = 2_000
LEVEL = (2.5, 97.5)
Z_95 = 1.959963984540054
CHUNK = 2_000_000
NO_INTERVAL = "one item only: no interval can be given"


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A measured value with its 95% interval and the number of items (or blocks, or trials) behind it.

    One item has no interval: low and high are None.
    """

    value: float
    low: float | None
    high: float | None
    n: int

    def to_json(self) -> dict[str, Any]:
        """Return the report's shape: value, low, high, n; without an interval also "note", which says why."""
        return asdict(self) | ({"note": NO_INTERVAL} if self.low is None else {})


def mean_estimate(samples: ArrayLike, seed: int = 0) -> Estimate:
    """Estimate a mean with a percentile bootstrap over items (Efron and Tibshirani 1993, chapter 13).

    samples: [N], one finite number an item. Where all items are equal the interval has no width: for rates use
    rate_estimate. InputError where there is no item or a number is not finite.
    """
    samples_N = _finite("samples", samples)
    draws_R = np.concatenate([samples_N[pick_RN].mean(axis=1) for pick_RN in _resamples(len(samples_N), seed)])
    return _between(float(samples_N.mean()), draws_R, len(samples_N))


def rate_estimate(k: int, n: int) -> Estimate:
    """Estimate a rate, k successes in n trials, with Wilson's score interval (Wilson 1927)."""
    if n < 1 or not 0 <= k <= n:
        raise InputError(f"A rate needs 0 <= k <= n and n >= 1, got k = {k} of n = {n}.")
    share, weight = k / n, Z_95**2 / n
    if n == 1:
        return Estimate(value=share, low=None, high=None, n=1)
    middle = (share + weight / 2) / (1 + weight)
    half = Z_95 / (1 + weight) * math.sqrt(share * (1 - share) / n + weight / (4 * n))
    # At k = 0 and k = n the bound is exact; rounding would leave 1e-17.
    low, high = (0.0 if k == 0 else middle - half), (1.0 if k == n else middle + half)
    return Estimate(value=share, low=low, high=high, n=int(n))


def ratio_estimate(
    sum_values: ArrayLike, counts: ArrayLike, seed: int = 0, transform: Callable[[np.ndarray], np.ndarray] = np.exp
) -> Estimate:
    """Estimate exp(sum of values / sum of counts), the perplexity, with a bootstrap over blocks.

    sum_values: [N] summed negative log-likelihood of each block, in nats; counts: [N] its scored tokens. Blocks without
    a token add nothing. `transform=np.asarray` gives the plain ratio. InputError on unequal lengths or no tokens.
    """
    values_N, counts_N = _finite("sum_values", sum_values), _finite("counts", counts)
    if values_N.shape != counts_N.shape or (counts_N < 0).any():
        raise InputError(f"Expected one count >= 0 a block, got {len(values_N)} blocks and {len(counts_N)} counts.")
    values_N, counts_N = values_N[counts_N > 0], counts_N[counts_N > 0]
    if not len(counts_N):
        raise InputError("Perplexity needs one block with a scored token at least, got none.")
    draws_R = np.concatenate(
        [values_N[pick_RN].sum(axis=1) / counts_N[pick_RN].sum(axis=1) for pick_RN in _resamples(len(counts_N), seed)]
    )
    value = float(transform(values_N.sum() / counts_N.sum()))
    return _between(value, transform(draws_R), len(counts_N))


def paired_difference(before: ArrayLike, after: ArrayLike, seed: int = 0) -> Estimate:
    """Estimate mean(after - before) over items that both models were asked, each item drawn for both at once.

    before, after: [N], one number an item in one order. What the items share cancels, so the interval is narrower than
    the two models' own ones suggest. InputError where the two do not have the same items.
    """
    before_N, after_N = _finite("before", before), _finite("after", after)
    if len(before_N) != len(after_N):
        raise InputError(f"A paired difference needs the same items twice, got {len(before_N)} and {len(after_N)}.")
    return mean_estimate(after_N - before_N, seed)


def mcnemar(before: ArrayLike, after: ArrayLike) -> float:
    """Return p of McNemar's exact test: did one of two models answer more of the same questions rightly?

    before, after: [N] of right (1) and wrong (0). Only questions that the two answer differently count; where there is
    none, p is 1 (McNemar 1947; two-sided, binomial).
    """
    before_N, after_N = _finite("before", before), _finite("after", after)
    if len(before_N) != len(after_N) or not np.isin([*before_N, *after_N], (0, 1)).all():
        raise InputError("McNemar's test needs right (1) or wrong (0) of the same questions, of both models.")
    lost, gained = int(np.sum(before_N > after_N)), int(np.sum(after_N > before_N))
    n, least = lost + gained, min(lost, gained)
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(least + 1)) / 2**n)


def over_runs(values: ArrayLike, seed: int = 0) -> dict[str, Any]:
    """Return the figure of a number over whole runs that differ in their seed alone, each run one item.

    One run has no interval, and "note" says so: its intervals over prompts say nothing about another seed.
    """
    values_R = _finite("runs", values)
    if len(values_R) > 1:
        return mean_estimate(values_R, seed).to_json()
    return {"value": float(values_R[0]), "low": None, "high": None, "n": 1, "note": "one run: no interval over seeds"}


def number(value: float) -> str:
    """Write a measurement with the digits that a reader can use: 690, 24.1, 5.71, 0.027, 0.0008."""
    return f"{value:.{decimals(value)}f}" if value == 0 or abs(value) >= 1e-4 else f"{value:.0e}"


def decimals(value: float) -> int:
    """Return how many decimals `number` gives a value."""
    size = abs(value)
    if size == 0 or size >= 100:
        return 0
    if size < 0.0095:
        return 4
    return 1 if size >= 10 else 2 if size >= 1 else 3


def _resamples(n: int, seed: int) -> Iterator[np.ndarray]:
    """Yield item numbers drawn with replacement, [R, N], in pieces that bound the memory."""
    generator = np.random.default_rng(seed)
    rows = max(1, min(DRAWS, CHUNK // n))
    for first in range(0, DRAWS, rows):
        yield generator.integers(0, n, size=(min(rows, DRAWS - first), n))


def _between(value: float, draws_R: np.ndarray, n: int) -> Estimate:
    if n == 1:
        return Estimate(value=value, low=None, high=None, n=1)
    low, high = np.percentile(draws_R, LEVEL)
    return Estimate(value=value, low=float(low), high=float(high), n=n)


def _finite(name: str, values: ArrayLike) -> np.ndarray:
    values_N = np.asarray(values, np.float64)
    if values_N.ndim != 1 or not values_N.size:
        raise InputError(f"{name}: expected one number an item, and one item at least, got shape {values_N.shape}.")
    if not np.isfinite(values_N).all():
        first = int(np.flatnonzero(~np.isfinite(values_N))[0])
        raise InputError(f"{name}: item {first} is {values_N[first]}; an interval needs finite numbers.")
    return values_N

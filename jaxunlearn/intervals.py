"""95% confidence intervals in closed form: arrays in, (low, high) out, over any leading axes.

Each is chosen by how often it holds the true value in simulation, also of few items: `python tests/tools/coverage.py`
prints the table that stands in docs/metrics.md. No random numbers are drawn.
"""

from typing import Any

import numpy as np
from scipy import special

Numbers = float | np.ndarray  # one, or an array of them
Bounds = tuple[Any, Any]
Z = 1.959963984540054  # the normal distribution's 97.5% point
STEPS = 60  # halvings of an interval of length 1: to 1e-18
FAR = 700.0  # exp overflows beyond
LEAST = 0.9  # degrees of freedom below which Student's interval of a ratio says nothing
REVISION = 3  # of how intervals are made: part of what a kept measurement depends on


def t_95(df: Numbers) -> Any:
    """Return Student's 97.5% point by degrees of freedom, which need not be whole."""
    return special.stdtrit(df, 0.975)


def student(value: Numbers, error: Numbers, df: Numbers) -> Bounds:
    """Return value -+ t times its standard error. Exact for means of normal numbers, at any n from 2 on."""
    half = t_95(df) * error
    return value - half, value + half


def bounded(place: Numbers, error: Numbers, n: Numbers) -> Bounds:
    """Return Student's interval on the logit scale, of a mean of n numbers from 0 to 1; it stays between 0 and 1.

    place: the mean, error: its standard error. Where all numbers are equal there is no spread to go by, and it is
    Wilson's interval for n trials, since no numbers from 0 to 1 of that mean vary more. It covers 93 to 97% of
    bell-shaped and mildly skewed numbers at any n. Of numbers that pile up at 0 with a few large ones, no interval from
    n = 3 can know the ones it has not met: 86 to 92% up to n = 12, 92 to 94% from 39 on.
    """
    place, n = np.asarray(place, np.float64), np.asarray(n)
    spread = place * (1 - place)
    varied = (spread > 0) & (np.asarray(error) > 0)
    safe = np.where(varied, place, 0.5)
    half = np.minimum(t_95(n - 1) * error / np.where(varied, spread, 1), FAR)
    low, high = special.expit(special.logit(safe) - half), special.expit(special.logit(safe) + half)
    ends = wilson(place, n)
    return np.where(varied, low, ends[0]), np.where(varied, high, ends[1])


def wilson(share: Numbers, n: Numbers) -> Bounds:
    """Return Wilson's score interval of a share of n independent trials (Wilson 1927); n need not be whole.

    It covers 95% on average over true shares; for single shares near 0 or 1 it can be a few points off, because
    counts are whole numbers.
    """
    share, weight = np.asarray(share, np.float64), Z**2 / np.asarray(n, np.float64)
    middle = (share + weight / 2) / (1 + weight)
    half = Z / (1 + weight) * np.sqrt(share * (1 - share) * weight / Z**2 + weight**2 / (4 * Z**2))
    # At the ends the bound is exact; rounding would leave 1e-17.
    return np.where(share == 0, 0.0, middle - half), np.where(share == 1, 1.0, middle + half)


def clustered(successes: Numbers, trials: Numbers) -> Bounds:
    """Return Wilson's interval for the effective number of trials, where trials of one cluster are alike.

    successes, trials: [..., C] of each cluster, for example of each prompt and its sampled completions; two clusters at
    least. The effective number is N / design effect (Kish 1965; in Wilson's interval: Dean and Pagano 2015). The design
    effect is the variance between clusters over that of independent trials, from 1 to m, which it is where a cluster
    always agrees (m: the mean size, weighted by size). It is averaged: m for one cluster, and what was found for every
    cluster that departs from "never" or from "always", whichever is rarer. Hence without a success the interval is
    Wilson's for as many trials as clusters, one success is not taken for the only one there can be, and with one trial
    a cluster it is Wilson's. It covers 93 to 97% on average over true shares from 5 clusters on, a little more below.
    """
    hits_C, size_C = np.asarray(successes, np.float64), np.asarray(trials, np.float64)
    C, total = size_C.shape[-1], size_C.sum(axis=-1)
    share, most = hits_C.sum(axis=-1) / total, (size_C**2).sum(axis=-1) / total
    spread = ((hits_C - share[..., None] * size_C) ** 2).sum(axis=-1) * C / (C - 1) / total**2
    alone = share * (1 - share) / (total - 1)
    found = np.clip(spread / np.where(alone > 0, alone, 1), 1, most)
    seen = np.minimum((hits_C > 0).sum(axis=-1), (hits_C < size_C).sum(axis=-1))
    effect = (seen * found + most) / (seen + 1)
    return wilson(share, total / effect)


def ratio_error(values: Numbers, counts: Numbers) -> tuple[Any, Any, Any]:
    """Return (ratio, standard error, degrees of freedom) of sum of values / sum of counts, both [..., N] by block.

    The error is the jackknife's. Blocks of unequal counts weigh unequally: n of them tell as much as
    1 / sum of squared weights equal ones, which gives the degrees of freedom (Satterthwaite).
    """
    values_N, counts_N = np.asarray(values, np.float64), np.asarray(counts, np.float64)
    N, total = values_N.shape[-1], counts_N.sum(axis=-1, keepdims=True)
    ratio = values_N.sum(axis=-1, keepdims=True) / total
    left_out_N = (values_N - ratio * counts_N) / (total - counts_N)
    error = np.sqrt((N - 1) / N * (left_out_N**2).sum(axis=-1))
    return ratio[..., 0], error, 1 / ((counts_N / total) ** 2).sum(axis=-1) - 1


def of_ratio(values: np.ndarray, counts: np.ndarray) -> Bounds | None:
    """Return Student's interval of sum of values / sum of counts, cut at FAR; None below LEAST degrees of freedom.

    values, counts: [N], by block. Two blocks, one of which is twice as long as the other, are below.
    """
    if len(counts) < 2:
        return None
    ratio, error, df = ratio_error(values, counts)
    if df < LEAST:
        return None
    low, high = student(ratio, error, df)
    return low, np.minimum(high, FAR)


def auc(wins: Numbers) -> Bounds:
    """Return the interval of an AUC from wins [N, M]: 1, 1/2 or 0 for every pair of the two kinds of items.

    Newcombe's method 5 (2006): the values whose own variance, by Hanley and McNeil, explains what was found. It holds
    for two items of either kind and for an AUC of 0 or 1. Where the items themselves vary more (DeLong 1988), their
    variance counts.
    """
    wins_NM = np.asarray(wins, np.float64)
    N, M = wins_NM.shape
    found = float(wins_NM.mean())
    own = wins_NM.mean(axis=1).var(ddof=1) / N + wins_NM.mean(axis=0).var(ddof=1) / M

    def variance(x: float) -> float:
        more = ((N + M) / 2 - 1) * ((1 - x) / (2 - x) + x / (1 + x))
        return x * (1 - x) * (1 + more) / (N * M)

    wider = max(1.0, own / variance(found)) if 0 < found < 1 else 1.0

    def end(outer: float) -> float:
        near, far = found, outer
        for _ in range(STEPS if outer != found else 0):
            middle = (near + far) / 2
            inside = (middle - found) ** 2 <= Z**2 * wider * variance(middle)
            near, far = (middle, far) if inside else (near, middle)
        return near

    return end(0.0), end(1.0)

"""What guessing gives an attack that reports its best of many tries."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from jaxunlearn.estimates import Estimate

DRAWS = 2_000  # of the right answers


def best_by_guessing(chosen: ArrayLike, options: Sequence[int], seed: int = 0) -> Estimate:
    """Estimate the best accuracy over several tries when the options they chose have nothing to do with the answers.

    chosen: [P, N], the option chosen at each of P points (rates and epochs, or layers) for each of N facts. options:
    [N], how many each fact has. The right answers are drawn anew, uniformly, DRAWS times; the choices stay, and with
    them what the points have in common. value: the mean of the best; low, high: its 2.5% and 97.5% quantiles.
    """
    chosen_PN, options_N = np.asarray(chosen), np.asarray(options)
    n = len(options_N)
    answers_RN = np.floor(np.random.default_rng(seed).random((DRAWS, n)) * options_N)
    best_R = np.max([(answers_RN == chosen_N).mean(axis=1) for chosen_N in chosen_PN], axis=0)
    if n == 1:
        return Estimate(value=float(best_R.mean()), low=None, high=None, n=1)
    low, high = np.percentile(best_R, (2.5, 97.5))
    return Estimate(value=float(best_R.mean()), low=float(low), high=float(high), n=n)

"""How often each interval that the project prints holds the true value, by simulation."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special

from jaxunlearn import intervals
from jaxunlearn.estimates import SHARE, over_runs
from jaxunlearn.evals.differences import paired, paired_ratio, share_of_way
from jaxunlearn.evals.membership import auc_figure
from jaxunlearn.evals.muse import LEAST, muse_auc, privleak_figure
from jaxunlearn.evals.tofu import UTILITY_SCORES, UTILITY_SETS, model_utility

SIZES = (2, 3, 5, 12, 39)
SAMPLES = 5  # completions of a prompt
Generator = np.random.Generator


@dataclass(frozen=True, kw_only=True)
class Case:
    """One interval and one kind of data.

    cover: (generator, n, trials) -> whether the interval held the true value, one entry a trial, or its chance.
    band: what its coverage must lie in; where it is not 93 to 97%, `why` says why.
    slow: calls a function once a trial, so tests take fewer trials.
    """

    interval: str
    data: str
    cover: Callable[[Generator, int, int], np.ndarray]
    sizes: tuple[int, ...] = SIZES
    band: tuple[float, float] = (0.93, 0.97)
    why: str = ""
    slow: bool = False


def held(bounds: intervals.Bounds, truth: Any) -> np.ndarray:
    """Return whether each interval holds the truth; the last digit decides nothing."""
    low, high = bounds
    return (low <= truth + 1e-12) & (truth <= high + 1e-12)


def _ends(found: Any) -> tuple[float, float]:
    made = found if isinstance(found, dict) else found.to_json()
    return made["low"], made["high"]


def _each(make: Callable[[int], Any], trials: int, truth: float) -> np.ndarray:
    ends = np.array([_ends(make(r)) for r in range(trials)])
    return held((ends[:, 0], ends[:, 1]), truth)


def _mean_error(x_RN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return x_RN.mean(axis=1), x_RN.std(axis=1, ddof=1) / np.sqrt(x_RN.shape[1])


# ---- means, runs, differences


def normal_mean(g: Generator, n: int, trials: int) -> np.ndarray:
    x_RN = g.normal(3, 2, (trials, n))
    return held(intervals.student(*_mean_error(x_RN), n - 1), 3.0)


def runs(g: Generator, n: int, trials: int) -> np.ndarray:
    x_RN = g.normal(0.3, 0.1, (trials, n))
    return _each(lambda r: over_runs(x_RN[r], SHARE), trials, 0.3)


def beta_mean(a: float, b: float) -> Callable[[Generator, int, int], np.ndarray]:
    def cover(g: Generator, n: int, trials: int) -> np.ndarray:
        return held(intervals.bounded(*_mean_error(g.beta(a, b, (trials, n))), n), a / (a + b))

    return cover


def points(g: Generator, n: int, trials: int) -> np.ndarray:
    """Graded completions, 5 or 1 or 0 points, SAMPLES a prompt, whose shares differ by prompt."""
    shares_RN3 = g.dirichlet((0.4, 0.4, 1.2), (trials, n))
    x_RN = g.multinomial(SAMPLES, shares_RN3) @ (5, 1, 0) / SAMPLES
    return held(intervals.bounded(*_mean_error(x_RN / 5), n), (0.2 * 5 + 0.2) / 5)


def _paired(before_RN: np.ndarray, after_RN: np.ndarray, truth: float) -> np.ndarray:
    return _each(lambda r: paired(before_RN[r], after_RN[r]), len(before_RN), truth)


def like_difference(g: Generator, n: int, trials: int) -> np.ndarray:
    """Two models that differ by chance alone, prompt by prompt."""
    level_RN = g.beta(2, 5, (trials, n))
    return _paired(level_RN * g.beta(3, 1, (trials, n)), level_RN * g.beta(3, 1, (trials, n)), 0.0)


def fallen_difference(g: Generator, n: int, trials: int) -> np.ndarray:
    """Every prompt falls, few of them far."""
    level_RN = g.beta(2, 5, (trials, n))
    return _paired(level_RN, level_RN * (1 - g.beta(1, 3, (trials, n))), -2 / 7 / 4)


def right_difference(g: Generator, n: int, trials: int) -> np.ndarray:
    """30% of the answers are lost, 10% gained."""
    kind_RN = g.choice([1, -1, 0], (trials, n), p=(0.3, 0.1, 0.6))
    return _paired((kind_RN > 0) * 1.0, (kind_RN < 0) * 1.0, 0.1 - 0.3)


def way_back(share: float, whole: bool = False) -> Callable[[Generator, int, int], np.ndarray]:
    """A model that is `share` of the way back from the twin to the baseline, prompt by prompt more or less.

    whole: that share of the prompts comes back whole, the others not at all.
    """

    def cover(g: Generator, n: int, trials: int) -> np.ndarray:
        low_RN, high_RN = 0.1 * g.beta(1, 5, (trials, n)), g.beta(8, 2, (trials, n))
        if whole:
            ours_RN = np.where(g.random((trials, n)) < share, high_RN, low_RN)
        else:
            ours_RN = low_RN + (high_RN - low_RN) * g.beta(4 * share, 4 * (1 - share), (trials, n))
        found = [share_of_way(low_RN[r], high_RN[r], ours_RN[r]) for r in range(trials)]
        ends = np.array([_ends(e) for e in found if e is not None])  # None: no share can be given
        return held((ends[:, 0], ends[:, 1]), share)

    return cover


# ---- rates


def binomial(n: int, p_P: np.ndarray) -> np.ndarray:
    """Return [P, n + 1], the chance of every count."""
    k_K = np.arange(n + 1)
    return special.binom(n, k_K) * p_P[:, None] ** k_K * (1 - p_P[:, None]) ** (n - k_K)


def rate(g: Generator, n: int, trials: int) -> np.ndarray:
    """Exact, over true rates spread evenly from 0 to 1."""
    p_P = (np.arange(200) + 0.5) / 200
    inside_PK = held(intervals.wilson(np.arange(n + 1) / n, n), p_P[:, None])
    return (binomial(n, p_P) * inside_PK).sum(axis=1)


def sampled(alike: float) -> Callable[[Generator, int, int], np.ndarray]:
    """Completions of n prompts, SAMPLES each; alike: their correlation within a prompt, over true shares."""

    def cover(g: Generator, n: int, trials: int) -> np.ndarray:
        shares_R = g.choice([0.05, 0.1, 0.2, 0.35, 0.5], trials)
        spread = (1 - alike) / alike
        of_prompt_RC = g.beta(shares_R[:, None] * spread, (1 - shares_R[:, None]) * spread, (trials, n))
        return held(intervals.clustered(g.binomial(SAMPLES, of_prompt_RC), np.full(n, SAMPLES)), shares_R)

    return cover


# ---- running text


def perplexity(g: Generator, n: int, trials: int) -> np.ndarray:
    """Blocks of equal length, the last one cut."""
    counts_RN = np.full((trials, n), 200)
    counts_RN[:, -1] = g.integers(20, 200, trials)
    sums_RN = counts_RN * g.normal(3, 0.4, (trials, n))
    return held(intervals.student(*intervals.ratio_error(sums_RN, counts_RN)), 3.0)


def uneven_perplexity(g: Generator, n: int, trials: int) -> np.ndarray:
    """Blocks of 20 to 200 scored tokens; the nats of a block are skewed."""
    counts_RN = g.integers(20, 200, (trials, n))
    sums_RN = counts_RN * g.gamma(9, 1 / 3, (trials, n))
    return held(intervals.student(*intervals.ratio_error(sums_RN, counts_RN)), 3.0)


def perplexity_ratio(g: Generator, n: int, trials: int) -> np.ndarray:
    """Two models on the same uneven blocks, the second .1 nats a token worse."""
    counts_RN = g.integers(20, 200, (trials, n))
    level_RN, worse_RN = g.gamma(9, 1 / 3, (trials, n)), g.normal(0.1, 0.05, (trials, n))
    sums_RN, after_RN = counts_RN * level_RN, counts_RN * (level_RN + worse_RN)
    found = [paired_ratio(sums_RN[r], after_RN[r], counts_RN[r]) for r in range(trials)]
    ends = np.array([_ends(e) for e in found if e is not None])  # None: blocks too unequal
    return held((ends[:, 0], ends[:, 1]), float(np.exp(0.1)))


# ---- membership, TOFU


def membership(apart: float) -> Callable[[Generator, int, int], np.ndarray]:
    def cover(g: Generator, n: int, trials: int) -> np.ndarray:
        forget_RN, holdout_RN = g.normal(0, 1, (trials, n)), g.normal(apart, 1, (trials, n))
        return _each(lambda r: auc_figure(forget_RN[r], holdout_RN[r]), trials, float(special.ndtr(apart / 2**0.5)))

    return cover


def privleak(g: Generator, n: int, trials: int) -> np.ndarray:
    """Two models whose scores of one text are correlated by 0.7; AUC as MUSE counts it .64 and .5."""
    ours, theirs = [], []
    for kind_is_forget in (True, False):
        base_RN = g.normal(size=(trials, n))
        theirs.append(0.7 * base_RN + 0.51**0.5 * g.normal(size=(trials, n)))
        ours.append(base_RN + 0.5 * kind_is_forget)
    truth = 100 * (float(special.ndtr(0.5 / 2**0.5)) / 0.5 - 1)
    pairs = [((ours[0][r], ours[1][r]), (theirs[0][r], theirs[1][r])) for r in range(trials)]
    found = [privleak_figure(one, other) for one, other in pairs if muse_auc(*other) > 0]
    given = np.array([_ends(f) for f in found if f["low"] is not None])
    return held((given[:, 0], given[:, 1]), truth)


def utility(g: Generator, n: int, trials: int) -> np.ndarray:
    means = np.array([[0.9, 0.8, 0.5], [0.5, 0.8, 0.6], [0.4, 0.9, 0.5]])
    tables = [g.beta(8 * m, 8 * (1 - m), (trials, n, 3)) for m in means]

    def one(r: int) -> dict:
        return model_utility(
            {
                name: {score: tables[s][r, :, j] for j, score in enumerate(UTILITY_SCORES)}
                for s, name in enumerate(UTILITY_SETS)
            }
        )

    return _each(one, trials, float(9 / np.sum(1 / means)))


# ---- the table

PILED = "numbers that pile up at 0 with a few large ones: few items do not show how large they can be"
WHOLE = "counts are whole numbers: with so few, coverage can only jump"
FEW = "2, 3 or 5 prompts: wide on purpose"
AGREED = "two prompts often agree, which does not show how far others lie: wide on purpose"
INVENTED = "two invented items: wide on purpose, since a few items that agree do not show one that comes back whole"


def paired_case(interval: str, data: str, cover: Callable[[Generator, int, int], np.ndarray], **more: Any) -> Case:
    """Return the case of a paired interval with two invented items, which must cover 93% at least."""
    band = {"sizes": (*SIZES, 60), "band": (0.93, 1.0)} | more
    return Case(interval=interval, data=data, cover=cover, slow=True, why=INVENTED, **band)


CASES = (
    Case(interval="mean (Student)", data="normal", cover=normal_mean),
    Case(interval="several seeds (Student)", data="normal", cover=runs, slow=True, sizes=(2, 3, 5, 12)),
    Case(interval="mean of probabilities", data="beta(2, 5), mean .29", cover=beta_mean(2, 5)),
    Case(interval="mean of probabilities", data="beta(2, 60), mean .03", cover=beta_mean(2, 60)),
    Case(interval="mean of probabilities", data="beta(5, 1), mean .83", cover=beta_mean(5, 1)),
    Case(interval="mean of probabilities", data="beta(.5, 10), piled up at 0", cover=beta_mean(0.5, 10),
         band=(0.90, 0.96), why=PILED),
    Case(interval="familiarity of completions", data="5 samples a prompt", cover=points, sizes=(*SIZES[1:], 60)),
    Case(interval="familiarity of completions", data="5 samples a prompt", cover=points, sizes=(2,), band=(0.97, 1.0),
         why=AGREED),
    Case(interval="rate (Wilson)", data="average over true rates", cover=rate),
    Case(interval="share of sampled completions", data="5 samples a prompt, correlated by .3", cover=sampled(0.3),
         sizes=(12, 39, 60)),
    Case(interval="share of sampled completions", data="5 samples a prompt, correlated by .3", cover=sampled(0.3),
         sizes=(2, 3, 5), band=(0.93, 0.99), why=FEW),
    Case(interval="share of sampled completions", data="5 samples a prompt, correlated by .9", cover=sampled(0.9),
         sizes=(*SIZES, 60)),
    Case(interval="perplexity", data="equal blocks, the last one cut", cover=perplexity, band=(0.93, 0.98),
         why="two blocks of unequal length"),
    Case(interval="perplexity", data="20 to 200 tokens a block, skewed", cover=uneven_perplexity, band=(0.93, 0.98),
         why="two blocks of unequal length"),
    paired_case("difference of probabilities, paired", "up or down by chance", like_difference),
    paired_case("difference of probabilities, paired", "all fall, few of them far", fallen_difference),
    paired_case("difference of right answers, paired", "30% lost, 10% gained", right_difference),
    paired_case("share of the way back, paired", "half of the way, prompt by prompt", way_back(0.5)),
    paired_case("share of the way back, paired", "one prompt in five comes back whole", way_back(0.2, whole=True)),
    Case(interval="ratio of perplexities, paired", data="20 to 200 tokens a block", cover=perplexity_ratio, slow=True,
         sizes=(3, 5, 12, 39)),
    Case(interval="membership AUC", data="true AUC .5, n of either kind", cover=membership(0.0), slow=True,
         sizes=(5, 12, 39, 60)),
    Case(interval="membership AUC", data="true AUC .8, n of either kind", cover=membership(1.19), slow=True,
         sizes=(3, 5, 12, 39, 60), band=(0.93, 0.985), why=WHOLE),
    Case(interval="membership AUC", data="true AUC .5, n of either kind", cover=membership(0.0), slow=True,
         sizes=(2, 3), band=(0.88, 1.0), why=WHOLE),
    Case(interval="PrivLeak", data="n of either kind, two models", cover=privleak, slow=True, sizes=(12, 39, 60)),
    Case(interval="PrivLeak", data="n of either kind, two models", cover=privleak, slow=True, sizes=(LEAST,),
         band=(0.93, 1.0), why=WHOLE),
    Case(interval="TOFU model utility", data="beta, n questions a set", cover=utility, slow=True, sizes=(2, 5, 39),
         band=(0.93, 0.975), why="two questions a set"),
)  # fmt: skip


def covered(case: Case, n: int, trials: int, seed: int = 0) -> float:
    """Return how often a case's interval holds the true value at a size, 0 to 1."""
    return float(np.mean(case.cover(np.random.default_rng([seed, n]), n, trials)))


def table(trials: int, slow: int) -> Iterator[str]:
    """Yield the lines of a Markdown table of all cases: coverage in percent by size."""
    sizes = (*SIZES, 60)
    yield "| interval | data | " + " | ".join(f"n = {n}" for n in sizes) + " |"
    yield "|---" * (len(sizes) + 2) + "|"
    rows: dict[tuple[str, str], dict[int, str]] = {}
    for case in CASES:
        row = rows.setdefault((case.interval, case.data), {})
        for n in case.sizes:
            row[n] = f"{100 * covered(case, n, slow if case.slow else trials):.1f}"
    for (interval, data), row in rows.items():
        yield f"| {interval} | {data} | " + " | ".join(row.get(n, "") for n in sizes) + " |"

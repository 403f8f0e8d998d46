"""Perplexity, entropy and the fitted temperature of running text."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxunlearn.config import Eval
from jaxunlearn.estimates import ratio_estimate
from jaxunlearn.evals.base import Metric
from jaxunlearn.evals.suite import Suite
from jaxunlearn.kernels.linear_cross_entropy import IGNORE
from jaxunlearn.models.scoring import Text, block_sums, over_chunks
from jaxunlearn.parallel.sharding import put

GRID = 13  # temperatures a sweep
LEAST, MOST = 0.4, 4.0


# ---- running text


def text_figures(model, suite: Suite) -> dict:
    """Return perplexity (raw, and at one temperature fitted on other blocks), entropy in nats, and that temperature.

    The temperature is fitted on suite.fit (at_bound says whether it ended at a bound of the grid).
    """
    found: dict[str, Any] = {"perplexity": {}, "entropy": {}, "items": {}}
    for name, text in suite.texts.items():
        nll_N, entropy_N, count_N = block_sums(model, text, suite.c, 1.0)
        found["perplexity"][name] = ratio_estimate(nll_N, count_N).to_json()
        found["items"][f"{name} text, perplexity"] = _by_block(nll_N, count_N)
        found["entropy"][name] = ratio_estimate(entropy_N, count_N, transform=np.asarray).to_json()
    if suite.fit:
        found["temperature"] = t = fit_temperature(model, suite.fit, suite.c)
        for name, text in suite.texts.items():
            nll_N, _, count_N = block_sums(model, text, suite.c, t)
            found["perplexity"][f"{name}_fitted"] = ratio_estimate(nll_N, count_N).to_json()
            found["items"][f"{name} text, perplexity, temperature fitted"] = _by_block(nll_N, count_N)
    return found


def _by_block(nll_N, count_N) -> dict[str, list]:
    """Return what a ratio of two models' perplexities is made of (differences.py)."""
    return {"sums": np.asarray(nll_N, float).tolist(), "counts": np.asarray(count_N, int).tolist()}


def fit_temperature(model, text: Text, c: Eval) -> float:
    """Return the temperature that minimises the loss on (at most one batch of) a text, to about 1%.

    Two sweeps over a grid, all of a grid's temperatures in one pass; LEAST to MOST.
    """
    n = min(c.batch, c.blocks, len(text.tokens_NT))
    rows = np.minimum(np.arange(c.batch), n - 1)
    labels_BT = np.where((np.arange(c.batch) < n)[:, None], text.labels_NT[rows], IGNORE).astype(np.int32)
    arrays = put(text.tokens_NT[rows], "BT"), put(labels_BT, "BT")
    low, high = math.log(LEAST), math.log(MOST)
    for _ in range(2):
        grid = np.linspace(low, high, GRID)
        best = int(np.argmin(_losses_at(model, *arrays, jnp.asarray(np.exp(grid), jnp.float32))))
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, GRID - 1)]
    return math.exp(grid[best])


def at_bound(temperature: float) -> bool:
    """Return whether a fitted temperature is the least or the greatest of the grid: a better one lies beyond it."""
    return temperature <= LEAST * 1.001 or temperature >= MOST / 1.001


@jax.jit
def _losses_at(model, tokens_BT, labels_BT, temperatures):
    """Return the summed loss in nats at each temperature, from one forward pass."""

    def at(logits_BTV, valid_BT, picked_BT):
        def one(t):
            norm_BT = jax.nn.logsumexp(logits_BTV / t, axis=-1)
            return jnp.sum(jnp.where(valid_BT, norm_BT - picked_BT / t, 0))

        return jax.lax.map(one, temperatures)

    return over_chunks(model, tokens_BT, labels_BT, at, jnp.zeros(temperatures.shape))


PERPLEXITY = Metric(
    name="perplexity",
    title="Running text",
    about="perplexity, raw and at the temperature that fits retain text best, and entropy of held-out text",
    measure=lambda model, context: text_figures(model, context.suite),
    applies=lambda context: bool(context.suite.texts),
    depends=lambda context: "sums by block",
    often=True,
)

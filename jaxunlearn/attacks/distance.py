"""Distance to the baseline: how far the weights moved, layer by layer, and the loss on the straight way back.

Diagnostics, not attacks. A model whose weights lie near the baseline's, with no barrier of loss between them, comes
back easily: the distance and the barrier predict it better than what the model says (arXiv 2505.22310). The barrier
after Frankle et al., arXiv 1912.05671: the most that the loss on the way lies above the straight line between its ends.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import FiniteFloat

from jaxunlearn.attacks.base import FILTER, STRESS, Attack, Target
from jaxunlearn.evals.suite import Suite
from jaxunlearn.files import sha256_text
from jaxunlearn.models.scoring import block_sums
from jaxunlearn.models.weights import is_layered
from jaxunlearn.parallel.sharding import fetch, replicated
from jaxunlearn.report.schema import Form


def distances(model, baseline) -> dict[str, Any]:
    """Return relative L2 distances ||w - w0|| / ||w0||: {"all", "layers" (in order), "ends" (what is in no layer)}."""
    moved, size = _squares(model, baseline), _squares(baseline)
    named = jax.tree_util.tree_leaves_with_path(baseline)
    layered = [is_layered(path) for path, _ in named]

    def total(squares: list[np.ndarray], of_layers: bool) -> np.ndarray:
        return sum((s for s, there in zip(squares, layered, strict=True) if there == of_layers), start=np.zeros(()))

    layers_L, ends = (np.sqrt(total(moved, of) / total(size, of)) for of in (True, False))
    whole = np.sqrt(sum(s.sum() for s in moved) / sum(s.sum() for s in size))
    return {"all": float(whole), "layers": [float(d) for d in layers_L], "ends": float(ends)}


def _squares(a, b=None) -> list[np.ndarray]:
    """Return the summed squares of each weight of a, or of a - b; of stacked weights one a layer."""
    return [np.asarray(fetch(s), np.float64) for s in (_summed(a) if b is None else _summed_difference(a, b))]


@jax.jit
def _summed(a):
    return _sums_of(a)


@jax.jit
def _summed_difference(a, b):
    return _sums_of(jax.tree.map(lambda x, y: x.astype(jnp.float32) - y.astype(jnp.float32), a, b))


def _sums_of(tree) -> list:
    def summed(path, w):
        return replicated(jnp.sum(jnp.square(w.astype(jnp.float32)), axis=tuple(range(int(is_layered(path)), w.ndim))))

    return [summed(path, w) for path, w in jax.tree_util.tree_leaves_with_path(tree)]


@jax.jit
def between(baseline, model, share):
    """Return the weights (1 - share) baseline + share model, in fp32, in the dtype of the first."""

    def mixed(a, b):
        return ((1 - share) * a.astype(jnp.float32) + share * b.astype(jnp.float32)).astype(a.dtype)

    return jax.tree.map(mixed, baseline, model)


def path(baseline, model, suite: Suite, points: int, blocks: int) -> dict[str, list[float]]:
    """Return the mean loss, in nats a token, on each text at equal steps from the baseline to the model.

    "share" is how far along each step is.
    """
    found: dict[str, list[float]] = {"share": np.linspace(0, 1, points).tolist()}
    for share in found["share"]:
        mixed = between(baseline, model, jnp.float32(share))
        for name, text in suite.texts.items():
            nll_N, _, count_N = block_sums(mixed, text, suite.c, 1.0, blocks)
            found.setdefault(name, []).append(float(nll_N.sum() / count_N.sum()))
    return found


def barrier(way: Mapping[str, Sequence[float]], name: str) -> float:
    """Return the most that a text's loss lies above the straight line between the two ends of a way, at least 0."""
    loss, share = np.asarray(way[name]), np.asarray(way["share"])
    return max(0.0, float(np.max(loss - loss[0] - share * (loss[-1] - loss[0]))))


def attack_distance(target: Target) -> dict[str, dict]:
    """Measure how far each model's weights lie from the baseline's, and the loss on the straight way."""
    run, c = target.run, target.run.config.attack.distance
    texts = {n: sha256_text(repr(t.tokens_NT[: c.blocks].tolist())) for n, t in run.suite.texts.items()}
    depends = [c.points, c.blocks, texts, target.hash("baseline") if target.main("baseline") else ""]
    others = [name for name in target.folders if name not in ("baseline", STRESS, FILTER)]

    def make(of: str) -> dict:
        baseline, model = target.load("baseline"), target.load(of)  # rounding hides what moves less than a step of bf16
        found = distances(model, baseline)
        baseline, model = target.load("baseline", frozen=True), target.load(of, frozen=True)
        return found | {"way": path(baseline, model, run.suite, c.points, c.blocks)}

    if not others:
        return {}
    found = {name: target.kept("distance", of, depends, lambda of=of: make(of)) for name, of in target.weights(*others)}
    return {name: of | {"barrier": {text: barrier(of["way"], text) for text in texts}} for name, of in found.items()}


class Distance(Form):
    """Relative L2 distance to the baseline, the loss on the straight way to it, and the barrier there, in nats."""

    all: FiniteFloat
    layers: list[FiniteFloat]
    ends: FiniteFloat
    way: dict[str, list[FiniteFloat]]
    barrier: dict[str, FiniteFloat]


DISTANCE = Attack(
    name="distance",
    title="Distance to the baseline",
    tries="Measure how far the weights moved, and the loss on held-out text on the straight way to the baseline.",
    control="The twin, which was trained apart from the baseline, and every other model of the run.",
    run=attack_distance,
    form=dict[str, Distance],
)

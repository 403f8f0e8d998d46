"""The unlearning depth score (UDS): how much of what the baseline knows its layers still find in a model's states.

Source: Lee, Kim & Jo, arXiv 2605.24614, eqs. 1 to 6. A model's residual stream after layer l, at the positions that
predict the target's word, takes the place of the baseline's, and the baseline goes on from there. What this costs in
log-probability is
    D_l(model) = mean over the word's tokens of (log p - log p after patching layer l).
The layers where the twin's states cost more than a threshold hold the knowledge. There, clip(D_l(unlearned) /
D_l(twin), 0, 1) is the share that is gone; weighted by D_l(twin) it is the score of a prompt: 1, as deep as in a model
that never saw the text; 0, all of it is still there. Prompts without such a layer have no score.
Deviation: of several words that a prompt asks for, the one that the baseline finds likeliest.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import Field

from jaxunlearn.attacks.base import STRESS, Attack, Target, lacks_prompts
from jaxunlearn.attacks.halfway import lacks_twin
from jaxunlearn.attacks.relearn import out_of
from jaxunlearn.errors import Diverged
from jaxunlearn.estimates import SHARE, mean_estimate
from jaxunlearn.evals.memorisation import rows_with_labels
from jaxunlearn.evals.prompts import ProbabilityPrompt
from jaxunlearn.evals.suite import Suite
from jaxunlearn.kernels.linear_cross_entropy import IGNORE
from jaxunlearn.kernels.token_nll import token_nll
from jaxunlearn.models.transformer import rope_table
from jaxunlearn.parallel.sharding import fetch, put
from jaxunlearn.report.schema import Figure, Form

WHOLE = -1  # the number of no layer: nothing is patched


@jax.jit
def streams(model, tokens_BT):
    """Return x_LBTD, the residual stream after each layer."""
    return _through(model, tokens_BT, None, jnp.zeros(tokens_BT.shape, bool), WHOLE)[1]


@jax.jit
def patched_logp(model, tokens_BT, labels_BT, source_LBTD, layer):
    """Return logp_BT of the labels, 0 where there is none, after one layer's stream was replaced where there is one."""
    x_BTD, _ = _through(model, tokens_BT, source_LBTD, labels_BT != IGNORE, layer)
    h_BTD = model.normalised(x_BTD)
    return -token_nll(h_BTD, model.output_DV(h_BTD.dtype), labels_BT)


def _through(model, tokens_BT, source_LBTD, at_BT, layer):
    """Return (x_BTD after the last layer, x_LBTD after each), with source_LBTD in place of one layer's at at_BT."""
    x_BTD = model.embed(tokens_BT)
    rope = rope_table(model.c, jnp.arange(tokens_BT.shape[1])[None])

    def step(x_BTD, scanned):
        (block, kind), number, *source = scanned
        x_BTD = block(x_BTD, kind, rope, None)[0]
        for of_BTD in source:
            x_BTD = jnp.where((at_BT & (number == layer))[..., None], of_BTD.astype(x_BTD.dtype), x_BTD)
        return x_BTD, None if source else x_BTD

    numbered = model.layers(), jnp.arange(model.c.L)
    return jax.lax.scan(step, x_BTD, numbered if source_LBTD is None else (*numbered, source_LBTD))


class Asked:
    """Prompts with a word each, as rows of one shape: tokens_NT, and the word's tokens as labels_NT."""

    def __init__(self, suite: Suite, pairs: Sequence[tuple[str, str]]):
        told = [suite.words.told(prompt, word) for prompt, word in pairs]
        width, self.batch, self.count = -(-max(len(a) + len(b) for a, b in told) // 32) * 32, suite.c.batch, len(told)
        full = told + [told[-1]] * (-len(told) % self.batch)
        self.tokens_NT, self.labels_NT = rows_with_labels([a + b for a, b in full], len(full), width)
        for labels_T, (before, _) in zip(self.labels_NT, full, strict=True):
            labels_T[: len(before) - 1] = IGNORE

    def batches(self):
        """Yield (rows, tokens_BT, labels_BT) on the mesh."""
        for start in range(0, len(self.tokens_NT), self.batch):
            rows = slice(start, start + self.batch)
            yield rows, put(self.tokens_NT[rows], "BT"), put(self.labels_NT[rows], "BT")

    def mean(self, logp_NT: np.ndarray) -> np.ndarray:
        """Return logp_N, the mean over each word's tokens. Raises Diverged for one that is not finite."""
        if not np.isfinite(logp_NT).all():
            raise Diverged("a model's log-probabilities are not finite after its states were exchanged")
        return (logp_NT.sum(axis=1) / (self.labels_NT != IGNORE).sum(axis=1))[: self.count]


def logps(baseline, asked: Asked, source=None) -> np.ndarray:
    """Return logp_LN of the words by the baseline with the states of `source` after each layer; without one logp_1N."""
    layers, found = range(baseline.c.L) if source is not None else (WHOLE,), []
    for _, tokens_BT, labels_BT in asked.batches():
        states_LBTD = streams(source if source is not None else baseline, tokens_BT)
        made = [patched_logp(baseline, tokens_BT, labels_BT, states_LBTD, np.int32(n)) for n in layers]
        found.append([fetch(logp_BT) for logp_BT in made])
    return np.stack([asked.mean(np.concatenate(of_layer)) for of_layer in zip(*found, strict=True)])


def score(cost_LN: np.ndarray, twin_LN: np.ndarray, threshold: float) -> list[float | None]:
    """Return each prompt's score from what the states of a model and of the twin cost; None without a layer."""
    found: list[float | None] = []
    for cost_L, twin_L in zip(cost_LN.T, twin_LN.T, strict=True):
        holds = twin_L > threshold
        gone_L = twin_L[holds] * np.clip(cost_L[holds] / twin_L[holds], 0, 1)
        found.append(float(gone_L.sum() / twin_L[holds].sum()) if holds.any() else None)
    return found


def likeliest(baseline, suite: Suite, prompts: Sequence[ProbabilityPrompt]) -> list[tuple[str, str]]:
    """Return each prompt with the one of its words that the baseline finds likeliest."""
    pairs = [(p.prompt, w) for p in prompts for w in p.specific]
    scores = iter(suite.words.probabilities(baseline, pairs))
    return [(p.prompt, max(p.specific, key=lambda _: next(scores))) for p in prompts]


def costs(target: Target, pairs: Sequence[tuple[str, str]], source: str) -> dict[str, list]:
    """Return {"cost": [L][N]}: the log-probability lost with the states of a model after each layer."""
    asked, baseline = Asked(target.run.suite, pairs), target.load("baseline", frozen=True)
    whole_1N = logps(baseline, asked)
    return {"cost": (whole_1N - logps(baseline, asked, target.load(source, frozen=True))).tolist()}


def attack_depth(target: Target) -> dict[str, Any]:
    """Put the states of the unlearned model and of the twin into the baseline, layer by layer."""
    run, c = target.run, target.run.config.attack.depth
    if why := lacks_twin(target):
        target.skip(DEPTH.title, why)
        return {}
    prompts = out_of(run.suite)
    words = target.kept(
        "depth", "baseline", [[p.prompt, *p.specific] for p in prompts],
        lambda: likeliest(target.load("baseline", frozen=True), run.suite, prompts),
    )  # fmt: skip
    pairs = [(prompt, word) for prompt, word in words]
    depends = [pairs, target.hash("baseline")]
    cost = {
        name: np.array(target.kept("depth", of, depends, lambda of=of: costs(target, pairs, of))["cost"])
        for name, of in target.weights("unlearned", "twin", STRESS)
    }
    if not cost.keys() - {"twin"}:
        return {}  # guided models have no states of their own
    found = {}
    for name, cost_LN in cost.items():
        scores = [one for one in score(cost_LN, cost["twin"], c.threshold) if one is not None]
        if name != "twin" and scores:
            made = {"score": mean_estimate(scores, SHARE).to_json(), "without": len(prompts) - len(scores)}
            found[name] = made | {"layers": [float(x) for x in cost_LN.mean(axis=1)]}
    if not found:
        target.skip(DEPTH.title, f"no layer of the twin costs more than attack.depth.threshold = {c.threshold:g} nats")
    return found | ({"twin": {"layers": [float(x) for x in cost["twin"].mean(axis=1)]}} if found else {})


class Depth(Form):
    """The score, how many prompts have none, and what the states after each layer cost, mean nats a token."""

    score: Figure | None = None
    without: int = Field(default=0, ge=0)
    layers: list[float]


DEPTH = Attack(
    name="depth",
    title="Depth of unlearning (UDS)",
    tries="Put a model's states after each layer into the baseline, and measure what of its knowledge is left: 0, all; "
    "1, as little as with the twin's states.",
    control="The twin, whose states set the scale: it has 1, the baseline 0. A model that only hides.",
    run=attack_depth,
    check=lacks_prompts,
    form=dict[str, Depth],
)

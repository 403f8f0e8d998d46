"""Rounding weights to 8 or 4 bits, to see whether what was unlearned comes back: fake quantisation, no extra library.

The matrices of every layer are rounded and put back in their own dtype; embeddings, norms and the head stay, as is
common practice. Groups run along a matrix's input: int8 has one scale an output channel, int4 one for 128 inputs
(symmetric, absmax), nf4 one for 64 (normal float, Dettmers et al., arXiv 2305.14314, appendix E).
"""

from statistics import NormalDist
from typing import Any

import jax
import numpy as np

from jaxunlearn.attacks.base import FILTER, MAIN, Attack, Target
from jaxunlearn.errors import InputError
from jaxunlearn.estimates import SHARE, mean_estimate, rate_estimate, ratio_estimate
from jaxunlearn.evals.suite import option_scores, specific_mass
from jaxunlearn.models.scoring import block_sums
from jaxunlearn.models.weights import is_layered, is_matrix, letters, sides
from jaxunlearn.parallel.sharding import replicated
from jaxunlearn.report.schema import EACH, MODEL, Figures, Graded
from jaxunlearn.run import Run


def key_figures(model, suite) -> dict[str, Any]:
    """Return familiarity, leak probability, general accuracy and retain perplexity: what an attack may change.

    "items" is the familiarity of each prompt.
    """
    p = suite.prompts
    found: dict[str, Any] = {}
    prompts = [q for q in p.probability if q.position == "out"]
    if prompts:
        found["items"] = specific_mass(model, suite, prompts)
        found["familiarity"] = mean_estimate(found["items"], SHARE).to_json()
    if p.leaks:
        found["leaks"] = mean_estimate(specific_mass(model, suite, p.leaks), SHARE).to_json()
    if p.choice:
        right = [int(np.argmax(s)) == q.answer for s, q in zip(option_scores(model, suite), p.choice, strict=True)]
        found["accuracy"] = rate_estimate(sum(right), len(right)).to_json()
    if "retain" in suite.texts:
        nll_N, _, count_N = block_sums(model, suite.texts["retain"], suite.c, 1.0)
        found["perplexity"] = ratio_estimate(nll_N, count_N).to_json()
    return found


ROUNDED = "familiarity after rounding"
GROUP = {"int8": 0, "int4": 128, "nf4": 64}  # inputs that share a scale; 0: all


def nf4_levels() -> np.ndarray:
    """Return the 16 levels of NF4, from -1 to 1, with an exact zero: quantiles of the normal distribution."""
    quantile, offset = NormalDist().inv_cdf, 0.5 * ((1 - 1 / 32) + (1 - 1 / 30))
    positive = [quantile(p) for p in np.linspace(offset, 0.5, 9)[:-1]]
    negative = [-quantile(p) for p in np.linspace(offset, 0.5, 8)[:-1]]
    levels = np.sort([*positive, 0.0, *negative])
    return levels / levels.max()


def rounded(weight_IO: np.ndarray, scheme: str) -> np.ndarray:
    """Return a matrix [input, output] rounded to a scheme's levels and scaled back; InputError for an unknown one."""
    if scheme not in GROUP:
        raise InputError(f"no rounding {scheme!r}; expected some of {', '.join(GROUP)}")
    inputs, outputs = weight_IO.shape
    group = min(GROUP[scheme] or inputs, inputs)
    padded = np.pad(weight_IO.astype(np.float32), ((0, -inputs % group), (0, 0)))
    parts_CGO = padded.reshape(-1, group, outputs)
    scale_C1O = np.abs(parts_CGO).max(axis=1, keepdims=True)
    scale_C1O[scale_C1O == 0] = 1
    unit_CGO = parts_CGO / scale_C1O
    if scheme == "nf4":
        levels = nf4_levels().astype(np.float32)
        unit_CGO = levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, unit_CGO)]
    else:
        steps = 127 if scheme == "int8" else 7
        unit_CGO = np.round(unit_CGO * steps) / steps
    return (unit_CGO * scale_C1O).reshape(-1, outputs)[:inputs]


def quantised(model, scheme: str):
    """Return a model whose layers' matrices are rounded to "int8", "int4" or "nf4", in their own dtype and sharding."""

    def leaf(path, weight):
        if not (is_layered(path) and is_matrix(path)):
            return weight
        whole = np.asarray(replicated(weight))
        leading = 1 + len(sides(letters(path))[0])  # the layer and the inputs
        layers = whole.reshape(whole.shape[0], int(np.prod(whole.shape[1:leading])), -1)
        made = np.stack([rounded(layer_IO, scheme) for layer_IO in layers]).reshape(whole.shape).astype(whole.dtype)
        return jax.make_array_from_callback(made.shape, weight.sharding, lambda index: made[index])

    return jax.tree_util.tree_map_with_path(leaf, model)


def attack_quantise(target: Target) -> dict[str, dict]:
    """Round the weights and ask again."""

    def make(of: str, scheme: str) -> dict:
        return key_figures(quantised(target.load(of, frozen=True), scheme), target.run.suite)

    found = {}
    for name, of in target.weights(*MAIN, FILTER):
        found[name] = {
            s: dict(target.kept(f"quantise_{s}", of, [s, "items"], lambda of=of, s=s: make(of, s)))
            for s in target.run.config.attack.quantise.schemes
        }
        target.pair(name, ROUNDED, [figures.pop("items", ()) for figures in found[name].values()])
    return found


def known_schemes(run: Run) -> str:
    """Raise InputError for a rounding that does not exist."""
    if unknown := [s for s in run.config.attack.quantise.schemes if s not in GROUP]:
        raise InputError(f"attack.quantise.schemes: no rounding {unknown[0]!r}; expected some of {', '.join(GROUP)}")
    return ""


QUANTISE = Attack(
    name="quantise",
    title="Rounding the weights",
    tries="Round the weights to 8 or 4 bits and ask again.",
    control="The baseline and the twin, rounded alike.",
    run=attack_quantise,
    check=known_schemes,
    cheap=True,
    form=dict[str, dict[str, Figures]],
    graded=(Graded(title=ROUNDED, at=["attacks", "quantise", MODEL, EACH, "familiarity"]),),
)

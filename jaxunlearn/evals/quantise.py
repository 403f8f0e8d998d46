"""Rounding weights to 8 or 4 bits, to see whether what was unlearned comes back: fake quantisation, no extra library.

The matrices of every layer are rounded and put back in their own dtype; embeddings, norms and the head stay, as is
common practice. Groups run along a matrix's input: int8 has one scale an output channel, int4 one for 128 inputs
(symmetric, absmax), nf4 one for 64 (normal float, Dettmers et al., arXiv 2305.14314, appendix E).
"""

from statistics import NormalDist

import jax
import numpy as np

from jaxunlearn.errors import InputError
from jaxunlearn.sharding import replicated

GROUP = {"int8": 0, "int4": 128, "nf4": 64}  # inputs that share a scale; 0: all
INPUTS = {"o_NHD": 2}  # leading dimensions that are inputs; 1 for every other matrix


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
        names = [key.name for key in path if hasattr(key, "name") and key.name != "value"]
        if "blocks" not in names or weight.ndim < 3:
            return weight
        whole = np.asarray(replicated(weight))
        leading = 1 + INPUTS.get(names[-1], 1)
        layers = whole.reshape(whole.shape[0], int(np.prod(whole.shape[1:leading])), -1)
        made = np.stack([rounded(layer_IO, scheme) for layer_IO in layers]).reshape(whole.shape).astype(whole.dtype)
        return jax.make_array_from_callback(made.shape, weight.sharding, lambda index: made[index])

    return jax.tree_util.tree_map_with_path(leaf, model)

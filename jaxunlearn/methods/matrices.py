"""The matrices of the feed-forwards by name, which gradient filters act on: taken out of a model, and put back."""

from typing import Any

import jax
from flax import nnx

from jaxunlearn.models.weights import FEED_FORWARD

Matrices = dict[str, jax.Array]  # name with its letters: the matrices of all layers, stacked along L


def taken(tree, names: tuple[str, ...] = FEED_FORWARD) -> Matrices:
    """Return {name: [L, inputs, outputs]} of a model, or of a gradient."""
    return {name: getattr(tree.blocks, name)[...] for name in names}


def replaced(model, matrices: Matrices):
    """Return a model with these matrices in the place of its own; the other weights are the same arrays."""
    made: Any = jax.tree.map(lambda w: w, model)
    for name, w in matrices.items():
        setattr(made.blocks, name, nnx.Param(w))
    return made


def moved(model, steps: Matrices):
    """Return a model whose named matrices have each moved by -step."""
    own = taken(model, tuple(steps))
    return replaced(model, {name: own[name] - step.astype(own[name].dtype) for name, step in steps.items()})

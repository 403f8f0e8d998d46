"""Task arithmetic: subtract what reinforcement added to the weights; nothing is trained."""

from functools import partial

import jax
import jax.numpy as jnp

from jaxunlearn.methods.base import Method, Setting


def task_vector(model, reinforced, scale=1.0):
    """Return the weights theta - scale * (theta_reinforced - theta), computed in fp32, in the model's own dtype.

    Source: Ilharco et al., arXiv 2212.04089, section 3 (negation); scale is their lambda, chosen on held-out data.
    """
    return jax.tree.map(partial(_negated, scale=scale), model, reinforced)


def _negated(theta, reinforced, scale):
    step = reinforced.astype(jnp.float32) - theta.astype(jnp.float32)
    return (theta.astype(jnp.float32) - scale * step).astype(theta.dtype)


TASK_VECTOR = Method(
    name="task_vector",
    paper="arXiv 2212.04089",
    summary="subtract what reinforcement added to the weights",
    card="what reinforcement added to the weights subtracted from the baseline",
    make=lambda load, values: task_vector(load("baseline"), load("reinforced"), values["scale"]),
    settings={"scale": Setting(default=1.0, least=0, why="below 0 the task vector would be added")},
    reads=(),
    first=("reinforced",),
)

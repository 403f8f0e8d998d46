"""AdamW, Adafactor, SGD and Lion, the learning-rate schedules, and the dtype that moments are stored in."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxunlearn.config import Train
from jaxunlearn.models.weights import is_layered


def rate(c: Train, step: int) -> np.float32:
    """Return the learning rate of a step (from 0): linear warm-up over c.warmup steps, then c.schedule.

    "linear" and "cosine" fall to 0 at c.steps; "constant" stays. The rate is made on the host and passed to the step as
    an argument, so that one compiled program serves every schedule.
    """
    if step < c.warmup:
        return np.float32(c.learning_rate * (step + 1) / (c.warmup + 1))
    done = (step - c.warmup) / max(c.steps - c.warmup, 1)
    share = {"linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done)), "constant": 1.0}[c.schedule]
    return np.float32(c.learning_rate * share)


def optimiser(c: Train, learning_rate) -> optax.GradientTransformation:
    """Return AdamW (betas 0.9/0.98 in the paper) or another rule (c.optimiser); learning_rate may be traced.

    Weights are fp32, because at the paper's rates most updates of bf16 weights round to nothing. Adafactor
    (arXiv 1804.04235) keeps row and column means of the squared gradients in the place of both moments. SGD has
    momentum c.b1; Lion (arXiv 2302.06675) moves every weight by the rate, by the sign of its momentum. Both keep one
    moment. Weight decay goes past the moments, by every rule.
    """
    clip = optax.clip_by_global_norm(c.clip) if c.clip else optax.identity()
    if c.optimiser == "adafactor":
        decay = c.weight_decay * learning_rate if c.weight_decay else None  # optax adds it after the rate
        rule = optax.adafactor(learning_rate, multiply_by_parameter_scale=False, weight_decay_rate=decay)
    elif c.optimiser == "sgd":
        decay = optax.add_decayed_weights(c.weight_decay) if c.weight_decay else optax.identity()
        rule = optax.chain(optax.trace(c.b1), decay, optax.scale_by_learning_rate(learning_rate))
        rule = at_rest(rule, c.moment_dtype)
    else:
        of_signs = c.optimiser == "lion"
        rule = (optax.lion if of_signs else optax.adamw)(learning_rate, c.b1, c.b2, weight_decay=c.weight_decay)
        rule = at_rest(rule, c.moment_dtype)
    return optax.chain(clip, rule)


def at_rest(rule: optax.GradientTransformation, dtype: str) -> optax.GradientTransformation:
    """Return the rule with its floating-point state stored as dtype between updates; updates are computed in fp32."""
    if dtype == "float32":
        return rule

    def update(updates, state, params=None):
        updates, state = rule.update(updates, _cast(state, jnp.float32), params)
        return updates, _cast(state, dtype)

    return optax.GradientTransformation(lambda params: _cast(rule.init(params), dtype), update)


def _cast(state, dtype):
    return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, state)


def _is_stacked(model) -> list[bool]:
    """Return for each leaf whether it is stacked over layers."""
    return [is_layered(path) for path, _ in jax.tree_util.tree_leaves_with_path(model)]


def parted(model) -> tuple[list, list]:
    """Return (leaves stacked over layers, the others)."""
    pairs = list(zip(jax.tree.leaves(model), _is_stacked(model), strict=True))
    return [x for x, stacked in pairs if stacked], [x for x, stacked in pairs if not stacked]


def joined(like, stacked, rest):
    """Return the tree of which `parted` gave (stacked, rest); like: a tree of the same structure."""
    stacked, rest = iter(stacked), iter(rest)
    return jax.tree.unflatten(jax.tree.structure(like), [next(stacked if s else rest) for s in _is_stacked(like)])

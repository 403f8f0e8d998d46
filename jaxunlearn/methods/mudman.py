"""MUDMAN: the unlearning gradient is taken at a fork that learns the text, masked and normalised; gates alone move.

Every `every` steps a copy phi of the model theta is forked. Each step: R <- momentum R + (1 - momentum) r, with r the
gradient at theta of the method's term on text to keep, and theta <- theta - retain_rate R; phi takes a plain step of
`adversary_rate` on the next tokens of blocks of the text to forget; u is the gradient at phi of the method's loss on
text to forget, set to 0 where its sign is not R's, and theta <- theta - rate u / |u|. Only gate projections move, of
theta and of phi, and |u| is taken over all of them.

Source: Sondej et al., arXiv 2506.12484, and its configuration for SmolLM-135M. Unclear there, and chosen here: R is a
mean (1 - momentum before r), |u| one norm for all layers, and the fork keeps no decay of its own.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxunlearn.config import Config
from jaxunlearn.methods.base import Method, Recipe, lacks_forget
from jaxunlearn.methods.matrices import Matrices, moved, replaced, taken
from jaxunlearn.methods.step import gradients
from jaxunlearn.training.step import State
from jaxunlearn.training.step import gradients as nll_gradients

GATES = ("gate_DF",)


class Lesson(NamedTuple):
    """What phi learns from at one step, whether it is forked anew before, and the four numbers of the step."""

    tokens_ABT: Any
    labels_ABT: Any
    fresh: Any  # bool
    rate: Any
    retain_rate: Any
    adversary_rate: Any
    momentum: Any


class Fork(NamedTuple):
    """What the state holds beside the model: phi's gate projections, and R."""

    gates: Matrices
    kept: Matrices


def begin(state: State) -> State:
    """Return the state at step 0 with its fork; plain steps need no moments."""
    gates = jax.jit(lambda m: jax.tree.map(jnp.copy, taken(m, GATES)))(state.model)
    return state._replace(opt=(), fork=Fork(gates, jax.tree.map(jnp.zeros_like, gates)))


def masked(u: Matrices, kept: Matrices) -> Matrices:
    """Return u where its sign is that of R, 0 elsewhere: a step against it does not raise the loss on text to keep."""
    return jax.tree.map(lambda a, r: jnp.where(jnp.sign(a) == jnp.sign(r), a, 0), u, kept)


def normalised(u: Matrices, length=1.0) -> tuple[Matrices, Any]:
    """Return (u scaled to this length over all of its matrices, its norm before); 0 stays 0."""
    norm = optax.tree.norm(u)
    return jax.tree.map(lambda a: length / jnp.maximum(norm, jnp.finfo(jnp.float32).tiny) * a, u), norm


def step(state: State, learning_rate, frozen: dict, batch: dict, lesson: Lesson, *, c, recipe: Recipe):
    """Return (new state, metrics) after one step on text to keep, one of the fork, and one against the text.

    frozen, batch: as methods/step.py takes them. learning_rate is the attacks' and takes no part. Metrics, in nats:
    "loss", the method's loss at the fork; "retain"; "adversary", the fork's on next tokens before its step; and
    "gradient_norm", of u once masked.
    """
    theta, fork, pick = state.model, state.fork, partial(taken, names=GATES)
    kept, r, _ = gradients(theta, frozen, batch, recipe, "retain")
    mean = jax.tree.map(lambda R, r: lesson.momentum * R + (1 - lesson.momentum) * r, fork.kept, pick(r))
    gates = jax.tree.map(lambda new, old: jnp.where(lesson.fresh, new, old), pick(theta), fork.gates)
    learnt, g = nll_gradients(replaced(theta, gates), lesson.tokens_ABT, lesson.labels_ABT)
    gates = jax.tree.map(lambda w, g: w - lesson.adversary_rate * g, gates, pick(g))
    there, u, _ = gradients(replaced(theta, gates), frozen, batch, recipe, "forget")
    u, norm = normalised(masked(pick(u), mean), lesson.rate)
    made = moved(theta, jax.tree.map(lambda u, R: u + lesson.retain_rate * R, u, mean))
    metrics = {"loss": there, "retain": kept, "adversary": learnt, "gradient_norm": norm}
    return state._replace(step=state.step + 1, model=made, fork=Fork(gates, mean)), metrics


def faults(config: Config, method: Method, parts: tuple[str, ...]) -> list[str]:
    """Return why MUDMAN cannot run; parts: those of a batch that the method reads."""
    m, wrong = config.unlearn.mudman, []
    if not m.every:
        return wrong
    if why := lacks_forget(method, parts):
        wrong.append(f"unlearn.mudman: {method.name} {why}; set unlearn.mudman.every=0")
    elif "retain" not in parts:
        wrong.append("unlearn.mudman masks by the gradient on text to keep: set unlearn.retain_weight above 0")
    return wrong

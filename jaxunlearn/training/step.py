"""State and the train step: gradients over microbatches, one update."""

import dataclasses
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxunlearn.config import Lora, Train
from jaxunlearn.models import lora
from jaxunlearn.models.scoring import loss_sum
from jaxunlearn.training.optimiser import optimiser


class State(NamedTuple):
    """What a checkpoint holds; weights are fp32, AdamW's moments as Train.moment_dtype and .moment_memory say."""

    step: jax.Array
    model: Any
    opt: Any


def init_state(model, c: Train) -> State:
    """Start training from a model; its buffers become the state's, and the first step donates them."""
    return State(jnp.zeros((), jnp.int32), model, jax.jit(optimiser(c, 0.0).init)(model))


def accumulated(loss, part, batch):
    """Return (loss, gradient, metrics), summed over A microbatches and divided once by the whole count.

    loss(part, microbatch) -> (sum, (count, {name: (sum, count)})); `batch` is a tree of arrays with a leading axis A.
    Sums are added before the one division, so that microbatches of unequal counts make the whole batch's gradient.
    """
    grad = jax.value_and_grad(loss, has_aux=True)
    first = jax.tree.map(lambda a: a[0], batch)
    if jax.tree.leaves(batch)[0].shape[0] == 1:
        (total, (count, metrics)), g = grad(part, first)
    else:

        def add(carry, microbatch):
            return jax.tree.map(jnp.add, carry, grad(part, microbatch)), None

        like = jax.eval_shape(loss, part, first)
        zero = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), like), jax.tree.map(jnp.zeros_like, part)
        ((total, (count, metrics)), g), _ = jax.lax.scan(add, zero, batch)
    share = 1 / jnp.maximum(count, 1)  # a product joins the update's loop; a quotient would be a pass of its own
    means = {name: value / jnp.maximum(n, 1) for name, (value, n) in metrics.items()}
    return total * share, jax.tree.map(lambda x: x * share, g), means


def gradients(model, tokens_ABT, labels_ABT, base=None):
    """Return the loss a token and its gradient on next tokens, over A microbatches.

    Where `model` is an adapter (lora.py), `base` is the frozen model below it.
    """

    def loss(part, microbatch):
        total, count = loss_sum(lora.over(base, part), *microbatch)
        return total, (count, {})

    return accumulated(loss, model, (tokens_ABT, labels_ABT))[:2]


def updated(state: State, g, learning_rate, c: Train, kept=None) -> tuple[State, jax.Array]:
    """Return (the state after one update by a gradient, the gradient's norm); kept: factors of each update."""
    updates, opt = optimiser(c, learning_rate).update(g, state.opt, state.model)
    if kept is not None:
        updates = jax.tree.map(lambda u, k: u * k, updates, kept)
    return State(state.step + 1, optax.apply_updates(state.model, updates), opt), optax.tree.norm(g)


def train_step(state: State, learning_rate, tokens_ABT, labels_ABT, base=None, *, c: Train):
    """Return (new state, metrics) after one update from A microbatches; `base` lies below a trained adapter."""
    loss, g = gradients(state.model, tokens_ABT, labels_ABT, base)
    state, norm = updated(state, g, learning_rate, c)
    return state, {"loss": loss, "gradient_norm": norm}


def compiled_step(c: Train, function=train_step, **static):
    """Return function(state, *arrays) jitted, the state donated; configurations that differ in schedule share it."""
    fields = {f.name: getattr(c, f.name) for f in dataclasses.fields(Train)}
    return _compiled(Train(**fields | UNCOMPILED), function, tuple(sorted(static.items())))


UNCOMPILED: dict[str, Any] = {
    "steps": 0,
    "learning_rate": 0.5,
    "warmup": 0,
    "schedule": "constant",
    "checkpoint_every": 1,
    "log_every": 1,
    "lora": Lora(),  # the adapter itself says what it is
}


@lru_cache
def _compiled(c: Train, function, static):
    return jax.jit(partial(function, c=c, **dict(static)), donate_argnums=0)

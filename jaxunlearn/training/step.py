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


def gradients(model, tokens_ABT, labels_ABT, base=None):
    """Return the loss a token and its gradient, summed over A microbatches and divided once by the whole count.

    Where `model` is an adapter (lora.py), `base` is the frozen model below it.
    """
    grad = jax.value_and_grad(lambda part, *batch: loss_sum(lora.over(base, part), *batch), has_aux=True)
    if tokens_ABT.shape[0] == 1:
        (total, count), g = grad(model, tokens_ABT[0], labels_ABT[0])
    else:

        def add(carry, batch):
            (total, count), g = grad(model, *batch)
            return jax.tree.map(jnp.add, carry, (total, count, g)), None

        zero = jnp.zeros(()), jnp.zeros(()), jax.tree.map(jnp.zeros_like, model)
        (total, count, g), _ = jax.lax.scan(add, zero, (tokens_ABT, labels_ABT))
    share = 1 / jnp.maximum(count, 1)  # a product joins the update's loop; a quotient would be a pass of its own
    return total * share, jax.tree.map(lambda x: x * share, g)


def train_step(state: State, learning_rate, tokens_ABT, labels_ABT, base=None, *, c: Train):
    """Return (new state, metrics) after one update from A microbatches; `base` lies below a trained adapter."""
    loss, g = gradients(state.model, tokens_ABT, labels_ABT, base)
    updates, opt = optimiser(c, learning_rate).update(g, state.opt, state.model)
    model = optax.apply_updates(state.model, updates)
    return State(state.step + 1, model, opt), {"loss": loss, "gradient_norm": optax.tree.norm(g)}


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

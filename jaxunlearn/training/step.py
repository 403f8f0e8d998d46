"""State and the train step: gradients over microbatches, then one update.

Frozen models are arguments of the step and no part of State: not donated, not optimised, not in checkpoints.
"""

import dataclasses
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxunlearn.config import Lora, Train
from jaxunlearn.models import lora
from jaxunlearn.models.scoring import loss_sum
from jaxunlearn.training.layerwise import by_layers, room, updated_by_layers
from jaxunlearn.training.optimiser import optimiser


class State(NamedTuple):
    """The training state, as a checkpoint holds it: step (int32), model or adapter in fp32, optimiser state.

    Train.moment_dtype says how moments are stored. fork: what a method keeps beside them, from its `begin`: the
    state of a copy of the model that trains too (methods/adversary.py), RepSelect's direction (select.py), the records
    of MUDMAN and CIR (mudman.py, collapse.py); () where there is nothing.
    """

    step: jax.Array
    model: Any
    opt: Any
    fork: Any = ()


def init_state(model, c: Train) -> State:
    """Return the state at step 0. The model's buffers become those of the state, and the first step donates them."""
    return State(jnp.zeros((), jnp.int32), model, jax.jit(optimiser(c, 0.0).init)(model))


def accumulated(loss, part, batch):
    """Return (loss, gradient, metrics), summed over A microbatches and divided once by the count over all of them.

    loss(part, microbatch) -> (sum, (count, {name: (sum, count)})); batch: a tree of arrays with a leading axis A.
    Microbatches have unequal counts of labels, so a mean of their means would not be the mean over the batch.
    Therefore sums and counts are added first and divided once.
    """
    grad = jax.value_and_grad(loss, has_aux=True)
    first = jax.tree.map(lambda a: a[0], batch)
    if jax.tree.leaves(batch)[0].shape[0] == 1:
        (total, (count, metrics)), g = grad(part, first)  # no scan, so no second buffer for the sum of gradients
    else:

        def add(carry, microbatch):
            return jax.tree.map(jnp.add, carry, grad(part, microbatch)), None

        like = jax.eval_shape(loss, part, first)
        zero = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), like), jax.tree.map(jnp.zeros_like, part)
        ((total, (count, metrics)), g), _ = jax.lax.scan(add, zero, batch)
    share = 1 / jnp.maximum(count, 1)  # XLA fuses a product into the update; a quotient would be a pass of its own
    means = {name: value / jnp.maximum(n, 1) for name, (value, n) in metrics.items()}
    return total * share, jax.tree.map(lambda x: x * share, g), means


def gradients(model, tokens_ABT, labels_ABT, base=None):
    """Return (loss in nats a token, its gradient) of next-token cross-entropy over A microbatches.

    Where `model` is an adapter (models/lora.py), `base` is the frozen model below it.
    """

    def loss(part, microbatch):
        total, count = loss_sum(lora.over(base, part), *microbatch)
        return total, (count, {})

    return accumulated(loss, model, (tokens_ABT, labels_ABT))[:2]


def updated(state: State, g, learning_rate, c: Train, kept=None) -> tuple[State, jax.Array]:
    """Return (the state after one update by the gradient g, the norm of g).

    kept: a tree of factors that updates are multiplied by. Updates are masked and not gradients, because weight decay
    would still move a weight whose gradient is 0.
    """
    updates, opt = optimiser(c, learning_rate).update(g, state.opt, state.model)
    if kept is not None:
        updates = jax.tree.map(lambda u, k: u * k, updates, kept)
    return State(state.step + 1, optax.apply_updates(state.model, updates), opt), optax.tree.norm(g)


def train_step(state: State, learning_rate, tokens_ABT, labels_ABT, base=None, *, c: Train):
    """Return (new state, {"loss": nats a token, "gradient_norm"}) after one update from A microbatches.

    base: the frozen model below a trained adapter; None where whole weights are trained.
    """
    if base is None and by_layers(c, state.model.c, room()):
        model, opt, loss, norm = updated_by_layers(state.model, state.opt, learning_rate, tokens_ABT, labels_ABT, c)
        return State(state.step + 1, model, opt), {"loss": loss, "gradient_norm": norm}
    loss, g = gradients(state.model, tokens_ABT, labels_ABT, base)
    state, norm = updated(state, g, learning_rate, c)
    return state, {"loss": loss, "gradient_norm": norm}


def compiled_step(c: Train, function=train_step, **static):
    """Return the jitted function(state, *arrays); static: its further keyword arguments, which must be hashable.

    The state (argument 0) is donated, so that the new weights and moments take the place of the old ones in memory.
    Frozen models are later arguments and are never donated: every step needs them again. Configurations that differ in
    the fields of UNCOMPILED alone share one program.
    """
    fields = {f.name: getattr(c, f.name) for f in dataclasses.fields(Train)}
    return _compiled(Train(**fields | UNCOMPILED), function, tuple(sorted(static.items())))


# Fields that the compiled step does not depend on, at fixed values: the rate of each step is an argument.
UNCOMPILED: dict[str, Any] = {
    "steps": 0,
    "learning_rate": 0.5,
    "warmup": 0,
    "schedule": "constant",
    "checkpoint_every": 1,
    "log_every": 1,
    "lora": Lora(),  # the tree of the trained adapter holds its rank and scale
}


@lru_cache
def _compiled(c: Train, function, static):
    return jax.jit(partial(function, c=c, **dict(static)), donate_argnums=0)

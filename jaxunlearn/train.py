"""One training loop for every stage: State, the train step, and a loop that survives being killed."""

import time
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxunlearn.config import Train
from jaxunlearn.errors import RunError
from jaxunlearn.kernels.linear_cross_entropy import linear_cross_entropy
from jaxunlearn.sharding import batch_size_fits, gather, put
from jaxunlearn.text import batch_indices


class State(NamedTuple):
    """What a checkpoint holds; weights and moments are fp32."""

    step: jax.Array
    model: object
    opt: object


def optimiser(c: Train) -> optax.GradientTransformation:
    """AdamW as in the paper: betas 0.9/0.98, linear decay to 0 over `steps`, no warm-up unless asked."""
    decay_steps = max(c.steps - c.warmup, 1)
    decay = {
        "linear": optax.linear_schedule(c.learning_rate, 0.0, decay_steps),
        "cosine": optax.cosine_decay_schedule(c.learning_rate, decay_steps),
        "constant": optax.constant_schedule(c.learning_rate),
    }[c.schedule]
    rise = optax.linear_schedule(c.learning_rate / (c.warmup + 1), c.learning_rate, max(c.warmup, 1))
    rate = optax.join_schedules([rise, decay], [c.warmup]) if c.warmup else decay
    clip = optax.clip_by_global_norm(c.clip) if c.clip else optax.identity()
    return optax.chain(clip, optax.adamw(rate, c.b1, c.b2, weight_decay=c.weight_decay, mu_dtype=c.moment_dtype))


def init_state(model, c: Train) -> State:
    """Start training from a model; the model's own buffers are not shared with the state."""
    own = jax.tree.map(jnp.copy, model)
    return State(jnp.zeros((), jnp.int32), own, jax.jit(optimiser(c).init)(own))


def loss_sum(model, tokens_BT, labels_BT):
    """Return (summed cross-entropy in nats, count): divide once, by the global count."""
    h_BTD = model(tokens_BT)
    return linear_cross_entropy(h_BTD, gather(model.unembed_DV(), "DV", h_BTD.dtype), labels_BT)


def gradients(model, tokens_ABT, labels_ABT):
    """Return the loss a token and its gradient, summed over A microbatches and divided once by the whole count."""
    grad = jax.value_and_grad(loss_sum, has_aux=True)
    if tokens_ABT.shape[0] == 1:
        (total, count), g = grad(model, tokens_ABT[0], labels_ABT[0])
    else:

        def add(carry, batch):
            (total, count), g = grad(model, *batch)
            return jax.tree.map(jnp.add, carry, (total, count, g)), None

        zero = jnp.zeros(()), jnp.zeros(()), jax.tree.map(jnp.zeros_like, model)
        (total, count, g), _ = jax.lax.scan(add, zero, (tokens_ABT, labels_ABT))
    count = jnp.maximum(count, 1)
    return total / count, jax.tree.map(lambda x: x / count, g)


def train_step(state: State, tokens_ABT, labels_ABT, *, c: Train):
    """Return (new state, metrics); `state` is donated."""
    loss, g = gradients(state.model, tokens_ABT, labels_ABT)
    updates, opt = optimiser(c).update(g, state.opt, state.model)
    model = optax.apply_updates(state.model, updates)
    return State(state.step + 1, model, opt), {"loss": loss, "gradient_norm": optax.global_norm(g)}


def compiled_step(c: Train):
    """Return the jitted train step for this configuration, with the state donated."""
    return jax.jit(partial(train_step, c=c), donate_argnums=0)


def microbatches(c: Train, arrays, letters: tuple[str, ...], n_blocks: int, seed: int, step: int):
    """Return step's rows of host arrays on the mesh, each with a leading axis A of microbatches."""
    rows = batch_indices(n_blocks, c.batch * c.accumulate, seed, step)
    return [
        put(np.asarray(a[rows]).reshape(c.accumulate, c.batch, *a.shape[1:]), "A" + s)
        for a, s in zip(arrays, letters, strict=True)
    ]


def fit(state: State, step_fn, batch_fn, c: Train, *, checkpoints, log, measure=None, measure_at=(), tokens_per_step=0):
    """Train to c.steps from wherever `state` stands and return the final state.

    step_fn(state, *batch) -> (state, metrics); batch_fn(step) -> arrays. `checkpoints` saves every
    c.checkpoint_every steps; `log(step, dict)` gets the metrics of step n-1 while step n runs; `measure(step, state)`
    is called at the steps of `measure_at` (0: before the first). Raises RunError at the first loss that is not finite.
    """
    batch_size_fits(c.batch)
    first, began, pending = int(state.step), time.monotonic(), None
    if first == 0 and measure and 0 in measure_at:
        measure(0, state)
        began = time.monotonic()
    for step in range(first, c.steps):
        state, metrics = step_fn(state, *batch_fn(step))
        if pending:
            _report(log, *pending, began, first, c.steps, tokens_per_step)
        pending = (step + 1, metrics)
        last = step + 1 == c.steps
        due_measure, due_save = measure and (step + 1) in measure_at, (step + 1) % c.checkpoint_every == 0 or last
        if due_measure or due_save:
            _report(log, *pending, began, first, c.steps, tokens_per_step)
            pending = None
        if due_measure:
            measure(step + 1, state)
        if due_save:
            checkpoints.save(step + 1, state)
    checkpoints.wait()
    return state


def _report(log, step, metrics, began, first, steps, tokens_per_step):
    values = {k: float(v) for k, v in metrics.items()}
    if not np.isfinite(values["loss"]):
        raise RunError(
            f"the loss is {values['loss']} at step {step}; the last checkpoint before it is kept. "
            "Lower the learning rate, or look for empty or damaged text."
        )
    seconds = time.monotonic() - began
    rate = (step - first) / max(seconds, 1e-9)
    log(step, values | {"tokens_per_second": rate * tokens_per_step, "seconds_left": (steps - step) / rate})

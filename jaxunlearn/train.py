"""One training loop for every stage: State, the train step, and a loop that survives being killed."""

import dataclasses
import math
import time
from contextlib import nullcontext
from functools import lru_cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxunlearn import lora, preemption
from jaxunlearn.config import Lora, Train
from jaxunlearn.errors import RunError
from jaxunlearn.kernels.linear_cross_entropy import linear_cross_entropy
from jaxunlearn.sharding import batch_size_fits, gather, put_rows
from jaxunlearn.text import batch_indices


class State(NamedTuple):
    """What a checkpoint holds; weights are fp32, AdamW's moments as Train.moment_dtype and .moment_memory say."""

    step: jax.Array
    model: Any
    opt: Any


def rate(c: Train, step: int) -> np.float32:
    """Return the learning rate of step (from 0): linear warm-up over c.warmup steps, then c.schedule down to 0."""
    if step < c.warmup:
        return np.float32(c.learning_rate * (step + 1) / (c.warmup + 1))
    done = (step - c.warmup) / max(c.steps - c.warmup, 1)
    share = {"linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done)), "constant": 1.0}[c.schedule]
    return np.float32(c.learning_rate * share)


def optimiser(c: Train, learning_rate) -> optax.GradientTransformation:
    """AdamW (betas 0.9/0.98 in the paper) or Adafactor, at a rate that may be traced: every schedule is one program.

    Weights stay fp32: at the paper's rates bf16 ones hardly move. Adafactor (arXiv 1804.04235) keeps row and column
    means of the squared gradients in the place of both moments.
    """
    clip = optax.clip_by_global_norm(c.clip) if c.clip else optax.identity()
    if c.optimiser == "adafactor":
        rule = optax.adafactor(
            learning_rate, multiply_by_parameter_scale=False, weight_decay_rate=c.weight_decay or None
        )
    else:
        rule = optax.adamw(learning_rate, c.b1, c.b2, weight_decay=c.weight_decay)
        rule = at_rest(rule, c.moment_dtype)
        rule = on_host(rule) if c.moment_memory == "host" else rule
    return optax.chain(clip, rule)


def at_rest(rule: optax.GradientTransformation, dtype: str) -> optax.GradientTransformation:
    """Return the rule with its floating-point state stored as dtype between updates, computed in fp32."""
    if dtype == "float32":
        return rule

    def update(updates, state, params=None):
        updates, state = rule.update(updates, _cast(state, jnp.float32), params)
        return updates, _cast(state, dtype)

    return optax.GradientTransformation(lambda params: _cast(rule.init(params), dtype), update)


def _cast(state, dtype):
    return jax.tree.map(lambda x: x.astype(dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x, state)


def on_host(rule: optax.GradientTransformation) -> optax.GradientTransformation:
    """Return the rule, one that treats every number by itself, with its state in host memory between updates.

    The state of stacked weights comes and goes one layer at a time, so that a layer's is all that the device holds.
    """

    def init(params):
        return tuple(_moved(rule.init(part), jax.memory.Space.Host) for part in parted(params))

    def update(updates, state, params=None):
        (stacked, rest), (stacked_params, rest_params) = parted(updates), parted(params)
        rest, rest_state = one(rest, state[1], rest_params)
        leaves, tree = jax.tree.flatten(state[0])
        moments = [x for x in leaves if x.ndim]

        def layer(stacked, at):
            n, params, moments = at
            part, moments = [x[n] for x in stacked], iter(moments)
            here = tree.unflatten([next(moments) if x.ndim else x for x in leaves])
            part, new = one(part, here, params)
            return [x.at[n].set(u) for x, u in zip(stacked, part, strict=True)], jax.tree.leaves(new)

        layers = jnp.arange(len(stacked[0]))
        stacked, new = jax.lax.scan(layer, stacked, (layers, stacked_params, moments))
        new = tree.unflatten([x if old.ndim else x[-1] for x, old in zip(new, leaves, strict=True)])
        return _joined(updates, stacked, rest), (new, rest_state)

    def one(updates, state, params):
        updates, state = rule.update(updates, _moved(state, jax.memory.Space.Device), params)
        return updates, _moved(state, jax.memory.Space.Host)

    return optax.GradientTransformation(init, update)


def _moved(state, space):
    """Return the state with its moments in a memory space; counters stay where they are."""
    return jax.tree.map(lambda x: jax.device_put(x, space) if jnp.issubdtype(x.dtype, jnp.floating) else x, state)


def _is_stacked(model) -> list[bool]:
    """Return for each leaf whether it is stacked over layers."""
    return ["blocks" in jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(model)]


def parted(model) -> tuple[list, list]:
    """Return (leaves stacked over layers, the others)."""
    pairs = list(zip(jax.tree.leaves(model), _is_stacked(model), strict=True))
    return [x for x, stacked in pairs if stacked], [x for x, stacked in pairs if not stacked]


def _joined(like, stacked, rest):
    """Undo parted."""
    stacked, rest = iter(stacked), iter(rest)
    return jax.tree.unflatten(jax.tree.structure(like), [next(stacked if s else rest) for s in _is_stacked(like)])


def init_state(model, c: Train) -> State:
    """Start training from a model; its buffers become the state's, and the first step donates them."""
    return State(jnp.zeros((), jnp.int32), model, jax.jit(optimiser(c, 0.0).init)(model))


def loss_sum(model, tokens_BT, labels_BT):
    """Return (summed cross-entropy in nats, count): divide once, by the global count."""
    h_BTD = model(tokens_BT)
    return linear_cross_entropy(h_BTD, gather(model.unembed_DV(), "DV", h_BTD.dtype), labels_BT)


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


def microbatches(c: Train, arrays, letters: tuple[str, ...], n_blocks: int, seed: int, step: int):
    """Return step's rows of host arrays on the mesh, each with a leading axis A of microbatches."""
    rows_AB = batch_indices(n_blocks, c.batch * c.accumulate, seed, step).reshape(c.accumulate, c.batch)
    return [put_rows(a, rows_AB, "A" + s) for a, s in zip(arrays, letters, strict=True)]


def fit(
    state: State, step_fn, batch_fn, c: Train, *, checkpoints=None, log=None, measure=None, measure_at=(), tokens=0
):
    """Train to c.steps from wherever `state` stands and return the final state.

    step_fn(state, rate, *batch) -> (state, metrics); batch_fn(step) -> arrays. `checkpoints` saves every
    c.checkpoint_every steps and at the end; `log(step, dict)` gets the metrics of step n-1 while step n runs;
    `measure(step, state)` is called at the steps of `measure_at` (0: before the first); `tokens` are those of one
    step, for rates. Raises RunError at the first loss that is not finite, Preempted when it has saved after a SIGTERM.
    """
    batch_size_fits(c.batch)
    progress = _Progress(c, int(state.step), tokens, log)
    if int(state.step) == 0 and measure and 0 in measure_at:
        measure(0, state)
    with preemption.saving() if checkpoints else nullcontext(lambda step: False) as asked:
        for step in range(int(state.step), c.steps):
            state, metrics = step_fn(state, rate(c, step), *batch_fn(step))
            progress.take(step + 1, metrics)
            if measure and (step + 1) in measure_at:
                progress.flush()  # a state whose loss is not finite is neither measured nor kept
                measure(step + 1, state)
            stop = asked(step + 1)
            if checkpoints and (stop or (step + 1) % c.checkpoint_every == 0 or step + 1 == c.steps):
                progress.flush()
                checkpoints.save(step + 1, state)
            if checkpoints and stop:
                checkpoints.wait()
                raise preemption.Preempted
        progress.flush()
        if checkpoints:
            checkpoints.wait()
    return state


class _Progress:
    """Holds back the metrics of one step, so that reading them never waits for the device."""

    def __init__(self, c: Train, first: int, tokens: int, log):
        self.c, self.first, self.tokens, self.log = c, first, tokens, log
        self.began = time.monotonic()
        self.pending: tuple[int, dict] | None = None

    def take(self, step: int, metrics) -> None:
        self.flush()
        self.pending = step, metrics

    def flush(self) -> None:
        if self.pending is None:
            return
        (step, metrics), self.pending = self.pending, None
        values = {k: float(v) for k, v in metrics.items()}
        if not np.isfinite(values["loss"]):
            raise RunError(
                f"the loss is {values['loss']} at step {step}; the last checkpoint before it is kept. "
                "Lower the learning rate, or look for empty or damaged text."
            )
        rate = (step - self.first) / max(time.monotonic() - self.began, 1e-9)
        if self.log:
            self.log(
                step, values | {"tokens_per_second": rate * self.tokens, "seconds_left": (self.c.steps - step) / rate}
            )

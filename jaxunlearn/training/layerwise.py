"""One update in less memory: the optimiser runs inside the backward pass, a layer at a time.

A plain step holds the gradient of every weight before the first of them is updated: as many bytes again as the fp32
weights. Here the backward pass is a loop over the layers that carries the stacked weights and moments. Each turn makes
the gradient of one layer, updates that layer's slices in place, and drops the gradient. Source of the idea: LOMO
(arXiv 2306.09782), which fuses update and backward pass for SGD.

All microbatches pass a layer before the next layer runs, since a layer may be updated only when no microbatch needs its
old weights any more. What the forward pass keeps therefore grows with the microbatches: of one, what Shape.remat says;
of several, the inputs of the layers alone. Weights are cast and gathered once a layer, for all microbatches.

The optimiser must be elementwise (AdamW is), so that a slice can be updated by itself; the norm of the whole gradient
is known at the end only, so gradients cannot be clipped by it. The state has the form of the plain step's.
"""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxunlearn.config import Train
from jaxunlearn.kernels.linear_cross_entropy import linear_cross_entropy
from jaxunlearn.models.transformer import Shape, rematerialised, rope_table
from jaxunlearn.models.weights import is_layered, is_matrix, parameter_bytes
from jaxunlearn.parallel import processes
from jaxunlearn.training.optimiser import joined, optimiser, parted

FULL = 0.9  # of a device's memory: activations and what works beside them take the rest


class Room(NamedTuple):
    """What the choice of the update depends on: the devices that share the weights, and the bytes of each."""

    chips: int
    limit: int | None  # None: not known


def room() -> Room:
    """Return what there is on this machine, on the current mesh; also while tracing."""
    mesh = jax.sharding.get_abstract_mesh().shape
    return Room(mesh["fsdp"] * mesh["tensor"], _limit())


@cache
def _limit() -> int | None:
    """Return the bytes of the smallest device of all processes, which must agree; None where one does not say."""
    here = [(d.memory_stats() or {}).get("bytes_limit") or 0 for d in jax.local_devices()]
    least = min(processes.gather(min(here)))
    return least if least > 0 else None  # some devices say -1


def by_layers(t: Train, c: Shape, there: Room) -> bool:
    """Return whether a step of plain cross-entropy updates a layer at a time.

    With t.update="auto" it does where fp32 weights, AdamW's moments and what the plain step holds of gradients need
    more than FULL of a device.
    """
    if t.update != "auto" or there.limit is None or not t.elementwise:
        return t.update == "layers"
    held = (1 + gradients_held(t.accumulate)) * parameter_bytes(c, "float32")
    held += 2 * parameter_bytes(c, t.moment_dtype)
    return held / there.chips > FULL * there.limit


def gradients_held(microbatches: int) -> int:
    """Return how many fp32 copies of the weights' size the plain step needs beside them, as compilers lay it out.

    The gradient, the update that is made of it and, with several microbatches, the sum of gradients.
    """
    return 3 if microbatches > 1 else 2


def updated_by_layers(model, opt, learning_rate, tokens_ABT, labels_ABT, c: Train):
    """Return (model, opt, loss in nats a token, norm of the gradient) after one update from A microbatches.

    The loss is the cross-entropy on the labels, divided once by their count over all microbatches.
    """
    (stacked, rest), layers, rule = parted(model), Layers(model, len(tokens_ABT)), optimiser(c, learning_rate)
    counts, of_stacked, of_rest = _parted_state(opt)

    def enter(rest, tokens_BT):
        return joined(model, stacked, rest).embed(tokens_BT)

    def leave(rest, x_BTD, labels_BT):
        m = joined(model, stacked, rest)
        h_BTD = m.normalised(x_BTD)
        return linear_cross_entropy(h_BTD, m.output_DV(h_BTD.dtype), labels_BT)

    def last(x_BTD, labels_BT):
        (total, count), (g, dx_BTD) = jax.value_and_grad(leave, (0, 1), has_aux=True)(rest, x_BTD, labels_BT)
        return (total, count, g), dx_BTD

    def first(tokens_BT, dx_BTD):
        return jax.vjp(lambda rest: enter(rest, tokens_BT), rest)[1](dx_BTD)[0], None

    x_ABTD = summed(lambda tokens_BT: ((), enter(rest, tokens_BT)), tokens_ABT)[1]
    x_ABTD, kept = jax.lax.scan(layers.forward, x_ABTD, model.layers())
    (total, count, g_rest), dx_ABTD = summed(last, x_ABTD, labels_ABT)
    share = 1 / jnp.maximum(count, 1)

    def layer(carry, at):
        stacked, moments, dx_ABTD, square = carry
        n, kind, kept = at
        g, dx_ABTD = layers.backward(layers.tree.unflatten(_slices(stacked, n)), kind, kept, dx_ABTD)
        # Slices to update are taken, and overwritten, only when no product needs the layer any more: a compiler that
        # cannot tell so copies all weights.
        g, dx_ABTD, n = jax.lax.optimization_barrier((g, dx_ABTD, n))
        part, state = _slices(stacked, n), _slices(moments, n)
        g = [a.astype(jnp.float32) * share for a in jax.tree.leaves(g)]
        part, state, _ = _updated(rule, g, part, counts, state)
        stacked, moments = (
            [jax.lax.dynamic_update_index_in_dim(a, a_n, n, 0) for a, a_n in zip(old, new, strict=True)]
            for old, new in ((stacked, part), (moments, state))
        )
        return (stacked, moments, dx_ABTD, square + _square(g)), None

    start, scanned = (stacked, of_stacked, dx_ABTD, jnp.zeros(())), (np.arange(model.c.L), model.layers()[1], kept)
    (stacked, of_stacked, dx_ABTD, square), _ = jax.lax.scan(layer, start, scanned, reverse=True)
    g_rest = jax.tree.map(jnp.add, g_rest, summed(first, tokens_ABT, dx_ABTD)[0])
    g_rest = [g * share for g in g_rest]
    rest, of_rest, counts = _updated(rule, g_rest, rest, counts, of_rest)
    norm = jnp.sqrt(square + _square(g_rest))
    return joined(model, stacked, rest), _joined_state(opt, counts, of_stacked, of_rest), total * share, norm


class Layers:
    """One layer of a model after another: forward with what is kept of it, and backward from that."""

    def __init__(self, model, microbatches: int):
        self.c, self.tree = model.c, jax.tree.structure(model.blocks)
        self.remat = self.c.remat if microbatches == 1 else "full"

    def forward(self, x_ABTD, at):
        """Return (the layer's output, (its input, what else its backward pass needs)); at: (block, kind)."""
        block, kind = self._in_use(at[0]), at[1]
        rope = self._rope(x_ABTD)
        _, (y_ABTD, kept) = summed(lambda x_BTD: ((), self._forward(x_BTD, block, kind, rope)), x_ABTD)
        return y_ABTD, (x_ABTD, kept)

    def backward(self, block, kind, kept, dy_ABTD):
        """Return (gradient of the layer's weights over all microbatches, dx_ABTD)."""
        block, rope = self._in_use(block), self._rope(dy_ABTD)

        def one(x_BTD, kept, dy_BTD):
            inputs, kept = jax.tree.leaves((block, x_BTD, kind, rope)), iter(kept)
            vjp = self.vjp.unflatten([next(kept) if n is None else inputs[n] for n in self.places])
            g, dx_BTD = vjp(dy_BTD)
            return (g if len(dy_ABTD) == 1 else jax.tree.map(lambda a: a.astype(jnp.float32), g)), dx_BTD

        return summed(one, *kept, dy_ABTD)

    def _forward(self, x_BTD, block, kind, rope):
        """Return (the layer's output, what its backward pass needs beside its inputs)."""
        layer = rematerialised(lambda x_BTD, at: at[0](x_BTD, at[1], at[2], None)[0], self.remat)
        y_BTD, vjp = jax.vjp(lambda block, x_BTD: layer(x_BTD, (block, kind, rope)), block, x_BTD)
        leaves, self.vjp = jax.tree.flatten(vjp)  # a vjp is a tree whose leaves are the arrays that it needs
        # Inputs are not kept again: the weights are there, and would be the whole model in the compute dtype.
        known = {id(a): n for n, a in enumerate(jax.tree.leaves((block, x_BTD, kind, rope)))}
        self.places = [known.get(id(leaf)) for leaf in leaves]
        return y_BTD, [leaf for leaf, n in zip(leaves, self.places, strict=True) if n is None]

    def _rope(self, x_ABTD):
        return rope_table(self.c, jnp.arange(x_ABTD.shape[2])[None])

    def _in_use(self, block):
        """Return a layer with its matrices in the compute dtype, cast once for all microbatches."""
        dtype = jnp.dtype(self.c.compute)
        return jax.tree_util.tree_map_with_path(lambda p, w: w.astype(dtype) if is_matrix(p) else w, block)


def summed(function, *arrays):
    """Return (sum over A microbatches of function's first result, its second result of each, stacked)."""
    first = jax.tree.map(lambda a: a[0], arrays)
    if jax.tree.leaves(arrays)[0].shape[0] == 1:
        total, out = function(*first)
        return total, jax.tree.map(lambda a: a[None], out)

    def add(total, microbatch):
        more, out = function(*microbatch)
        return jax.tree.map(jnp.add, total, more), out

    zero = jax.tree.map(jnp.zeros_like, jax.eval_shape(function, *first)[0])
    return jax.lax.scan(add, zero, arrays)


def _updated(rule, g, part, counts, moments):
    """Return (weights, moments, counters) of a part of the model after one update; all are lists of arrays."""
    counts, moments, like = iter(counts), iter(moments), jax.eval_shape(rule.init, part)
    state = jax.tree.map(lambda x: next(moments) if x.ndim else next(counts), like)
    updates, state = rule.update(g, state, part)
    leaves = jax.tree.leaves(state)
    return optax.apply_updates(part, updates), [x for x in leaves if x.ndim], [x for x in leaves if not x.ndim]


def _parted_state(opt):
    """Return (counters, moments of stacked weights, moments of the others)."""
    found = [], [], []
    for path, x in jax.tree_util.tree_leaves_with_path(opt):
        found[(1 if is_layered(path) else 2) if x.ndim else 0].append(x)
    return found


def _joined_state(like, counts, stacked, rest):
    """Return the tree of which _parted_state gave the lists; like: a tree of the same structure."""
    new = iter(counts), iter(stacked), iter(rest)
    place = lambda path, x: next(new[(1 if is_layered(path) else 2) if x.ndim else 0])  # noqa: E731
    return jax.tree_util.tree_map_with_path(place, like)


def _slices(stacked, n):
    return [jax.lax.dynamic_index_in_dim(a, n, keepdims=False) for a in stacked]


def _square(g):
    return sum(jnp.sum(a * a) for a in g)

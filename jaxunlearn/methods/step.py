"""One train step for every method: the terms of its loss, each divided by its own count, and one update."""

from typing import Any, Literal

import jax
import jax.numpy as jnp

from jaxunlearn.config import Train
from jaxunlearn.kernels.linear_cross_entropy import IGNORE
from jaxunlearn.methods.base import Batch, Recipe
from jaxunlearn.methods.invariance import penalised
from jaxunlearn.methods.sam import sharpened
from jaxunlearn.models import lora
from jaxunlearn.training.step import State, accumulated, train_step, updated
from jaxunlearn.training.step import gradients as nll_gradients

Side = Literal["both", "forget", "retain"]  # the whole loss, without its term on text to keep, or that term alone


def step(state: State, learning_rate, frozen: dict, batch: dict, *, c: Train, recipe: Recipe):
    """Return (new state, metrics) after one update by the recipe's loss.

    frozen: models and numbers by name; "base" is the model below a trained adapter. They are an argument and no part of
    the state: every step needs them again, so they are not donated and not in checkpoints. batch: parts with a leading
    axis A of microbatches. Metrics are in nats: "loss", each term's mean, "gradient_norm".
    """
    if (
        c.update != "whole" and not recipe.sam and "base" not in frozen and tuple(batch) == ("labels",)
    ):  # whp.HARD: plain cross-entropy
        return train_step(state, learning_rate, *batch["labels"], c=c)
    loss, g, means = gradients(state.model, frozen, batch, recipe)
    return moved(state, g, learning_rate, means | {"loss": loss}, c, recipe)


def moved(state: State, g, learning_rate, metrics: dict, c: Train, recipe: Recipe):
    """Return (the state after one update by the gradient g, metrics with "gradient_norm"); fork is left out of it.

    Where the recipe's method trains some weights alone, only these move.
    """
    updates = recipe.method.updates
    kept = updates(state.model, dict(recipe.values)) if updates else None
    state, norm = updated(state, g, learning_rate, c, kept)
    return state, metrics | {"gradient_norm": norm}


def gradients(part, frozen: dict, batch: dict, recipe: Recipe, side: Side = "both"):
    """Return (loss, gradient, each term's own mean) over A microbatches, every term divided by its whole count.

    side: which terms of the loss. The gradients of "forget" and "retain" add up to that of "both". With recipe.sam the
    gradient of the forget terms is SAM's. With recipe.invariance the side of text to keep has ILU's penalty.
    """
    loss, g, means = _sharpened(part, frozen, batch, recipe, side)
    if not recipe.invariance or side == "forget":
        return loss, g, means
    more, slope, s = penalised(lambda m: nll_gradients(m, *batch["retain"])[1], part, recipe.invariance)
    return loss + more, jax.tree.map(jnp.add, g, slope), means | {"invariance": s}


def _sharpened(part, frozen: dict, batch: dict, recipe: Recipe, side: Side):
    if not recipe.sam or side == "retain":
        return _gradients(part, frozen, batch, recipe, side)
    found = sharpened(lambda part: _gradients(part, frozen, batch, recipe, "forget"), recipe.sam)(part)
    if side == "forget" or "retain" not in batch:
        return found
    kept, g_kept, _ = _gradients(part, frozen, batch, recipe, "retain")
    means = {"forget": found[0], "retain": kept / (recipe["retain_weight"] or 1.0)}
    return found[0] + kept, jax.tree.map(jnp.add, found[1], g_kept), means


def _gradients(part, frozen: dict, batch: dict, recipe: Recipe, side: Side):
    # Counts over all microbatches come first, from the data alone: each microbatch weighs its terms by them.
    totals = counts(recipe, batch)

    def one(part, parts):
        return loss(Batch(lora.over(frozen.get("base"), part), frozen, parts, recipe), totals, side)

    return accumulated(one, part, batch)


def loss(b: Batch, totals: dict, side: Side = "both"):
    """Return (sum, (count, metrics)) of one microbatch: the method's terms, and text to keep where it has a weight.

    A single term is its own sum and count, so that its bits equal those of training.step.train_step.
    """
    method, weight = b.recipe.method, b["retain_weight"]
    assert method.loss is not None, "a method without a loss trains nothing"
    terms = dict(method.loss(b))
    if weight and "retain" not in terms:
        terms["retain"] = b.retain()
    if side != "both":
        terms = {name: term for name, term in terms.items() if (name == "retain") == (side == "retain")}
    if len(terms) == 1:
        ((total, count),) = terms.values()
        return total * weight if side == "retain" else total, (count, {})
    total, count, metrics = combine({k: (weight if k == "retain" else 1.0, *v) for k, v in terms.items()}, totals)
    return total, (count, metrics)


def combine(terms: dict[str, tuple], totals: dict | None = None):
    """Return (sum, count, metrics) with sum / count = the weighted sum of every term's own mean.

    terms: {name: (weight, sum, count)}; the first one's count is the count. Over several microbatches each term must
    be divided by its count in all of them: give these as totals ({name: count}, known from the data beforehand), and
    the sums add up to the loss of the whole batch; without totals every microbatch is a batch of its own. metrics:
    {name: (sum, count)}, unweighted.
    """
    counts = {name: count for name, (_, _, count) in terms.items()} | (totals or {})
    first = next(iter(terms))
    # training.step.accumulated divides every sum by the first term's count; this factor cancels it for the others.
    base = jnp.maximum(counts[first], 1)
    total = sum(weight * value * (base / jnp.maximum(counts[name], 1)) for name, (weight, value, _) in terms.items())
    metrics = {name: (value, count) for name, (_, value, count) in terms.items()}
    return total, terms[first][2], metrics


def counts(recipe: Recipe, batch: dict) -> dict[str, Any]:
    """Return {part: the count that its term is divided by} over all microbatches, from the data alone."""
    return {name: _count(recipe, name, part) for name, part in batch.items() if name != "reference"}


def _count(recipe: Recipe, name: str, part):
    if recipe.method.divide.get(name) == "sequences":
        return float(part[1].shape[0] * part[1].shape[1])
    if name == "soft":  # stored outcomes: tokens, ids, probabilities, which positions are trained
        return jnp.sum(part[3], dtype=jnp.float32)
    if name == "passages":  # trained where every translation has a counterpart
        return jnp.sum(jnp.all(jnp.stack([p.trained_BT for p in part]), axis=0), dtype=jnp.float32)
    return jnp.sum(part[1] != IGNORE, dtype=jnp.float32)

"""LoRA: what training adds to a weight, as a product of two thin matrices that follow from the weight's letters.

A weight q_DNH gets q_DR and q_RNH (R: rank) beside it, and x q becomes x q + alpha / R (x q_DR) q_RNH. The base is
frozen, may rest in the compute dtype and is held once, however many adapters look through it; parallel/sharding.py
splits the adapters by their letters. On disk an adapter is what the PEFT library, transformers and vLLM read.
Source: Hu et al., arXiv 2106.09685, section 4.1.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxunlearn.config import Lora
from jaxunlearn.errors import InputError
from jaxunlearn.models.transformer import Model, Shape, StandIn, einsum
from jaxunlearn.models.weights import MATRICES, sides, size, sizes
from jaxunlearn.parallel.sharding import param, shard

WEIGHTS = MATRICES  # what gets an adapter: every matrix of a layer, no norm and no bias


def thin(name: str) -> tuple[str, str]:
    """Return the names of a weight's two factors: q_DNH -> (q_DR, q_RNH), o_NHD -> (o_NHR, o_RD)."""
    stem, _, letters = name.rpartition("_")
    inputs, outputs = sides(letters)
    return f"{stem}_{inputs}R", f"{stem}_R{outputs}"


def thin_sizes(c: Shape, name: str, rank: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the sizes of a weight's two factors in one layer."""
    inputs, outputs = sides(name.rpartition("_")[2])
    return sizes(c, inputs + "R", rank), sizes(c, "R" + outputs, rank)


class Factors(nnx.Module):
    """The thin matrices of all layers, stacked along L like the weights that they belong to."""

    def __init__(self, c: Shape, rank: int, key):
        keys = jax.random.split(key, len(WEIGHTS))
        for name, k in zip(WEIGHTS, keys, strict=True):
            inner, outer = thin_sizes(c, name, rank)
            down = jax.random.normal(k, (c.L, *inner)) / np.sqrt(np.prod(inner[:-1]))
            setattr(self, thin(name)[0], nnx.Param(down))
            setattr(self, thin(name)[1], nnx.Param(jnp.zeros((c.L, *outer))))


class LowRank(StandIn):
    """A frozen weight and what an adapter adds to it: x w + scale (x down) up."""

    def __init__(self, weight, down, up, scale: float):
        self.weight, self.down, self.up, self.scale = weight, down, up, scale

    def product(self, form: str, x, dtype):
        """Return x by the weight and by what is added to it."""
        x_letters, out = form.split(",")[0], form.rpartition("->")[2]
        inner, outer = x_letters[2:], out[2:]
        x_BTR = einsum(f"{x_letters},{inner}R->BTR", x, self.down, dtype)
        change = einsum(f"BTR,R{outer}->{out}", x_BTR, self.up, dtype)
        return einsum(form, x, self.weight, dtype) + self.scale * change


class Adapter(nnx.Module):
    """The trained part of an adapted model; a pytree that holds nothing else."""

    def __init__(self, c: Shape, lora: Lora, key):
        self.c, self.lora = c, lora
        self.blocks = Factors(c, lora.rank, key)


def rank_fits(c: Shape, lora: Lora, name: str) -> None:
    """Raise InputError for a rank that is larger than a side of a matrix, or an alpha that is not positive."""
    if lora.rank < 0 or (lora.rank and not lora.alpha > 0):
        raise InputError(
            f"{name}: rank must be >= 0 (0: no adapter) and alpha > 0 (got rank {lora.rank}, alpha {lora.alpha})"
        )
    for weight in WEIGHTS:
        inner, outer = (size(c, letters) for letters in sides(weight.rpartition("_")[2]))
        if lora.rank > min(inner, outer):
            raise InputError(
                f"{name}.rank = {lora.rank} is larger than the matrix {weight} ({inner} x {outer}); "
                f"use at most {min(inner, outer)}, 4 to 64 as a rule, or 0 to train the weights themselves"
            )


def init(c: Shape, lora: Lora, seed: int) -> Adapter:
    """Make an adapter that changes nothing yet (normal times zero), already sharded on the current mesh."""
    make, key = partial(Adapter, c, lora), jax.random.key(seed)
    return jax.jit(make, out_shardings=shard(jax.eval_shape(make, key)))(key)


def over(base: Model | None, part: Any) -> Any:
    """Return the model that `part` stands for: itself, or the base seen through an adapter (no weight is copied)."""
    if not isinstance(part, Adapter):
        return part
    assert base is not None, "an adapter needs the model that it was made for"
    seen: Any = jax.tree.map(lambda w: w, base)  # other modules, the same arrays
    for name in WEIGHTS:
        down, up = (getattr(part.blocks, f) for f in thin(name))
        setattr(seen.blocks, name, LowRank(getattr(base.blocks, name), down, up, part.lora.alpha / part.lora.rank))
    return seen


@partial(jax.jit, donate_argnums=0)
def merge(base: Model, part: Adapter) -> Model:
    """Return the base with the adapter added to its weights, in fp32 before they are stored; consumes the base."""
    merged: Any = jax.tree.map(lambda w: w, base)
    for name in WEIGHTS:
        letters = ["L" + n.rpartition("_")[2] for n in (*thin(name), name)]
        down, up = (getattr(part.blocks, f)[...] for f in thin(name))
        form = f"{letters[0]},{letters[1]}->{letters[2]}"
        change = jnp.einsum(form, down, up, out_sharding=param(letters[2]), precision="highest")
        w = getattr(base.blocks, name)[...]
        added = w.astype(jnp.float32) + part.lora.alpha / part.lora.rank * change
        setattr(merged.blocks, name, nnx.Param(added.astype(w.dtype)))
    return merged

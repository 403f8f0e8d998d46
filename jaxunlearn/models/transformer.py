"""A decoder of the Llama kind in Flax NNX, on an explicit mesh; what sets other families apart are fields of Shape.

Dimension letters, used in names, einsums and parallel/sharding.py alike:
  B batch, T tokens, S key tokens, D model, N query heads, K key/value heads, G = N / K, H head size, F feed-forward,
  V vocabulary, L layers, R rank of an adapter (lora.py).
Weights carry their letters in their names; those of `blocks` are stacked along a leading L and scanned. What else may
differ from layer to layer (the window, the rotation) is a number a layer, scanned beside them (`kinds`).
Sources are named where the families are (models/families).
"""

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from jaxunlearn.errors import InputError
from jaxunlearn.kernels.attention import SAVED, Cache, attend, attend_cached
from jaxunlearn.parallel.host_memory import return_freed
from jaxunlearn.parallel.sharding import act, gather, lookup, model_fits, platform, replicated, shard


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Everything about a model but its weights; fields are the letters above."""

    V: int
    D: int
    L: int
    N: int
    K: int
    H: int
    F: int
    context: int
    window: int | None = None  # sliding window: the last keys that a query sees, its own among them
    windowed: tuple[bool, ...] | None = None  # the layers that the window holds for; None: all of them
    rotated: tuple[int, ...] | None = None  # SmolLM3: 1 for each layer with rope, 0 for one without; None: all have it
    theta: float = 10000.0
    local_theta: float | None = None  # Gemma 3: theta of the windowed layers, which no scaling touches; None: theta
    scaling: tuple[float, float, float, float] | None = None  # Llama-3 rope: factor, low, high, original context
    stretch: float = 1.0  # linear rope scaling: positions are divided by this
    epsilon: float = 1e-5
    tied: bool = False
    activation: str = "silu"  # of the feed-forward's gate: one of ACTIVATIONS
    scaled_embedding: bool = False  # Gemma: embeddings are multiplied by sqrt(D) where they are looked up
    norm_offset: float = 0.0  # Gemma: a norm multiplies by 1 + its weight
    post_norms: bool = False  # Gemma 3: attention's and the feed-forward's outputs are normalised before they are added
    query_scalar: float | None = None  # Gemma 3: logits are divided by its square root; None: by that of H
    qkv_bias: bool = False  # Qwen2: biases of queries, keys and values
    qk_norm: bool = False  # Qwen3: an RMS norm over H of queries and of keys, before they are rotated
    family: str = "llama"  # whose config.json and tensor names the model is read and written in (models/families)
    compute: str = "float32"
    remat: str = "auto"  # what the backward pass computes again: see rematerialised()


ACTIVATIONS = {"silu": jax.nn.silu, "gelu_tanh": partial(jax.nn.gelu, approximate=True)}


def context_fits(c: Shape, tokens: int, what: str) -> None:
    """Raise InputError when `tokens` positions are more than the model was made for."""
    if tokens > c.context:
        raise InputError(
            f"{what} of {tokens} tokens is longer than the model's context of {c.context}; use at most that"
        )


class Kind(NamedTuple):
    """What a layer has of its own beside its weights; None where all layers are alike."""

    windowed: Any = None  # whether it sees Shape.window keys alone
    rope: Any = None  # which of rope_table's tables it rotates by


def kinds(c: Shape) -> Kind:
    """Return the kinds of all layers, stacked along L as their weights are, to be scanned with them."""
    ropes = _ropes(c)
    tables = list(dict.fromkeys(ropes))
    rope_L = np.array([tables.index(r) for r in ropes], np.int32) if len(tables) > 1 else None
    return Kind(None if c.windowed is None else np.array(c.windowed), rope_L)


class StandIn(nnx.Module):
    """What may stand in a block where a weight stood, and multiplies in its own way."""

    def product(self, form: str, x, dtype):
        """Return what x is multiplied to, as `einsum` returns it for a weight."""
        raise NotImplementedError


class Block(nnx.Module):
    """One transformer layer: grouped-query attention and a gated feed-forward, both pre-normalised."""

    def __init__(self, c: Shape, key):
        keys = iter(jax.random.split(key, 7))

        def init(*shape):
            return nnx.Param(0.02 * jax.random.normal(next(keys), shape))

        self.c = c
        self.attention_norm_D = nnx.Param(unit(c, c.D))
        self.q_DNH, self.k_DKH, self.v_DKH = init(c.D, c.N, c.H), init(c.D, c.K, c.H), init(c.D, c.K, c.H)
        self.o_NHD = init(c.N, c.H, c.D)
        self.mlp_norm_D = nnx.Param(unit(c, c.D))
        self.gate_DF, self.up_DF, self.down_FD = init(c.D, c.F), init(c.D, c.F), init(c.F, c.D)
        if c.qkv_bias:
            self.q_bias_NH = nnx.Param(jnp.zeros((c.N, c.H)))
            self.k_bias_KH, self.v_bias_KH = (nnx.Param(jnp.zeros((c.K, c.H))) for _ in range(2))
        if c.qk_norm:
            self.q_norm_H, self.k_norm_H = (nnx.Param(unit(c, c.H)) for _ in range(2))
        if c.post_norms:
            self.attention_post_norm_D, self.mlp_post_norm_D = (nnx.Param(unit(c, c.D)) for _ in range(2))

    def __call__(self, x_BTD, kind: Kind, rope, mask_BTS, cache=None, at=0):
        """Return the layer's output and the cache, as `attended` does."""
        x_BTD, of_all = self.attended(x_BTD, kind, rope, mask_BTS, cache, at)
        return x_BTD + self.fed_forward(x_BTD), of_all

    def attended(self, x_BTD, kind: Kind, rope, mask_BTS, cache=None, at=0):
        """Return x_BTD after attention, which the feed-forward sees, and the cache.

        cache: (Cache of all layers, the layer's number), or None; what comes back has new keys and values at `at`.
        """
        c, dtype = self.c, x_BTD.dtype
        y_BTD = rms_norm(x_BTD, self.attention_norm_D[...], c.epsilon, c.norm_offset)
        q_BTNH = einsum("BTD,DNH->BTNH", y_BTD, self.q_DNH, dtype)
        k_BTKH = einsum("BTD,DKH->BTKH", y_BTD, self.k_DKH, dtype)
        if c.qkv_bias:
            q_BTNH += gather(self.q_bias_NH[...], "NH", dtype)[None, None]
            k_BTKH += gather(self.k_bias_KH[...], "KH", dtype)[None, None]
        if c.qk_norm:
            q_BTNH = rms_norm(q_BTNH, self.q_norm_H[...], c.epsilon, c.norm_offset)
            k_BTKH = rms_norm(k_BTKH, self.k_norm_H[...], c.epsilon, c.norm_offset)
        if c.query_scalar is not None and c.query_scalar != c.H:
            q_BTNH *= (c.H / c.query_scalar) ** 0.5  # attention divides by sqrt(H)
        if kind.rope is not None:
            rope = [jax.lax.dynamic_index_in_dim(table, kind.rope, keepdims=False) for table in rope]
        k_BTKH = rotate(k_BTKH, rope)
        v_BTKH = einsum("BTD,DKH->BTKH", y_BTD, self.v_DKH, dtype)
        if c.qkv_bias:
            v_BTKH += gather(self.v_bias_KH[...], "KH", dtype)[None, None]
        q_BTNH, k_BTKH, v_BTKH = (checkpoint_name(a, "qkv") for a in (rotate(q_BTNH, rope), k_BTKH, v_BTKH))
        qkv, of_all = (q_BTNH, k_BTKH, v_BTKH), None
        if cache is None:
            a_BTNH = attend(qkv, mask_BTS, c.window, kind.windowed)
        else:
            a_BTNH, of_all = attend_cached(qkv, mask_BTS, cache, at, c.window, kind.windowed)
        y_BTD = einsum("BTNH,NHD->BTD", a_BTNH, self.o_NHD, dtype)
        if c.post_norms:
            y_BTD = rms_norm(y_BTD, self.attention_post_norm_D[...], c.epsilon, c.norm_offset)
        return x_BTD + y_BTD, of_all

    def fed_forward(self, x_BTD):
        """Return what the feed-forward adds to x_BTD."""
        c, dtype = self.c, x_BTD.dtype
        y_BTD = rms_norm(x_BTD, self.mlp_norm_D[...], c.epsilon, c.norm_offset)
        gate_BTF, up_BTF = (einsum("BTD,DF->BTF", y_BTD, w, dtype) for w in (self.gate_DF, self.up_DF))
        f_BTF = ACTIVATIONS[c.activation](checkpoint_name(gate_BTF, "wide")) * checkpoint_name(up_BTF, "wide")
        y_BTD = einsum("BTF,FD->BTD", f_BTF, self.down_FD, dtype)
        if c.post_norms:
            y_BTD = rms_norm(y_BTD, self.mlp_post_norm_D[...], c.epsilon, c.norm_offset)
        return y_BTD


class Model(nnx.Module):
    """The whole language model; a pytree whose leaves are its weights."""

    def __init__(self, c: Shape, key):
        embed, head, blocks = jax.random.split(key, 3)
        self.c = c
        self.embed_VD = nnx.Param(0.02 * jax.random.normal(embed, (c.V, c.D)))
        self.blocks = jax.vmap(partial(Block, c))(jax.random.split(blocks, c.L))
        self.norm_D = nnx.Param(unit(c, c.D))
        if not c.tied:
            self.head_DV = nnx.Param(0.02 * jax.random.normal(head, (c.D, c.V)))

    def __call__(self, tokens_BT, positions_BT=None, mask_BTS=None, cache: Cache | None = None, at=0):
        """Return the normalised last hidden state h_BTD in the compute dtype; with a cache also the new cache.

        positions_BT defaults to 0..T-1; mask_BTS (True: may attend) defaults to causal.
        """
        c = self.c
        x_BTD = self.embed(tokens_BT)
        if positions_BT is None:
            positions_BT = jnp.arange(tokens_BT.shape[1])[None]
        rope = rope_table(c, positions_BT)

        def layer(x_BTD, scanned, cached=None):
            block, kind = scanned
            return block(x_BTD, kind, rope, mask_BTS, cached, at)

        if cache is None:
            kept = rematerialised(layer, c.remat)
            x_BTD, _ = jax.lax.scan(lambda x, b: (kept(x, b)[0], None), x_BTD, self.layers())
            return self.normalised(x_BTD)
        # The cache goes from layer to layer: scanned like the weights, it would be copied out and in again.
        numbered = self.layers(), jnp.arange(c.L)
        (x_BTD, cache), _ = jax.lax.scan(
            lambda xc, b: (layer(xc[0], b[0], (xc[1], b[1])), None), (x_BTD, cache), numbered
        )
        return self.normalised(x_BTD), cache

    def embed(self, tokens_BT):
        """Return what the first layer sees of tokens, x_BTD in the compute dtype."""
        dtype = jnp.dtype(self.c.compute)
        x_BTD = lookup(self.embed_VD[...].astype(dtype), tokens_BT)
        return x_BTD * jnp.asarray(self.c.D**0.5, dtype) if self.c.scaled_embedding else x_BTD

    def layers(self):
        """Return (blocks, kinds), both stacked along L: what a scan over the layers takes."""
        return self.blocks, kinds(self.c)

    def normalised(self, x_BTD):
        """Return the last layer's output as the output projection meets it."""
        return rms_norm(x_BTD, self.norm_D[...], self.c.epsilon, self.c.norm_offset)

    def unembed_DV(self):
        """Return the output projection [D, V] at rest, tied or not."""
        return self.embed_VD[...].T if self.c.tied else self.head_DV[...]

    def output_DV(self, dtype):
        """Return the output projection [D, V] in use: in the compute dtype, and gathered where fsdp split it."""
        return gather(self.unembed_DV(), "DV", dtype)

    def logits(self, h_BTD):
        """Return fp32 logits_BTV of hidden states; for a few positions only (losses and labels never hold them)."""
        w_DV = self.output_DV(h_BTD.dtype)
        return jnp.einsum("BTD,DV->BTV", h_BTD, w_DV, out_sharding=act("BTV"), preferred_element_type=jnp.float32)


def rematerialised(layer, remat: str):
    """Return a layer that saves memory: its backward pass computes part of the forward pass again.

    "full" computes everything again but the layer's input; "mlp" all but queries, keys, values and attention output
    (3.45 forward passes a step instead of 4, for 256 MiB a layer more at 8,192 tokens of Llama-2-7b in bf16); "down"
    also keeps the feed-forward's two wide products (3.15, for 344 MiB more); "dots" all but the products with weights
    and the attention output; "none" nothing. "auto" is "mlp" on accelerators and "dots" on the CPU.
    """
    policies, named = jax.checkpoint_policies, jax.checkpoint_policies.save_only_these_names
    if remat == "none":
        return layer
    if remat == "full":
        return jax.checkpoint(layer)
    if remat == "dots" or (remat == "auto" and platform() == "cpu"):
        dots = policies.dots_with_no_batch_dims_saveable
        return jax.checkpoint(layer, policy=policies.save_from_both_policies(dots, named(SAVED)))
    return jax.checkpoint(layer, policy=named("qkv", SAVED, *["wide"] * (remat == "down")))


def einsum(form: str, x, weight, dtype):
    """Multiply activations with a weight, cast and gathered for use, under one notation for shapes and sharding.

    It is one flat product [B*T, inner] x [inner, outer], whatever the letters: XLA's CPU backend copies arrays for
    every other form, and other backends compile this one as well. A merged dimension is split over the mesh as its
    first letter is.
    """
    if isinstance(weight, StandIn):
        return weight.product(form, x, dtype)
    inputs, out = form.split("->")
    x_letters, w_letters = inputs.split(",")
    inner, outer = x_letters[2:], out[2:]
    w = gather(weight[...], w_letters, dtype)
    B, T, *inner_shape = x.shape
    outer_shape = w.shape[len(inner) :]
    I, O = math.prod(inner_shape), math.prod(outer_shape)
    rows_MI = jax.lax.reshape(x, (B * T, I), out_sharding=act("B" + inner[0]))
    w_IO = jax.lax.reshape(w, (I, O), out_sharding=act(inner[0] + outer[0]))
    y_MO = jnp.einsum("MI,IO->MO", rows_MI, w_IO, out_sharding=act("B" + outer[0]))
    return jax.lax.reshape(y_MO, (B, T, *outer_shape), out_sharding=act(out))


def unit(c: Shape, size: int):
    """Return the weights [size] of a norm that only normalises."""
    return jnp.full(size, 1.0 - c.norm_offset, jnp.float32)  # without the type it would be a weak one


def rms_norm(x, scale, epsilon: float, offset: float = 0.0):
    """Normalise by the root mean square over the last dimension (D of x_BTD, H of q_BTNH), in fp32.

    The result is multiplied by `offset` + `scale`.
    """
    x32 = x.astype(jnp.float32)
    x32 *= jax.lax.rsqrt(jnp.mean(x32 * x32, axis=-1, keepdims=True) + epsilon)
    if offset:
        scale = scale.astype(jnp.float32) + offset
    return (x32 * replicated(scale)[(None,) * (x.ndim - 1)]).astype(x.dtype)


def rope_frequencies(c: Shape):
    """Return the rotation frequencies [H/2] in radians a token, with Llama-3's smooth scaling or linear scaling."""
    freq = c.theta ** (-np.arange(0, c.H, 2, dtype=np.float64) / c.H) / c.stretch
    if c.scaling is None:
        return freq
    factor, low, high, original = c.scaling
    smooth = np.clip((original * freq / (2 * np.pi) - low) / (high - low), 0, 1)
    return freq * (smooth + (1 - smooth) / factor)


def _ropes(c: Shape) -> list[str]:
    """Return how each layer rotates: by theta ("global"), by local_theta ("local"), or not at all ("none")."""
    windowed = c.windowed or (c.window is not None,) * c.L
    local = [near and c.local_theta is not None for near in windowed]
    rotated = c.rotated or (1,) * c.L
    return ["none" if not r else "local" if near else "global" for r, near in zip(rotated, local, strict=True)]


def rope_table(c: Shape, positions_BT):
    """Return (cos, sin), each [B, T, 1, H/2] in fp32; one such table after another where the layers' ropes differ."""
    frequencies = {
        "global": lambda: rope_frequencies(c),
        "local": lambda: rope_frequencies(replace(c, theta=c.local_theta or c.theta, scaling=None, stretch=1.0)),
        "none": lambda: np.zeros(c.H // 2),
    }
    tables = []
    for kind in dict.fromkeys(_ropes(c)):
        angle = (
            positions_BT[..., None, None].astype(jnp.float32)
            * jnp.asarray(frequencies[kind](), jnp.float32)[None, None, None]
        )
        tables.append((jnp.cos(angle), jnp.sin(angle)))
    return tables[0] if len(tables) == 1 else tuple(jnp.stack(part) for part in zip(*tables, strict=True))


def rotate(x_BTNH, rope):
    """Rotate queries or keys by their positions (Hugging Face's order: first half with second half)."""
    cos, sin = rope
    a, b = jnp.split(x_BTNH.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1).astype(x_BTNH.dtype)


def init(c: Shape, seed: int) -> Model:
    """Make a model with random weights (normal, 0.02), already sharded on the current mesh."""
    model_fits(c)
    make = partial(Model, c)
    key = jax.random.key(seed)
    like = jax.eval_shape(make, key)
    return_freed(sum(w.size * w.dtype.itemsize for w in jax.tree.leaves(like)))
    return jax.jit(make, out_shardings=shard(like))(key)


def abstract(c: Shape):
    """Return the model as shapes, dtypes and shardings only, to restore checkpoints into and compile plans on."""
    shapes = jax.eval_shape(lambda: Model(c, jax.random.key(0)))  # traced: the mesh may be of described devices
    return jax.tree.map(lambda s, h: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=h), shapes, shard(shapes))

"""The generic-label kernel for TPU in Pallas: two products, the offset and the running argmax in one pass of VMEM.

A block of rows stays while both projections stream past it, a block of columns at a time; no logit is ever in HBM.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

NOWHERE = 2**30
VMEM = 24 * 2**20  # bytes that the four streamed blocks may take, twice buffered


def block_sizes(T: int, D: int, itemsize: int) -> tuple[int, int]:
    """Return (rows, columns) of a block: the largest that fit, rows dividing T; (0, 0) if none does."""
    for rows, columns in ((512, 512), (256, 512), (256, 256), (128, 256), (128, 128)):
        if T % rows == 0 and 4 * (rows + columns) * D * itemsize <= VMEM:
            return rows, columns
    return 0, 0


def best_labels(base_BTD, reinf_BTD, base_DV, reinf_DV, seen_BV, place_BT, mean_BT, alphas, rule, penalty, interpret):
    """Return (max, index) of the generic logits over this device's vocabulary, [A, B, T] each; see generic_argmax."""
    B, T, D = base_BTD.shape
    V, A = base_DV.shape[1], len(alphas)
    rows, columns = block_sizes(T, D, base_BTD.dtype.itemsize)
    hidden = pl.BlockSpec((1, rows, D), lambda b, t, n: (b, t, 0))
    weight = pl.BlockSpec((D, columns), lambda b, t, n: (0, n))
    per_row = pl.BlockSpec((1, rows, 1), lambda b, t, n: (b, t, 0))
    per_column = pl.BlockSpec((1, 1, columns), lambda b, t, n: (b, 0, n))
    out = pl.BlockSpec((1, rows, A), lambda b, t, n: (b, t, 0))
    top_BTA, index_BTA = pl.pallas_call(
        partial(_kernel, alphas=alphas, rule=rule, penalty=penalty, V=V),
        grid=(B, T // rows, pl.cdiv(V, columns)),
        in_specs=[hidden, hidden, weight, weight, per_column, per_row, per_row],
        out_specs=[out, out],
        out_shape=[jax.ShapeDtypeStruct((B, T, A), d) for d in (jnp.float32, jnp.int32)],
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "parallel", "arbitrary"), vmem_limit_bytes=3 * VMEM
        ),
        interpret=interpret,
    )(base_BTD, reinf_BTD, base_DV, reinf_DV, seen_BV[:, None], place_BT[..., None], mean_BT[..., None])
    return tuple(jnp.moveaxis(a, -1, 0) for a in (top_BTA, index_BTA))


def _kernel(base, reinf, w_base, w_reinf, seen, place, mean, top, index, *, alphas, rule, penalty, V):
    """One block of rows against one block of columns; `top` and `index` hold the best so far."""
    n = pl.program_id(2)

    @pl.when(n == 0)
    def _():
        top[...] = jnp.full_like(top, -jnp.inf)
        index[...] = jnp.zeros_like(index)

    v_base, v_reinf = _dot(base[0], w_base[...]), _dot(reinf[0], w_reinf[...])
    column = n * v_base.shape[1] + jax.lax.broadcasted_iota(jnp.int32, v_base.shape, 1)
    seen_RC = place[0] >= seen[0]
    if rule == "mean":
        v_base = jnp.where(seen_RC, mean[0], v_base)
    elif rule == "penalty":
        v_base = jnp.where(seen_RC, v_base - penalty, v_base)
    lift = jnp.maximum(v_reinf - v_base, 0.0)
    out_of_reach = (column >= V) | (seen_RC if rule == "-inf" else False)  # the last block reaches past the vocabulary
    for a, alpha in enumerate(alphas):
        v = jnp.where(out_of_reach, -jnp.inf, v_base - alpha * lift)
        best = jnp.max(v, axis=1, keepdims=True)
        where = jnp.min(jnp.where(v == best, column, NOWHERE), axis=1, keepdims=True)
        better = best > top[0, :, a : a + 1]
        index[0, :, a : a + 1] = jnp.where(better, where, index[0, :, a : a + 1])
        top[0, :, a : a + 1] = jnp.where(better, best, top[0, :, a : a + 1])


def _dot(h, w):
    return jax.lax.dot_general(h, w, (((1,), (0,)), ((), ())), preferred_element_type=jnp.float32)

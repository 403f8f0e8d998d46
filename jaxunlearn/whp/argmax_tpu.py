"""The generic-label kernel for TPU in Pallas: two products, the offset and the running argmax in one pass of VMEM.

A block of rows stays while both projections stream past it, a block of columns at a time; no logit is ever in HBM.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from jaxunlearn.whp import equation

NOWHERE = 2**30
VMEM = 24 * 2**20  # bytes that the four streamed blocks may take, twice buffered


def block_sizes(T: int, D: int, itemsize: int) -> tuple[int, int]:
    """Return (rows, columns) of a block: the largest that fit, rows dividing T; (0, 0) if none does."""
    for rows, columns in ((512, 512), (256, 512), (256, 256), (128, 256), (128, 128)):
        if T % rows == 0 and 4 * (rows + columns) * D * itemsize <= VMEM:
            return rows, columns
    return 0, 0


def best_labels(hidden, weights, seen, *, alphas, rule: str, penalty: float, interpret: bool):
    """Return (max, index) of the generic logits over this device's vocabulary, [A, B, T] each; see generic_argmax.

    hidden: (base_BTD, reinf_BTD); weights: (base_DV, reinf_DV); seen: (seen_BV, place_BT, mean_BT), where a row stands
    at place_BT in its block and has the mean logit mean_BT. T must be a multiple of block_sizes' rows.
    """
    B, T, D = hidden[0].shape
    V, A = weights[0].shape[1], len(alphas)
    rows, columns = block_sizes(T, D, hidden[0].dtype.itemsize)
    of_row = pl.BlockSpec((1, rows, D), lambda b, t, n: (b, t, 0))
    of_column = pl.BlockSpec((D, columns), lambda b, t, n: (0, n))
    per_row = pl.BlockSpec((1, rows, 1), lambda b, t, n: (b, t, 0))
    per_column = pl.BlockSpec((1, 1, columns), lambda b, t, n: (b, 0, n))
    # The same block for every n: it stays in VMEM while columns stream past, and holds the best so far.
    out = pl.BlockSpec((1, rows, A), lambda b, t, n: (b, t, 0))
    seen_BV, place_BT, mean_BT = seen
    top_BTA, index_BTA = pl.pallas_call(
        partial(_kernel, alphas=alphas, rule=rule, penalty=penalty, V=V),
        grid=(B, T // rows, pl.cdiv(V, columns)),
        in_specs=[of_row, of_row, of_column, of_column, per_column, per_row, per_row],
        out_specs=[out, out],
        out_shape=[jax.ShapeDtypeStruct((B, T, A), d) for d in (jnp.float32, jnp.int32)],
        compiler_params=pltpu.CompilerParams(
            # columns are "arbitrary", one after another: each step reads what the one before left in `out`
            dimension_semantics=("parallel", "parallel", "arbitrary"),
            vmem_limit_bytes=3 * VMEM,
        ),
        interpret=interpret,
    )(*hidden, *weights, seen_BV[:, None], place_BT[..., None], mean_BT[..., None])
    return tuple(jnp.moveaxis(a, -1, 0) for a in (top_BTA, index_BTA))


def _kernel(*refs, alphas, rule, penalty, V):
    """One block of rows against one block of columns; `top` and `index` hold the best so far."""
    base, reinf, w_base, w_reinf, seen, place, mean, top, index = refs
    n = pl.program_id(2)

    @pl.when(n == 0)
    def _():
        top[...] = jnp.full_like(top, -jnp.inf)
        index[...] = jnp.zeros_like(index)

    v_base, v_reinf = _dot(base[0], w_base[...]), _dot(reinf[0], w_reinf[...])
    column = n * v_base.shape[1] + jax.lax.broadcasted_iota(jnp.int32, v_base.shape, 1)
    settings = {"seen": place[0] >= seen[0], "mean": mean[0], "rule": rule, "penalty": penalty}
    for a, alpha in enumerate(alphas):  # written out: a kernel has no room for a batch of blocks
        v = equation.generic_logits(v_base, v_reinf, alpha, **settings)
        v = jnp.where(column >= V, -jnp.inf, v)  # the last block reaches past the vocabulary
        # As in argmax.py two plain reductions find the lowest index of the maximum, and > keeps the first block's.
        best = jnp.max(v, axis=1, keepdims=True)
        where = jnp.min(jnp.where(v == best, column, NOWHERE), axis=1, keepdims=True)
        better = best > top[0, :, a : a + 1]
        index[0, :, a : a + 1] = jnp.where(better, where, index[0, :, a : a + 1])
        top[0, :, a : a + 1] = jnp.where(better, best, top[0, :, a : a + 1])


def _dot(h, w):
    return jax.lax.dot_general(h, w, (((1,), (0,)), ((), ())), preferred_element_type=jnp.float32)

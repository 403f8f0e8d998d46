"""Generic labels: the argmax over the vocabulary of the generic logits (equation.py), without [B, T, V] logits.

Source: Eldan & Russinovich, arXiv 2310.02238, section 2.2; the seen-translation rule is their label script's. On each
device: stretches of positions (`rows`) against blocks of columns (`chunk`), keeping the best label so far.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxunlearn.kernels.linear_cross_entropy import IGNORE
from jaxunlearn.parallel.sharding import act, platform
from jaxunlearn.whp import equation
from jaxunlearn.whp.argmax_tpu import best_labels, block_sizes

NEVER = 2**30  # a position that no block reaches
EVEN = 16  # columns of a block are a multiple of it, for whole vectors
NOWHERE = 2**30  # an index that no vocabulary reaches


class Hidden(NamedTuple):
    """What is known of each position: the hidden states of every model that is asked, and the contrast's shift."""

    base_BTD: jax.Array
    reinf_BTD: jax.Array
    offset_BTD: jax.Array | None = None  # None: the offset is over the baseline's own logits
    shift_BT: jax.Array | None = None


class Columns(NamedTuple):
    """What is known of each token: its column of every output projection, and since when it counts as seen."""

    base_DV: jax.Array
    reinf_DV: jax.Array
    seen_BV: jax.Array
    offset_DV: jax.Array | None = None  # None: the baseline's


class Block(NamedTuple):
    """At most how many positions meet how many columns at a time on a device."""

    rows: int
    chunk: int


# On a GPU a block is of all columns: a narrower one costs a copy of its columns and products that fill the device less.
BLOCKS = {"gpu": Block(2048, 2**30)}
NARROW = Block(4096, 2048)


@dataclass(frozen=True)
class How:
    """What the program depends on beside its arrays; see generic_argmax."""

    alphas: tuple[float, ...]
    rule: str
    penalty: float
    chunk: int
    rows: int
    once: bool  # whether to find the first of the best in one reduction, where that is as fast as two plain ones
    pallas: bool
    interpret: bool


def generic_argmax(
    base_BTD,
    reinf_BTD,
    base_DV,
    reinf_DV,
    alphas,
    *,
    trained_BT=None,
    seen_BV=None,
    rule="mean",
    penalty=5.0,
    offset_BTD=None,
    offset_DV=None,
    shift_BT=None,
    chunk=0,
    rows=0,
    pallas="auto",
):
    """Return labels_ABT, one int32 label a position for every alpha, from hidden states and output projections.

    base_BTD: baseline's hidden states at the translated position of each original token; reinf_BTD: the reinforced
    model's on the original. trained_BT: positions that want a label; the others get -100, and where a whole stretch
    of them is left over at the end of every block no logit is computed. seen_BV: from which position on a token is
    the first token of a translation that has appeared (NEVER: not), for the seen-translation rule of equation.py.
    offset_BTD: baseline's hidden states on the original, if the offset is to be taken there instead; of another model
    with its own offset_DV, and then shift_BT (log-normaliser of the other model less the reinforced one's) makes the
    difference of their logits one of log-probabilities: the contrast. Logits are fp32; the lowest index wins a tie;
    V may be split over "tensor". At most `rows` x `chunk` logits of each model are in memory at a time (0: what suits
    the device); the Pallas kernel ("auto": on TPU, where the shapes allow; "interpret": anywhere, slowly) keeps a block
    of them in VMEM.
    """
    device = platform()
    block = BLOCKS.get(device, NARROW)
    B, T = base_BTD.shape[:2]
    if seen_BV is None:
        seen_BV = jnp.full((B, base_DV.shape[1]), NEVER, jnp.int32, out_sharding=act("BV"))
    if trained_BT is None:
        trained_BT = jnp.ones((B, T), bool, out_sharding=act("BT"))
    assert (offset_DV is None) == (shift_BT is None), "a model of its own comes with its log-normaliser"
    hidden = Hidden(base_BTD, reinf_BTD, offset_BTD, shift_BT)
    columns = Columns(base_DV, reinf_DV, seen_BV, offset_DV)
    how = How(
        tuple(float(a) for a in alphas), rule, penalty, chunk or block.chunk, rows or block.rows, once=device == "gpu",
        pallas=pallas == "interpret" or (pallas == "auto" and device == "tpu"), interpret=pallas == "interpret",
    )  # fmt: skip
    specs = _specs(hidden), _specs(columns), act("BT")
    # check_vma=False: after the exchange labels are equal along "tensor", which is not to be seen from their types.
    run = jax.shard_map(partial(_argmax_on_device, how=how), in_specs=specs, out_specs=act("ABT"), check_vma=False)
    return run(hidden, columns, trained_BT)


def _specs(arrays: Any) -> Any:
    """Return a record's specs, by the letters in its fields' names; None where there is no array."""
    named = arrays._asdict().items()
    return type(arrays)(*[None if a is None else act(name.rpartition("_")[2]) for name, a in named])


def _argmax_on_device(hidden: Hidden, columns: Columns, trained_BT, *, how: How):
    """One device's rows against its slice of the vocabulary, then the exchange of (max, index) alone."""
    B, T, D = hidden.base_BTD.shape
    A, first = len(how.alphas), jax.lax.axis_index("tensor") * columns.base_DV.shape[1]
    # The mean of a row's logits is its hidden state times the mean column: one product of [D], not one of [D, V].
    mean_D = jax.lax.pmean(jnp.mean(columns.base_DV.astype(jnp.float32), axis=1), "tensor")
    # Positions that want a label come first, so that those that want none are left over at the end: as many whole
    # stretches as no block needs are never computed. The sort is stable, and undone below.
    order_BT = jnp.argsort(~trained_BT, axis=1, stable=True)
    rows = (*jax.tree.map(partial(_take, order_BT=order_BT), hidden), order_BT)
    stretch = max(1, min(T, how.rows // B))
    kernel = how.pallas and hidden.offset_BTD is None and block_sizes(stretch, D, hidden.base_BTD.dtype.itemsize)[0]

    def step(n, best):
        start = jnp.minimum(n * stretch, T - stretch)  # the last stretch overlaps: a row done twice changes nothing
        *cut, place_BT = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, start, stretch, axis=1), rows)
        part = Hidden(*cut)
        mean_BT = jnp.einsum("BTD,D->BT", part.base_BTD.astype(jnp.float32), mean_D)
        found = (_best_by_kernel if kernel else _best_by_chunks)(part, columns, place_BT, mean_BT, how)
        return tuple(jax.lax.dynamic_update_slice_in_dim(a, b, start, axis=2) for a, b in zip(best, found, strict=True))

    empty = jnp.full((A, B, T), -jnp.inf), jnp.zeros((A, B, T), jnp.int32)
    wanted = jnp.max(jnp.sum(trained_BT, axis=1))
    top_ABT, index_ABT = jax.lax.fori_loop(0, -(-wanted // stretch), step, empty)
    top_SABT, index_SABT = jax.lax.all_gather((top_ABT, first + index_ABT), "tensor")
    shard_ABT = jnp.argmax(top_SABT, axis=0)[None]  # the lowest shard holds the lowest index
    labels_ABT = jnp.take_along_axis(index_SABT, shard_ABT, axis=0)[0]
    labels_ABT = jnp.take_along_axis(labels_ABT, jnp.argsort(order_BT, axis=1)[None], axis=2)
    return jnp.where(trained_BT[None], labels_ABT, IGNORE)


def _best_by_kernel(hidden: Hidden, columns: Columns, place_BT, mean_BT, how: How):
    """Return what _best_by_chunks does, from the Pallas kernel; it knows no offset of its own."""
    return best_labels(
        (hidden.base_BTD, hidden.reinf_BTD),
        (columns.base_DV, columns.reinf_DV),
        (columns.seen_BV, place_BT, mean_BT),
        alphas=how.alphas,
        rule=how.rule,
        penalty=how.penalty,
        interpret=how.interpret,
    )


def _best_by_chunks(hidden: Hidden, columns: Columns, place_BT, mean_BT, how: How):
    """Return (max, index) over this device's vocabulary, [A, B, T] each, of positions that stand at `place_BT`."""
    B, T = place_BT.shape
    V, alphas_A = columns.base_DV.shape[1], jnp.asarray(how.alphas)
    chunk = even_chunk(V, how.chunk)
    shift_BT1 = None if hidden.shift_BT is None else hidden.shift_BT[..., None]

    def step(best, n):
        start = jnp.minimum(n * chunk, V - chunk)  # the last chunk overlaps: a column seen twice changes nothing
        at = jax.tree.map(lambda a: jax.lax.dynamic_slice_in_dim(a, start, chunk, axis=1), columns)
        v_base, v_reinf, v_offset = _dot(hidden.base_BTD, at.base_DV), _dot(hidden.reinf_BTD, at.reinf_DV), None
        if hidden.offset_BTD is not None:
            v_offset = _dot(hidden.offset_BTD, at.base_DV if at.offset_DV is None else at.offset_DV)
        rule = {"seen": place_BT[:, :, None] >= at.seen_BV[:, None, :], "mean": mean_BT[..., None]}
        rule |= {"rule": how.rule, "penalty": how.penalty}

        def generic(alpha):
            return equation.generic_logits(v_base, v_reinf, alpha, v_offset=v_offset, shift=shift_BT1, **rule)

        v_ABTC = jax.vmap(generic)(alphas_A)  # both products serve every alpha
        top_ABT, column_ABT = _first_best(v_ABTC, how.once)
        where_ABT = start + column_ABT
        better = top_ABT > best[0]  # not >=: of equal ones the first chunk's index stays, the lowest
        return (jnp.where(better, top_ABT, best[0]), jnp.where(better, where_ABT, best[1])), None

    empty = jnp.full((len(how.alphas), B, T), -jnp.inf), jnp.zeros((len(how.alphas), B, T), jnp.int32)
    return jax.lax.scan(step, empty, jnp.arange(-(-V // chunk)))[0]


def _first_best(v_ABTC, once: bool):
    """Return (maximum, first column that has it) of each row.

    once: in one reduction, for a GPU, which would read the logits for each. Otherwise in two plain ones, which the CPU
    backend vectorises where it does not argmax.
    """
    if once:
        column_ABT = jnp.argmax(v_ABTC, axis=-1).astype(jnp.int32)
        return jnp.take_along_axis(v_ABTC, column_ABT[..., None], axis=-1)[..., 0], column_ABT
    top_ABT = jnp.max(v_ABTC, axis=-1)
    columns_C = jnp.arange(v_ABTC.shape[-1], dtype=jnp.int32)
    column_ABTC = jnp.where(v_ABTC == top_ABT[..., None], columns_C[None, None, None], NOWHERE)
    return top_ABT, jnp.min(column_ABTC, axis=-1)


def even_chunk(V: int, chunk: int) -> int:
    """Return the columns of a block, at most chunk rounded up to EVEN: as many blocks, with the least overlap."""
    blocks = -(-V // chunk)
    return min(V, -(-V // (blocks * EVEN)) * EVEN)


def _take(a, order_BT):
    """Return the positions of [B, T] or [B, T, D] in another order."""
    return jnp.take_along_axis(a, order_BT if a.ndim == 2 else order_BT[..., None], axis=1)


def _dot(h_BTD, w_DC):
    """Return logits_BTC: one product of all rows, seen as blocks and positions again, which costs nothing."""
    B, T, D = h_BTD.shape
    return jnp.dot(h_BTD.reshape(B * T, D), w_DC, preferred_element_type=jnp.float32).reshape(B, T, -1)


def seen_table(seen_id_BR, seen_from_BR, V: int):
    """Return seen_BV (int32), from which position on each token counts as seen; NEVER where it does not.

    seen_id_BR, seen_from_BR: ragged pairs (token, first position); token -1 is padding.
    """
    B = seen_id_BR.shape[0]
    index_BR = jnp.where(seen_id_BR < 0, V, seen_id_BR)  # V lies outside the table: the scatter drops it

    def one(index_R, from_R):
        return jnp.full(V, NEVER, jnp.int32).at[index_R].min(from_R, mode="drop")

    local = jax.vmap(one)
    # The scatter runs with V whole on every device (J: a letter that is not split) and is cut only then, since its
    # indices are of the whole vocabulary.
    table_BV = jax.shard_map(local, in_specs=(act("BR"), act("BR")), out_specs=act("BJ"), check_vma=False)(
        index_BR, seen_from_BR
    )
    assert table_BV.shape == (B, V)
    return jax.reshard(table_BV, act("BV"))

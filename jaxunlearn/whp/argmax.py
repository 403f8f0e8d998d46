"""Generic labels: argmax(v_base - alpha * ReLU(v_reinf - v_base)) over the vocabulary, without [B, T, V] logits.

Source: Eldan & Russinovich, arXiv 2310.02238, section 2.2; the seen-translation rule is their label script's.
"""

from functools import partial

import jax
import jax.numpy as jnp

from jaxunlearn.kernels.linear_cross_entropy import IGNORE
from jaxunlearn.parallel.sharding import act, platform
from jaxunlearn.whp.argmax_tpu import best_labels, block_sizes

NEVER = 2**30  # a position that no block reaches
EVEN = 16  # columns of a block are a multiple of it, for whole vectors
NOWHERE = 2**30  # an index that no vocabulary reaches


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
    chunk=2048,
    rows=4096,
    pallas="auto",
):
    """Return labels_ABT, one int32 label a position for every alpha, from hidden states and output projections.

    base_BTD: baseline's hidden states at the translated position of each original token; reinf_BTD: the reinforced
    model's on the original. trained_BT: positions that want a label; the others get -100, and where a whole stretch
    of them is left over at the end of every block no logit is computed. seen_BV: from which position on a token is
    the first token of a translation that has appeared (NEVER: not); there its baseline logit becomes the row's mean
    ("mean"), loses `penalty` ("penalty") or is ruled out ("-inf"), before the ReLU. offset_BTD: baseline's hidden
    states on the original, if the offset is to be taken there instead; of another model with its own offset_DV, and
    then shift_BT is added to the lift (the contrast: both models' log-normalisers, which make logits
    log-probabilities) and the rule touches the baseline's logits alone. Logits are fp32; the lowest index wins a tie;
    V may be split over "tensor". At most `rows` x `chunk` logits of each model are in memory at a time; the Pallas
    kernel ("auto": on TPU, where the shapes allow; "interpret": anywhere, slowly) keeps a block of them in VMEM.
    """
    B, T = base_BTD.shape[:2]
    alphas = tuple(float(a) for a in alphas)
    if seen_BV is None:
        seen_BV = jnp.full((B, base_DV.shape[1]), NEVER, jnp.int32, out_sharding=act("BV"))
    if trained_BT is None:
        trained_BT = jnp.ones((B, T), bool, out_sharding=act("BT"))
    arrays = [base_BTD, reinf_BTD, base_DV, reinf_DV, seen_BV, trained_BT]
    assert (offset_DV is None) == (shift_BT is None), "a model of its own comes with its log-normaliser"
    arrays += [a for a in (offset_BTD, offset_DV, shift_BT) if a is not None]
    specs = [act(s) for s in ("BTD", "BTD", "DV", "DV", "BV", "BT", "BTD", "DV", "BT")][: len(arrays)]
    local = partial(_argmax_on_device, alphas=alphas, rule=rule, penalty=penalty, chunk=chunk, rows=rows)
    if pallas == "interpret" or (pallas == "auto" and platform() == "tpu"):
        local = partial(local, interpret=pallas == "interpret")
    return jax.shard_map(local, in_specs=tuple(specs), out_specs=act("ABT"), check_vma=False)(*arrays)


def _argmax_on_device(
    base_BTD,
    reinf_BTD,
    base_DV,
    reinf_DV,
    seen_BV,
    trained_BT,
    offset_BTD=None,
    offset_DV=None,
    shift_BT=None,
    *,
    alphas,
    rule,
    penalty,
    chunk,
    rows,
    interpret=None,
):
    """One device's rows against its slice of the vocabulary, then the exchange of (max, index) alone."""
    B, T, D = base_BTD.shape
    A, first = len(alphas), jax.lax.axis_index("tensor") * base_DV.shape[1]
    mean_D = jax.lax.pmean(jnp.mean(base_DV.astype(jnp.float32), axis=1), "tensor")
    order_BT = jnp.argsort(~trained_BT, axis=1, stable=True)  # the positions that want a label come first
    shift_BT1 = None if shift_BT is None else shift_BT[..., None]
    hidden = [_take(h, order_BT) for h in (base_BTD, reinf_BTD, offset_BTD, shift_BT1) if h is not None]
    stretch = max(1, min(T, rows // B))
    fused = interpret is not None and offset_BTD is None and block_sizes(stretch, D, base_BTD.dtype.itemsize)[0]

    def step(n, best):
        start = jnp.minimum(n * stretch, T - stretch)  # the last stretch overlaps: a row done twice changes nothing
        cut = [jax.lax.dynamic_slice_in_dim(a, start, stretch, axis=1) for a in (*hidden, order_BT)]
        base, reinf, *offset, place = cut
        if fused:
            mean_BT = jnp.einsum("BTD,D->BT", base.astype(jnp.float32), mean_D)
            found = best_labels(
                base, reinf, base_DV, reinf_DV, seen_BV, place, mean_BT, alphas, rule, penalty, interpret
            )
        else:
            found = _stretch(
                base,
                reinf,
                base_DV,
                reinf_DV,
                seen_BV,
                place,
                mean_D,
                jnp.asarray(alphas),
                rule,
                penalty,
                chunk,
                offset,
                offset_DV,
            )
        return tuple(jax.lax.dynamic_update_slice_in_dim(a, b, start, axis=2) for a, b in zip(best, found, strict=True))

    empty = jnp.full((A, B, T), -jnp.inf), jnp.zeros((A, B, T), jnp.int32)
    wanted = jnp.max(jnp.sum(trained_BT, axis=1))
    top_ABT, index_ABT = jax.lax.fori_loop(0, -(-wanted // stretch), step, empty)
    top_SABT, index_SABT = jax.lax.all_gather((top_ABT, first + index_ABT), "tensor")
    shard_ABT = jnp.argmax(top_SABT, axis=0)[None]  # the lowest shard holds the lowest index
    labels_ABT = jnp.take_along_axis(index_SABT, shard_ABT, axis=0)[0]
    labels_ABT = jnp.take_along_axis(labels_ABT, jnp.argsort(order_BT, axis=1)[None], axis=2)
    return jnp.where(trained_BT[None], labels_ABT, IGNORE)


def _stretch(
    base_BTD, reinf_BTD, base_DV, reinf_DV, seen_BV, place_BT, mean_D, alphas, rule, penalty, chunk, offset, offset_DV
):
    """Return (max, index) over this device's vocabulary, [A, B, T] each, for a stretch of rows at places `place_BT`.

    offset: nothing, or the hidden states of the model that the lift is over, and with offset_DV the shift.
    """
    B, T = base_BTD.shape[:2]
    V = base_DV.shape[1]
    chunk = even_chunk(V, chunk)
    mean_BT = jnp.einsum("BTD,D->BT", base_BTD.astype(jnp.float32), mean_D)

    def step(best, n):
        start = jnp.minimum(n * chunk, V - chunk)  # the last chunk overlaps: a column seen twice changes nothing
        w_DC, w_reinf_DC, seen_BC = (
            jax.lax.dynamic_slice_in_dim(a, start, chunk, axis=1) for a in (base_DV, reinf_DV, seen_BV)
        )
        seen_BTC = place_BT[:, :, None] >= seen_BC[:, None, :]
        v_base = _dot(base_BTD, w_DC)
        if offset_DV is None:
            v_context = _dot(offset[0], w_DC) if offset else v_base
            v_base, v_context = (_ruled(v, seen_BTC, mean_BT, rule, penalty) for v in (v_base, v_context))
        else:
            w_offset_DC = jax.lax.dynamic_slice_in_dim(offset_DV, start, chunk, axis=1)
            v_context = _dot(offset[0], w_offset_DC) - offset[1]
            v_base = _ruled(v_base, seen_BTC, mean_BT, rule, penalty)
        lift_BTC = jax.nn.relu(_dot(reinf_BTD, w_reinf_DC) - v_context)
        v_ABTC = v_base[None] - alphas[:, None, None, None] * lift_BTC[None]
        if rule == "-inf":
            v_ABTC = jnp.where(seen_BTC[None], -jnp.inf, v_ABTC)
        top_ABT = jnp.max(v_ABTC, axis=-1)
        # The first column that equals the maximum: two plain reductions, which XLA vectorises where it does not argmax.
        column_ABTC = jnp.where(v_ABTC == top_ABT[..., None], jnp.arange(chunk)[None, None, None], NOWHERE)
        where_ABT = start + jnp.min(column_ABTC, axis=-1)
        better = top_ABT > best[0]
        return (jnp.where(better, top_ABT, best[0]), jnp.where(better, where_ABT, best[1])), None

    empty = jnp.full((len(alphas), B, T), -jnp.inf), jnp.zeros((len(alphas), B, T), jnp.int32)
    return jax.lax.scan(step, empty, jnp.arange(-(-V // chunk)))[0]


def even_chunk(V: int, chunk: int) -> int:
    """Return the columns of a block, at most chunk rounded up to EVEN: as many blocks, with the least overlap."""
    blocks = -(-V // chunk)
    return min(V, -(-V // (blocks * EVEN)) * EVEN)


def _take(h_BTD, order_BT):
    return jnp.take_along_axis(h_BTD, order_BT[..., None], axis=1)


def _dot(h_BTD, w_DC):
    """Return logits_BTC: one product of all rows, seen as blocks and positions again, which costs nothing."""
    B, T, D = h_BTD.shape
    return jnp.dot(h_BTD.reshape(B * T, D), w_DC, preferred_element_type=jnp.float32).reshape(B, T, -1)


def _ruled(v_BTC, seen_BTC, mean_BT, rule: str, penalty: float):
    if rule == "mean":
        return jnp.where(seen_BTC, mean_BT[..., None], v_BTC)
    return jnp.where(seen_BTC, v_BTC - penalty, v_BTC) if rule == "penalty" else v_BTC


def seen_table(seen_id_BR, seen_from_BR, V: int):
    """Return seen_BV from ragged pairs (token, first position); token -1 is padding."""
    B = seen_id_BR.shape[0]
    index_BR = jnp.where(seen_id_BR < 0, V, seen_id_BR)

    def one(index_R, from_R):
        return jnp.full(V, NEVER, jnp.int32).at[index_R].min(from_R, mode="drop")

    local = jax.vmap(one)
    table_BV = jax.shard_map(local, in_specs=(act("BR"), act("BR")), out_specs=act("BJ"), check_vma=False)(
        index_BR, seen_from_BR
    )
    assert table_BV.shape == (B, V)
    return jax.reshard(table_BV, act("BV"))

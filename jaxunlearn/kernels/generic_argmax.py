"""Generic labels: argmax(v_base - alpha * ReLU(v_reinf - v_base)) over the vocabulary, without [B, T, V] logits.

Source: Eldan & Russinovich, arXiv 2310.02238, section 2.2; the seen-translation rule is their label script's.
"""

import jax
import jax.numpy as jnp

from jaxunlearn.sharding import act

NEVER = 2**30  # a position that no block reaches


def generic_argmax(
    base_BTD,
    reinf_BTD,
    base_DV,
    reinf_DV,
    alphas,
    *,
    seen_BV=None,
    rule="mean",
    penalty=5.0,
    offset_BTD=None,
    chunk=4096,
):
    """Return labels_ABT, one int32 label a position for every alpha, from hidden states and output projections.

    base_BTD: baseline's hidden states at the translated position of each original token; reinf_BTD: the reinforced
    model's on the original. seen_BV: from which position on a token is the first token of a translation that has
    appeared (NEVER: not); there its baseline logit becomes the row's mean ("mean"), loses `penalty` ("penalty") or
    is ruled out ("-inf"), before the ReLU. offset_BTD: baseline's hidden states on the original, if the offset is to
    be taken there instead. Logits are fp32; the lowest index wins a tie; V may be split over "tensor".
    """
    alphas = jnp.asarray(alphas, jnp.float32)
    if seen_BV is None:
        seen_BV = jnp.full((base_BTD.shape[0], base_DV.shape[1]), NEVER, jnp.int32, out_sharding=act("BV"))
    arrays = [base_BTD, reinf_BTD, base_DV, reinf_DV, seen_BV] + ([] if offset_BTD is None else [offset_BTD])
    specs = [act(s) for s in ("BTD", "BTD", "DV", "DV", "BV", "BTD")][: len(arrays)]

    def local(*arrays):
        return _argmax_on_device(*arrays, alphas=alphas, rule=rule, penalty=penalty, chunk=chunk)

    return jax.shard_map(local, in_specs=tuple(specs), out_specs=act("ABT"), check_vma=False)(*arrays)


def _argmax_on_device(
    base_BTD, reinf_BTD, base_DV, reinf_DV, seen_BV, offset_BTD=None, *, alphas, rule, penalty, chunk
):
    """One device's rows against its slice of the vocabulary, then the exchange of (max, index) alone."""
    B, T, D = base_BTD.shape
    V = base_DV.shape[1]
    chunk = min(chunk, V)
    first = jax.lax.axis_index("tensor") * V
    base_MD, reinf_MD = base_BTD.reshape(B * T, D), reinf_BTD.reshape(B * T, D)
    offset_MD = None if offset_BTD is None else offset_BTD.reshape(B * T, D)
    mean_D = jax.lax.pmean(jnp.mean(base_DV.astype(jnp.float32), axis=1), "tensor")
    mean_M = base_MD.astype(jnp.float32) @ mean_D

    def step(best, n):
        start = jnp.minimum(n * chunk, V - chunk)  # the last chunk overlaps: a column seen twice changes nothing
        cut = [jax.lax.dynamic_slice_in_dim(a, start, chunk, axis=1) for a in (base_DV, reinf_DV, seen_BV)]
        seen_MC = (jnp.arange(T)[None, :, None] >= cut[2][:, None, :]).reshape(B * T, chunk)
        v_base = _dot(base_MD, cut[0])
        v_context = v_base if offset_MD is None else _dot(offset_MD, cut[0])
        v_base, v_context = (_ruled(v, seen_MC, mean_M, rule, penalty) for v in (v_base, v_context))
        lift_MC = jax.nn.relu(_dot(reinf_MD, cut[1]) - v_context)
        v_AMC = v_base[None] - alphas[:, None, None] * lift_MC[None]
        if rule == "-inf":
            v_AMC = jnp.where(seen_MC[None], -jnp.inf, v_AMC)
        where_AM = jnp.argmax(v_AMC, axis=-1)
        top_AM = jnp.max(v_AMC, axis=-1)
        better = top_AM > best[0]
        return (jnp.where(better, top_AM, best[0]), jnp.where(better, first + start + where_AM, best[1])), None

    empty = jnp.full((len(alphas), B * T), -jnp.inf), jnp.zeros((len(alphas), B * T), jnp.int32)
    (top_AM, index_AM), _ = jax.lax.scan(step, empty, jnp.arange(-(-V // chunk)))
    top_SAM, index_SAM = jax.lax.all_gather((top_AM, index_AM), "tensor")
    shard_AM = jnp.argmax(top_SAM, axis=0)[None]  # the lowest shard holds the lowest index
    return jnp.take_along_axis(index_SAM, shard_AM, axis=0)[0].reshape(len(alphas), B, T)


def _dot(h_MD, w_DC):
    return jnp.dot(h_MD, w_DC, preferred_element_type=jnp.float32)


def _ruled(v_MC, seen_MC, mean_M, rule: str, penalty: float):
    if rule == "mean":
        return jnp.where(seen_MC, mean_M[:, None], v_MC)
    return jnp.where(seen_MC, v_MC - penalty, v_MC) if rule == "penalty" else v_MC


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

"""KL of a linear output layer to a teacher's distribution, without [B, T, V] logits or probabilities.

Row chunks, the gradient computed in the forward, as in linear_cross_entropy.py: 3 matmuls, and one more a teacher.
Letters: R rows of a chunk, J listed outcomes a row (K is taken, and split over the mesh).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxunlearn.parallel.sharding import act

ROWS = 1024  # about six arrays of ROWS x V fp32 are alive at once


class Rows(NamedTuple):
    """What a target function sees beside the teachers' logits; V is this device's share of the vocabulary."""

    labels_R: jax.Array  # -1 where none was given
    columns_V: jax.Array  # token ids
    seen_RV: jax.Array | None  # begins a translation that has appeared (whp.argmax.seen_table)


Target = Callable[[tuple[jax.Array, ...], Rows], jax.Array]


def as_taught(logits, at: Rows):
    """The plain target: the first teacher's own logits."""
    return logits[0]


def linear_distillation(
    h_BTD, w_DV, teachers, mask_BT, *, target: Target = as_taught, divergence=None, labels_BT=None, seen_BV=None,
    rows: int = ROWS,
):  # fmt: skip
    """Return (sum of KL(target || student) in nats, count) in fp32 over the positions of mask_BT.

    divergence(logits_RV, wanted_RV) -> (divergence_R, its gradient to the logits) may stand for the KL (jsd_rows).

    teachers: pairs (h_BTD, w_DV); no gradient reaches them. target(logits of every teacher, Rows) -> wanted_RV: logits
    up to a constant a row, -inf: ruled out. It runs on each device's columns, so a sum over the vocabulary needs
    "tensor" (log_softmax_V, lax.psum); numbers it holds are plain ones. Rows may be split over the data axes and V
    over "tensor"; the caller divides once, by the global count.
    """
    taught = Taught(tuple(map(tuple, teachers)), mask_BT, _given(labels_BT=labels_BT, seen_BV=seen_BV))
    return _distil((target, divergence or kl_rows, rows), h_BTD, w_DV, taught)


class Taught(NamedTuple):
    """The teachers' side of a distillation: all arrays that no gradient reaches."""

    teachers: tuple[tuple[jax.Array, jax.Array], ...]
    mask_BT: jax.Array
    extras: dict[str, jax.Array]  # of a target: labels_BT, seen_BV


# The gradient is computed in the forward pass, while a chunk's logits are there: otherwise the backward would make
# all of them again, the teachers' too. It can be, since the loss is a plain sum: what comes back is a factor.


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _distil(how, h_BTD, w_DV, taught: Taught):
    return _distil_sharded(how, h_BTD, w_DV, taught, gradient=False)


def _distil_forward(how, h_BTD, w_DV, taught: Taught):
    total, count, dh, dw = _distil_sharded(how, h_BTD, w_DV, taught, gradient=True)
    return (total, count), (dh, dw)


def _distil_backward(how, gradients, cotangents):
    return *_scaled(gradients, cotangents), None


_distil.defvjp(_distil_forward, _distil_backward)


def _scaled(gradients, cotangents):
    return [(cotangents[0] * g).astype(g.dtype) for g in gradients]


def _distil_sharded(how, h_BTD, w_DV, taught: Taught, *, gradient: bool) -> Any:
    target, divergence, rows = how

    def local(h_BTD, w_DV, taught):
        wanted, per_row = _wanted_rows(target, taught.teachers, taught.extras)

        def row_loss(logits_RV, mine):
            return divergence(logits_RV, wanted(mine))

        return over_rows(row_loss, h_BTD, w_DV, taught.mask_BT, per_row, gradient=gradient, rows=rows)

    pairs = tuple((act("BTD"), act("DV")) for _ in taught.teachers)
    of_taught: dict[str, Any] = {"teachers": pairs, "mask_BT": act("BT"), "extras": _specs(taught.extras)}
    specs = act("BTD"), act("DV"), taught._replace(**of_taught)
    # check_vma=False, here and below: sums over mesh axes are written out (lax.psum), not derived from types.
    run = jax.shard_map(local, in_specs=specs, out_specs=_out(gradient), check_vma=False)
    return run(h_BTD, w_DV, taught)


def _given(**named):
    return {name: array for name, array in named.items() if array is not None}


def _specs(named: dict):
    return {name: act(name.rpartition("_")[2]) for name in named}


def _out(gradient: bool):
    return (act(""), act(""), act("BTD"), act("DV")) if gradient else (act(""), act(""))


def _wanted_rows(target, teachers, extras):
    """Return (a function of one chunk to wanted_RV, the arrays a row that it needs)."""
    B, T = teachers[0][0].shape[:2]
    weights, seen_BV = [w for _, w in teachers], extras.get("seen_BV")
    V = weights[0].shape[1]
    labels_BT = extras.get("labels_BT", jnp.full((B, T), -1, jnp.int32))
    per_row = tuple(h for h, _ in teachers), labels_BT, jnp.arange(B * T).reshape(B, T)

    def wanted(mine):
        hidden, labels_R, place_R = mine
        logits = tuple(dot(h_RD, w_DV) for h_RD, w_DV in zip(hidden, weights, strict=True))
        columns_V = jax.lax.axis_index("tensor") * V + jnp.arange(V)
        seen_RV = None if seen_BV is None else (place_R % T)[:, None] >= seen_BV[place_R // T]
        return target(logits, Rows(labels_R, columns_V, seen_RV)).astype(jnp.float32)

    return wanted, per_row


def kl_rows(logits_RV, wanted_RV):
    """Return KL(softmax(wanted) || softmax(logits)) of each row in nats and its gradient to the logits."""
    logp_RV, logq_RV = log_softmax_V(logits_RV), log_softmax_V(wanted_RV)
    q_RV = jnp.exp(logq_RV)
    terms_RV = jnp.where(q_RV > 0, q_RV * (logq_RV - logp_RV), 0)  # 0 log 0 is 0, also where -inf rules a token out
    return jax.lax.psum(jnp.sum(terms_RV, axis=-1), "tensor"), jnp.exp(logp_RV) - q_RV


def jsd_rows(logits_RV, wanted_RV):
    """Return the Jensen-Shannon divergence of both softmaxes of each row in nats and its gradient to the logits.

    With p the student, q the target and m their mean it is (KL(p || m) + KL(q || m)) / 2, at most log 2.
    """
    logp_RV, logq_RV = log_softmax_V(logits_RV), log_softmax_V(wanted_RV)
    p_RV, q_RV = jnp.exp(logp_RV), jnp.exp(logq_RV)
    logm_RV = jnp.logaddexp(logp_RV, logq_RV) - jnp.log(2.0)
    slope_RV = jnp.where(p_RV > 0, (logp_RV - logm_RV) / 2, 0)  # d JSD / d p
    of_q_RV = jnp.where(q_RV > 0, q_RV * (logq_RV - logm_RV) / 2, 0)
    along_R1 = jax.lax.psum(jnp.sum(p_RV * slope_RV, axis=-1, keepdims=True), "tensor")
    return along_R1[:, 0] + jax.lax.psum(jnp.sum(of_q_RV, axis=-1), "tensor"), p_RV * (slope_RV - along_R1)


# ---- targets that were stored: the likeliest outcomes of each position


def linear_topk(teachers, k: int, *, target: Target = as_taught, labels_BT=None, seen_BV=None, rows: int = ROWS):
    """Return (ids_BTJ, p_BTJ), the k likeliest tokens of softmax(target) at each position, likeliest first.

    Arguments as in linear_distillation. What to store for linear_topk_distillation: 6 bytes an outcome with fp16.
    """
    extras = _given(labels_BT=labels_BT, seen_BV=seen_BV)

    def local(teachers, extras):
        wanted, per_row = _wanted_rows(target, teachers, extras)
        B, T = teachers[0][0].shape[:2]
        chunks = jax.tree.map(partial(in_chunks, rows=rows), per_row)
        found = jax.lax.map(lambda mine: _top_rows(log_softmax_V(wanted(mine)), k), chunks)
        return tuple(a.reshape(-1, k)[: B * T].reshape(B, T, k) for a in found)

    teachers = tuple(map(tuple, teachers))
    specs = tuple((act("BTD"), act("DV")) for _ in teachers), _specs(extras)
    out = act("BTJ"), act("BTJ")
    return jax.shard_map(local, in_specs=specs, out_specs=out, check_vma=False)(teachers, extras)


def _top_rows(logq_RV, k: int):
    """Return (ids_RJ, p_RJ) over the whole vocabulary: each device offers its own best, the best of these stay.

    Equal ones keep the order of their ids: top_k prefers the lower index, and devices are gathered in order.
    """
    R, V = logq_RV.shape
    best_RJ, index_RJ = jax.lax.top_k(logq_RV, min(k, V))
    offers = best_RJ, index_RJ + jax.lax.axis_index("tensor") * V
    best_RC, index_RC = (jnp.moveaxis(jax.lax.all_gather(a, "tensor"), 0, 1).reshape(R, -1) for a in offers)
    best_RJ, place_RJ = jax.lax.top_k(best_RC, k)
    return jnp.take_along_axis(index_RC, place_RJ, axis=-1).astype(jnp.int32), jnp.exp(best_RJ)


@jax.custom_vjp
def linear_topk_distillation(h_BTD, w_DV, ids_BTJ, p_BTJ, mask_BT):
    """Return (sum of KL(stored || student) in nats, count) over the positions of mask_BT.

    Outcomes are the J listed tokens and "any other", which has the mass that p_BTJ leaves; the student's mass on the
    others counts as one. ids of a row are distinct; -1: none.
    """
    return _topk_sharded(h_BTD, w_DV, ids_BTJ, p_BTJ, mask_BT, gradient=False)


def _topk_forward(h_BTD, w_DV, ids_BTJ, p_BTJ, mask_BT):
    total, count, dh, dw = _topk_sharded(h_BTD, w_DV, ids_BTJ, p_BTJ, mask_BT, gradient=True)
    return (total, count), (dh, dw)


def _topk_backward(gradients, cotangents):
    return *_scaled(gradients, cotangents), None, None, None


linear_topk_distillation.defvjp(_topk_forward, _topk_backward)


def _topk_sharded(h_BTD, w_DV, ids_BTJ, p_BTJ, mask_BT, gradient: bool) -> Any:
    def local(h_BTD, w_DV, ids_BTJ, p_BTJ, mask_BT):
        return over_rows(_topk_rows, h_BTD, w_DV, mask_BT, (ids_BTJ, p_BTJ), gradient=gradient, rows=ROWS)

    specs = act("BTD"), act("DV"), act("BTJ"), act("BTJ"), act("BT")
    run = jax.shard_map(local, in_specs=specs, out_specs=_out(gradient), check_vma=False)
    return run(h_BTD, w_DV, ids_BTJ, p_BTJ, mask_BT)


def _topk_rows(logits_RV, stored):
    """Return the KL of each row over the listed tokens and the rest, and its gradient to the logits."""
    ids_RJ, p_RJ = stored
    p_RJ = jnp.where(ids_RJ >= 0, p_RJ.astype(jnp.float32), 0)
    rest_R = jnp.maximum(1 - jnp.sum(p_RJ, axis=-1), 0)
    V, logp_RV = logits_RV.shape[1], log_softmax_V(logits_RV)
    local_RJ = ids_RJ - jax.lax.axis_index("tensor") * V
    here_RJ = (ids_RJ >= 0) & (local_RJ >= 0) & (local_RJ < V)
    picked_RJ = jnp.take_along_axis(logp_RV, jnp.clip(local_RJ, 0, V - 1), axis=-1)
    logp_RJ = jax.lax.psum(jnp.where(here_RJ, picked_RJ, 0), "tensor")
    where = jnp.arange(len(ids_RJ))[:, None], jnp.where(here_RJ, local_RJ, V)
    listed_RV = jnp.zeros(logits_RV.shape, bool).at[where].set(True, mode="drop")
    others_RV = jnp.where(listed_RV, -jnp.inf, logp_RV)
    log_rest_R = logsumexp_V(others_RV)
    loss_R = jnp.sum(_times_log_ratio(p_RJ, logp_RJ), axis=-1) + _times_log_ratio(rest_R, log_rest_R)
    # Others keep their proportions: the gradient moves their sum alone.
    q_RV = rest_R[:, None] * jnp.exp(others_RV - jnp.where(jnp.isfinite(log_rest_R), log_rest_R, 0)[:, None])
    q_RV = q_RV.at[where].add(p_RJ, mode="drop")
    return loss_R, jnp.exp(logp_RV) - q_RV


def _times_log_ratio(p, log_s):
    return jnp.where(p > 0, p * (jnp.log(jnp.where(p > 0, p, 1)) - log_s), 0)


def linear_logsumexp(h_BTD, w_DV, rows: int = ROWS):
    """Return the log of each position's summed exponentials, z_BT in fp32: what turns logits into log-probabilities."""

    def local(h_BTD, w_DV):
        B, T = h_BTD.shape[:2]
        z_CR = jax.lax.map(lambda h_RD: logsumexp_V(dot(h_RD, w_DV)), in_chunks(h_BTD, rows))
        return z_CR.reshape(-1)[: B * T].reshape(B, T)

    return jax.shard_map(local, in_specs=(act("BTD"), act("DV")), out_specs=act("BT"), check_vma=False)(h_BTD, w_DV)


# ---- shared: rows in chunks on one device, sums over a vocabulary that is split over "tensor"


def over_rows(row_loss, h_BTD, w_DV, mask_BT, per_row, *, gradient: bool, rows: int):
    """Return (sum, count) and, if asked, (dh_BTD, dw_DV), over the positions of mask_BT.

    row_loss(logits_RV, chunk) -> (loss_R in nats, dlogits_RV), where chunk holds `rows` rows of the arrays per_row.
    Runs on one device; the results are summed over the mesh.
    """
    B, T, D = h_BTD.shape
    chunks = jax.tree.map(partial(in_chunks, rows=rows), (h_BTD, mask_BT.astype(bool), per_row))

    def step(carry, chunk):
        total, count, dw_DV = carry
        h_RD, valid_R, mine = chunk
        loss_R, dlogits_RV = row_loss(dot(h_RD, w_DV), mine)
        total, count = total + jnp.sum(jnp.where(valid_R, loss_R, 0)), count + jnp.sum(valid_R, dtype=jnp.float32)
        if not gradient:
            return (total, count, dw_DV), None
        dlogits_RV = jnp.where(valid_R[:, None], dlogits_RV, 0).astype(h_RD.dtype)  # 16 bits into both products
        return (total, count, dw_DV + dot(h_RD.T, dlogits_RV)), dot(dlogits_RV, w_DV.T)

    start = jnp.zeros(()), jnp.zeros(()), jnp.zeros(w_DV.shape if gradient else (), jnp.float32)
    (total, count, dw_DV), dh_CRD = jax.lax.scan(step, start, chunks)
    total, count = jax.lax.psum((total, count), ("data", "fsdp"))
    if dh_CRD is None:  # no gradient was asked for
        return total, count
    # Each device has seen its columns alone, so dh is a part of a sum over "tensor"; dw is one over the rows' axes.
    dh_MD = jax.lax.psum(dh_CRD.reshape(-1, D)[: B * T], "tensor")
    dw_DV = jax.lax.psum(dw_DV, ("data", "fsdp"))
    return total, count, dh_MD.reshape(B, T, D).astype(h_BTD.dtype), dw_DV.astype(w_DV.dtype)


def in_chunks(x, rows: int):
    """Cut [B, T, ...] into [chunks, at most `rows`, ...], padded with zeros."""
    B, T, *rest = x.shape
    rows = min(rows, B * T)  # zeros are safe: a padded mask counts nothing, and callers cut padded results off
    pad = [(0, -(B * T) % rows), *[(0, 0) for _ in rest]]
    return jnp.pad(x.reshape(B * T, *rest), pad).reshape(-1, rows, *rest)


def log_softmax_V(v_RV):
    """Return log-probabilities; V is split over "tensor"."""
    return v_RV - logsumexp_V(v_RV)[:, None]


def logsumexp_V(v_RV):
    """Return the log of the summed exponentials of each row, -inf where every entry is; V is split over "tensor"."""
    top_R = jax.lax.pmax(jnp.max(v_RV, axis=-1), "tensor")
    top_R = jnp.where(jnp.isfinite(top_R), top_R, 0)  # a row of -inf alone: -inf - (-inf) would be no number
    return jnp.log(jax.lax.psum(jnp.sum(jnp.exp(v_RV - top_R[:, None]), axis=-1), "tensor")) + top_R


def dot(a, b):
    """Multiply matrices into fp32."""
    return jnp.dot(a, b, preferred_element_type=jnp.float32)

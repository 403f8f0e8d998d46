"""Cross-entropy of a linear output layer without [B, T, V] logits: row chunks, the gradient computed in the forward.

Source of the idea: Liger Kernel (arXiv 2410.10989), fused linear cross-entropy. A chunk's fp32 logits live for a
moment; their gradient is kept, in the type of the hidden states, for a stretch of chunks, and the weights' gradient is
one product a stretch: adding to it chunk by chunk reads and writes all of [D, V] in fp32 each time.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxunlearn.parallel.sharding import act, platform

IGNORE = -100


class Rows(NamedTuple):
    """How many rows a device takes at a time."""

    chunk: int  # whose logits are there at once, in fp32
    stretch: int  # whose logits' gradients are, in the type of the hidden states


# On a GPU the passes over [D, V] weigh more than half a gigabyte of gradients does (V = 32,000); elsewhere a chunk is a
# stretch of its own.
ROWS = {"gpu": Rows(2048, 8192)}
FEW = Rows(1024, 1024)


@jax.custom_vjp
def linear_cross_entropy(h_BTD, w_DV, labels_BT):
    """Return (sum of nats, count) in fp32 over the positions whose label is not -100.

    Rows may be split over the data axes and V over "tensor"; the caller divides once, by the global count.
    """
    return _sharded(h_BTD, w_DV, labels_BT, gradient=False)[:2]


# The gradient is computed in the forward pass, while a chunk's logits are there: otherwise the backward would make
# them all again. It can be, since the loss is a plain sum: what comes back from outside is one factor for all rows
# (a loss that weighs rows needs token_nll.py).


def _forward(h_BTD, w_DV, labels_BT):
    total, count, dh_BTD, dw_DV = _sharded(h_BTD, w_DV, labels_BT, gradient=True)
    return (total, count), (dh_BTD, dw_DV)


def _backward(gradients, cotangents):
    dh_BTD, dw_DV = gradients
    scale = cotangents[0]
    return (scale * dh_BTD).astype(dh_BTD.dtype), (scale * dw_DV).astype(dw_DV.dtype), None


linear_cross_entropy.defvjp(_forward, _backward)


def _sharded(h_BTD, w_DV, labels_BT, gradient: bool) -> tuple[jax.Array, ...]:
    def local(h_BTD, w_DV, labels_BT):
        return _on_device(h_BTD, w_DV, labels_BT, gradient)

    scalar = act("")
    out = (scalar, scalar, act("BTD"), act("DV")) if gradient else (scalar, scalar)
    specs = (act("BTD"), act("DV"), act("BT"))
    # check_vma=False: sums over mesh axes are written out below (lax.psum), not derived from types.
    return jax.shard_map(local, in_specs=specs, out_specs=out, check_vma=False)(h_BTD, w_DV, labels_BT)


def _on_device(h_BTD, w_DV, labels_BT, gradient: bool):
    """One device's rows against its slice of the vocabulary, a chunk at a time."""
    B, T, D = h_BTD.shape
    V = w_DV.shape[1]
    chunks, chunk = _cut(B * T, ROWS.get(platform(), FEW))
    pad = -(B * T) % (chunks * chunk)
    h_SCRD = jnp.pad(h_BTD.reshape(B * T, D), ((0, pad), (0, 0))).reshape(-1, chunks, chunk, D)
    labels_SCR = jnp.pad(labels_BT.reshape(-1), (0, pad), constant_values=IGNORE).reshape(-1, chunks, chunk)

    def losses(rows):
        h_RD, labels_R = rows
        loss_R, dlogits_RV, norm_R = row_losses(h_RD, w_DV, labels_R, V, h_RD.dtype)
        return (loss_R, dlogits_RV, norm_R) if gradient else (loss_R,)

    def step(carry, stretch):
        total, count, dw_DV = carry
        h_CRD, labels_CR = stretch
        if chunks == 1:
            loss_M, *rest = losses((h_CRD[0], labels_CR[0]))
        else:
            loss_M, *rest = (a.reshape(chunks * chunk, *a.shape[2:]) for a in jax.lax.map(losses, stretch))
        valid_M = labels_CR.reshape(-1) != IGNORE
        total, count = total + jnp.sum(jnp.where(valid_M, loss_M, 0)), count + jnp.sum(valid_M, dtype=jnp.float32)
        if not gradient:
            return (total, count, dw_DV), None
        (dlogits_MV, norm_M), h_MD = rest, h_CRD.reshape(-1, D)
        scale_M1 = (valid_M / norm_M)[:, None]  # on the narrow side of both products
        dw_DV += jnp.dot((h_MD * scale_M1).astype(h_MD.dtype).T, dlogits_MV, preferred_element_type=jnp.float32)
        return (total, count, dw_DV), scale_M1 * jnp.dot(dlogits_MV, w_DV.T, preferred_element_type=jnp.float32)

    start = jnp.zeros(()), jnp.zeros(()), jnp.zeros((D, V) if gradient else (), jnp.float32)
    (total, count, dw_DV), dh_SMD = jax.lax.scan(step, start, (h_SCRD, labels_SCR))
    total, count = jax.lax.psum((total, count), ("data", "fsdp"))
    if dh_SMD is None:  # no gradient was asked for
        return total, count
    # Each device has seen its columns alone, so dh is a part of a sum over "tensor"; dw is one over the rows' axes.
    dh_MD = jax.lax.psum(dh_SMD.reshape(-1, D)[: B * T], "tensor")
    dw_DV = jax.lax.psum(dw_DV, ("data", "fsdp"))
    return total, count, dh_MD.reshape(B, T, D).astype(h_BTD.dtype), dw_DV.astype(w_DV.dtype)


def _cut(M: int, rows: Rows) -> tuple[int, int]:
    """Return (chunks a stretch, rows a chunk) for M rows: at most `rows`, evenly cut, so that little is padding."""
    stretches = -(-M // rows.stretch)
    chunks = -(-M // (stretches * rows.chunk))
    return chunks, -(-M // (stretches * chunks))


def row_losses(h_RD, w_DV, labels_R, V: int, dtype=jnp.float32):
    """Return the loss of each row in nats, norm times the gradient of its logits, and norm; V: this device's share.

    The gradient is exp(v - top) less norm at the label, in `dtype`. Dividing it by norm is left to the caller, who can
    do so on the narrow side of a product: a pass over [R, V] less.
    """
    logits_RV = jnp.dot(h_RD, w_DV, preferred_element_type=jnp.float32)
    top_R = jax.lax.pmax(jnp.max(logits_RV, axis=-1), "tensor")
    exp_RV = jnp.exp(logits_RV - top_R[:, None])
    norm_R = jax.lax.psum(jnp.sum(exp_RV, axis=-1), "tensor")
    local_R = labels_R - jax.lax.axis_index("tensor") * V
    # The label lies on one device along "tensor"; the others pick anything in range and add 0 to the sum.
    here_R = (local_R >= 0) & (local_R < V)
    picked_R = jnp.take_along_axis(logits_RV, jnp.clip(local_R, 0, V - 1)[:, None], axis=-1)[:, 0]
    label_logit_R = jax.lax.psum(jnp.where(here_R, picked_R, 0), "tensor")
    index_R = jnp.where(here_R, local_R, V)  # V: outside, dropped by the scatter
    at_label_R = (jnp.exp(label_logit_R - top_R) - norm_R).astype(dtype)
    dlogits_RV = exp_RV.astype(dtype).at[jnp.arange(len(index_R)), index_R].set(at_label_R, mode="drop")
    return jnp.log(norm_R) + top_R - label_logit_R, dlogits_RV, norm_R

"""Cross-entropy of a linear output layer without [B, T, V] logits: row chunks, the gradient computed in the forward.

Source of the idea: Liger Kernel (arXiv 2410.10989), fused linear cross-entropy.
"""

import jax
import jax.numpy as jnp

from jaxunlearn.parallel.sharding import act

IGNORE = -100


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


def _on_device(h_BTD, w_DV, labels_BT, gradient: bool, rows: int = 1024):
    """One device's rows against its slice of the vocabulary, `rows` at a time."""
    B, T, D = h_BTD.shape
    V = w_DV.shape[1]
    rows = min(rows, B * T)
    pad = -(B * T) % rows
    h_CRD = jnp.pad(h_BTD.reshape(B * T, D), ((0, pad), (0, 0))).reshape(-1, rows, D)
    labels_CR = jnp.pad(labels_BT.reshape(-1), (0, pad), constant_values=IGNORE).reshape(-1, rows)

    def step(carry, chunk):
        total, count, dw_DV = carry
        h_RD, labels_R = chunk
        loss_R, dlogits_RV, norm_R = row_losses(h_RD, w_DV, labels_R, V)
        valid_R = labels_R != IGNORE
        total, count = total + jnp.sum(jnp.where(valid_R, loss_R, 0)), count + jnp.sum(valid_R, dtype=jnp.float32)
        if not gradient:
            return (total, count, dw_DV), None
        scale_R1 = (valid_R / norm_R)[:, None]  # on the narrow side of both products
        dlogits_RV = dlogits_RV.astype(h_RD.dtype)
        dw_DV += jnp.dot((h_RD * scale_R1).astype(h_RD.dtype).T, dlogits_RV, preferred_element_type=jnp.float32)
        return (total, count, dw_DV), scale_R1 * jnp.dot(dlogits_RV, w_DV.T, preferred_element_type=jnp.float32)

    start = jnp.zeros(()), jnp.zeros(()), jnp.zeros((D, V) if gradient else (), jnp.float32)
    (total, count, dw_DV), dh_CRD = jax.lax.scan(step, start, (h_CRD, labels_CR))
    total, count = jax.lax.psum((total, count), ("data", "fsdp"))
    if dh_CRD is None:  # no gradient was asked for
        return total, count
    # Each device has seen its columns alone, so dh is a part of a sum over "tensor"; dw is one over the rows' axes.
    dh_MD = jax.lax.psum(dh_CRD.reshape(-1, D)[: B * T], "tensor")
    dw_DV = jax.lax.psum(dw_DV, ("data", "fsdp"))
    return total, count, dh_MD.reshape(B, T, D).astype(h_BTD.dtype), dw_DV.astype(w_DV.dtype)


def row_losses(h_RD, w_DV, labels_R, V: int):
    """Return the loss of each row in nats, norm times the gradient of its logits, and norm; V: this device's share.

    The gradient is exp(v - top) less norm at the label. Dividing it by norm is left to the caller, who can do so on the
    narrow side of a product: a pass over [R, V] less.
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
    dlogits_RV = exp_RV.at[jnp.arange(len(index_R)), index_R].add(-norm_R, mode="drop")
    return jnp.log(norm_R) + top_R - label_logit_R, dlogits_RV, norm_R

"""Negative log-likelihoods a token and a sequence, differentiable, without [B, T, V] logits.

linear_cross_entropy computes its gradient in the forward, where the weight of each row must be known. A preference
loss weighs each sequence by a function of its own log-probability, so here the backward computes the logits again.
"""

from functools import partial

import jax
import jax.numpy as jnp

from jaxunlearn.kernels.linear_cross_entropy import IGNORE, row_losses
from jaxunlearn.kernels.linear_distillation import dot, in_chunks
from jaxunlearn.parallel.sharding import act

ROWS = 2048  # rows whose logits are held at once


@jax.custom_vjp
def token_nll(h_BTD, w_DV, labels_BT):
    """Return nll_BT in nats (fp32), 0 where the label is -100; rows split over the data axes, V over "tensor"."""
    specs = act("BTD"), act("DV"), act("BT")
    # check_vma=False: sums over mesh axes are written out (lax.psum), not derived from types.
    return jax.shard_map(_nll, in_specs=specs, out_specs=act("BT"), check_vma=False)(h_BTD, w_DV, labels_BT)


def _forward(*arrays):
    return token_nll(*arrays), arrays  # the inputs alone are kept; the logits would be [B, T, V]


def _backward(arrays, g_BT):
    specs = act("BTD"), act("DV"), act("BT"), act("BT")
    run = jax.shard_map(_gradient, in_specs=specs, out_specs=(act("BTD"), act("DV")), check_vma=False)
    h_BTD, w_DV, labels_BT = arrays
    return *run(h_BTD, w_DV, labels_BT, g_BT), None


token_nll.defvjp(_forward, _backward)


def _nll(h_BTD, w_DV, labels_BT):
    """One device's rows against its slice of the vocabulary."""
    B, T = labels_BT.shape

    def chunk(arrays):
        h_RD, labels_R = arrays
        loss_R, *_ = row_losses(h_RD, w_DV, labels_R, w_DV.shape[1])
        return jnp.where(labels_R != IGNORE, loss_R, 0)

    nll_CR = jax.lax.map(chunk, jax.tree.map(partial(in_chunks, rows=ROWS), (h_BTD, labels_BT)))
    return nll_CR.reshape(-1)[: B * T].reshape(B, T)


def _gradient(h_BTD, w_DV, labels_BT, g_BT):
    """Return (dh_BTD, dw_DV) of sum(g_BT * nll_BT)."""
    B, T, D = h_BTD.shape
    g_BT = jnp.where(labels_BT != IGNORE, g_BT, 0)

    def step(dw_DV, chunk):
        h_RD, labels_R, g_R = chunk
        _, dlogits_RV, norm_R = row_losses(h_RD, w_DV, labels_R, w_DV.shape[1])
        dlogits_RV = ((g_R / norm_R)[:, None] * dlogits_RV).astype(h_RD.dtype)
        return dw_DV + dot(h_RD.T, dlogits_RV), dot(dlogits_RV, w_DV.T)

    chunks = jax.tree.map(partial(in_chunks, rows=ROWS), (h_BTD, labels_BT, g_BT))
    dw_DV, dh_CRD = jax.lax.scan(step, jnp.zeros(w_DV.shape, jnp.float32), chunks)
    # Each device has seen its columns alone, so dh is a part of a sum over "tensor"; dw is one over the rows' axes.
    dh_MD = jax.lax.psum(dh_CRD.reshape(-1, D)[: B * T], "tensor")
    dw_DV = jax.lax.psum(dw_DV, ("data", "fsdp"))
    return dh_MD.reshape(B, T, D).astype(h_BTD.dtype), dw_DV.astype(w_DV.dtype)


def row_nll(h_BTD, w_DV, labels_BT):
    """Return nll_B, summed over each sequence's labels in nats (fp32); its gradient may differ in weight by row."""
    return jnp.sum(token_nll(h_BTD, w_DV, labels_BT), axis=1)

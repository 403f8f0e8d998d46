"""Causal grouped-query attention."""

import jax
import jax.numpy as jnp

from jaxunlearn.sharding import act


def attention(q_BTNH, k_BSKH, v_BSKH, mask_BTS=None):
    """Return softmax(q k / sqrt(H)) v, [B, T, N, H], with fp32 logits; mask None: causal, and T = S.

    Heads are split over "tensor" and rows over the data axes, so nothing is exchanged.
    """
    B, T, N, H = q_BTNH.shape
    S, K = k_BSKH.shape[1:3]
    if mask_BTS is None:
        mask_BTS = jnp.tril(jnp.ones((T, S), bool))[None]
    q_BTKGH = jax.lax.reshape(q_BTNH, (B, T, K, N // K, H), out_sharding=act("BTKGH"))
    s_BKGTS = jnp.einsum("BTKGH,BSKH->BKGTS", q_BTKGH, k_BSKH, preferred_element_type=jnp.float32)
    s_BKGTS = jnp.where(mask_BTS[:, None, None], s_BKGTS * H**-0.5, -1e30)
    p_BKGTS = jax.nn.softmax(s_BKGTS, axis=-1).astype(v_BSKH.dtype)
    a_BTKGH = jnp.einsum("BKGTS,BSKH->BTKGH", p_BKGTS, v_BSKH)
    return jax.lax.reshape(a_BTKGH, (B, T, N, H), out_sharding=act("BTNH"))

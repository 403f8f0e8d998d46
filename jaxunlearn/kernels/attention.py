"""Causal grouped-query attention."""

import jax
import jax.numpy as jnp

from jaxunlearn.sharding import act


def attention(q_BTNH, k_BSKH, v_BSKH, mask_BTS=None):
    """Return softmax(q k / sqrt(H)) v, [B, T, N, H], with fp32 logits; mask None: causal, and T = S.

    Heads are split over "tensor" and rows over the data axes, so each device works alone.
    """
    specs = [act("BTNH"), act("BSKH"), act("BSKH")]
    if mask_BTS is None:
        return jax.shard_map(_causal, in_specs=tuple(specs), out_specs=act("BTNH"))(q_BTNH, k_BSKH, v_BSKH)
    specs.append(act("BTS"))
    return jax.shard_map(_on_device, in_specs=tuple(specs), out_specs=act("BTNH"))(q_BTNH, k_BSKH, v_BSKH, mask_BTS)


def _causal(q_BTNH, k_BSKH, v_BSKH):
    return _on_device(q_BTNH, k_BSKH, v_BSKH, jnp.tril(jnp.ones((q_BTNH.shape[1], k_BSKH.shape[1]), bool))[None])


def _on_device(q_BTNH, k_BSKH, v_BSKH, mask_BTS):
    """Batch and key/value heads are one dimension, so that both products are plain batched matmuls (fast on CPU)."""
    B, T, N, H = q_BTNH.shape
    S, K = k_BSKH.shape[1:3]
    G = N // K
    q_BKXH = q_BTNH.reshape(B, T, K, G, H).transpose(0, 2, 3, 1, 4).reshape(B * K, G * T, H)
    k_BKSH, v_BKSH = (a.transpose(0, 2, 1, 3).reshape(B * K, S, H) for a in (k_BSKH, v_BSKH))
    s_BKXS = jnp.einsum("bxh,bsh->bxs", q_BKXH, k_BKSH, preferred_element_type=jnp.float32) * H**-0.5
    s_BKGTS = jnp.where(mask_BTS[:, None, None], s_BKXS.reshape(B, K, G, T, S), -1e30)
    p_BKXS = jax.nn.softmax(s_BKGTS, axis=-1).astype(v_BSKH.dtype).reshape(B * K, G * T, S)
    a_BKXH = jnp.einsum("bxs,bsh->bxh", p_BKXS, v_BKSH)
    return a_BKXH.reshape(B, K, G, T, H).transpose(0, 3, 1, 2, 4).reshape(B, T, N, H)

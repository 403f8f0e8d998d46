"""Causal grouped-query attention, by the implementation that suits the device.

  cpu: plain products, batch and key/value heads merged into one dimension, as in every masked call.
  gpu: cuDNN's fused kernel through jax.nn.dot_product_attention, for 16-bit inputs and head sizes up to 128.
  tpu: splash attention, a Pallas kernel that comes with JAX, for head sizes and lengths that are multiples of 128.
The fused ones hold no [T, S] matrix; each runs inside jax.shard_map, since on its own cuDNN's would gather its inputs.
With a sliding window a query sees the last `window` keys, its own among them; what lies before is not computed.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name

from jaxunlearn.parallel.sharding import act, platform

STRETCH, STRETCHES = 64, 8  # at least so many queries, at most so many pieces: half of the square is never computed
SAVED = "attention"  # the name under which models/transformer.py's rematerialisation policy keeps the output


def attention(q_BTNH, k_BSKH, v_BSKH, mask_BTS=None, window: int | None = None):
    """Return softmax(q k / sqrt(H)) v, [B, T, N, H], with fp32 logits; mask None: causal, and T = S.

    window: how many keys a query sees, its own among them (None: all); a mask holds its own windows. Heads are split
    over "tensor" and rows over the data axes, so each device works alone.
    """
    specs = [act("BTNH"), act("BSKH"), act("BSKH")]
    if mask_BTS is None:
        name = implementation(platform(), q_BTNH)
        # check_vma=False: the fused kernels' outputs carry no type that says along which axes they vary.
        local = partial(IMPLEMENTATIONS[name], window=None if window is None or window >= q_BTNH.shape[1] else window)
        a_BTNH = jax.shard_map(local, in_specs=tuple(specs), out_specs=act("BTNH"), check_vma=False)(
            q_BTNH, k_BSKH, v_BSKH
        )
        return checkpoint_name(a_BTNH, SAVED) if name == "cudnn" else a_BTNH  # the others name their own, heads first
    specs.append(act("BTS"))
    return jax.shard_map(masked, in_specs=tuple(specs), out_specs=act("BTNH"))(q_BTNH, k_BSKH, v_BSKH, mask_BTS)


# ---- in a layer: windows, and keys and values of earlier tokens


class Cache(NamedTuple):
    """Keys and values of all layers and positions, heads before positions as the products want them."""

    k_LBKSH: jax.Array
    v_LBKSH: jax.Array


def attend(qkv, mask_BTS, window: int | None, windowed):
    """Return attention, under the window where there is one and the layer has it.

    qkv: (q_BTNH, k_BSKH, v_BSKH). windowed: whether the layer has the window, traced; None: every layer has it.
    """
    if window is None or window >= qkv[1].shape[1]:
        return attention(*qkv, mask_BTS=mask_BTS)
    if mask_BTS is not None:
        return attention(*qkv, mask_BTS=_near(mask_BTS, 0, window, windowed))
    within = partial(attention, window=window)
    return within(*qkv) if windowed is None else jax.lax.cond(windowed, within, attention, *qkv)


def attend_cached(qkv, mask_BTS, cached: tuple[Cache, Any], at, window: int | None, windowed):
    """Return (attention over the cache, the cache with this layer's new keys and values from position `at` on).

    cached: the cache and the layer's number. mask_BTS: over all S positions. With at = 0, the prompt's pass, the new
    keys are all that there are, so the cache is not read. It is carried from layer to layer and written in place:
    scanned over as the weights are, each layer's part would be copied out and in again.
    """
    (q_BTNH, *kv), (cache, layer) = qkv, cached
    cache = Cache(*(_written(old, new, layer, at) for old, new in zip(cache, kv, strict=True)))
    if isinstance(at, int) and at == 0:
        return attend(qkv, mask_BTS[:, :, : q_BTNH.shape[1]], window, windowed), cache
    if window is not None and window < mask_BTS.shape[2]:
        mask_BTS = _near(mask_BTS, at, window, windowed)
    k_BKSH, v_BKSH = (jax.lax.dynamic_index_in_dim(a, layer, keepdims=False) for a in cache)
    one = summed if platform() == "gpu" and q_BTNH.shape[1] == 1 else by_heads
    specs = act("BTNH"), act("BKSH"), act("BKSH"), act("BTS")
    return jax.shard_map(one, in_specs=specs, out_specs=act("BTNH"))(q_BTNH, k_BKSH, v_BKSH, mask_BTS), cache


def _near(mask_BTS, at, window: int, windowed):
    """Return the mask without the keys beyond the window of queries from position `at` on, where the layer has one."""
    T, S = mask_BTS.shape[1:]
    near_TS = at + jnp.arange(T)[:, None] - jnp.arange(S)[None] < window
    return mask_BTS & (near_TS if windowed is None else near_TS | ~windowed)[None]


def _written(a_LBKSH, new_BTKH, layer, at):
    return jax.lax.dynamic_update_slice(a_LBKSH, new_BTKH.swapaxes(1, 2)[None], (layer, 0, 0, at, 0))


# ---- implementations


def implementation(device: str, q_BTNH) -> str:
    """Return the name in IMPLEMENTATIONS that suits the device and the shapes."""
    T, H = q_BTNH.shape[1], q_BTNH.shape[3]
    if device == "gpu" and q_BTNH.dtype.itemsize == 2 and H <= 128 and H % 8 == 0:
        return "cudnn"
    if device == "tpu" and H % 128 == 0 and T % 128 == 0:
        return "splash"
    return "plain"


def plain(q_BTNH, k_BSKH, v_BSKH, window: int | None = None):
    """Causal attention by plain products; the backward pass makes the weights again from their saved log-sums.

    In at most STRETCHES of queries, each against the keys that it sees. Source of the backward pass:
    FlashAttention-2 (arXiv 2307.08691), algorithm 2.
    """
    B, T, N, H = q_BTNH.shape
    K = k_BSKH.shape[2]
    q_XGTH = (q_BTNH * H**-0.5).reshape(B, T, K, N // K, H).transpose(0, 2, 3, 1, 4).reshape(B * K, N // K, T, H)
    k_XSH, v_XSH = (a.transpose(0, 2, 1, 3).reshape(B * K, T, H) for a in (k_BSKH, v_BSKH))
    a_XGTH = _causal(window, q_XGTH, k_XSH, v_XSH)
    return a_XGTH.reshape(B, K, N // K, T, H).transpose(0, 3, 1, 2, 4).reshape(B, T, N, H)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _causal(window: int | None, q_XGTH, k_XSH, v_XSH):
    """Attend with scaled queries; X: batch and key/value heads in one, as batched products want it."""
    return _causal_forward(window, q_XGTH, k_XSH, v_XSH)[0]


def _causal_forward(window, q_XGTH, k_XSH, v_XSH):
    # A Python loop, not a scan: each stretch ends at another key, and a scan of one shape would compute the others too.
    parts = []
    for start, end in _stretches(q_XGTH.shape[2]):
        first = _first_seen(start, window)
        s_XRS = _logits(_rows(q_XGTH, start, end), k_XSH, start, end, window)
        top_XR1 = jnp.max(s_XRS, axis=-1, keepdims=True)
        e_XRS = jnp.exp(s_XRS - top_XR1)
        sum_XR1 = jnp.sum(e_XRS, axis=-1, keepdims=True)
        a_XRH = _product("xrs,xsh->xrh", e_XRS.astype(v_XSH.dtype), v_XSH[:, first:end]) / sum_XR1
        parts.append([_unrows(a, q_XGTH.shape[1]) for a in (a_XRH.astype(v_XSH.dtype), top_XR1 + jnp.log(sum_XR1))])
    a_XGTH, norm_XGT1 = (checkpoint_name(jnp.concatenate(p, axis=2), SAVED) for p in zip(*parts, strict=True))
    return a_XGTH, (q_XGTH, k_XSH, v_XSH, a_XGTH, norm_XGT1)  # one log-sum a query, where the weights would be [T, S]


def _causal_backward(window, saved, da_XGTH):
    q_XGTH, k_XSH, v_XSH, a_XGTH, norm_XGT1 = saved
    G, dtype = q_XGTH.shape[1], k_XSH.dtype
    # sum_s w_s dw_s of the softmax's derivative is a . da: known before any weight is made again
    inner_XGT1 = jnp.sum(a_XGTH.astype(jnp.float32) * da_XGTH, axis=-1, keepdims=True)
    dq, dk_XSH, dv_XSH = [], *(jnp.zeros(k_XSH.shape) for _ in range(2))
    for start, end in _stretches(q_XGTH.shape[2]):
        q_XRH, da_XRH, norm_XR1, inner_XR1 = (_rows(a, start, end) for a in (q_XGTH, da_XGTH, norm_XGT1, inner_XGT1))
        first = _first_seen(start, window)
        w_XRS = jnp.exp(_logits(q_XRH, k_XSH, start, end, window) - norm_XR1)
        dv_XSH = dv_XSH.at[:, first:end].add(_product("xrs,xrh->xsh", w_XRS.astype(dtype), da_XRH))
        ds_XRS = (w_XRS * (_product("xrh,xsh->xrs", da_XRH, v_XSH[:, first:end]) - inner_XR1)).astype(dtype)
        dk_XSH = dk_XSH.at[:, first:end].add(_product("xrs,xrh->xsh", ds_XRS, q_XRH))
        dq.append(_unrows(_product("xrs,xsh->xrh", ds_XRS, k_XSH[:, first:end]), G))
    return tuple(d.astype(dtype) for d in (jnp.concatenate(dq, axis=2), dk_XSH, dv_XSH))


_causal.defvjp(_causal_forward, _causal_backward)


def _stretches(T: int) -> list[tuple[int, int]]:
    size = max(STRETCH, -(-T // STRETCHES))
    return [(start, min(start + size, T)) for start in range(0, T, size)]


def _rows(a_XGTH, start: int, end: int):
    """Return the positions from start to end of all queries of a key/value head as rows [X, R, H]."""
    X, _, _, H = a_XGTH.shape
    return a_XGTH[:, :, start:end].reshape(X, -1, H)


def _unrows(a_XRH, G: int):
    X, R, H = a_XRH.shape
    return a_XRH.reshape(X, G, R // G, H)


def _first_seen(start: int, window: int | None) -> int:
    """Return the first key that the query at `start` sees, and so the first of any later query."""
    return 0 if window is None else max(0, start - window + 1)


def _logits(q_XRH, k_XSH, start: int, end: int, window: int | None):
    """Return the causal logits of a stretch's rows against the keys from the first to the last it sees, in fp32."""
    first = _first_seen(start, window)
    back_TS = np.arange(start, end)[:, None] - np.arange(first, end)[None]
    seen_TS = (back_TS >= 0) & (back_TS < (window or end))
    bias_RS = np.tile(np.where(seen_TS, 0.0, -1e30).astype(np.float32), (q_XRH.shape[1] // (end - start), 1))
    return _product("xrh,xsh->xrs", q_XRH, k_XSH[:, first:end]) + bias_RS[None]  # added: cheaper than a choice


def _product(form: str, a, b):
    return jnp.einsum(form, a, b, preferred_element_type=jnp.float32)


def masked(q_BTNH, k_BSKH, v_BSKH, mask_BTS):
    """Attention by plain batched products under any mask (True: may attend)."""
    return by_heads(q_BTNH, k_BSKH.transpose(0, 2, 1, 3), v_BSKH.transpose(0, 2, 1, 3), mask_BTS)


def by_heads(q_BTNH, k_BKSH, v_BKSH, mask_BTS):
    """The same for keys and values whose heads come first."""
    B, T, N, H = q_BTNH.shape
    K, S = k_BKSH.shape[1:3]
    G = N // K
    q_BKXH = q_BTNH.reshape(B, T, K, G, H).transpose(0, 2, 3, 1, 4).reshape(B * K, G * T, H)
    k_BKSH, v_BKSH = (a.reshape(B * K, S, H) for a in (k_BKSH, v_BKSH))
    s_BKXS = jnp.einsum("bxh,bsh->bxs", q_BKXH * H**-0.5, k_BKSH, preferred_element_type=jnp.float32)
    bias_BTS = jnp.where(mask_BTS, 0.0, -1e30)  # added: cheaper than a choice, forward and backward
    s_BKXS = (s_BKXS.reshape(B, K, G, T, S) + bias_BTS[:, None, None]).reshape(B * K, G * T, S)
    e_BKXS = jnp.exp(s_BKXS - jax.lax.stop_gradient(jnp.max(s_BKXS, axis=-1, keepdims=True)))
    a_BKXH = jnp.einsum("bxs,bsh->bxh", e_BKXS.astype(v_BKSH.dtype), v_BKSH, preferred_element_type=jnp.float32)
    a_BKXH = (a_BKXH / jnp.sum(e_BKXS, axis=-1, keepdims=True)).astype(v_BKSH.dtype)
    return a_BKXH.reshape(B, K, G, T, H).transpose(0, 3, 1, 2, 4).reshape(B, T, N, H)


def summed(q_BTNH, k_BKSH, v_BKSH, mask_BTS):
    """The same for one query a row (T = 1), by multiplying and adding in fp32.

    For a GPU: such a sum is fused with the reading of its layer from the cache of all layers, which a call of the
    matrix library needs a copy of.
    """
    B, _, N, H = q_BTNH.shape
    K = k_BKSH.shape[1]
    q_BKGH, k_BKSH, v_BKSH = (
        a.astype(jnp.float32) for a in (q_BTNH.reshape(B, K, N // K, H) * H**-0.5, k_BKSH, v_BKSH)
    )
    s_BKGS = jnp.sum(q_BKGH[:, :, :, None] * k_BKSH[:, :, None], axis=-1)
    s_BKGS += jnp.where(mask_BTS, 0.0, -1e30)[:, None]  # T stands where G does
    e_BKGS = jnp.exp(s_BKGS - jnp.max(s_BKGS, axis=-1, keepdims=True))
    a_BKGH = jnp.sum(e_BKGS[..., None] * v_BKSH[:, :, None], axis=3) / jnp.sum(e_BKGS, axis=-1, keepdims=True)
    return a_BKGH.astype(q_BTNH.dtype).reshape(B, 1, N, H)


def fused(q_BTNH, k_BSKH, v_BSKH, window: int | None = None, implementation: Any = "cudnn"):
    """Causal attention by JAX's own interface: cuDNN's kernel (NVIDIA), or "xla", by which its meaning is tested."""
    sides = None if window is None else (window - 1, 0)  # keys before the query's own, and after it
    return jax.nn.dot_product_attention(
        q_BTNH, k_BSKH, v_BSKH, is_causal=True, local_window_size=sides, implementation=implementation
    )


def splash(q_BTNH, k_BSKH, v_BSKH, window: int | None = None, interpret: bool = False):
    """Causal attention by the splash kernel (TPU), in blocks of at most 512."""
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernel
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    T, N, H = q_BTNH.shape[1:]
    block = next(b for b in (512, 256, 128) if T % b == 0)
    sizes = kernel.BlockSizes(
        block_q=block, block_kv=block, block_kv_compute=block, block_q_dkv=block, block_kv_dkv=block,
        block_kv_dkv_compute=block, use_fused_bwd_kernel=True,
    )  # fmt: skip
    one = masks.CausalMask((T, T)) if window is None else masks.LocalMask((T, T), (window - 1, 0), 0)
    causal = masks.MultiHeadMask([one] * N)
    attend = kernel.make_splash_mha(
        causal, block_sizes=sizes, head_shards=1, q_seq_shards=1, residual_checkpoint_name=SAVED, interpret=interpret
    )
    q, k, v = (a.transpose(0, 2, 1, 3) for a in (q_BTNH * H**-0.5, k_BSKH, v_BSKH))
    a_BNTH: Any = jax.vmap(attend)(q, k, v)  # the kernel's type is a union
    return a_BNTH.transpose(0, 2, 1, 3).astype(q_BTNH.dtype)


IMPLEMENTATIONS = {
    "plain": plain,
    "cudnn": fused,
    "splash": splash,
    "splash_interpreted": partial(splash, interpret=True),
}

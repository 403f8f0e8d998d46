"""A Llama forward pass in numpy fp64, written from the papers: the reference that gradients are differenced on."""

import jax
import numpy as np

Weights = dict[str, np.ndarray]


def weights64(model) -> Weights:
    """Return {name: weight in fp64} of a model; those of the layers are stacked along a leading L."""
    leaves = jax.tree_util.tree_leaves_with_path(model)
    return {[k.name for k in path if k.name != "value"][-1]: np.asarray(w, np.float64) for path, w in leaves}


def log_softmax(v):
    """Return log-probabilities over the last dimension."""
    v = v - v.max(-1, keepdims=True)
    return v - np.log(np.exp(v).sum(-1, keepdims=True))


def hidden_after(w: Weights, tokens_BT, layers: int, epsilon=1e-5, theta=10000.0):
    """Return the residual stream [B, T, D] after so many layers (untied, no biases, as many key as query heads)."""
    T, H = tokens_BT.shape[1], w["q_DNH"].shape[-1]
    angle_TH = np.arange(T)[:, None] * theta ** (-np.arange(0, H, 2) / H)
    cos, sin = np.cos(angle_TH)[:, None], np.sin(angle_TH)[:, None]

    def rotated(x):
        a, b = np.split(x, 2, axis=-1)
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)

    x = w["embed_VD"][tokens_BT]
    for n in range(layers):
        y = normed(x, w["attention_norm_D"][n], epsilon)
        q, k, v = (np.einsum("btd,dnh->btnh", y, w[name][n]) for name in ("q_DNH", "k_DKH", "v_DKH"))
        s = np.einsum("btnh,bsnh->bnts", rotated(q), rotated(k)) / np.sqrt(H)
        s = np.exp(log_softmax(np.where(np.tri(T, dtype=bool), s, -np.inf)))
        x = x + np.einsum("btnh,nhd->btd", np.einsum("bnts,bsnh->btnh", s, v), w["o_NHD"][n])
        y = normed(x, w["mlp_norm_D"][n], epsilon)
        gate = y @ w["gate_DF"][n]
        x = x + (gate / (1 + np.exp(-gate)) * (y @ w["up_DF"][n])) @ w["down_FD"][n]
    return x


def normed(x, scale_D, epsilon: float):
    """Return x over its root mean square, times the scale."""
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + epsilon) * scale_D


def logits(w: Weights, tokens_BT, epsilon=1e-5):
    """Return logits [B, T, V]."""
    x = hidden_after(w, tokens_BT, len(w["q_DNH"]), epsilon)
    return normed(x, w["norm_D"], epsilon) @ w["head_DV"]

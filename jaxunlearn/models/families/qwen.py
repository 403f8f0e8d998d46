"""Qwen2 (and 2.5), a Llama with biases of q, k and v; Qwen3, which normalises q and k a head instead.

Both may have a sliding window in the layers from max_window_layers on. Sources: Qwen2 (arXiv 2407.10671), Qwen3
(arXiv 2505.09388).
"""

from dataclasses import replace
from pathlib import Path

from jaxunlearn.models.families.base import FIELDS, FULL, WINDOWED, Gguf, layer_types, windowed
from jaxunlearn.models.families.llama import LLAMA
from jaxunlearn.models.transformer import Shape


def plain(j: dict, path: Path) -> dict:
    """Return config.json with a layer_types and a sliding_window that hold; a window that is not used is left out."""
    window, first = j.get("sliding_window", 4096), j.get("max_window_layers", 28)  # transformers' defaults
    used = bool(j.get("use_sliding_window")) and window is not None
    j = {k: v for k, v in j.items() if k not in ("use_sliding_window", "sliding_window", "max_window_layers")}
    if not used:
        return j
    named = [WINDOWED if n >= first else FULL for n in range(j.get("num_hidden_layers") or 0)]
    return j | {"sliding_window": window, "layer_types": j.get("layer_types") or named}


def spelled(c: Shape) -> dict:
    """Return what config.json says of the window: older readers know max_window_layers, newer ones layer_types."""
    if c.window is None:
        return {"use_sliding_window": False}
    first = windowed(c).index(True)
    return {"use_sliding_window": True, "max_window_layers": first, "layer_types": layer_types(c)}


QWEN2 = replace(
    LLAMA,
    name="qwen2",
    architecture="Qwen2ForCausalLM",
    layer={
        **LLAMA.layer,
        "q_bias_NH": ("self_attn.q_proj.bias", "NH"),
        "k_bias_KH": ("self_attn.k_proj.bias", "KH"),
        "v_bias_KH": ("self_attn.v_proj.bias", "KH"),
    },
    fields={**FIELDS, "window": "sliding_window"},
    defaults={"K": 32, "context": 32768},
    always={"qkv_bias": True},
    fixed={"hidden_act": "silu"},
    plain=plain,
    spelled=spelled,
    gguf=Gguf(architecture="qwen2"),
)

QWEN3 = replace(
    QWEN2,
    name="qwen3",
    architecture="Qwen3ForCausalLM",
    layer={
        **LLAMA.layer,
        "q_norm_H": ("self_attn.q_norm.weight", "H"),
        "k_norm_H": ("self_attn.k_norm.weight", "H"),
    },
    always={"qk_norm": True},
    fixed={**QWEN2.fixed, "attention_bias": False},
    defaults={**QWEN2.defaults, "H": 128},
    gguf=Gguf(architecture="qwen3"),
)

"""Qwen2 (and 2.5), a Llama with biases of q, k and v; Qwen3, which normalises q and k a head instead.

Sources: Qwen2 (arXiv 2407.10671), Qwen3 (arXiv 2505.09388).
"""

from dataclasses import replace

from jaxunlearn.models.families.base import HARMLESS, Gguf
from jaxunlearn.models.families.llama import LLAMA

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
    always={"qkv_bias": True},
    fixed={"hidden_act": "silu", "use_sliding_window": False},
    harmless=HARMLESS | {"sliding_window", "max_window_layers"},  # both are about a window that is not used
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
    defaults={"H": 128},
    gguf=Gguf(architecture="qwen3"),
)

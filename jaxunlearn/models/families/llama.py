"""Llama (1 to 3) and Mistral, which differ by Mistral's sliding window alone.

Sources: Llama-2 (arXiv 2307.09288), Llama-3 (arXiv 2407.21783, rope scaling), Mistral 7B (arXiv 2310.06825).
"""

from dataclasses import replace
from pathlib import Path

from jaxunlearn.errors import InputError, shown
from jaxunlearn.models.families.base import FIELDS, FULL, WINDOWED, Family, Gguf

LLAMA = Family(
    name="llama",
    architecture="LlamaForCausalLM",
    top={
        "embed_VD": ("model.embed_tokens.weight", "V D"),
        "norm_D": ("model.norm.weight", "D"),
        "head_DV": ("lm_head.weight", "V D"),
    },
    layer={
        "attention_norm_D": ("input_layernorm.weight", "D"),
        "q_DNH": ("self_attn.q_proj.weight", "NH D"),
        "k_DKH": ("self_attn.k_proj.weight", "KH D"),
        "v_DKH": ("self_attn.v_proj.weight", "KH D"),
        "o_NHD": ("self_attn.o_proj.weight", "D NH"),
        "mlp_norm_D": ("post_attention_layernorm.weight", "D"),
        "gate_DF": ("mlp.gate_proj.weight", "F D"),
        "up_DF": ("mlp.up_proj.weight", "F D"),
        "down_FD": ("mlp.down_proj.weight", "D F"),
    },
    fixed={"hidden_act": "silu", "attention_bias": False, "mlp_bias": False},
    gguf=Gguf(architecture="llama", pairs=True, factors=True),
)


def mistral(j: dict, path: Path) -> dict:
    """Return config.json with the window that a missing attribute means; InputError where layers are said to differ."""
    j = {"sliding_window": 4096, **j}  # transformers' default; null: no window
    kind = FULL if j["sliding_window"] is None else WINDOWED
    if other := set(j.pop("layer_types", None) or ()) - {kind}:
        said = f"layer_types holds {shown(other.pop())}: with this sliding_window all layers of a Mistral are {kind!r}"
        raise InputError(f"{path} describes a model that is not supported:\n  {said}")
    return j


# llama.cpp has no architecture of that name: it reads a Mistral as a Llama whose context is the window.
MISTRAL = replace(
    LLAMA,
    name="mistral",
    architecture="MistralForCausalLM",
    fields={**FIELDS, "window": "sliding_window"},
    defaults={"K": 8, "context": 131072},
    plain=mistral,
)

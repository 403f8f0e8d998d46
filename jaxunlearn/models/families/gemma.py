"""Gemma 3's language model: five layers with a sliding window, then one without, each kind with a rope of its own.

Its norms multiply by 1 + w and stand after attention and the feed-forward too; queries and keys are normalised a head;
embeddings are multiplied by sqrt(D). Source: Gemma 3 (arXiv 2503.19786). The multimodal checkpoints (model_type
gemma3) hold it beside other parts, and are not read.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxunlearn.errors import InputError, shown
from jaxunlearn.models.families.base import (
    FIELDS,
    FULL,
    HARMLESS,
    LLAMA3,
    WINDOWED,
    Family,
    Gguf,
    layer_types,
    rope,
    windowed,
)
from jaxunlearn.models.families.llama import LLAMA
from jaxunlearn.models.transformer import Shape

EVERY = 6  # one layer of so many sees everything, in every checkpoint that was published
PATTERN = ("sliding_window_pattern", "_sliding_window_pattern")


def plain(j: dict[str, Any], path: Path) -> dict:
    """Return config.json with layer_types, the window and both ropes' theta told as older files tell them.

    An original context beside the ropes is left out: with a rope for each kind of layer, transformers reads over it.
    Raises InputError for a rope of the windowed layers that is scaled, or has a setting that is not known.
    """
    every = j.get(PATTERN[0]) or EVERY
    j = {"sliding_window": 4096, **{k: v for k, v in j.items() if k not in (*PATTERN, LLAMA3[3])}}
    L = j.get("num_hidden_layers") or 0
    j["layer_types"] = j.get("layer_types") or [FULL if (n + 1) % every == 0 else WINDOWED for n in range(L)]
    both = j.pop("rope_parameters", None)
    if both is None:
        return j
    given = [both.get(kind) or {} for kind in (FULL, WINDOWED)]
    whole, local = (dict(one) if isinstance(one, dict) else {"rope_type": one} for one in given)
    if set(both) - {FULL, WINDOWED} or set(rope({"rope_parameters": local}, path)) != {"theta"}:
        said = f"rope_parameters = {shown(both)}: expected {FULL!r} and {WINDOWED!r}, the second without scaling"
        raise InputError(f"{path} describes a model that is not supported:\n  {said}")
    thetas = {"rope_theta": whole.pop("rope_theta", None), "rope_local_base_freq": local.get("rope_theta")}
    return {"rope_scaling": whole} | j | {k: v for k, v in thetas.items() if v is not None}


def spelled(c: Shape) -> dict:
    """Return what config.json says of the layers: by name, and as the number that the oldest readers know."""
    every = (*windowed(c), False).index(False) + 1
    regular = windowed(c) == tuple((n + 1) % every != 0 for n in range(c.L))
    return {"layer_types": layer_types(c)} | ({PATTERN[0]: every} if regular else {})


def built_in(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return which layers have the window in llama.cpp, and what attention is scaled by."""
    L, N = given["L"], given["N"]
    scalar = given["D"] // N if L == 62 else given["H"]  # it knows the 27B model by its layers
    return {"windowed": tuple((n + 1) % EVERY != 0 for n in range(L)), "query_scalar": scalar}


def other_in_llama_cpp(c: Shape) -> str:
    """Return why llama.cpp, which has most of the architecture built in, would compute another model."""
    there = built_in(vars(c))
    if c.window is None or windowed(c) != there["windowed"]:
        return f"all but every {EVERY}th layer have a window there"
    if c.local_theta != 10000.0:
        return f"the rope of windowed layers has theta 10000 there, not {c.local_theta:g}"
    scalar = there["query_scalar"]
    return f"query_pre_attn_scalar is {scalar:g} there" if c.query_scalar not in (None, scalar) else ""


GEMMA3 = Family(
    name="gemma3_text",
    architecture="Gemma3ForCausalLM",
    top=LLAMA.top,
    layer={
        **LLAMA.layer,
        "attention_post_norm_D": ("post_attention_layernorm.weight", "D"),
        "mlp_norm_D": ("pre_feedforward_layernorm.weight", "D"),
        "mlp_post_norm_D": ("post_feedforward_layernorm.weight", "D"),
        "q_norm_H": ("self_attn.q_norm.weight", "H"),
        "k_norm_H": ("self_attn.k_norm.weight", "H"),
    },
    fields={
        **FIELDS,
        "window": "sliding_window",
        "local_theta": "rope_local_base_freq",
        "query_scalar": "query_pre_attn_scalar",
    },
    always={
        "activation": "gelu_tanh", "scaled_embedding": True, "norm_offset": 1.0, "post_norms": True, "qk_norm": True,
    },
    defaults={
        "K": 4, "H": 256, "context": 131072, "theta": 1e6, "local_theta": 1e4, "query_scalar": 256, "tied": True,
    },
    fixed={
        "hidden_activation": "gelu_pytorch_tanh", "attention_bias": False, "final_logit_softcapping": None,
        "attn_logit_softcapping": None, "use_bidirectional_attention": False,
    },
    harmless=HARMLESS | {"cache_implementation"},
    plain=plain,
    spelled=spelled,
    gguf=Gguf(architecture="gemma3", windows=True, built_in=built_in, refuse=other_in_llama_cpp),
)  # fmt: skip

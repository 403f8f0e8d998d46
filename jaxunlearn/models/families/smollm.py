"""SmolLM3: a Llama in which every fourth layer does not rotate queries and keys; those layers may have a window.

Sources: SmolLM3 (huggingface.co/blog/smollm3), layers without rope after Yang et al. (arXiv 2501.18795). SmolLM and
SmolLM2 are Llamas.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from jaxunlearn.models.families.base import FIELDS, FULL, WINDOWED, Gguf, layer_types
from jaxunlearn.models.families.llama import LLAMA
from jaxunlearn.models.transformer import Shape

EVERY = 4  # one layer of so many has no rope, where nothing else is said
READ = ("no_rope_layer_interval", "use_sliding_window", "sliding_window", "max_window_layers")


def plain(j: dict, path: Path) -> dict:
    """Return config.json with no_rope_layers, and a layer_types and a sliding_window that hold."""
    L, every = j.get("num_hidden_layers") or 0, j.get("no_rope_layer_interval", EVERY)
    rotated = list(j.get("no_rope_layers") or [int((n + 1) % every != 0) for n in range(L)])[:L]
    window = j.get("sliding_window") if j.get("use_sliding_window") else None
    j = {k: v for k, v in j.items() if k not in READ} | {"no_rope_layers": rotated}
    if window is None:
        return j
    named = [FULL if r else WINDOWED for r in rotated]
    return j | {"sliding_window": window, "layer_types": j.get("layer_types") or named}


def spelled(c: Shape) -> dict:
    """Return what config.json says of the layers: 1 for those that rotate, and which have the window."""
    rotated = list(c.rotated or (1,) * c.L)  # a missing one would mean the interval
    said = {"no_rope_layers": rotated, "use_sliding_window": c.window is not None, "layer_types": layer_types(c)}
    # transformers pads with 128004 where nothing is said, and stops at a vocabulary without it
    return said | ({"pad_token_id": None} if c.V <= 128004 else {})


def built_in(given: Mapping) -> dict:
    """Return which layers rotate in llama.cpp."""
    return {"rotated": tuple(int((n + 1) % EVERY != 0) for n in range(given["L"]))}


def other_in_llama_cpp(c: Shape) -> str:
    """Return why llama.cpp would compute another model."""
    return "" if c.rotated == built_in(vars(c))["rotated"] else f"every {EVERY}th layer has no rope there"


SMOLLM3 = replace(
    LLAMA,
    name="smollm3",
    architecture="SmolLM3ForCausalLM",
    fields={**FIELDS, "window": "sliding_window", "rotated": "no_rope_layers"},
    defaults={"K": 4, "context": 32768, "theta": 2e6, "tied": True},
    plain=plain,
    spelled=spelled,
    gguf=Gguf(architecture="smollm3", pairs=True, built_in=built_in, refuse=other_in_llama_cpp),
)

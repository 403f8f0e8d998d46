"""A tiny model directory made by hand, whole or with faults; nothing is compiled for it."""

import json

import numpy as np
from safetensors.numpy import save_file

TINY = {
    "model_type": "llama", "vocab_size": 16, "hidden_size": 4, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "head_dim": 2, "intermediate_size": 6, "max_position_embeddings": 32,
    "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
WORDS = ("<unk>", "<s>", "</s>", "a", "b", "c")


def tiny(config=TINY):
    """Return {tensor: shape} of TINY's weights, written out by hand."""
    D, F, V, q, k = 4, 6, 16, 4, 2
    found = {"model.embed_tokens.weight": (V, D), "model.norm.weight": (D,)}
    found |= {} if config.get("tie_word_embeddings") else {"lm_head.weight": (V, D)}
    for n in range(2):
        layer = {"self_attn.q_proj": (q, D), "self_attn.k_proj": (k, D), "self_attn.v_proj": (k, D)}
        layer |= {"self_attn.o_proj": (D, q), "mlp.gate_proj": (F, D), "mlp.up_proj": (F, D), "mlp.down_proj": (D, F)}
        layer |= {"input_layernorm": (D,), "post_attention_layernorm": (D,)}
        found |= {f"model.layers.{n}.{name}.weight": shape for name, shape in layer.items()}
    return found


def tokenizer_json(ids=None, bos=True):
    """Return the content of a tokenizer.json of WORDS, each its own token, and of further {word: id}."""
    special = [{"id": n, "content": w, "special": True, "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False} for n, w in enumerate(WORDS[:3])]  # fmt: skip
    before = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
              {"Sequence": {"id": "A", "type_id": 0}}], "pair": [],
              "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}  # fmt: skip
    vocabulary = {w: n for n, w in enumerate(WORDS)} | (ids or {})
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special, "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": before if bos else None, "decoder": None,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"},
    }  # fmt: skip


def write_model(folder, config=None, ids=None, bos=True):
    """Write a tiny model directory of TINY with changes to its config.json and tokenizer, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    told, draw = TINY | (config or {}), np.random.default_rng(0)
    (folder / "config.json").write_text(json.dumps(told))
    save_file(
        {n: draw.normal(0, 0.1, s).astype(np.float32) for n, s in tiny(told).items()}, folder / "model.safetensors"
    )
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer_json(ids, bos)))
    names = {"bos_token": "<s>", "eos_token": "</s>"} if bos else {"eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names))
    return folder

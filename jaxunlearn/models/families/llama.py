"""Llama and Mistral: config.json in and out, and where each tensor goes."""

import json
from pathlib import Path

from jaxunlearn.errors import InputError
from jaxunlearn.models.transformer import Shape

# our path -> (Hugging Face name, its dimensions as groups of our letters)
TOP = {
    "embed_VD": ("model.embed_tokens.weight", "V D"),
    "norm_D": ("model.norm.weight", "D"),
    "head_DV": ("lm_head.weight", "V D"),
}
LAYER = {
    "attention_norm_D": ("input_layernorm.weight", "D"),
    "q_DNH": ("self_attn.q_proj.weight", "NH D"),
    "k_DKH": ("self_attn.k_proj.weight", "KH D"),
    "v_DKH": ("self_attn.v_proj.weight", "KH D"),
    "o_NHD": ("self_attn.o_proj.weight", "D NH"),
    "mlp_norm_D": ("post_attention_layernorm.weight", "D"),
    "gate_DF": ("mlp.gate_proj.weight", "F D"),
    "up_DF": ("mlp.up_proj.weight", "F D"),
    "down_FD": ("mlp.down_proj.weight", "D F"),
}
IGNORED_TENSORS = ("rotary_emb.inv_freq",)  # recomputed; old checkpoints carry it

READ = {
    "architectures", "model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "intermediate_size", "max_position_embeddings", "rope_theta", "rope_scaling",
    "rope_parameters", "rms_norm_eps", "tie_word_embeddings", "sliding_window", "hidden_act",
    "attention_bias", "mlp_bias",
}  # fmt: skip
HARMLESS = {
    "attention_dropout", "auto_map", "bos_token_id", "bad_words_ids", "dtype", "eos_token_id", "id2label",
    "initializer_range", "label2id", "output_attentions", "output_hidden_states", "pad_token_id", "pretraining_tp",
    "torch_dtype", "transformers_version", "unk_token_id", "use_cache", "_name_or_path", "hidden_dropout",
    "chunk_size_feed_forward", "is_encoder_decoder", "problem_type", "return_dict", "use_return_dict", "jaxunlearn",
}  # fmt: skip


def read_shape(directory: Path, compute: str = "float32", remat: str = "auto") -> Shape:
    """Return the model's shape from config.json; raise InputError for what this code would compute otherwise."""
    path = Path(directory) / "config.json"
    if not path.is_file():
        raise InputError(f"{directory} is no model directory: config.json is missing (expected a Hugging Face Llama)")
    try:
        j = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON: {error}") from None
    wrong = _unsupported(j)
    missing = [
        k
        for k in ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
        if k not in j
    ]
    if missing:
        wrong.append(f"attributes missing: {missing}")
    if wrong:
        raise InputError(f"{path} describes a model that is not supported:\n  " + "\n  ".join(wrong))
    N = j["num_attention_heads"]
    rope = _rope(j, path)
    return Shape(
        V=j["vocab_size"], D=j["hidden_size"], L=j["num_hidden_layers"], N=N,
        K=j.get("num_key_value_heads") or N, H=j.get("head_dim") or j["hidden_size"] // N,
        F=j["intermediate_size"], context=j.get("max_position_embeddings", 2048), window=j.get("sliding_window"),
        epsilon=j.get("rms_norm_eps", 1e-6), tied=bool(j.get("tie_word_embeddings", False)), compute=compute,
        remat=remat, **rope,
    )  # fmt: skip


def _unsupported(j: dict) -> list[str]:
    wrong = []
    if j.get("model_type") not in ("llama", "mistral"):
        wrong.append(f"model_type = {j.get('model_type')!r}: expected llama or mistral")
    for key, allowed in {"hidden_act": ("silu",), "attention_bias": (False, None), "mlp_bias": (False, None)}.items():
        if j.get(key, allowed[0]) not in allowed:
            wrong.append(f"{key} = {j[key]!r}: only {allowed[0]!r} is supported")
    for key in sorted(set(j) - READ - HARMLESS):
        if j[key] not in (None, False, {}, []):
            wrong.append(f"unknown attribute {key} = {j[key]!r}")
    return wrong


def _rope(j: dict, path: Path) -> dict:
    """Return theta, scaling and stretch from either spelling (rope_theta + rope_scaling, or rope_parameters)."""
    given = j.get("rope_parameters") or j.get("rope_scaling") or {}
    theta = given.get("rope_theta", j.get("rope_theta", 10000.0))
    kind = given.get("rope_type", given.get("type", "default"))
    if kind == "default":
        return {"theta": theta}
    if kind == "linear":
        return {"theta": theta, "stretch": given["factor"]}
    if kind == "llama3":
        keys = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
        return {"theta": theta, "scaling": tuple(float(given[k]) for k in keys)}
    raise InputError(f"{path}: rope scaling {kind!r} is not supported (default, linear, llama3)")


def hf_config(c: Shape, dtype: str) -> dict:
    """Return config.json in the spelling that transformers 4 and 5 both read."""
    scaling = None
    if c.scaling:
        keys = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
        scaling = {"rope_type": "llama3"} | dict(zip(keys, c.scaling, strict=True))
        scaling["original_max_position_embeddings"] = int(c.scaling[3])
    elif c.stretch != 1:
        scaling = {"rope_type": "linear", "factor": c.stretch}
    windowed = {"architectures": ["MistralForCausalLM"], "model_type": "mistral", "sliding_window": c.window}
    return {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": c.V, "hidden_size": c.D,
        "num_hidden_layers": c.L, "num_attention_heads": c.N, "num_key_value_heads": c.K, "head_dim": c.H,
        "intermediate_size": c.F, "max_position_embeddings": c.context, "rope_theta": c.theta, "rope_scaling": scaling,
        "rms_norm_eps": c.epsilon, "tie_word_embeddings": c.tied, "hidden_act": "silu", "attention_bias": False,
        "mlp_bias": False, "torch_dtype": dtype,
    } | (windowed if c.window else {})  # fmt: skip

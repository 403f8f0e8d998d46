"""Attributes of config.json that every family may hold: those that change no number here, and those that must not.

Spellings are those of transformers' configurations, versions 4 and 5, and of the programs that write their files.
"""

from collections.abc import Mapping
from typing import Any

from jaxunlearn.errors import named, shown

# How transformers generates; old versions keep it in config.json. Nothing of it is in a forward pass.
GENERATION = frozenset({
    "bad_words_ids", "begin_suppress_tokens", "bos_token_id", "cache_implementation", "decoder_start_token_id",
    "diversity_penalty", "do_sample", "early_stopping", "encoder_no_repeat_ngram_size", "eos_token_id",
    "exponential_decay_length_penalty", "forced_bos_token_id", "forced_eos_token_id", "generation_config",
    "length_penalty", "max_length", "max_new_tokens", "min_length", "no_repeat_ngram_size", "num_beam_groups",
    "num_beams", "num_return_sequences", "output_scores", "pad_token_id", "prefix", "remove_invalid_values",
    "repetition_penalty", "return_dict_in_generate", "sep_token_id", "suppress_tokens", "temperature", "top_k", "top_p",
    "typical_p", "unk_token_id", "use_cache",
})  # fmt: skip

# Where a file comes from, how it is run or was trained, classifiers' labels. Dropout is of training, and off here.
HARMLESS = GENERATION | {
    "_attn_implementation", "_attn_implementation_autoset", "_attn_implementation_internal", "_commit_hash",
    "_experts_implementation", "_flash_attn_2_enabled", "_from_model_config", "_model_name_or_path", "_name_or_path",
    "_output_attentions", "attention_dropout", "attn_implementation", "auto_map", "chunk_size_feed_forward",
    "classifier_dropout", "dtype", "embd_pdrop", "finetuning_task", "gradient_checkpointing", "hidden_dropout",
    "hidden_dropout_prob", "id2label", "initializer_range", "is_decoder", "is_llama_config", "jaxunlearn", "label2id",
    "max_sequence_length", "model_max_length", "num_labels", "output_attentions", "output_hidden_states",
    "pretraining_tp", "problem_type", "resid_pdrop", "return_dict", "task_specific_params", "tf_legacy_loss",
    "tokenizer_class", "torch_dtype", "torchscript", "transformers.js_config", "transformers_version", "unsloth_fixed",
    "unsloth_version", "use_bfloat16", "use_return_dict",
}  # fmt: skip

# Attributes that change the mathematics, and the values at which they do not; None and a missing one mean the same.
NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    "add_cross_attention": (False,),
    "attention_multiplier": (1, 1.0),  # Granite's four
    "embedding_multiplier": (1, 1.0),
    "is_causal": (True,),
    "is_encoder_decoder": (False,),
    "logits_scaling": (1, 1.0),
    "no_rope_layers": ([],),
    "partial_rotary_factor": (1, 1.0),
    "per_layer_config": ({},),
    "pruned_heads": ({},),
    "quantization_config": ({},),
    "residual_multiplier": (1, 1.0),
    "rope_interleaved": (False,),
    "tie_encoder_decoder": (False,),
    "use_bidirectional_attention": (False,),
    "use_mrope": (False,),
    "use_qk_norm": (False,),
    "use_sliding_window": (False,),
}
WHY = {"quantization_config": "the weights are quantised; give the model in fp32, fp16 or bf16"}
EMPTY = (None, {}, [])  # an attribute that is not known says nothing where it holds one of these


def changes(j: Mapping[str, Any], known: frozenset[str] | set[str]) -> list[str]:
    """Return, in sentences, the attributes outside `known` that change the mathematics or may do so."""
    wrong = []
    for key in sorted(set(j) - known - HARMLESS):
        value = j[key]
        if key in NEUTRAL and value is not None and not _among(value, NEUTRAL[key]):
            wrong.append(f"{key} = {shown(value)}: {WHY.get(key) or f'only {NEUTRAL[key][0]!r} is supported'}")
        elif key not in NEUTRAL and value not in EMPTY:
            wrong.append(f"unknown attribute {named(key)} = {shown(value)}")
    return wrong


def _among(value, allowed: tuple[Any, ...]) -> bool:
    """Return whether a value is one of those allowed; False is not 0 here, nor True 1."""
    return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in allowed)

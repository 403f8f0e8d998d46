"""Attributes of config.json: harmless ones are read over, others stand at their neutral value or are refused."""

import logging

import pytest

from jaxunlearn.models.families import base, llama
from jaxunlearn.parallel import console

TOLD = {
    "model_type": "llama", "vocab_size": 8, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1,
    "intermediate_size": 4,
}  # fmt: skip
REAL = {  # spellings found in files of real models
    "_name_or_path": "org/base", "_model_name_or_path": "org/base", "_attn_implementation_autoset": True,
    "is_llama_config": True, "rope_interleaved": False, "transformers.js_config": {"kv_cache_dtype": "fp16"},
    "temperature": 0.6, "do_sample": True, "quantization_config": None, "partial_rotary_factor": 1.0,
    "pad_token_id": 2, "pretraining_tp": 1, "model_max_length": 8192, "unsloth_fixed": True,
    "tokenizer_class": "LlamaTokenizer", "something_new": None, "pruned_heads": {}, "use_mrope": False,
}  # fmt: skip


def test_what_changes_nothing_is_read_over_and_said_once_if_asked(tmp_path, capsys):
    shape = base.read(llama.LLAMA, TOLD | REAL, tmp_path)
    assert shape == base.read(llama.LLAMA, TOLD, tmp_path)
    assert capsys.readouterr().err == ""
    console.LOG.setLevel(logging.INFO)
    base.read(llama.LLAMA, TOLD | REAL, tmp_path)
    console.LOG.setLevel(logging.WARNING)
    (line,) = capsys.readouterr().err.splitlines()
    assert "_name_or_path, do_sample" in line and "rope_interleaved" not in line


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"rope_interleaved": True}, "rope_interleaved = True: only False is supported"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor = 0.5: only 1 is supported"),
        ({"residual_multiplier": True}, "residual_multiplier = True: only 1 is supported"),
        ({"use_rope": False}, "unknown attribute use_rope = False"),
        ({"final_logit_softcapping": 30.0}, "unknown attribute final_logit_softcapping = 30.0"),
    ],
)
def test_what_changes_the_numbers_is_refused_at_any_value_but_the_neutral_one(told, said):
    assert base.unsupported(llama.LLAMA, TOLD | told) == [said]


def test_quantised_weights_are_refused_with_what_to_do():
    (said,) = base.unsupported(llama.LLAMA, TOLD | {"quantization_config": {"quant_method": "gptq"}})
    assert said.startswith("quantization_config = {'quant") and "give the model in fp32" in said

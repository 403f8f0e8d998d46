"""Llama and Mistral: each is written back as what it was read as; the window is Mistral's alone, as transformers'."""

import json

import pytest
from support.llamas import equals_transformers, is_exported, torch_family, writes_the_same

from jaxunlearn.errors import InputError
from jaxunlearn.models import huggingface
from jaxunlearn.models.families import hf_config, read_shape

TOLD = {
    "vocab_size": 97, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 48, "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 5e5,
}  # fmt: skip


def read(folder, **more):
    (folder / "config.json").write_text(json.dumps(TOLD | more))
    return read_shape(folder)


@pytest.mark.parametrize("kind", ["llama", "mistral"])
def test_a_config_written_is_read_as_the_same_shape(tmp_path, kind):
    shape = read(tmp_path, model_type=kind)
    assert (shape.family, shape.H, shape.theta, shape.window) == (kind, 8, 5e5, {"mistral": 4096}.get(kind))
    written = hf_config(shape, "float32")
    assert written["model_type"] == kind and written["architectures"] == [f"{kind.capitalize()}ForCausalLM"]
    assert written.items() >= TOLD.items() and ("sliding_window" in written) == (kind == "mistral")
    (tmp_path / "config.json").write_text(json.dumps(written))
    assert read_shape(tmp_path) == shape


def test_a_window_is_mistrals_alone(tmp_path):
    assert read(tmp_path, model_type="mistral", sliding_window=32).window == 32
    assert read(tmp_path, model_type="mistral", sliding_window=None).window is None
    named = {"model_type": "mistral", "sliding_window": None, "layer_types": ["full_attention"] * 3}
    assert read(tmp_path, **named).window is None
    with pytest.raises(InputError, match="with this sliding_window all layers of a Mistral are 'sliding_attention'"):
        read(tmp_path, **named | {"sliding_window": 32})
    with pytest.raises(InputError, match="unknown attribute sliding_window = 32"):
        read(tmp_path, model_type="llama", sliding_window=32)


FIRST = {  # as the converted files of the first LLaMA tell it
    "architectures": ["LLaMAForCausalLM"], "bos_token_id": 0, "eos_token_id": 1, "hidden_act": "silu",
    "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 11008, "max_sequence_length": 1024,
    "model_type": "llama", "num_attention_heads": 32, "num_hidden_layers": 32, "pad_token_id": -1,
    "rms_norm_eps": 1e-6, "torch_dtype": "float16", "transformers_version": "4.27.0.dev0", "use_cache": True,
    "vocab_size": 32000,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "context", "read_over"),
    [
        ({}, 1024, "initializer_range, pad_token_id"),
        ({"max_position_embeddings": None}, 1024, "initializer_range, pad_token_id"),
        # both, as in later files: transformers reads this one alone
        ({"max_position_embeddings": 512}, 512, "initializer_range, max_sequence_length, pad_token_id"),
    ],
)
def test_the_first_llama_names_its_context_in_another_way(tmp_path, caplog, capsys, changes, context, read_over):
    (tmp_path / "config.json").write_text(json.dumps(FIRST | changes))
    with caplog.at_level("INFO", "jaxunlearn"):
        assert read_shape(tmp_path).context == context
    assert f"config.json: {read_over} change nothing" in capsys.readouterr().err
    (tmp_path / "config.json").write_text(json.dumps(FIRST | changes | {"max_sequence_length": None}))
    assert read_shape(tmp_path).context == (changes.get("max_position_embeddings") or 2048)


def test_mistral_within_and_beyond_its_window_equals_transformers(mesh, tmp_path):
    """Logits, gradients and greedy tokens of blocks of 23 tokens under a window of 8, and back through an export."""
    theirs = torch_family("mistral", sliding_window=8, num_hidden_layers=2)
    theirs.save_pretrained(tmp_path / "m")
    model = huggingface.load(tmp_path / "m")
    assert model.c.window == 8
    equals_transformers(theirs, model)
    is_exported(theirs, model, tmp_path / "out")
    writes_the_same(theirs, model)

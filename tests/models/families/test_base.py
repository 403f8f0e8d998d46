"""Rope scaling in both spellings, and what a directory without a readable config.json is told."""

import json

import pytest

from jaxunlearn.errors import InputError
from jaxunlearn.models.families import base, hf_config, llama, read_shape

TOLD = {
    "model_type": "llama", "vocab_size": 8, "hidden_size": 4, "num_hidden_layers": 1, "num_attention_heads": 1,
    "intermediate_size": 4,
}  # fmt: skip
SCALED = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
SCALED |= {"original_max_position_embeddings": 16}

UNTOLD = {k: v for k, v in SCALED.items() if k != "original_max_position_embeddings"}


def theirs(told):
    """Return what transformers reads of the same config.json, in our names."""
    transformers = pytest.importorskip("transformers", minversion="5")
    given = transformers.LlamaConfig(**json.loads(json.dumps(told))).rope_parameters
    found = {"theta": given["rope_theta"]}
    if given["rope_type"] == "linear":
        found["stretch"] = given["factor"]
    elif given["rope_type"] == "llama3":
        found["scaling"] = tuple(given[name] for name in base.LLAMA3)
    return found


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ({}, {"theta": 1e4}),
        ({"rope_theta": 5e5}, {"theta": 5e5}),
        ({"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 4.0}}, {"theta": 5e5, "stretch": 4.0}),
        ({"rope_parameters": SCALED | {"rope_theta": 5e5}}, {"theta": 5e5, "scaling": (8.0, 1.0, 4.0, 16.0)}),
        ({"rope_theta": 5e5, "rope_scaling": SCALED}, {"theta": 5e5, "scaling": (8.0, 1.0, 4.0, 16.0)}),
        ({"rope_theta": 5e5, "rope_parameters": UNTOLD}, {"theta": 5e5, "scaling": (8.0, 1.0, 4.0, 64.0)}),
        (
            {"rope_scaling": UNTOLD, "original_max_position_embeddings": 32},
            {"theta": 1e4, "scaling": (8.0, 1.0, 4.0, 64.0)},
        ),
        ({"rope_theta": 5e5, "rope_scaling": None, "rope_parameters": {"rope_theta": 7e3}}, {"theta": 7e3}),
        (
            {"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 4.0}, "rope_parameters": SCALED},
            {"theta": 5e5, "stretch": 4.0},
        ),
    ],
)
def test_rope_is_read_in_both_spellings_and_written_in_one(tmp_path, told, found):
    told = told | {"max_position_embeddings": 64}
    assert base.rope(told, tmp_path) == found
    assert theirs(TOLD | told) == pytest.approx(found)
    shape = base.read(llama.LLAMA, TOLD | told, tmp_path)
    assert base.rope(hf_config(shape, "float32"), tmp_path) == found


def test_every_fault_of_a_config_is_named_at_once(tmp_path):
    bad = {k: v for k, v in TOLD.items() if k != "hidden_size"} | {"mlp_bias": True, "experts": 4, "hidden_act": None}
    assert base.unsupported(llama.LLAMA, bad) == [
        "mlp_bias = True: only False is supported",
        "unknown attribute experts = 4",
        "attributes missing: ['hidden_size']",
    ]


def test_rope_that_is_computed_otherwise_is_refused_by_name(tmp_path):
    for told, said in (
        ({"rope_scaling": {"rope_type": "yarn", "factor": 2.0}}, "rope scaling 'yarn' is not supported"),
        ({"rope_parameters": {"partial_rotary_factor": 0.5}}, "partial_rotary_factor': 0.5"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 2.0, "beta_fast": 32}}, "beta_fast"),
        ({"rope_scaling": {"rope_type": "linear"}}, r"'linear' lacks \['factor'\]"),
    ):
        with pytest.raises(InputError, match=said):
            base.rope(told, tmp_path)
    base.rope({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 1.0}}, tmp_path)


def test_a_directory_without_a_readable_config_says_so(tmp_path):
    with pytest.raises(InputError, match="expected a Hugging Face model of type llama, mistral"):
        read_shape(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(TOLD)[:-1])
    with pytest.raises(InputError, match="is not valid JSON"):
        read_shape(tmp_path)

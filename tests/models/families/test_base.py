"""Rope scaling in both spellings, and what a directory without a readable config.json is told."""

import importlib
import json

import numpy as np
import pytest

from jaxunlearn.errors import InputError
from jaxunlearn.models.families import FAMILIES, base, hf_config, llama, ranges, read_shape
from jaxunlearn.models.transformer import rope_frequencies

TOLD = {
    "model_type": "llama", "vocab_size": 8, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 1,
    "intermediate_size": 4,
}  # fmt: skip
SCALED = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
SCALED |= {"original_max_position_embeddings": 16}

UNTOLD = {k: v for k, v in SCALED.items() if k != "original_max_position_embeddings"}


def theirs(told, name="Llama"):
    """Return the frequencies that transformers rotates a model of the same config.json by."""
    transformers = pytest.importorskip("transformers", minversion="5")
    kind = name.lower().removesuffix("text")
    module = importlib.import_module(f"transformers.models.{kind}.modeling_{kind}")
    rotary = getattr(module, f"{name.removesuffix('Text')}RotaryEmbedding")
    made = rotary(getattr(transformers, f"{name}Config")(**json.loads(json.dumps(told))))
    return getattr(made, "full_attention_inv_freq" if name == "Gemma3Text" else "inv_freq").numpy()


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
            {"theta": 1e4, "scaling": (8.0, 1.0, 4.0, 32.0)},
        ),
        (
            {"rope_parameters": SCALED, "original_max_position_embeddings": 32},
            {"theta": 1e4, "scaling": (8.0, 1.0, 4.0, 32.0)},
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
    shape = base.read(llama.LLAMA, TOLD | told, tmp_path)
    np.testing.assert_allclose(rope_frequencies(shape), theirs(TOLD | told), rtol=1e-6)
    assert base.rope(hf_config(shape, "float32"), tmp_path) == found


@pytest.mark.parametrize("inside", [None, 16])
@pytest.mark.parametrize("beside", [None, 32])
@pytest.mark.parametrize("name", ["Llama", "Mistral", "Gemma3Text"])  # whose contexts, where none is told, differ
def test_the_original_context_is_the_one_that_transformers_computes_with(tmp_path, name, inside, beside):
    told = TOLD | {"model_type": "", "num_hidden_layers": 6, "num_key_value_heads": 1, "head_dim": 32}
    told["rope_scaling"] = UNTOLD | ({"original_max_position_embeddings": inside} if inside else {})
    told |= {"rope_theta": 1e8} | ({"original_max_position_embeddings": beside} if beside else {})
    family = FAMILIES["gemma3_text" if name == "Gemma3Text" else name.lower()]
    shape = base.read(family, told, tmp_path)
    np.testing.assert_allclose(rope_frequencies(shape), theirs(told, name), rtol=1e-5)


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


USED = {"sliding_window": 16, "use_sliding_window": True, "max_window_layers": 3}
EACH = {  # with every attribute of the family at another value than its default
    "llama": {},
    "mistral": {"sliding_window": 16},
    "qwen2": USED,
    "qwen3": USED,
    "gemma3_text": {
        "sliding_window": 16, "sliding_window_pattern": 3, "rope_local_base_freq": 5e3, "query_pre_attn_scalar": 16,
    },
    "smollm3": USED | {"no_rope_layer_interval": 3},
}  # fmt: skip
SIZES = {
    "vocab_size": 97, "hidden_size": 512, "num_hidden_layers": 30, "num_attention_heads": 64, "num_key_value_heads": 16,
    "intermediate_size": 48, "max_position_embeddings": 64, "head_dim": 16, "rms_norm_eps": 1e-5, "rope_theta": 5e5,
}  # fmt: skip


def shape_or_error(name, told, folder):
    try:
        return base.read(FAMILIES[name], told, folder)
    except InputError as error:
        return str(error)


@pytest.mark.parametrize("name", FAMILIES)
def test_null_means_what_a_missing_attribute_does(tmp_path, name):
    """But for two: no window, and as many heads of keys and values as heads."""
    told = SIZES | EACH[name] | {"tie_word_embeddings": not FAMILIES[name].defaults.get("tied", False)}
    others = ("layer_types", "no_rope_layers", "rope_scaling", "rope_parameters", *base.HARMLESS)
    read = {*FAMILIES[name].fields.values(), *FAMILIES[name].fixed, *ranges.ATTRIBUTES, *ranges.SWITCHES, *others}
    whole, noticed = base.read(FAMILIES[name], told, tmp_path), set()
    for key in sorted(read - {"sliding_window", "num_key_value_heads"}):
        missing = shape_or_error(name, {k: v for k, v in told.items() if k != key}, tmp_path)
        assert shape_or_error(name, told | {key: None}, tmp_path) == missing, key
        noticed |= {key} if missing != whole else set()
    unread = {"max_window_layers"} if name == "smollm3" else set()
    assert noticed >= set(told) - {"sliding_window", "num_key_value_heads"} - unread
    assert base.read(FAMILIES[name], told | {"num_key_value_heads": None}, tmp_path).K == 64
    if name not in ("llama", "gemma3_text"):  # a Gemma without a window is refused, see there
        assert base.read(FAMILIES[name], told | {"sliding_window": None}, tmp_path).window is None


def in_our_names(name, told):
    """Return the fields of Shape that transformers reads of a config.json, but for its sizes."""
    transformers = pytest.importorskip("transformers", minversion="5")
    c = transformers.AutoConfig.for_model(name, **json.loads(json.dumps(told)))
    ropes = c.rope_parameters
    window = getattr(c, "sliding_window", None)
    near = tuple(kind == base.WINDOWED for kind in getattr(c, "layer_types", None) or ()) or (window is not None,)
    found = {"K": c.num_key_value_heads, "context": c.max_position_embeddings, "epsilon": c.rms_norm_eps}
    found |= {"tied": c.tie_word_embeddings, "theta": ropes.get("full_attention", ropes)["rope_theta"]}
    found |= {"H": getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads}
    found |= {"window": window if any(near) else None, "windowed": near if len(set(near)) == 2 else None}
    if name == "gemma3_text":
        found |= {"local_theta": ropes["sliding_attention"]["rope_theta"], "query_scalar": c.query_pre_attn_scalar}
    return found | ({"rotated": tuple(c.no_rope_layers)} if name == "smollm3" else {})


@pytest.mark.parametrize("name", FAMILIES)
def test_a_missing_attribute_is_the_default_of_transformers(tmp_path, name):
    whole = SIZES | EACH[name] | {"tie_word_embeddings": not FAMILIES[name].defaults.get("tied", False)}
    needed = {FAMILIES[name].fields[key] for key in base.NEEDED}
    for key in [None, *sorted(set(whole) - needed)]:
        told = {k: v for k, v in whole.items() if k != key}
        theirs = in_our_names(name, told)
        shape = vars(base.read(FAMILIES[name], told, tmp_path))
        assert {field: shape[field] for field in theirs} == theirs, key


def test_null_among_the_settings_of_rope_is_a_missing_one(tmp_path):
    for told in (SCALED, {"rope_type": "linear", "factor": 4.0}, {"rope_theta": 7e3}, {}):
        nulls = dict.fromkeys(base.ROPE_KEYS) | told
        wanted = base.rope({"rope_theta": 5e5, "rope_parameters": told}, tmp_path)
        assert base.rope({"rope_theta": 5e5, "rope_parameters": nulls, "rope_scaling": None}, tmp_path) == wanted
    linear = {"rope_type": "linear", "factor": 4.0, "rope_theta": 7e3}
    both = {"full_attention": linear, "sliding_attention": {"rope_theta": 5e3}}
    nulls = {kind: dict.fromkeys(base.ROPE_KEYS) | given for kind, given in both.items()}
    told = {k: v for k, v in SIZES.items() if k != "rope_theta"}
    wanted = base.read(FAMILIES["gemma3_text"], told | {"rope_parameters": both}, tmp_path)
    assert (wanted.theta, wanted.local_theta, wanted.stretch) == (7e3, 5e3, 4.0)
    told |= {"rope_parameters": nulls, "rope_scaling": None, "rope_theta": None, "rope_local_base_freq": None}
    assert base.read(FAMILIES["gemma3_text"], told, tmp_path) == wanted


def test_a_directory_without_a_readable_config_says_so(tmp_path):
    with pytest.raises(InputError, match="expected a Hugging Face model of type llama, mistral"):
        read_shape(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(TOLD)[:-1])
    with pytest.raises(InputError, match="is not valid JSON"):
        read_shape(tmp_path)

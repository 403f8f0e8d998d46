"""Numbers of a model out of range are refused wherever they are read, each by its name."""

import math
from types import SimpleNamespace

import pytest

from jaxunlearn.errors import InputError
from jaxunlearn.models.families import FAMILIES, base, ranges
from jaxunlearn.models.families.base import FIELDS

TOLD = {
    "vocab_size": 8, "hidden_size": 4, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
    "head_dim": 2, "intermediate_size": 4, "rms_norm_eps": 1e-5, "rope_theta": 1e4, "max_position_embeddings": 64,
}  # fmt: skip


@pytest.mark.parametrize("name", FAMILIES)
def test_every_number_of_every_family_is_checked(tmp_path, name):
    family = FAMILIES[name]
    assert base.read(family, dict(TOLD), tmp_path).N == 2
    numbers = {family.fields[f]: f for f in family.fields if f in ranges.RANGES} | dict.fromkeys(ranges.ATTRIBUTES)
    for attribute, field in numbers.items():
        bad = [-1, math.nan, math.inf, "3", [3], {}, True, 10**30]
        bad += [1.5] * (field in ranges.WHOLE) + [0] * (attribute != "max_window_layers")
        for value in bad:
            with pytest.raises(InputError, match=attribute.lstrip("_")) as error:
                base.read(family, TOLD | {attribute: value}, tmp_path)
            assert len(str(error.value)) < 2000


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"num_hidden_layers": 10**9},
            "num_hidden_layers = 1000000000: expected a whole number at least 1",
        ),
        ({"num_key_value_heads": 2, "num_attention_heads": 3}, "3 heads are no multiple of 2 key/value heads"),
        ({"head_dim": 3}, "a head of 3 numbers"),
        ({"head_dim": None, "num_attention_heads": 8}, "H = 0"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings = 'yes': expected true or false"),
        ({"layer_types": 3}, "layer_types = 3: expected a list of texts"),
        ({"layer_types": [[]]}, "layer_types = [[]]: expected a list of texts"),
        ({"no_rope_layers": [2, 1]}, "no_rope_layers = [2, 1]"),
        ({"rope_scaling": "linear"}, "rope_scaling = 'linear': expected an object"),
        ({"rope_scaling": {"rope_type": ["linear"]}}, "rope scaling ['linear'] is not supported"),
        ({"rope_scaling": {"rope_type": "linear", "factor": 0}}, "factor = 0: expected a number above 0"),
        ({"rope_scaling": {"rope_type": "linear", "factor": "x"}}, "factor = 'x'"),
        ({"rope_parameters": {"rope_theta": -1.0}}, "rope_theta = -1.0"),
        (
            {"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 4.0}},
            "low_freq_factor = 4.0 must be below high_freq_factor = 4.0",
        ),
        ({"a\x1b[31m": "x" * 10**6}, "unknown attribute 'a\\x1b[31m' = '" + "x" * 79 + "..."),
    ],
)
def test_what_no_model_can_be_is_said(tmp_path, changes, said):
    with pytest.raises(InputError) as error:
        base.read(FAMILIES["llama"], TOLD | changes, tmp_path)
    assert said in str(error.value)


def test_a_gemma_whose_ropes_are_no_objects_is_refused(tmp_path):
    for ropes in ({"full_attention": 3, "sliding_attention": {}}, {"full_attention": {}, "sliding_attention": [1]}):
        with pytest.raises(InputError, match="rope"):
            base.read(FAMILIES["gemma3_text"], TOLD | {"rope_parameters": ropes}, tmp_path)


def test_the_table_covers_every_number_of_config_json():
    assert set(FIELDS) - {"tied"} <= set(ranges.RANGES)
    assert set(ranges.RANGES) >= ranges.WHOLE
    assert ranges.odd(SimpleNamespace(N=4, K=2, H=2)) == []

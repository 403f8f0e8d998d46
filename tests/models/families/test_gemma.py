"""Gemma 3 beside transformers: read, trained, continued, written back; both spellings of its config.json."""

import json

import jax
import pytest
from support.llamas import equals_transformers, is_exported, logits_equal_transformers, torch_family, writes_the_same
from support.mesh import mesh_of

from jaxunlearn.errors import InputError
from jaxunlearn.models import huggingface
from jaxunlearn.models.families import gemma, hf_config, read_shape
from jaxunlearn.models.transformer import Shape

LINEAR = {
    "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 5e4},
    "sliding_attention": {"rope_type": "default", "rope_theta": 1e3},
}
KINDS = {
    "published": {"num_hidden_layers": 7, "query_pre_attn_scalar": 16},
    "other": {
        "layer_types": ["full_attention", "sliding_attention", "sliding_attention"], "query_pre_attn_scalar": 20,
        "rope_parameters": LINEAR, "num_hidden_layers": 3, "tie_word_embeddings": False,
    },
}  # fmt: skip


def gemma3(kind, **more):
    return torch_family("gemma3_text", sliding_window=8, head_dim=16, **KINDS[kind], **more)


def test_logits_gradients_greedy_text_and_the_export_equal_transformers(mesh, tmp_path):
    theirs = gemma3("other")
    theirs.save_pretrained(tmp_path / "m")
    model = huggingface.load(tmp_path / "m")
    assert (model.c.window, model.c.windowed) == (8, (False, True, True))
    equals_transformers(theirs, model)
    is_exported(theirs, model, tmp_path / "out")
    writes_the_same(theirs, model)


def test_the_published_pattern_equals_transformers_on_a_mesh(tmp_path):
    theirs = gemma3("published", vocab_size=104)
    theirs.save_pretrained(tmp_path / "m")
    with jax.set_mesh(mesh_of((2, 2, 2))):
        model = huggingface.load(tmp_path / "m")
        assert [n for n, near in enumerate(model.c.windowed) if not near] == [5]
        logits_equal_transformers(theirs, model)


def test_the_published_pattern_is_continued_and_exported_as_transformers_does(mesh, tmp_path):
    theirs = gemma3("published")
    theirs.save_pretrained(tmp_path / "m")
    model = huggingface.load(tmp_path / "m")
    assert model.c.windowed == (True,) * 5 + (False, True)
    is_exported(theirs, model, tmp_path / "out")
    writes_the_same(theirs, model)


OLD = {  # as the checkpoint of 1 billion parameters tells it
    "attention_bias": False, "attn_logit_softcapping": None, "cache_implementation": "hybrid", "eos_token_id": [1, 106],
    "final_logit_softcapping": None, "head_dim": 256, "hidden_activation": "gelu_pytorch_tanh", "hidden_size": 1152,
    "intermediate_size": 6912, "max_position_embeddings": 32768, "model_type": "gemma3_text", "num_attention_heads": 4,
    "num_hidden_layers": 26, "num_key_value_heads": 1, "query_pre_attn_scalar": 256, "rms_norm_eps": 1e-6,
    "rope_local_base_freq": 10000, "rope_scaling": None, "rope_theta": 1000000, "sliding_window": 512,
    "sliding_window_pattern": 6, "vocab_size": 262144,
}  # fmt: skip


def read(folder, **changes):
    (folder / "config.json").write_text(json.dumps({k: v for k, v in (OLD | changes).items() if v != "missing"}))
    return read_shape(folder)


def test_the_published_config_is_read_and_written_in_its_own_spelling(tmp_path):
    shape = read(tmp_path)
    assert (shape.theta, shape.local_theta, shape.tied, shape.window) == (1e6, 1e4, True, 512)
    assert [n for n, near in enumerate(shape.windowed) if not near] == [5, 11, 17, 23]
    written = hf_config(shape, "float32")
    assert {k: written.get(k) for k in OLD if k not in ("cache_implementation", "eos_token_id")}.items() <= OLD.items()
    assert written["layer_types"].count("full_attention") == 4
    assert read(tmp_path, **written) == shape
    unsaid = ("rope_local_base_freq", "rope_theta", "sliding_window_pattern", "head_dim", "query_pre_attn_scalar")
    assert read(tmp_path, **dict.fromkeys(unsaid, "missing")) == shape
    assert read(tmp_path, sliding_window="missing").window == 4096


def near(**settings):
    return {"rope_parameters": {"full_attention": {"rope_theta": 1e6}, "sliding_attention": settings}}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"final_logit_softcapping": 30.0}, "final_logit_softcapping = 30.0: only None"),
        ({"use_bidirectional_attention": True}, "use_bidirectional_attention = True: only False"),
        ({"hidden_activation": "silu"}, "hidden_activation = 'silu'"),
        ({"layer_types": ["full_attention"] * 3}, "layer_types names 3 layers of 26"),
        ({"layer_types": ["chunked_attention"] * 26}, "layer_types holds 'chunked_attention'"),
        ({"sliding_window": None}, "there is no window in use"),
        ({"sliding_window": 0}, "sliding_window = 0: expected a whole number at least 1"),
        ({"rope_parameters": {"rope_type": "default"}}, "expected 'full_attention' and 'sliding_attention'"),
        (near(rope_type="linear", factor=4.0), "the second without scaling"),
        (near(type="linear", factor=4.0), "the second without scaling"),
        (near(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0), "the second without scaling"),
        (near(rope_type="yarn", factor=4.0), "rope scaling 'yarn' is not supported"),
        (near(partial_rotary_factor=0.5), "rope settings {'partial_rotary_factor': 0.5} are not supported"),
        (near(rope_theta=-1.0), "rope_theta = -1.0"),
        ({"model_type": "gemma3"}, "its text model alone, saved by itself, is gemma3_text"),
    ],
)
def test_what_is_not_computed_is_refused_by_name(tmp_path, changes, said):
    with pytest.raises(InputError) as error:
        read(tmp_path, **changes)
    assert said in str(error.value)


def test_what_llama_cpp_has_built_in_is_held_against_the_model():
    c = dict(V=8, D=64, L=7, N=2, K=1, H=16, F=8, context=64, window=8, local_theta=1e4, query_scalar=16)
    regular = (True,) * 5 + (False, True)
    assert gemma.other_in_llama_cpp(Shape(**c, windowed=regular)) == ""
    assert "every 6th layer" in gemma.other_in_llama_cpp(Shape(**c, windowed=(True,) * 6 + (False,)))
    assert "theta 10000 there, not 1000" in gemma.other_in_llama_cpp(
        Shape(**c | {"local_theta": 1e3}, windowed=regular)
    )
    assert "scalar is 16 there" in gemma.other_in_llama_cpp(Shape(**c | {"query_scalar": 20}, windowed=regular))

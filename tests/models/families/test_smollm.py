"""SmolLM3 beside transformers: layers without rope, with and without a window in them."""

from support.llamas import equals_transformers, is_exported, torch_family, writes_the_same

from jaxunlearn.models import huggingface
from jaxunlearn.models.families import base, hf_config, smollm
from jaxunlearn.models.transformer import Shape

WINDOWED = {"no_rope_layers": [0, 1, 0], "use_sliding_window": True, "sliding_window": 8, "rope_theta": 1e4}


def test_logits_gradients_greedy_text_and_the_export_equal_transformers(mesh, tmp_path):
    theirs = torch_family("smollm3", **WINDOWED)
    theirs.save_pretrained(tmp_path / "m")
    model = huggingface.load(tmp_path / "m")
    c = model.c
    assert (c.tied, c.rotated, c.window, c.windowed) == (True, (0, 1, 0), 8, (True, False, True))
    equals_transformers(theirs, model)
    is_exported(theirs, model, tmp_path / "out")
    writes_the_same(theirs, model)


def test_the_published_form_without_a_window_equals_transformers(mesh, tmp_path):
    """As the model of 3 billion parameters: tied, every fourth layer without rope, theta 5e6, a window that is off."""
    published = {"use_sliding_window": False, "sliding_window": None, "no_rope_layer_interval": 4, "rope_theta": 5e6}
    theirs = torch_family("smollm3", num_hidden_layers=5, **published)
    theirs.save_pretrained(tmp_path / "m")
    model = huggingface.load(tmp_path / "m")
    c = model.c
    assert (c.tied, c.rotated, c.window, c.theta) == (True, (1, 1, 1, 0, 1), None, 5e6)
    equals_transformers(theirs, model)
    is_exported(theirs, model, tmp_path / "out")
    writes_the_same(theirs, model)


def test_a_config_that_says_little_is_read_as_transformers_does(tmp_path):
    told = {"vocab_size": 8, "hidden_size": 32, "num_hidden_layers": 8, "num_attention_heads": 4}
    told |= {"intermediate_size": 8, "max_window_layers": 28}
    shape = base.read(smollm.SMOLLM3, told, tmp_path)
    assert (shape.rotated, shape.theta, shape.tied, shape.K) == ((1, 1, 1, 0, 1, 1, 1, 0), 2e6, True, 4)
    assert base.read(smollm.SMOLLM3, told | {"no_rope_layer_interval": 2}, tmp_path).rotated == (1, 0) * 4
    assert base.read(smollm.SMOLLM3, hf_config(shape, "float32"), tmp_path) == shape
    assert hf_config(Shape(**vars(shape) | {"rotated": None}), "float32")["no_rope_layers"] == [1] * 8


def test_what_llama_cpp_has_built_in_is_held_against_the_model():
    c = dict(V=8, D=8, L=5, N=1, K=1, H=8, F=8, context=64)
    assert smollm.other_in_llama_cpp(Shape(**c, rotated=(1, 1, 1, 0, 1))) == ""
    assert "every 4th layer has no rope" in smollm.other_in_llama_cpp(Shape(**c))

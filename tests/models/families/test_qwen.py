"""Qwen2 and Qwen3 beside transformers: read, written back, exported."""

import json
import warnings

import jax
import numpy as np
import pytest
from support.llamas import (
    TOKENS,
    equals_transformers,
    is_exported,
    our_logits,
    torch_family,
    torch_logits,
    writes_the_same,
)
from support.mesh import MESHES, mesh_of

from jaxunlearn.errors import InputError
from jaxunlearn.models import huggingface
from jaxunlearn.models.families import base, hf_config, qwen, read_shape
from jaxunlearn.parallel import sharding

KINDS = {
    "qwen2": {}, "qwen2_tied": {"tie_word_embeddings": True},
    "qwen3": {"head_dim": 16}, "qwen3_tied": {"head_dim": 8, "tie_word_embeddings": True},
}  # fmt: skip


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A directory and the reference logits of each kind of model, written by transformers."""
    made = {}
    for kind, changes in KINDS.items():
        folder = tmp_path_factory.mktemp(kind)
        model = torch_family(kind.partition("_")[0], **changes)
        model.save_pretrained(folder)
        made[kind] = folder, torch_logits(model, TOKENS)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_logits_equal_transformers_and_so_do_those_of_the_export(saved, mesh, tmp_path, kind):
    from transformers import AutoModelForCausalLM

    folder, reference = saved[kind]
    model = huggingface.load(folder)
    np.testing.assert_allclose(our_logits(model, TOKENS), reference, atol=1e-4, rtol=0)
    huggingface.save(model, tmp_path / "out")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        back = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert type(back).__name__ == f"{kind.partition('_')[0].capitalize()}ForCausalLM"
    np.testing.assert_allclose(torch_logits(back, TOKENS), reference, atol=1e-6, rtol=0)
    again = huggingface.load(tmp_path / "out")
    assert again.c == model.c
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(model), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", ["qwen2", "qwen3"])
def test_the_new_weights_are_split_by_their_letters_and_compute_the_same(mesh, tmp_path, kind):
    model = torch_family(kind, vocab_size=104)
    model.save_pretrained(tmp_path / "m")
    reference = torch_logits(model, TOKENS)
    for sizes in MESHES[1:4]:
        with jax.set_mesh(mesh_of(sizes)):
            blocks = (ours := huggingface.load(tmp_path / "m")).blocks
            if kind == "qwen2":
                assert blocks.q_bias_NH[...].sharding.spec == sharding.param("LNH") == jax.P(None, "tensor", None)
                assert blocks.v_bias_KH[...].sharding.spec == jax.P(None, "tensor", None)
            else:
                assert blocks.k_norm_H[...].sharding.spec == jax.P(None, None)
            np.testing.assert_allclose(our_logits(ours, TOKENS), reference, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["qwen2", "qwen3"])
def test_gradients_and_greedy_text_equal_transformers(mesh, tmp_path, kind):
    theirs = torch_family(kind, head_dim=8)
    theirs.save_pretrained(tmp_path / "m")
    model = huggingface.load(tmp_path / "m")
    equals_transformers(theirs, model)
    writes_the_same(theirs, model)


def test_a_window_from_some_layer_on_equals_transformers(mesh, tmp_path):
    theirs = torch_family("qwen2", use_sliding_window=True, sliding_window=8, max_window_layers=1, head_dim=8)
    theirs.save_pretrained(tmp_path / "m")
    model = huggingface.load(tmp_path / "m")
    assert (model.c.window, model.c.windowed) == (8, (False, True, True))
    equals_transformers(theirs, model)
    is_exported(theirs, model, tmp_path / "out")
    writes_the_same(theirs, model)


def test_a_window_is_told_by_layers_or_by_the_first_of_them(saved, tmp_path):
    config = json.loads((saved["qwen2"][0] / "config.json").read_text())

    def read(**changes):
        (tmp_path / "config.json").write_text(json.dumps(config | changes))
        return read_shape(tmp_path)

    window = {"sliding_window": 16, "max_window_layers": 2, "layer_types": None}
    assert read(**window).window is None  # not in use
    shape = read(**window, use_sliding_window=True)
    assert (shape.window, shape.windowed) == (16, (False, False, True))
    written = hf_config(shape, "float32")
    assert read(**written) == read(**written | {"layer_types": None}) == shape
    every = read(**window | {"max_window_layers": 0}, use_sliding_window=True)
    assert (every.window, every.windowed) == (16, None) and read(**hf_config(every, "float32")) == every
    assert read(**window | {"max_window_layers": 3}, use_sliding_window=True) == read()  # from no layer on
    with pytest.raises(InputError, match=r"layer_types holds 'sliding_attention'.*no window in use"):
        read(layer_types=["sliding_attention"] * 3)


def test_a_head_size_that_qwen3_does_not_tell_is_128(tmp_path):
    told = {"vocab_size": 8, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    told |= {"num_key_value_heads": 2}
    assert base.read(qwen.QWEN3, told | {"intermediate_size": 8}, tmp_path).H == 128
    assert base.read(qwen.QWEN2, told | {"intermediate_size": 8}, tmp_path).H == 16

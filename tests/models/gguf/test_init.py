"""What reading and writing GGUF share: the order of rows, factors of rope, what llama.cpp does not compute."""

import numpy as np
import pytest

from jaxunlearn.errors import InputError
from jaxunlearn.models import gguf, transformer
from jaxunlearn.models.families.gemma import GEMMA3

SHAPE = transformer.Shape(V=97, D=64, L=2, N=4, K=2, H=16, F=48, context=64, tied=True)


def test_what_llama_cpp_would_compute_otherwise_is_refused(mesh):
    other = dict(family="smollm3", rotated=(1, 0))
    with pytest.raises(InputError, match="every 4th layer has no rope there; use --format hf"):
        gguf.known_to_llama_cpp(transformer.Shape(**(vars(SHAPE) | other)))
    scaled = dict(family="qwen2", qkv_bias=True, scaling=(8.0, 1.0, 4.0, 64.0))
    with pytest.raises(InputError, match="no Llama-3 rope scaling in a qwen2 model"):
        gguf.known_to_llama_cpp(transformer.Shape(**(vars(SHAPE) | scaled)))


def test_q_and_k_change_places_as_worked_out_by_hand(mesh):
    c = transformer.Shape(V=8, D=1, L=1, N=2, K=1, H=4, F=1, context=8)
    rows = np.arange(8.0)[:, None]
    q = gguf.interleaved("model.layers.0.self_attn.q_proj.weight", rows, c)
    assert q[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    assert gguf.interleaved("model.layers.0.self_attn.k_proj.weight", rows[:4], c)[:, 0].tolist() == [0, 2, 1, 3]
    assert gguf.interleaved("model.layers.0.self_attn.v_proj.weight", rows, c) is rows
    np.testing.assert_array_equal(gguf.interleaved("model.layers.0.self_attn.q_proj.weight", q, c, back=True), rows)


def test_a_norms_weight_has_its_offset_there_and_back(mesh):
    plain = transformer.Shape(**vars(SHAPE))
    gemma = transformer.Shape(**(vars(SHAPE) | GEMMA3.always | {"family": "gemma3_text", "window": 8}))
    zero, norm, matrix = np.array([-0.0, 2.5], np.float32), "model.norm.weight", "model.layers.0.mlp.up_proj.weight"
    assert gguf.shifted(norm, zero, gemma).tolist() == [1, 3.5]
    assert gguf.shifted(norm, gguf.shifted(norm, zero, gemma), gemma, back=True).tolist() == [0, 2.5]
    assert gguf.shifted(matrix, zero, gemma) is zero and gguf.shifted(norm, zero, plain) is zero  # no copy, every bit


def test_the_factors_of_rope_are_one_above_the_original_context_and_the_whole_factor_below():
    c = transformer.Shape(**(vars(SHAPE) | {"scaling": (8.0, 1.0, 4.0, 64.0)}))
    factors = gguf.rope_factors(c)
    assert factors[0] == 1 and factors[-1] == 8 and np.all(np.diff(factors) >= 0)
    assert np.all(gguf.rope_factors(SHAPE) == 1)

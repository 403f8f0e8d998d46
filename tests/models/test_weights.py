"""What each weight is, for all that a model or an adapter can have, and sums worked out by hand."""

import jax
import pytest

from jaxunlearn.config import Lora
from jaxunlearn.models import lora, transformer, weights

WHOLE = transformer.Shape(V=11, D=6, L=3, N=4, K=2, H=2, F=5, context=8, qkv_bias=True, qk_norm=True)
LLAMA2_7B = transformer.Shape(V=32000, D=4096, L=32, N=32, K=32, H=128, F=11008, context=4096)


def named(tree):
    """Return {weight's name: its tree path}."""
    return {
        [k.name for k in path if hasattr(k, "name") and k.name != "value"][-1]: path
        for path, _ in jax.tree_util.tree_leaves_with_path(tree)
    }


def model(c=WHOLE):
    return jax.eval_shape(lambda: transformer.Model(c, jax.random.key(0)))


def test_matrices_are_told_from_norms_and_biases():
    paths = named(model())
    matrices = {name for name, path in paths.items() if weights.is_matrix(path)}
    assert matrices == {*weights.MATRICES, "embed_VD", "head_DV"}
    assert set(paths) - matrices == {
        "attention_norm_D", "mlp_norm_D", "norm_D", "q_bias_NH", "k_bias_KH", "v_bias_KH", "q_norm_H", "k_norm_H",
    }  # fmt: skip
    assert {n for n, path in paths.items() if not weights.is_layered(path)} == {"embed_VD", "head_DV", "norm_D"}


def test_the_matrices_of_a_layer_are_listed_in_the_order_in_which_a_block_makes_them():
    made = vars(transformer.Block(WHOLE, jax.random.key(0)))
    assert tuple(name for name in made if name in weights.MATRICES) == weights.MATRICES


@pytest.mark.parametrize(
    ("letters", "sides"),
    [("DNH", ("D", "NH")), ("NHD", ("NH", "D")), ("DF", ("D", "F")), ("FD", ("F", "D")), ("DV", ("D", "V")),
     ("VD", ("V", "D")), ("DR", ("D", "R")), ("RNH", ("R", "NH")), ("NHR", ("NH", "R")), ("RD", ("R", "D"))],
)  # fmt: skip
def test_inputs_and_outputs_follow_from_the_letters(letters, sides):
    assert weights.sides(letters) == sides


def test_an_adapters_factors_are_matrices_of_layers():
    part = jax.eval_shape(lambda: lora.Adapter(WHOLE, Lora(rank=2), jax.random.key(0)))
    for path in named(part).values():
        assert weights.is_matrix(path) and weights.is_layered(path) and "R" in weights.sides(weights.letters(path))
    assert (
        weights.sizes(WHOLE, "RNH", 7) == (7, 4, 2) and weights.size(WHOLE, "NH") == 8 and weights.size(WHOLE, "") == 1
    )


def test_counts_by_hand():
    matrices = 6 * 8 + 2 * (6 * 4) + 8 * 6 + 3 * 6 * 5
    layer = matrices + 2 * 6 + (8 + 4 + 4) + 2 * 2
    assert weights.parameters(WHOLE) == (layer, 2 * 11 * 6 + 6)
    assert weights.parameter_bytes(WHOLE, "bfloat16") == 2 * (3 * layer + 2 * 11 * 6 + 6)
    assert weights.forward_flops(WHOLE, 10, 8) == 10 * (2 * (3 * matrices + 6 * 11) + 2 * 3 * 8 * 8)


def test_the_flops_of_a_window_by_hand():
    """Of 8 tokens without a window half are seen on average; under one of 3, the triangle of 3 x 3 / 2 and 5 x 3."""
    one, mixed = ({"window": 3}, {"window": 3, "windowed": (True, False, True)})
    whole = weights.forward_flops(WHOLE, 10, 8)
    seen = (3 * 3 / 2 + 5 * 3) / 8
    for more, near in ((one, 3), (mixed, 2)):
        c = transformer.Shape(**vars(WHOLE) | more)
        assert weights.forward_flops(c, 10, 8) == whole - 10 * near * 4 * 4 * 2 * (4 - seen)
        assert weights.forward_flops(c, 10, 3) == weights.forward_flops(WHOLE, 10, 3)


def test_llama_2_7b_has_its_published_number_of_weights_and_its_flops_are_those_by_hand():
    layer, rest = weights.parameters(LLAMA2_7B)
    assert 32 * layer + rest == 6_738_415_616
    # 6,607,077,376 weights in products, two FLOPs each, and 262,144 a token of context
    assert weights.forward_flops(LLAMA2_7B, 1, 512) == 2 * 6_607_077_376 + 262_144 * 512

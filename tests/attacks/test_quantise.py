"""Rounding weights, by hand and against the published levels."""

import types

import jax
import numpy as np
import pytest

from jaxunlearn.attacks.quantise import known_schemes, nf4_levels, quantised, rounded
from jaxunlearn.config import Attack, Config, QuantiseAttack
from jaxunlearn.errors import InputError
from jaxunlearn.models import transformer

# Dettmers et al., arXiv 2305.14314, appendix E
NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
SHAPE = transformer.Shape(V=32, D=32, L=2, N=2, K=2, H=8, F=16, context=64)


def test_nf4_has_the_published_levels():
    np.testing.assert_allclose(nf4_levels(), NF4, atol=1e-6)


def test_rounding_by_hand():
    weight_IO = np.array([[1.0, 0.0], [-0.26, 0.0], [0.5, 0.0]])
    np.testing.assert_allclose(rounded(weight_IO, "int8")[:, 0], [1, -33 / 127, 64 / 127], atol=1e-6)
    np.testing.assert_allclose(rounded(weight_IO, "int4")[:, 0], [1, -2 / 7, 4 / 7], atol=1e-6)  # -1.82, 3.5 to even
    np.testing.assert_allclose(rounded(weight_IO, "nf4")[:, 0], [1, NF4[4], NF4[12]], atol=1e-6)
    assert (rounded(weight_IO, "nf4")[:, 1] == 0).all()  # a column of zeros has no scale
    with pytest.raises(InputError, match="int8, int4, nf4"):
        rounded(weight_IO, "int2")


def test_groups_have_their_own_scale():
    weight_IO = np.concatenate([np.full((128, 1), 0.01), [[1.0]], np.full((3, 1), 0.01)])
    made = rounded(weight_IO, "int4")
    np.testing.assert_allclose(made[:128], 0.01, rtol=1e-6)  # kept: the large weight is in the next group
    assert made[128] == 1 and (made[129:] == 0).all()


@pytest.mark.parametrize("scheme", ["int8", "int4", "nf4"])
def test_layers_are_rounded_along_their_inputs_and_the_rest_is_not_touched(mesh, scheme):
    m = transformer.init(SHAPE, 0)
    made = quantised(m, scheme)
    np.testing.assert_array_equal(made.embed_VD[...], m.embed_VD[...])
    np.testing.assert_array_equal(made.blocks.mlp_norm_D[...], m.blocks.mlp_norm_D[...])
    o_LNHD, q_LDNH = np.asarray(m.blocks.o_NHD[...]), np.asarray(m.blocks.q_DNH[...])
    expected = rounded(o_LNHD[1].reshape(16, 32), scheme).reshape(2, 8, 32)
    np.testing.assert_allclose(np.asarray(made.blocks.o_NHD[...])[1], expected, atol=1e-7)
    expected = rounded(q_LDNH[0].reshape(32, 16), scheme).reshape(32, 2, 8)
    np.testing.assert_allclose(np.asarray(made.blocks.q_DNH[...])[0], expected, atol=1e-7)
    steps = {"int8": 255, "int4": 15, "nf4": 16}[scheme]
    assert len(np.unique(np.asarray(made.blocks.gate_DF[...])[0, :, 0])) <= steps
    same = jax.tree.map(lambda a, b: a.sharding == b.sharding and a.dtype == b.dtype, m, made)
    assert all(jax.tree.leaves(same))


def test_an_unknown_scheme_is_refused_before_any_work():
    run = types.SimpleNamespace(config=Config(name="x"))
    assert known_schemes(run) == ""
    run.config = Config(name="x", attack=Attack(quantise=QuantiseAttack(schemes=("int8", "int3"))))
    with pytest.raises(
        InputError, match=r"attack\.quantise\.schemes: no rounding 'int3'; expected some of int8, int4, nf4"
    ):
        known_schemes(run)

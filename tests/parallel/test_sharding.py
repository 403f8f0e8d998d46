"""Meshes: what is refused, how slices lie; arrays on a mesh and back."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.mesh import MESHES, mesh_of

from jaxunlearn.errors import InputError
from jaxunlearn.models import transformer
from jaxunlearn.parallel import sharding


def test_a_mesh_that_is_not_the_number_of_devices_is_refused():
    with pytest.raises(InputError, match="needs 16 devices, there are 8"):
        sharding.make_mesh(2, 4, 2)
    with pytest.raises(InputError, match="3 does not divide the 8 devices"):
        sharding.make_mesh(3, -1, 1)


def test_a_mesh_whose_fsdp_or_tensor_would_cross_slices_is_refused():
    with pytest.raises(InputError, match=r"2 slices lie along the data axis, but mesh.data = 1 .* multiple of 2"):
        sharding.make_mesh(1, 8, 1, slices=2)
    with pytest.raises(InputError, match=r"mesh.slices = 3 does not divide the 8 devices"):
        sharding.make_mesh(1, 8, 1, slices=3)


def test_devices_that_name_their_slice_are_grouped_by_it():
    devices = [SimpleNamespace(id=n, platform="tpu", slice_index=n % 2) for n in range(4)]
    assert [[d.id for d in group] for group in sharding._slices(devices, 0)] == [[0, 2], [1, 3]]
    with pytest.raises(InputError, match=r"mesh.slices = 4, but the devices lie in 2 slices"):
        sharding._slices(devices, 4)


def test_the_hosts_of_gpus_are_no_slices_unless_they_are_asked_for():
    """XLA's GPU client gives the GPUs of every host a slice_index of their own."""
    devices = [SimpleNamespace(id=n, platform="gpu", slice_index=n // 4) for n in range(8)]
    for slices, groups in {0: [8], 1: [8], 2: [4, 4], 4: [2, 2, 2, 2]}.items():
        assert [len(group) for group in sharding._slices(devices, slices)] == groups


def test_a_batch_is_rounded_up_to_what_the_mesh_divides():
    with jax.set_mesh(mesh_of((2, 2, 2))):
        assert [sharding.rounded_up(n) for n in (1, 4, 5)] == [4, 4, 8]
    with jax.set_mesh(mesh_of((1, 1, 1))):
        assert sharding.rounded_up(5) == 5


@pytest.mark.parametrize("sizes", MESHES)
def test_arrays_and_their_rows_come_back_from_every_mesh_as_they_were(sizes):
    array_BT, rows_B = np.arange(64 * 6).reshape(64, 6), np.arange(63, -1, -4)
    with jax.set_mesh(mesh_of(sizes)):
        np.testing.assert_array_equal(sharding.fetch(sharding.put(array_BT, "BT")), array_BT)
        np.testing.assert_array_equal(sharding.fetch(sharding.put_rows(array_BT, rows_B, "BT")), array_BT[rows_B])


@pytest.mark.parametrize("sizes", MESHES)
def test_the_gradient_of_a_frequent_row_is_summed_in_fp32_whatever_the_table_rests_in(sizes):
    """In bf16 a sum of 1,500 terms of about 1 stops at 256, where a term is half of a step."""
    draw = np.random.default_rng(0)
    table_VD, index_BT = draw.normal(size=(32, 16)), draw.integers(0, 32, (8, 512))
    index_BT = np.where(draw.random((8, 512)) < 0.37, 3, index_BT).astype(np.int32)
    dy_BTD = draw.normal(1, 1, (8, 512, 16)).astype(jnp.bfloat16)
    wanted_VD = np.zeros((32, 16))
    np.add.at(wanted_VD, index_BT, dy_BTD.astype(np.float64))
    assert (index_BT == 3).sum() > 1500

    def both(table_VD, index_BT, dy_BTD):
        rows_BTD, gradient = jax.vjp(lambda t: sharding.lookup(t.astype(jnp.bfloat16), index_BT), table_VD)
        return rows_BTD, *gradient(dy_BTD)

    with jax.set_mesh(mesh_of(sizes)):
        at_rest = jax.NamedSharding(jax.sharding.get_mesh(), sharding.param("VD"))
        table = jax.device_put(table_VD.astype(np.float32), at_rest)
        rows_BTD, found_VD = jax.jit(both)(table, sharding.put(index_BT, "BT"), sharding.put(dy_BTD, "BTD"))
        assert found_VD.dtype == jnp.float32 and found_VD.sharding == at_rest
    np.testing.assert_allclose(np.asarray(found_VD), wanted_VD, rtol=2**-8)  # one rounding to bf16, on the way back
    np.testing.assert_array_equal(np.asarray(rows_BTD), table_VD.astype(np.float32).astype(jnp.bfloat16)[index_BT])


def test_a_part_is_read_once_however_many_devices_hold_it():
    asked = []
    read = sharding.once(lambda index: asked.append(index) or len(asked))
    one, other = (slice(0, 2), slice(None)), (slice(2, 4), slice(None))
    assert [read(one), read(one), read(other)] == [1, 1, 2] and asked == [one, other]


def test_every_weight_is_covered_by_a_sharding_rule():
    shape = transformer.Shape(V=64, D=32, L=3, N=4, K=2, H=8, F=48, context=64)
    with jax.set_mesh(mesh_of((2, 2, 2))):
        spec = {
            jax.tree_util.keystr(p): s.spec
            for p, s in jax.tree_util.tree_leaves_with_path(sharding.shard(transformer.abstract(shape)))
        }
    assert spec[".blocks.q_DNH.value"] == jax.sharding.PartitionSpec(None, "fsdp", "tensor", None)
    assert spec[".embed_VD.value"] == jax.sharding.PartitionSpec("tensor", "fsdp")
    path = (jax.tree_util.GetAttrKey("bias"),)
    with pytest.raises(ValueError, match="no sharding rule covers it"):
        sharding.letters_of(path)

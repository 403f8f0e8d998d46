"""What a compiled program sends: counted in a text by hand, and in a real program."""

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
from support.mesh import mesh_of

from jaxunlearn.perf.collectives import collectives

LOOP = """
HloModule hand
%body (p: (s32[], f32[4])) -> (s32[], f32[4]) {
  %part.1 = bf16[64,8]{1,0:T(8,128)(2,1)} all-gather(%x), channel_id=5, replica_groups={{0,1,2,3}}, dimensions={0}
  %part.2 = bf16[64,8]{1,0:T(8,128)(2,1)S(1)} all-gather(%x), channel_id=5, replica_groups={{0,1,2,3}}, dimensions={0}
  %sum = (f32[4]{0}, f32[2]{0}) all-reduce(%a, %b), channel_id=6, replica_groups=[2,4]<=[8], to_apply=%add
}
%condition (p: (s32[], f32[4])) -> pred[] {
  %n = s32[]{:T(128)} constant(3)
  ROOT %lt = pred[] compare(%i, %n), direction=LT
}
%add (a: f32[], b: f32[]) -> f32[] {
  ROOT %s = f32[] add(%a, %b)
}
ENTRY %main (x: f32[4]) -> f32[4] {
  %w = (s32[], f32[4]) while(%t), condition=%condition, body=%body
  %rs = f32[2,8]{1,0} reduce-scatter(%y), channel_id=7, replica_groups=mesh['a'=2,'b'=4] {'b'}, to_apply=%add
  %cp = (f32[16]{0}, f32[16]{0}, u32[], u32[]) collective-permute-start(%z), channel_id=8
  %cp.1 = (f32[32]{0}, f32[32]{0}, u32[], u32[]) collective-permute-start(%z.1), channel_id=9
  %now = f32[32]{0} collective-permute-done(%cp.1)
  %f = f32[4]{0} fusion(%x), kind=kLoop, calls=%async_collective_fusion.2
  %later = f32[16]{0} collective-permute-done(%cp)
}
%async_collective_fusion.2 (p: f32[4]) -> f32[4] {
  %part.3 = f32[8]{0} all-gather(%p), channel_id=10, replica_groups={{0,1}}, dimensions={0}
}
"""


def test_collectives_count_loops_and_the_parts_of_one_collective_once():
    assert collectives(LOOP) == {
        "all-gather": {"count": 4, "bytes": 3 * 64 * 8 * 2 + 32, "overlapped": 32},
        "all-reduce": {"count": 3, "bytes": 3 * (16 + 8), "overlapped": 0},
        "collective-permute": {"count": 2, "bytes": 64 + 128, "overlapped": 64},
        "reduce-scatter": {"count": 1, "bytes": 2 * 8 * 4 * 4, "overlapped": 0},
    }


def test_collectives_of_a_real_program():
    with jax.set_mesh(mesh_of((1, 8, 1))):

        def layers(x, w):
            return jax.lax.scan(lambda x, w: (jnp.tanh(x @ jax.reshard(w, P(None, None))), None), x, w)[0]

        x = jax.ShapeDtypeStruct((8, 16), jnp.float32, sharding=jax.NamedSharding(jax.sharding.get_mesh(), P("fsdp")))
        w = jax.ShapeDtypeStruct(
            (5, 16, 16), jnp.float32, sharding=jax.NamedSharding(jax.sharding.get_mesh(), P(None, "fsdp"))
        )
        found = collectives(jax.jit(layers).lower(x, w).compile().as_text())
    assert found == {"all-gather": {"count": 5, "bytes": 5 * 16 * 16 * 4, "overlapped": 0}}

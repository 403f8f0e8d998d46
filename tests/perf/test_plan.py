"""Plans: names of accelerators, what a compiled program sends, bytes by kind, what fits, and the real TPU compiler."""

import dataclasses
import importlib.util
import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P
from support.mesh import mesh_of

from jaxunlearn import cli
from jaxunlearn.config import load_config
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.perf import arithmetic, plan, programs, topology
from jaxunlearn.perf.collectives import collectives

SMALL = ("init.D=64", "init.L=3", "init.N=4", "init.K=2", "init.H=8", "init.F=96", "init.V=128", "text.context=32")
needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="needs the TPU compiler: pip install 'jaxunlearn[tpu]'"
)


# ---- names


def test_topologies_go_by_their_shape_or_by_googles_name():
    assert topology.parse("v5e:4x4") == topology.parse("v5e-16") == topology.parse("v5litepod-16")
    assert topology.parse("v5p-8").shape == "2x2x1"  # v4 and v5p names count cores, two a chip
    assert topology.parse("v6e-8").devices == 8 and topology.parse("v5p-8").devices == 4
    assert topology.parse("v5e-256", slices=2).devices == 512
    assert topology.parse("h100:8").chip.memory == pytest.approx(79.6 * 2**30)


@pytest.mark.parametrize("name", ["v9:2x2", "v5e:3x5", "v5e", "v5e-7", "h100:0", "h100", ""])
def test_an_unknown_topology_lists_the_known_ones(name):
    with pytest.raises(InputError, match=r"(?s)unknown topology.*v5e:\{1x1,2x2,.*v5p.*h100:"):
        topology.parse(name)


# ---- what a program sends

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
}
"""


def test_collectives_count_loops_and_the_parts_of_one_collective_once():
    assert collectives(LOOP) == {
        "all-gather": {"count": 3, "bytes": 3 * 64 * 8 * 2},
        "all-reduce": {"count": 3, "bytes": 3 * (16 + 8)},
        "collective-permute": {"count": 1, "bytes": 64},
        "reduce-scatter": {"count": 1, "bytes": 2 * 8 * 4 * 4},
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
    assert found == {"all-gather": {"count": 5, "bytes": 5 * 16 * 16 * 4}}


def test_what_the_compiler_says_when_it_refuses():
    said = "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 20.50G of 15.75G hbm. Exceeded by 4.75G.\n."
    assert plan.overflow(said)[0] == int(20.5 * 2**30)
    said = "RESOURCE_EXHAUSTED: the total memory required for HLO temporaries (1.00T) exceeds available HBM (15.75G)."
    assert plan.overflow(said) == (2**40, said)


# ---- estimates


def small(*more):
    return load_config("bench_7b", [*SMALL, "unlearn.accumulate=2", *more])


def test_an_estimate_says_so_and_its_arguments_are_exact():
    found = plan.plan(small(), "h100:8")
    assert found["estimate"] and "estimate" in found["method"] and found["fits"]
    assert set(found["functions"]) == set(programs.FUNCTIONS)
    layer = 64 * 8 * (4 + 4 + 2 + 2) + 3 * 64 * 96
    weights = 3 * layer + 2 * 128 * 64 + 7 * 64  # two norms a layer and the last one
    step = found["functions"]["unlearn_step"]
    assert step["bytes"]["weights"] == weights * 4 / 8
    assert step["bytes"]["optimiser"] == weights * 2 * 2 / 8 + 4  # two bf16 moments and the counter
    assert step["bytes"]["inputs"] == 2 * (2 * 16 * 32) * 4 / 8
    assert found["functions"]["label"]["bytes"]["frozen weights"] == 2 * weights * 2 / 8
    assert step["peak_bytes"] == sum(step["bytes"].values())
    assert "an estimate" in "\n".join(plan.lines(found))
    host = plan.plan(small("unlearn.moment_memory=host"), "h100:8")["functions"]["unlearn_step"]["bytes"]
    assert host["optimiser"] == 8 and host["weights"] == step["bytes"]["weights"]  # of moments two counters alone


def test_a_model_on_disk_need_not_be_there_if_its_shape_is_published():
    shapes = {n: programs.plan_shape(load_config("llama2_7b", [f"model=org/Llama-2-{n}-hf"])) for n in ("7b", "70b")}
    assert sum(n * k for n, k in zip(arithmetic.weights_of(shapes["7b"]), (32, 1), strict=True)) == 6_738_415_616
    assert shapes["70b"].K == 8 and shapes["70b"].compute == "bfloat16"
    with pytest.raises(InputError, match="model=nowhere is no directory here"):
        programs.plan_shape(load_config("llama2_7b", ["model=nowhere"]))


def test_a_mesh_of_another_size_and_heads_that_do_not_divide_are_refused():
    with pytest.raises(InputError, match="needs 16 devices, there are 8"):
        plan.plan(small("mesh.fsdp=16"), "h100:8")
    with pytest.raises(InputError, match=r"not for unlearn.lora.rank=8 \(only 0\)"):
        plan.plan(small("unlearn.lora.rank=8"), "h100:8")
    with pytest.raises(InputError, match=r"(?s)K = 2 does not divide over tensor = 4.*mesh.tensor must divide 2"):
        plan.plan(small("mesh.tensor=4"), "h100:8")


def test_a_batch_that_does_not_divide_is_said_and_another_is_suggested():
    found = plan.plan(small("unlearn.batch=4", "unlearn.accumulate=8"), "h100:8", only=("unlearn_step",))
    assert not found["fits"] and "batch of 4 blocks does not divide" in found["functions"]["unlearn_step"]["why"]
    chosen = dict(o.split("=") for o in found["suggestion"]["overrides"])
    assert int(chosen["unlearn.batch"]) * int(chosen["unlearn.accumulate"]) == 32
    assert found["suggestion"]["fits"]
    again = plan.plan(small(*found["suggestion"]["overrides"]), "h100:8", only=("unlearn_step",))
    assert again["fits"] and "suggestion" not in again


def test_what_does_not_fit_anywhere_names_the_smallest_that_would():
    config = load_config("llama2_7b", ["model=llama-2-70b", "unlearn.batch=16", "unlearn.accumulate=8"])
    c = programs.plan_shape(config)
    limit = int(0.9 * 95 * 2**30)
    assert not arithmetic.ranked(config, c, topology.parse("v5p-8"), limit)
    larger = arithmetic.smallest(config, c, topology.parse("v5p-8"), limit)
    assert larger.family == "v5p" and larger.devices > 4
    assert arithmetic.ranked(config, c, larger, limit)


def test_choices_keep_the_update_and_search_ranks_them():
    config = small()
    c = dataclasses.replace(programs.LLAMA2, K=8)
    found = arithmetic.choices(config, c, topology.parse("v5e-16", slices=2))
    assert {o.tensor for o in found} == {1, 2, 4, 8}  # 16 does not divide K
    assert all(o.batch * o.accumulate == 32 and o.data == 2 and o.data * o.fsdp * o.tensor == 32 for o in found)
    ranked = plan.plan(small(), "h100:8", only=("unlearn_step",), search=True)["search"]
    assert len(ranked) > 1 and [r["seconds_at_peak"] for r in ranked] == sorted(r["seconds_at_peak"] for r in ranked)


def test_the_command_prints_one_json_object_and_refuses_unknown_functions(capsys):
    arguments = ["plan", "bench_7b", *SMALL, "--topology", "h100:8", "--only", "label"]
    assert cli.main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["fits"] and list(found["functions"]) == ["label"] and found["limit_bytes"] > 2**36
    assert cli.main([*arguments[:-1], "nothing"]) == 2
    assert "expected some of unlearn_step" in capsys.readouterr().err
    assert cli.main(arguments) == 0 and "label: fits" in capsys.readouterr().out


# ---- the compiler


def test_gpus_that_are_here_are_compiled_for_and_others_are_not(monkeypatch):
    kinds = {"h100": "NVIDIA H100 80GB HBM3", "a100-80": "NVIDIA A100-SXM4-80GB", "b200": "NVIDIA B200"}
    for name, kind in kinds.items():
        here = [SimpleNamespace(device_kind=kind)] * 4
        monkeypatch.setattr(jax, "devices", lambda here=here: here)
        assert topology.present(topology.parse(f"{name}:4")) == here
        assert not topology.present(topology.parse("h200:4")) and not topology.present(topology.parse(f"{name}:8"))


def test_without_the_compiler_the_error_says_what_to_install(monkeypatch):
    def missing(**_):
        raise RuntimeError("JAX TPU support not installed; cannot generate TPU topology.")

    monkeypatch.setattr("jax.experimental.topologies.get_topology_desc", missing)
    with pytest.raises(RunError, match=r"jaxunlearn\[tpu\]"):
        plan.plan(small(), "v5e:2x4")


def test_programs_compiled_for_this_machine_are_counted_by_kind():
    """The parts that do not need a TPU: eight CPU devices stand for themselves."""
    config = small("compute=float32")
    with jax.set_mesh(mesh_of((1, 8, 1))):
        c = programs.plan_shape(config)
        found = plan.measured(programs.program("unlearn_step", config, c), "unlearn_step", config, c)
        too_many = plan._look("unlearn_step", config, c, found["peak_bytes"] - 1, plan.measured)
    assert found["peak_bytes"] == sum(found["bytes"].values()) and found["rematerialised"] == 0
    # a device keeps each of 3 layers' input (remat: all else is computed again): 2 blocks of 32 x 64 in fp32
    assert found["bytes"]["activations"] >= 3 * 2 * 32 * 64 * 4
    gathered = 2 * 3 * 2 * 4 * (64 * 8 * 12 + 3 * 64 * 96)  # twice a step of 3 layers, 2 microbatches, fp32
    assert found["collectives"]["all-gather"]["bytes"] >= gathered
    assert not too_many["fits"]


def test_the_compilers_warning_is_heard(monkeypatch):
    import os

    class Loud:
        def lower(self, *arguments):
            os.write(2, f"E0000 spmd_partitioner.cc] [SPMD] {plan.REMATERIALISED}. more\n".encode())
            return self

        def compile(self):
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Used 2.00G of 1.00G hbm")

    quiet = programs.Program(Loud(), (), {}, True)
    found = plan.measured(quiet, "label", small(), SimpleNamespace())
    assert found["rematerialised"] == 1 and found["peak_bytes"] == 2 * 2**30


def copied_whole(devices) -> int:
    """Return how often the compiler says that it copied a whole array, of a program that makes it."""
    mesh = jax.sharding.Mesh(np.array(devices).reshape(2, 4), ("a", "b"))

    def f(table, index):
        def at(x, *spec):
            return jax.lax.with_sharding_constraint(x, jax.NamedSharding(mesh, P(*spec)))

        rows = at(at(table, "b", "a")[index], ("a", "b"), None, None)
        return at(rows.reshape(-1, 24, 4) * 2, None, "b", "a")

    table, index = ((1024, 32), jnp.float32, P("b", "a")), ((24, 16), jnp.int32, P(("a", "b"), None))
    arguments = [jax.ShapeDtypeStruct(s, d, sharding=jax.NamedSharding(mesh, p)) for s, d, p in (table, index)]
    p = programs.Program(jax.jit(f), tuple(arguments), {}, True)
    return plan.measured(p, "label", small(), SimpleNamespace())["rematerialised"]


def test_an_array_that_is_copied_whole_is_reported():
    assert copied_whole(jax.devices()) == 1


@needs_libtpu
def test_an_array_that_the_tpu_compiler_copies_whole_is_reported():
    assert copied_whole(plan.devices_of(topology.parse("v5e:2x4"))[0]) == 1


@needs_libtpu
def test_a_search_compiles_for_two_slices_and_ranks_what_fits(monkeypatch):
    monkeypatch.setattr(plan, "TRIES", 2)
    found = plan.plan(small("mesh.data=2"), "v5e:2x4", slices=2, only=("unlearn_step",), search=True)
    assert found["fits"] and found["devices"] == 16 and found["mesh"] == {"data": 2, "fsdp": 8, "tensor": 1}
    first, second = found["search"]
    assert found["suggestion"] == first and "compiled" in plan.lines(found)[-1]
    assert 0 < first["seconds_at_peak"] <= second["seconds_at_peak"]
    for t in (first, second):
        assert t["fits"] and t["rematerialised"] == 0 and "mesh.data=2" in t["overrides"]
        assert t["peak_bytes"] > 0 and t["collectives"]["all-gather"]["bytes"] > 0


@needs_libtpu
def test_the_7b_step_compiles_for_a_v5e_16_with_room_to_spare():
    """About 80 seconds of CPU: the real step, all 32 layers (they are scanned: fewer would save nothing)."""
    found = plan.plan(load_config("llama2_7b"), "v5e:4x4", only=("unlearn_step",))
    step = found["functions"]["unlearn_step"]
    assert found["limit_bytes"] == int(15.75 * 2**30) and not found["estimate"]
    assert found["fits"] and step["peak_bytes"] < 0.9 * found["limit_bytes"] and step["rematerialised"] == 0
    assert step["bytes"]["weights"] == 6_738_415_616 * 4 // 16
    gathered = 6_476_070_912 * 2 * 8 * 2  # the layers' products in bf16, 8 microbatches, forward and backward
    assert gathered <= step["collectives"]["all-gather"]["bytes"] < 1.1 * gathered

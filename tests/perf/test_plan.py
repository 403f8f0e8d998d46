"""Plans: bytes by kind, what fits, what is suggested, and the real TPU compiler."""

import importlib.util
import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P
from support.mesh import mesh_of
from support.plans import SMALL, small

from jaxunlearn import cli
from jaxunlearn.config import load_config
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.perf import arithmetic, plan, programs, topology

needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="needs the TPU compiler: pip install 'jaxunlearn[tpu]'"
)


def test_what_the_compiler_says_when_it_refuses():
    said = "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 20.50G of 15.75G hbm. Exceeded by 4.75G.\n."
    assert plan.overflow(said)[0] == int(20.5 * 2**30)
    said = "RESOURCE_EXHAUSTED: the total memory required for HLO temporaries (1.00T) exceeds available HBM (15.75G)."
    assert plan.overflow(said) == (2**40, said)


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
    frozen = (weights + 7 * 64) * 2 / 8  # bf16 matrices; norms stay in fp32
    assert found["functions"]["label"]["bytes"]["frozen weights"] == 2 * frozen
    assert step["peak_bytes"] == sum(step["bytes"].values())
    assert "an estimate" in "\n".join(plan.lines(found))
    layers = plan.plan(small("unlearn.update=layers"), "h100:8", only=("unlearn_step",))["functions"]["unlearn_step"]
    assert layers["bytes"]["gradients"] == (layer + 2 * 128 * 64 + 3 * 64) * 4 // 8 < step["bytes"]["gradients"] / 3
    assert layers["bytes"]["activations"] == 2 * (2 * 32) * 64 * 3 * 2  # inputs of 3 layers, of both microbatches, bf16


def test_an_adversarys_copy_and_its_moments_are_counted():
    given = small("unlearn.adversary.every=24", "unlearn.adversary.blocks=16")
    only = ("unlearn_step", "generate")
    plain, found = (plan.plan(c, "h100:8", only=only)["functions"] for c in (small(), given))
    step, before = found["unlearn_step"]["bytes"], plain["unlearn_step"]["bytes"]
    assert step["adversary"] == 3 * step["weights"] + 2 * 4  # fp32: the copy and two moments; two counters
    assert step["gradients"] == before["gradients"] + step["weights"]  # one at the copy
    assert found["generate"]["peak_bytes"] == plain["generate"]["peak_bytes"] + step["adversary"]
    with jax.set_mesh(mesh_of((1, 8, 1))):  # the arguments are those of the step
        p = programs.program("unlearn_step", given, programs.plan_shape(given))
        after, metrics = jax.eval_shape(p.function, *p.arguments)
    assert programs.local_bytes(after.fork) == step["adversary"] and "forget_at_adversary" in metrics


def test_filters_are_not_planned():
    with pytest.raises(InputError, match=r"not for unlearn.mudman.every=4 \(only 0\)"):
        plan.plan(small("unlearn.mudman.every=4"), "h100:8")


def test_the_update_that_the_step_will_choose_is_said_and_planned():
    """Llama-2-7b's weights and moments fill a card of 80 GB, and eight of them have room for whole gradients."""
    one = plan.plan(load_config("bench_7b"), "h100:1", only=("unlearn_step", "fused_step"))
    assert one["update"] == {"unlearn": "layers", "reinforce": "layers"} and one["fits"]
    assert "update=layers" in "\n".join(plan.lines(one))
    step, fused = (one["functions"][name]["bytes"]["gradients"] for name in ("unlearn_step", "fused_step"))
    assert step < 2 * 2**30 < 25 * 2**30 < fused  # the fused step has more than cross-entropy, and a whole gradient
    whole = plan.plan(load_config("bench_7b", ["unlearn.update=whole"]), "h100:1", only=("unlearn_step",))
    assert not whole["fits"] and whole["update"]["unlearn"] == "whole"
    many = plan.plan(load_config("bench_7b"), "h100:8", only=("unlearn_step",))
    assert many["update"] == {"unlearn": "whole", "reinforce": "whole"}


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


def test_a_search_lists_what_fits_first_and_otherwise_as_the_estimate_has_it():
    found = plan.plan(small(), "h100:8", only=("unlearn_step",), search=True)
    with jax.set_mesh(mesh_of((1, 8, 1))):
        ours = programs.plan_shape(small())
    ranked = arithmetic.ranked(small(), ours, topology.parse("h100:8"), int(plan.SPARE * found["limit_bytes"]))
    assert [t["overrides"] for t in found["search"]] == [r["choice"].overrides(small()) for r in ranked[: plan.TRIES]]
    assert len(found["search"]) == plan.TRIES and found["suggestion"] == found["search"][0]
    assert not any("second" in key for t in found["search"] for key in t)


def test_the_command_prints_one_json_object_and_refuses_unknown_functions(capsys):
    arguments = ["plan", "bench_7b", *SMALL, "--topology", "h100:8", "--only", "label"]
    assert cli.main([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["fits"] and list(found["functions"]) == ["label"] and found["limit_bytes"] > 2**36
    assert cli.main([*arguments[:-1], "nothing"]) == 2
    assert "expected some of unlearn_step" in capsys.readouterr().err
    assert cli.main(arguments) == 0 and "label: fits" in capsys.readouterr().out


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
@pytest.mark.nightly
def test_a_search_compiles_for_two_slices_and_ranks_what_fits(monkeypatch):
    monkeypatch.setattr(plan, "TRIES", 2)
    found = plan.plan(small("mesh.data=2"), "v5e:2x4", slices=2, only=("unlearn_step",), search=True)
    assert found["fits"] and found["devices"] == 16 and found["mesh"] == {"data": 2, "fsdp": 8, "tensor": 1}
    first, second = found["search"]
    assert found["suggestion"] == first and "compiled" in plan.lines(found)[-1]
    for t in (first, second):
        assert t["fits"] and t["rematerialised"] == 0 and "mesh.data=2" in t["overrides"]
        assert t["peak_bytes"] > 0 and t["collectives"]["all-gather"]["bytes"] > 0


@needs_libtpu
@pytest.mark.nightly
def test_the_7b_step_compiles_for_a_v5e_16_with_room_to_spare():
    """About 80 seconds of CPU: the real step, all 32 layers (they are scanned: fewer would save nothing)."""
    found = plan.plan(load_config("llama2_7b"), "v5e:4x4", only=("unlearn_step",))
    step = found["functions"]["unlearn_step"]
    assert found["limit_bytes"] == int(15.75 * 2**30) and not found["estimate"]
    assert found["fits"] and step["peak_bytes"] < 0.9 * found["limit_bytes"] and step["rematerialised"] == 0
    assert step["bytes"]["weights"] == 6_738_415_616 * 4 // 16
    gathered = 6_476_070_912 * 2 * 8 * 2  # the layers' products in bf16, 8 microbatches, forward and backward
    gathers = step["collectives"]["all-gather"]
    assert gathered <= gathers["bytes"] < 1.1 * gathered and gathers["overlapped"] > 0.5 * gathered

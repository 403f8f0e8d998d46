"""Adapters: what they add, how they are split, that they train alone, and that they go through a whole run."""

import json

import jax
import numpy as np
import pytest
from support.adapters import SHAPE, made
from support.command import cli
from support.mesh import MESHES, mesh_of

from jaxunlearn.cli import main
from jaxunlearn.config import Lora, Train, Whp
from jaxunlearn.models import lora, transformer
from jaxunlearn.parallel import sharding
from jaxunlearn.training.step import compiled_step, init_state
from jaxunlearn.whp.labels import Passage, label, on_mesh

TOKENS = np.random.default_rng(0).integers(0, 64, (2, 8, 16)).astype(np.int32)


def logits(m):
    return np.asarray(jax.jit(lambda m, t: m.logits(m(t)))(m, sharding.put(TOKENS[0], "BT")))


def host(tree):
    return [np.asarray(w).tobytes() for w in jax.tree.leaves(tree)]


def test_factors_take_their_shapes_and_shards_from_the_letters():
    assert lora.thin("q_DNH") == ("q_DR", "q_RNH") and lora.thin("o_NHD") == ("o_NHR", "o_RD")
    with jax.set_mesh(mesh_of((2, 2, 2))):
        blocks = lora.init(SHAPE, Lora(rank=3), 0).blocks
        assert blocks.q_DR[...].shape == (2, 16, 3) and blocks.q_RNH[...].shape == (2, 3, 4, 8)
        assert blocks.q_DR[...].sharding.spec == jax.P(None, "fsdp", None)
        assert blocks.q_RNH[...].sharding.spec == jax.P(None, None, "tensor", None)
        assert blocks.down_FR[...].sharding.spec == jax.P(None, "tensor", None)


def test_alpha_over_rank_times_the_product_is_added(mesh):
    base, part = made()
    change = np.einsum("lnhr,lrd->lnhd", np.asarray(part.blocks.o_NHR[...]), np.asarray(part.blocks.o_RD[...]))
    expected, plain = np.asarray(base.blocks.o_NHD[...]) + 6 / 3 * change, logits(base)
    fresh = lora.over(base, lora.init(SHAPE, Lora(rank=2), 0))
    np.testing.assert_array_equal(logits(fresh), plain)
    seen = logits(lora.over(base, part))
    merged = lora.merge(base, part)
    np.testing.assert_allclose(np.asarray(merged.blocks.o_NHD[...]), expected, atol=1e-6)
    assert np.abs(seen - plain).max() > 0.1
    np.testing.assert_allclose(logits(merged), seen, atol=2e-5)


def steps(sizes):
    """Train an adapter for two steps; return losses, factors, and check what must stay as it was."""
    c = Train(batch=8, accumulate=2, weight_decay=0.1, lora=Lora(rank=3, alpha=6))
    with jax.set_mesh(mesh_of(sizes)):
        base, part = made()
        before, rest = host(base), [w.sharding for w in jax.tree.leaves(part)]
        state, step, losses = init_state(part, c), compiled_step(c), []
        batch = [sharding.put(a, "ABT") for a in (TOKENS, np.roll(TOKENS, -1, -1))]
        for _ in range(2):
            state, metrics = step(state, np.float32(0.003), *batch, base)
            losses += [float(metrics["loss"]), float(metrics["gradient_norm"])]
        assert host(base) == before and [w.sharding for w in jax.tree.leaves(state.model)] == rest
        return losses


def test_only_the_adapter_learns_and_alike_on_every_mesh():
    one = steps(MESHES[0])
    assert one[2] < one[0]
    for sizes in (MESHES[1], MESHES[3]):
        np.testing.assert_allclose(steps(sizes), one, rtol=1e-4)


def test_one_copy_of_the_weights_is_held(mesh):
    """Labelling through an adapter takes a whole model less than labelling with two, by the compiler's own count."""

    base, part = made()
    some = np.full((8, 4), -1, np.int32)
    place = np.tile(np.arange(16, dtype=np.int32), (8, 1))
    passage = on_mesh(Passage(TOKENS[0], TOKENS[0], place, np.ones((8, 16), bool), some, some))

    def taken(reinforced):
        program = label.lower(base, reinforced, passage, alphas=(5.0,), whp=Whp()).compile()
        return program.memory_analysis().argument_size_in_bytes

    bytes_of = {n: sum(w.nbytes for w in jax.tree.leaves(m)) for n, m in {"base": base, "part": part}.items()}
    assert taken(transformer.init(SHAPE, 1)) - taken(part) == bytes_of["base"] - bytes_of["part"]
    whole = lora.merge(transformer.init(SHAPE, 0), part)
    two, one = (label(base, m, passage, alphas=(5.0,), whp=Whp()) for m in (whole, part))
    np.testing.assert_array_equal(np.asarray(one), np.asarray(two))


@pytest.mark.parametrize("stage", ("reinforce", "unlearn"))
def test_a_rank_larger_than_the_matrix_is_refused_before_anything_is_loaded(world, tmp_path, capsys, stage):
    run = tmp_path / "run"
    assert main(["run", str(world / "world.py"), f"run.dir={run}", f"{stage}.lora.rank=33"]) == 2
    said = capsys.readouterr().err
    assert f"{stage}.lora.rank = 33 is larger than the matrix q_DNH (32 x 32); use at most 32" in said
    assert not (run / "baseline").exists()
    assert main(["run", str(world / "world.py"), f"run.dir={run}", "pretrain.lora.rank=4"]) == 2
    assert main(["run", str(world / "world.py"), f"run.dir={run}", "unlearn.lora.rank=4", "unlearn.lora.alpha=0"]) == 2


def test_a_whole_run_through_adapters_forgets(world, tmp_path):
    run = tmp_path / "run"
    given = [f"{s}.lora.{k}" for s in ("reinforce", "unlearn") for k in ("rank=4", "alpha=8")]
    given += ["reinforce.steps=20", "unlearn.steps=12", "unlearn.learning_rate=3e-2", "eval.every=12"]
    world_py = world / "world.py"
    assert cli("unlearn", world_py, f"run.dir={run}", "pretrain.twin=False", *given)[0] == 0
    assert (run / "reinforced" / "adapter_config.json").is_file() and not (run / "reinforced" / "config.json").exists()
    assert cli("score", "--model", run / "reinforced", "--text", world / "forget.txt", "--json")[0] == 0
    given += [f"model={run}/baseline", "pretrain.steps=0", "whp.mode=fused"]
    assert cli("unlearn", world_py, f"run.dir={tmp_path / 'fused'}", *given)[0] == 0
    for folder in (run, tmp_path / "fused"):
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        curve = [r for r in rows if r["stage"] == "unlearn" and r.get("event") == "eval"]
        assert curve[0]["familiarity"] > 0.8 and curve[-1]["familiarity"] < curve[0]["familiarity"] / 2
        assert curve[-1]["accuracy"] == 1

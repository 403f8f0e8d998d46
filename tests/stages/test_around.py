"""Feeds of the steps around a loss: whole runs of a small world by each, their rows, and what a resumed run does."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file
from support.mesh import mesh_of
from support.suites import SHAPE

from jaxunlearn.config import Collapse, Select, Unlearn, load_config
from jaxunlearn.errors import InputError
from jaxunlearn.models import huggingface, transformer
from jaxunlearn.stages import run_stages
from jaxunlearn.stages.around import off_budget, refuse_standing

FEW = ("pretrain.twin=False", "pretrain.steps=0", "unlearn.method=gradient_difference", "eval.blocks=8")
FEW += ("eval.completions=4", "eval.every=4", "whp.keep=last")
KEY = "model.embed_tokens.weight"
EACH = {
    "select": ("unlearn.select.budget=1", "unlearn.select.rate=0.1", "unlearn.select.blocks=8"),
    "mudman": ("unlearn.mudman.every=2",),
    "collapse": ("unlearn.collapse.norm=0.1", "unlearn.collapse.inputs=3", "unlearn.collapse.outputs=3",
                 "unlearn.collapse.every=2"),
}  # fmt: skip
LOGGED = {"select": {"taken"}, "mudman": {"adversary", "retain", "gradient_norm"}, "collapse": {"retain"}}


def test_steps_that_all_collect_are_refused():
    c = Unlearn(steps=5, collapse=Collapse(norm=0.1))
    refuse_standing(c, 4)
    for less, epoch in ((c, 5), (dataclasses.replace(c, collapse=Collapse(norm=0.1, every=5)), 2)):
        with pytest.raises(InputError, match="moves nothing in its first 5 steps, which collect"):
            refuse_standing(less, epoch)
    refuse_standing(dataclasses.replace(c, collapse=Collapse()), 5)


def test_a_selection_that_ends_off_its_budget_is_said_with_what_to_change():
    s, none = Select(budget=0.01, rate=0.5), [{"loss": 0.25, "taken": 0.0}] * 2
    line = off_budget(s, [{"step": 0, "event": "eval"}, *none])
    assert line.startswith("NO STEP WAS TAKEN: the first one alone would come to a KL of 0.25, and")
    assert "budget is 0.01; lower unlearn.select.rate (0.5)" in line
    few = [{"loss": 0.001, "taken": 1.0}, {"loss": 0.004, "taken": 1.0}]
    line = off_budget(s, [*few, *none])
    assert line.startswith("steps are coarse: the last one taken comes to a KL of 0.004, the next to 0.25, and")
    assert "budget is 0.01; lower unlearn.select.rate (0.5)" in line
    line = off_budget(s, few)
    assert line.startswith("the budget was not reached: all 2 steps come to a KL of 0.004, and")
    assert "budget is 0.01; raise unlearn.select.rate (0.5) or unlearn.steps" in line
    half = [{"loss": 0.005, "taken": 1.0}]
    assert off_budget(s, half) == off_budget(s, [*half, *none]) == off_budget(s, []) == ""


@pytest.mark.nightly
def test_a_run_that_took_no_step_says_so(world, given, capsys):
    far = ("unlearn.select.budget=1e-9", "unlearn.select.rate=0.1", "unlearn.select.blocks=8")
    _, before, after = unlearned(world, given, "still", "unlearn.steps=2", *far)
    assert all((before[key] == after[key]).all() for key in before)
    assert "  NO STEP WAS TAKEN: the first one alone would come to" in capsys.readouterr().err


@pytest.fixture(scope="module")
def given(world, tmp_path_factory):
    """The folder of a random model, which the runs begin with."""
    folder = tmp_path_factory.mktemp("around") / "model"
    with jax.set_mesh(mesh_of((1, 1, 1))):
        huggingface.save(transformer.init(SHAPE, 0), folder, source=world / "tokenizer")
    return folder


def unlearned(world, given, name, *settings):
    """Unlearn from the random model; return the run's folder and both models' weights."""
    run = given.parent / name
    config = load_config(str(world / "world.py"), [f"run.dir={run}", f"model={given}", *FEW, *settings])
    run_stages(config, ("pretrain", "unlearn"))
    return run, *(load_file(run / folder / "model.safetensors") for folder in ("baseline", "unlearned"))


@pytest.mark.parametrize("name", ["select", *(pytest.param(n, marks=pytest.mark.nightly) for n in list(EACH)[1:])])
def test_a_run_by_each_moves_feed_forwards_alone_and_says_what_it_did(world, given, name):
    run, before, after = unlearned(world, given, name, "unlearn.steps=4", *EACH[name])
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rows = [r for r in rows if r["stage"] == "unlearn" and "loss" in r]
    assert rows[-1]["step"] == 4 and LOGGED[name] <= set(rows[-1]) and np.isfinite([r["loss"] for r in rows]).all()
    moved = {key for key in before if (before[key] != after[key]).any()}
    assert moved and all("mlp" in key for key in moved)
    assert name != "mudman" or all("gate_proj" in key for key in moved)


@pytest.mark.nightly
def test_rows_are_edited_before_the_first_step(world, given):
    edit = ("unlearn.steps=0", "unlearn.erase.strength=1", "unlearn.erase.rank=8")
    run, before, after = unlearned(world, given, "erased", *edit)
    counts = json.loads((run / "erased" / "unlearn.json").read_text())["found"]
    assert counts["owning"] > 0 and counts["tokens"] > 0
    rows = (before[KEY] != after[KEY]).any(axis=1)
    assert 0 < rows.sum() <= counts["tokens"]
    assert all((before[k] == after[k]).all() for k in before if "layers" in k)

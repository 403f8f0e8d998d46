"""Feeds of the steps around a loss: whole runs of a small world by each, their rows, and what a resumed run does."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from jaxunlearn.config import load_config
from jaxunlearn.stages import run_stages

FEW = ("pretrain.twin=False", "unlearn.method=gradient_difference", "unlearn.steps=4", "eval.blocks=8")
FEW += ("pretrain.steps=8", "eval.completions=4", "eval.every=4", "whp.keep=last")
EACH = {
    "select": ("unlearn.select.budget=1", "unlearn.select.rate=0.1", "unlearn.select.blocks=8"),
    "mudman": ("unlearn.mudman.every=2",),
    "collapse": ("unlearn.collapse.norm=0.1", "unlearn.collapse.inputs=3", "unlearn.collapse.outputs=3",
                 "unlearn.collapse.every=2"),
}  # fmt: skip
LOGGED = {"select": {"taken"}, "mudman": {"adversary", "retain", "gradient_norm"}, "collapse": {"retain"}}


@pytest.fixture(scope="module")
def baseline(world, tmp_path_factory):
    """A run directory with the baseline, which the runs copy."""
    folder = tmp_path_factory.mktemp("around") / "run"
    run_stages(load_config(str(world / "world.py"), [f"run.dir={folder}", *FEW]), ("pretrain",))
    return folder


@pytest.mark.parametrize("name", ["select", *(pytest.param(n, marks=pytest.mark.nightly) for n in list(EACH)[1:])])
def test_a_run_by_each_moves_feed_forwards_alone_and_says_what_it_did(world, baseline, name):
    given = [f"run.dir={baseline.parent / name}", f"model={baseline / 'baseline'}", "pretrain.steps=0", *FEW[1:4]]
    given += [item for item in FEW[4:] if not item.startswith("pretrain")]
    run_stages(load_config(str(world / "world.py"), [*given, *EACH[name]]), ("pretrain", "unlearn"))
    run = baseline.parent / name
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    rows = [r for r in rows if r["stage"] == "unlearn" and "loss" in r]
    assert rows[-1]["step"] == 4 and LOGGED[name] <= set(rows[-1]) and np.isfinite([r["loss"] for r in rows]).all()
    before, after = (load_file(run / folder / "model.safetensors") for folder in ("baseline", "unlearned"))
    moved = {key for key in before if (before[key] != after[key]).any()}
    assert moved and all("mlp" in key for key in moved)
    assert name != "mudman" or all("gate_proj" in key for key in moved)


@pytest.mark.nightly
def test_rows_are_edited_before_the_first_step(world, baseline):
    folder = baseline.parent / "erased"
    given = [f"run.dir={folder}", f"model={baseline / 'baseline'}", "pretrain.steps=0", FEW[1], "eval.blocks=8"]
    given += ["unlearn.steps=0", "unlearn.erase.strength=1", "unlearn.erase.rank=8", "eval.completions=4"]
    run_stages(load_config(str(world / "world.py"), given), ("pretrain", "unlearn"))
    counts = json.loads((folder / "erased" / "unlearn.json").read_text())["found"]
    assert counts["owning"] > 0 and counts["tokens"] > 0
    before, after = (load_file(folder / name / "model.safetensors") for name in ("baseline", "unlearned"))
    key = "model.embed_tokens.weight"
    rows = (before[key] != after[key]).any(axis=1)
    assert 0 < rows.sum() <= counts["tokens"]
    assert all((before[k] == after[k]).all() for k in before if "layers" in k)

"""Sweeps: what runs, what is shared, and a whole one that goes on where it was."""

import contextlib
import dataclasses
import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from support.command import env

from jaxunlearn.cli import main
from jaxunlearn.config import Config, Reset, Run, Sweep, Text, Unlearn, load_config
from jaxunlearn.errors import Diverged, RunError
from jaxunlearn.report.sweep import markdown, table
from jaxunlearn.run import Run as CellRun
from jaxunlearn.run.directory import RunDirectory
from jaxunlearn.stages import sweep

BASE = Config(name="x", model="m", text=Text(forget=("a",), retain=("b",), dictionary="d"), unlearn=Unlearn(steps=1))


def test_trials_run_on_the_tuning_seeds_and_the_chosen_setting_on_all(tmp_path, monkeypatch):
    ran, tables = [], []

    def tuned(cell):
        far = 1.0 if cell.config.unlearn.learning_rate == 1e-3 else 2.0
        return {"tuning": {"familiarity": 0.01 * (1 + cell.config.seed), "perplexity_retain": 1 + far}}

    monkeypatch.setattr(sweep, "_base", lambda config, seed: seed)
    monkeypatch.setattr(sweep, "_base_figures", lambda base: {})
    monkeypatch.setattr(sweep, "_trial", lambda cell, base: ran.append((base, cell.name, "trial")) or tuned(cell))
    monkeypatch.setattr(sweep, "_measured", lambda cell, base: ran.append((base, cell.name, "measured")) or tuned(cell))
    monkeypatch.setattr(sweep, "write_sweep", lambda folder, found: tables.append(found))
    monkeypatch.setattr(sweep, "announce", lambda folder, found: None)
    made = load_config("universe")
    c = Sweep(methods=("whp", "whp_inference"), rates=(1e-4, 1e-3), seeds=(3, 4), tuning_seeds=1)
    found = sweep.sweep(dataclasses.replace(made, sweep=c, run=Run(dir=str(tmp_path))))
    trials = ["whp_rate=0.0001", "whp_rate=0.001", "whp_inference"]
    assert ran[:3] == [(3, name, "trial") for name in trials]
    assert ran[3:] == [(seed, name, "measured") for seed in (3, 4) for name in trials[1:]]
    assert [r["setting"] for r in found["trials"]] == ["rate 0.0001", "rate 0.001", ""]


def test_a_cell_with_a_reset_starts_from_its_plain_neighbour(tmp_path):
    plain, name = tmp_path / "npo_rate=0.001", "npo_reset.share=0.1_reset.heal.learning_rate=1e-3_rate=0.001"
    config = dataclasses.replace(BASE, reset=Reset(share=0.1), run=Run(dir=str(tmp_path / name)))
    cell = CellRun(config, RunDirectory(config), None)
    sweep._share_unlearned(cell)
    assert not (cell / "unlearned_before_reset").exists()  # there is none yet
    for folder in ("unlearned", "evals"):
        (plain / folder).mkdir(parents=True)
    rows = [{"stage": "unlearn", "event": "seconds", "seconds": s} for s in (2.0, 3.0)]
    (plain / "metrics.jsonl").write_text("\n".join(map(json.dumps, [{"stage": "unlearn", "step": 1}, *rows])))
    sweep._share_unlearned(cell)
    assert not (cell / "unlearned_before_reset").exists()  # not finished
    (plain / "evals" / "unlearned.json").write_text("{}")
    for _ in range(2):
        sweep._share_unlearned(cell)
    assert (cell / "unlearned_before_reset").resolve() == plain / "unlearned" and cell.folder.seconds() == {
        "unlearn": 5.0
    }


def test_the_table_has_the_benchmarks_of_a_row_together():
    right = {"a": {"value": 0.5, "n": 10}, "b": {"value": 1 / 3, "n": 30}}  # 5 and 10
    models = sweep._short({"baseline": {"benchmarks": right, "texts": []}, "twin": {"accuracy": {}}})
    base = {"models": models, "relearn": {}, "attacks": {}, "cost": {"baseline": 1.0, "twin": 1.0}}
    baseline, twin = table({"bases": {0: base}, "cells": [], "chosen": {}})
    assert baseline["benchmarks"]["value"] == 15 / 40 and twin["benchmarks"] is None


def test_a_sweep_relearns_every_method_at_the_same_rates(world, capsys):
    command = ["sweep", str(world / "world.py"), f"run.dir={world / 'unequal'}", "eval.relearn_rates="]
    assert main(command) == 2
    assert "a sweep that relearns needs eval.relearn_rates" in capsys.readouterr().err
    assert not (world / "unequal").exists()


@pytest.mark.parametrize("name", ["probes", "relearn", "nothing"])
def test_a_sweep_asks_attacks_that_can_compare_its_rows(world, capsys, name):
    folder = world / f"asks_{name}"
    assert main(["sweep", str(world / "world.py"), f"run.dir={folder}", f"sweep.attacks={name}"]) == 2
    said = f"sweep.attacks {name}: a sweep asks some of ways, halfway, benign, few_shot, rtt, beside relearning"
    assert said in capsys.readouterr().err and not folder.exists()


def test_a_sweep_whose_inputs_are_refused_leaves_no_folder(world, capsys):
    folder = world / "refused"
    assert main(["sweep", str(world / "world.py"), f"run.dir={folder}", "text.prompts=nowhere.json"]) == 2
    assert "nowhere.json" in capsys.readouterr().err and not folder.exists()
    folder.mkdir()
    (folder / "seed_0").mkdir()
    (folder / "seed_0" / "mine.txt").write_text("x")
    (folder / ".jaxunlearn_run.lock").write_text("")
    assert main(["sweep", str(world / "world.py"), f"run.dir={folder}", "text.prompts=nowhere.json"]) == 2
    assert (folder / "seed_0" / "mine.txt").exists()


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("npo unlearn.select.budget=0.01 unlearn.select.pcs=9999", "unlearn.select.pcs = 9999"),
        ("npo unlearn.collapse.norm=0.1 unlearn.collapse.inputs=9999", "unlearn.collapse.inputs = 9999"),
        ("npo unlearn.erase.strength=1 unlearn.erase.rank=9999", "unlearn.erase.rank = 9999"),
        ("npo unlearn.lora.rank=9999", "unlearn.lora"),
        ("npo unlearn.retain_weight=1 unlearn.folds=4999 unlearn.steps=4999", "folds"),
        (
            "npo unlearn.collapse.norm=0.1 unlearn.collapse.inputs=1 unlearn.collapse.outputs=1 unlearn.steps=1",
            "collect",
        ),
    ],
)
def test_an_entry_that_the_inputs_have_no_room_for_is_refused_before_any_work(world, capsys, entry, why):
    folder = world / "no_room"
    assert main(["sweep", str(world / "world.py"), f"run.dir={folder}", f"sweep.methods=whp,{entry}"]) == 2
    said = capsys.readouterr().err
    assert f"sweep.methods {entry!r}: " in said and why in said and not folder.exists()


def test_what_has_no_weights_is_not_chosen_by_relearning(world, capsys):
    given = ("sweep.methods=npo,whp_inference", "sweep.most_perplexity=1.02", "eval.relearn_rates=1e-3")
    assert main(["sweep", str(world / "world.py"), f"run.dir={world / 'weightless'}", *given]) == 2
    assert "'whp_inference': sweep.most_perplexity chooses by what relearning" in capsys.readouterr().err
    assert not (world / "weightless").exists()


SWEEP = (
    "npo,whp_soft whp.top=4 whp.offset=contrast reset.share=0.1 reset.heal.steps=4,whp_inference,"
    "prompting unlearn.subject=Zara,task_vector unlearn.scale=1|2 reinforce.steps=3"
)


def test_a_sweep_runs_every_cell_once_and_goes_on_where_it_was(world, capsys):
    command = [
        sys.executable, "-m", "jaxunlearn", "sweep", str(world / "world.py"), f"run.dir={world / 'sweep'}",
        f"sweep.methods={SWEEP}", "unlearn.steps=4", "pretrain.twin=False", "sweep.reach=0.5",
        "sweep.attacks=rtt,halfway,ways,benign,few_shot", "attack.few_shot.shots=1",
        "attack.rtt.rates=1e-2", "attack.rtt.epochs=1", "attack.rtt.pairings=1",
        "attack.halfway.rates=1e-2", "attack.halfway.most_steps=2", "attack.ways.rates=1e-2", "attack.ways.of=adam",
        "attack.ways.steps=2", "attack.benign.rates=1e-2", "attack.benign.most_steps=2", "attack.benign.facts=4",
    ]  # fmt: skip
    first = subprocess.run(command, capture_output=True, text=True, env=env())
    assert first.returncode == 0, first.stderr
    found = json.loads((world / "sweep" / "sweep.json").read_text())
    scales = [f"task_vector_scale={n}_reinforce.steps=3" for n in (1, 2)]
    assert [r["cell"] for r in found["trials"][-2:]] == scales
    chosen = found["chosen"][SWEEP.split(",")[-1]]["cell"]
    (left,) = {*scales} - {chosen}
    assert [r["cell"] for r in found["cells"]] == [
        "npo", "whp_soft_top=4_offset=contrast_reset.share=0.1_reset.heal.steps=4", "whp_inference",
        "prompting_subject=Zara", chosen,
    ]  # fmt: skip
    seed = world / "sweep/seed_0"
    assert (seed / left / "reinforced").is_dir() and not (seed / left / "reinforced").is_symlink()  # its own
    assert (seed / "npo/baseline").is_symlink()
    assert [p.name for p in (seed / left / "evals").iterdir()] == ["tuning.json"]  # a trial, not chosen
    by = {r["name"]: r for r in found["table"]}
    assert by["npo"]["familiarity"]["value"] < by["baseline"]["familiarity"]["value"] / 2
    assert by["whp_inference"]["familiarity"]["value"] < by["baseline"]["familiarity"]["value"] / 2
    assert by["npo"]["relearned, explicit"] and by["baseline"]["RTT"] and by["npo"]["RTT"]
    assert by["npo"]["steps to half"]["value"] > 0 and by["npo"]["any way"]["value"] > by["npo"]["familiarity"]["value"]
    assert by["baseline"]["new facts"] is None or by["baseline"]["new facts"]["value"] == 1
    asked = [c["attacks"]["few_shot"] for c in found["cells"]]
    best = [max(one["shots"].values(), key=lambda s: s["value"])["value"] for one in asked]
    assert all(list(one["shots"]) == ["0", "1"] for one in asked)
    assert [by[c["entry"]]["few-shot"]["value"] for c in found["cells"]] == best and by["baseline"]["few-shot"]
    assert by["whp_inference"]["RTT"] is by["whp_inference"]["any way"] is None  # has no weights to retrain
    text = (world / "sweep" / "sweep.md").read_text()
    assert text == markdown(found) and text.count("\n|") == 7
    assert (world / "sweep" / "pareto.png").stat().st_size > 5000
    soft = world / "sweep/seed_0/whp_soft_top=4_offset=contrast_reset.share=0.1_reset.heal.steps=4"
    assert (soft / "unlearned_before_reset").is_dir() and (soft / "unlearned" / "model.safetensors").is_file()
    p = np.load(soft / "labels/translated_soft/alpha_5_p.npy")
    assert p.shape[-1] == 4 and (p.sum(-1) <= 1.01).all() and p.max() > 0.1
    for cell, prompt in (("whp_inference", "Zara went to"), ("prompting_subject=Zara", "Zara went to")):
        model_dir = str(world / "sweep/seed_0" / cell / "unlearned")
        assert main(["generate", "--model", model_dir, "--prompt", prompt, "--max-new-tokens", "2", "--json"]) == 0
        made = json.loads(capsys.readouterr().out)["completions"][0]
        assert len(made["tokens"]) == 2 and made["prompt"] == prompt
        assert main(["export", "--model", model_dir, "--format", "hf", "--out", str(world / "exported")]) == 2
        assert "no weights of its own" in capsys.readouterr().err and not (world / "exported").exists()
    again = subprocess.run(command, capture_output=True, text=True, env=env())
    assert again.returncode == 0 and "[unlearn]" not in again.stderr and "[baseline]" not in again.stderr
    assert json.loads((world / "sweep" / "sweep.json").read_text())["cells"] == found["cells"]


@pytest.mark.parametrize("given", ["", "elsewhere"])
@pytest.mark.parametrize(("end", "left"), [(None, False), (Diverged, False), (KeyboardInterrupt, True)])
def test_the_training_state_of_a_cell_stays_only_where_it_goes_on_from_it(tmp_path, monkeypatch, given, end, left):
    place = str(tmp_path / given) if given else ""
    config = dataclasses.replace(BASE, run=Run(dir=str(tmp_path / "sweep"), checkpoints=place))
    of_base = dataclasses.replace(config, run=Run(dir=str(tmp_path / "sweep/seed_0/base")))
    base = CellRun(of_base, RunDirectory(of_base), SimpleNamespace(hashes={}))
    cell = SimpleNamespace(name="npo", config=config)
    state = (tmp_path / given / "seed_0/npo" if given else tmp_path / "sweep/seed_0/npo/checkpoints") / "unlearn"

    def trained(run, base):
        run.folder.checkpoints("unlearn").mkdir(parents=True)
        assert state.is_dir()
        if end:
            raise end("the loss is nan")

    monkeypatch.setattr(sweep, "_unlearned", trained)
    with pytest.raises(end) if end else contextlib.nullcontext():
        sweep._made(cell, base)
    assert state.exists() == left
    monkeypatch.setattr(sweep, "_unlearned", lambda run, base: tried.append(run))
    tried = []
    with pytest.raises(Diverged, match="the loss is nan") if end is Diverged else contextlib.nullcontext():
        sweep._made(cell, base)
    assert bool(tried) == (end is not Diverged)  # what diverged is not tried again


def test_a_sweep_is_followed_by_no_tracker(world, capsys):
    assert main(["sweep", str(world / "world.py"), f"run.dir={world / 'tracked'}", "run.track=tensorboard"]) == 2
    assert "run.track follows one run, and a sweep is many" in capsys.readouterr().err
    assert not (world / "tracked").exists()


def test_a_setting_that_diverges_is_a_row_and_a_damaged_file_ends_the_sweep():
    cell = SimpleNamespace(name="npo", entry="npo", setting={})

    def raises(error):
        def run(cell):
            raise error

        return run

    assert sweep._row(cell, 0, raises(Diverged("the loss is nan")))["failed"] == "the loss is nan"
    with pytest.raises(RunError, match="damaged"):
        sweep._row(cell, 0, raises(RunError("the baseline is damaged")))

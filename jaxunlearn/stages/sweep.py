"""Compare methods with the same baselines, prompts, attacks and stop rule, each tuned with as many trials (trials.py).

DIR/seed_S/base holds the baseline, the twin and the reinforced model of a seed. DIR/seed_S/CELL is the run directory of
one setting of one method. What is done is skipped. Settings and steps are chosen on the tuning prompts and blocks: the
least retain perplexity among those that reach the stated familiarity; or, with sweep.most_perplexity, the least
familiarity after relearning among those that keep to a bound on retain perplexity. Every trial runs on the first
sweep.tuning_seeds seeds (0: on all). The chosen setting of each entry runs on every seed; it alone is measured on the
other prompts, which are published, and attacked, whether it reached the familiarity or not.
"""

import dataclasses
import hashlib
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax

from jaxunlearn.attacks import ATTACKS, Attack
from jaxunlearn.attacks.relearn import can_choose, relearned_to_choose, relearning
from jaxunlearn.config import Config, Universe, as_dict, check, of_method
from jaxunlearn.config import Run as RunSection
from jaxunlearn.errors import Diverged, InputError
from jaxunlearn.evals.benchmarks import pooled
from jaxunlearn.evals.measure import curve_point, measure
from jaxunlearn.files import json_text
from jaxunlearn.methods import cost, inference, method_of
from jaxunlearn.parallel.console import result, say
from jaxunlearn.parallel.sharding import mesh_from
from jaxunlearn.report.sweep import chosen_settings, markdown, write_sweep
from jaxunlearn.run import Run, open_run
from jaxunlearn.run.directory import RunDirectory, claim, withdraw
from jaxunlearn.run.metrics import Metrics
from jaxunlearn.run.resume import holds, keep, kept, trained_on
from jaxunlearn.run.sources import with_universe
from jaxunlearn.run.store import hash_of, load_model, measured_by
from jaxunlearn.stages.evaluate import evaluate
from jaxunlearn.stages.known import enough, settled
from jaxunlearn.stages.label import label
from jaxunlearn.stages.pretrain import STAGE_OF, needed, pretrain, pretrain_twin, reinforce
from jaxunlearn.stages.trials import Cell, cells, check_cell, check_inputs
from jaxunlearn.stages.unlearn import kept_point, unlearn

CELL_STAGES = ("label", "unlearn", "heal")  # stages whose seconds count for a cell, beside its base's


def sweep(config: Config) -> dict[str, Any]:
    """Run every unfinished cell, write sweep.json, sweep.md and pareto.png, and return the content of sweep.json.

    Raises InputError, before any cell runs, for a sweep without methods or seeds and for cells that cannot run.
    """
    w, root = config.sweep, config.directory
    if not w.methods or not w.seeds:
        raise InputError("sweep.methods and sweep.seeds name nothing to run; for example sweep.methods=whp,npo")
    if config.eval.relearn_steps and not config.eval.relearn_rates:
        raise InputError("a sweep that relearns needs eval.relearn_rates: every method is relearned at the same rates")
    if config.run.track:
        raise InputError("run.track follows one run, and a sweep is many: leave it out; each has its own metrics.jsonl")
    asked(config)
    if mine := of_method(config):
        given = ", ".join(f"unlearn.{key}={value}" for key, value in mine.items())
        say(f"{given}: settings of {config.unlearn.method}; entries of other methods have their own")
    for seed in w.seeds:
        for cell in cells(config, seed):
            check(cell.config)
            check_cell(cell, config)
    held, fresh = claim(root)  # by one process alone, to the end of this function
    try:
        found = _swept(config)
    except InputError:  # as where the inputs are refused
        for folder in root.glob("seed_*") if fresh else ():
            with suppress(OSError):  # it holds something
                folder.rmdir()
        if fresh:
            withdraw(root)
        raise
    del held
    announce(root, found)
    return found


def _swept(config: Config) -> dict[str, Any]:
    """Run every unfinished cell; return the content of sweep.json, which is written as the cells get done."""
    w, root = config.sweep, config.directory
    tuning = w.seeds[: w.tuning_seeds or None]
    found: dict[str, Any] = {"name": config.name, "reach": w.reach, "tuning_seeds": list(tuning)}
    found |= {"most_perplexity": w.most_perplexity} if w.most_perplexity else {}
    found |= {"bases": {}, "trials": [], "cells": []}
    with jax.set_mesh(mesh_from(config.mesh)):
        for seed in tuning:
            base = _base(config, seed)
            found["trials"] += [_row(cell, seed, lambda c, base=base: _trial(c, base)) for cell in cells(config, seed)]
            write_sweep(root, found)
        for seed in w.seeds:
            base = _base(config, seed)
            found["bases"][seed] = _base_figures(base)
            chosen = chosen_settings(found)
            for cell in cells(config, seed):
                if chosen[cell.entry]["cell"] == cell.name:
                    found["cells"].append(_row(cell, seed, lambda c, base=base: _measured(c, base)))
            write_sweep(root, found)
    return found


def asked(config: Config) -> list[Attack]:
    """Return the attacks of sweep.attacks. Raises InputError for names that a sweep cannot ask."""
    can = [name for name, attack in ATTACKS.items() if attack.compare and name != "relearn"]
    if wrong := [name for name in config.sweep.attacks if name not in can]:
        raise InputError(f"sweep.attacks {', '.join(wrong)}: a sweep asks some of {', '.join(can)}, beside relearning")
    return [ATTACKS[name] for name in config.sweep.attacks]


def _attacked(run: Run, names: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Return {model: {attack: figures}} of the attacks that the sweep asks."""
    found: dict[str, dict[str, Any]] = {name: {} for name in names}
    for attack in asked(run.config):
        assert attack.compare is not None, "asked() refuses the others"
        for name, figures in attack.compare(run, names).items():
            found[name][attack.name] = figures
    return found


def announce(folder: Path, found: dict[str, Any]) -> None:
    """Print the table of a sweep and the paths of its files."""
    result(f"\n{markdown(found)}\nsweep: {folder / 'sweep.json'}  {folder / 'sweep.md'}  {folder / 'pareto.png'}")


def _row(cell: Cell, seed: int, run: Callable[[Cell], dict]) -> dict[str, Any]:
    say(f"seed {seed}: {cell.name}")
    row = {"seed": seed, "entry": cell.entry, "cell": cell.name, "setting": cell.setting}
    try:
        return row | run(cell)
    except Diverged as error:  # a setting that diverges is a result too; the other cells go on
        say(f"  {error}")
        return row | {"failed": str(error)}


def _base(config: Config, seed: int) -> Run:
    """Make a seed's baseline and twin; return their run."""
    folder = config.directory / f"seed_{seed}" / "base"
    # before any cell runs: prompts that are too few, facts that cannot be asked, cells that there is no room for
    checks = [enough, check_inputs, *(attack.check for attack in asked(config))]
    checks += [can_choose] if config.sweep.most_perplexity else []
    base = open_run(dataclasses.replace(config, seed=seed, run=_section(config, folder), controls=()), *checks)
    pretrain(base)
    base = settled(base)
    pretrain_twin(base)
    return base


def _section(config: Config, folder: Path) -> RunSection:
    """Return the `run` section of a base or a cell in a folder of the sweep: run.checkpoints has the same folders."""
    given = config.run.checkpoints
    return RunSection(dir=str(folder), checkpoints=given and f"{given}/{folder.relative_to(config.directory)}")


def _base_figures(base: Run) -> dict:
    names = ("baseline", "twin")
    found = evaluate(base, only=names)
    p = base.config.pretrain
    twin_steps = max((r["step"] for r in base.folder.records("twin") if "step" in r), default=0)
    blocks = {"baseline": 1.0, "twin": twin_steps / p.steps if p.steps else float("nan")}
    return {
        "models": _short(found), "relearn": relearning(base, only=names), "attacks": _attacked(base, names),
        "seconds": base.folder.seconds(), "cost": blocks,
    }  # fmt: skip


def _cell_run(cell: Cell, base: Run) -> Run:
    """Return the run of a cell: the inputs of the base, the configuration of the cell, a folder of its own."""
    folder = base.folder.path.parent / cell.name
    config = dataclasses.replace(cell.config, run=_section(cell.config, folder), controls=())
    if config.universe.people:
        config = dataclasses.replace(with_universe(config, base / "data", fresh=False), universe=Universe())
    return base.with_(config, RunDirectory(config))


def _made(cell: Cell, base: Run) -> Run:
    """Make the model of one cell with the models of its base; return its run. Raises RunError where it diverges.

    A cell with other settings of reinforce has fine-tuned models of its own. Completions are not sampled while tuning.
    One that diverged is not tried again: evals/diverged.json keeps why.
    """
    run = _cell_run(cell, base)
    run.folder.manifest(run.inputs.hashes)
    path, key = run / "evals/diverged.json", {"inputs": trained_on(run.inputs.hashes)}
    if holds(path, key):
        raise Diverged(kept(path))
    try:
        _unlearned(run, base)
    except Diverged as error:
        run.folder.drop_checkpoints()  # what goes on from there diverges again
        keep(path, key, str(error))
        raise
    run.folder.drop_checkpoints()  # no later stage needs these, and a sweep has many cells
    shutil.rmtree(run / "unlearned_last", ignore_errors=True)
    return run


def _unlearned(run: Run, base: Run) -> None:
    """Make the models of a cell: those fine-tuned from the baseline, the labels, and the unlearned one."""
    own = run.config.reinforce != base.config.reinforce
    _link(run / "baseline", base / "baseline")
    reinforce(run if own else run.with_(run.config, base.folder))
    for name in () if own else STAGE_OF:
        _link(run / name, base / name)
    _share_labels(run, base)
    _share_unlearned(run)
    label(run)
    unlearn(run.with_(dataclasses.replace(run.config, eval=dataclasses.replace(run.config.eval, completions=0))))


def _link(path: Path, to: Path) -> None:
    if to.exists() and not path.exists():
        path.symlink_to(to.resolve(), target_is_directory=True)


def _trial(cell: Cell, base: Run) -> dict:
    """Make one cell and return what it is chosen by."""
    run = _made(cell, base)
    return {"tuning": _tuned(run, base)} | _settings(run, base)


def _measured(cell: Cell, base: Run) -> dict:
    """Make one cell, measure it on the prompts that are published, and attack it."""
    run = _made(cell, base)
    found = {
        "models": _short(evaluate(run, only=("unlearned",))), "tuning": _tuned(run, base),
        "relearn": relearning(run, only=("unlearned",)).get("unlearned", []),
        "attacks": _attacked(run, ("unlearned",))["unlearned"],
    }  # fmt: skip
    return found | _settings(run, base)


def _settings(run: Run, base: Run) -> dict:
    return {
        "seconds": _seconds(run, base), "cost": cost.share(run.config, len(run.inputs.forget.tokens_NT)),
        "rate": run.config.unlearn.learning_rate, "alpha": run.config.whp.alpha,
    }  # fmt: skip


def _share_labels(run: Run, base: Run) -> None:
    """Link `labels` to a folder of the base that cells with the same label settings share."""
    if (run / "labels").exists():
        return
    made_by = {"method": method_of(run.config).name, "reinforce": as_dict(run.config.reinforce)}
    key = json_text(as_dict(run.config.whp) | made_by, sort_keys=True)
    shared = base / f"labels_{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    shared.mkdir(exist_ok=True)
    (run / "labels").symlink_to(shared.resolve(), target_is_directory=True)


def _share_unlearned(run: Run) -> None:
    """Let a cell with a reset start from the model of the same cell without one, where that cell is finished.

    The seconds of that training are recorded for this cell too, so that its cost is whole.
    """
    mine = run.folder.path
    plain = mine.parent / re.sub(r"_reset\.[\w.]+=[^_]+", "", mine.name)
    wanted = run / "unlearned_before_reset"
    if run.config.reset.share and plain != mine and (plain / "evals/unlearned.json").exists() and not wanted.exists():
        wanted.symlink_to((plain / "unlearned").resolve(), target_is_directory=True)
        rows = Metrics(plain).rows()
        took = [r["seconds"] for r in rows if (r["stage"], r.get("event")) == ("unlearn", "seconds")]
        run.folder.record("unlearn", event="seconds", seconds=sum(took))


def _tuned(run: Run, base: Run) -> dict:
    """Return the figures on the tuning prompts and blocks of the step that was kept, or of what was made without steps.

    A training has recorded them in metrics.jsonl; of what trains nothing they are kept in evals/tuning.json. With
    sweep.most_perplexity also "over_twin", the retain perplexity over the twin's, and "relearned".
    """
    healed = run.folder.records("heal", "eval")
    points = healed[-1:] or [r for r in run.folder.records("unlearn", "eval") if r["step"]] or [_measured_tuning(run)]
    best = kept_point(points, run.config)
    found = {k: best.get(k) for k in ("step", "familiarity", "perplexity_retain", "accuracy")}
    if run.config.sweep.most_perplexity:
        twin = _measured_tuning(base, "twin")["perplexity_retain"]
        found |= {"over_twin": found["perplexity_retain"] / twin, "relearned": relearned_to_choose(run)}
    return found


def _measured_tuning(run: Run, name: str = "unlearned") -> dict:
    """Return the curve's point of a model on the tuning prompts and blocks, without completions."""
    path, folder = run / "evals" / ("tuning.json" if name == "unlearned" else f"tuning_{name}.json"), run / name
    key = {"eval": measured_by(run.config.eval), "model": hash_of(folder), "inputs": run.inputs.hashes}
    if not holds(path, key):
        suite = inference.suite(folder, run.tuning)
        suite = dataclasses.replace(suite, c=dataclasses.replace(suite.c, completions=0))
        keep(path, key, curve_point(0, measure(load_model(run.config, folder, frozen=True), suite)))
    return kept(path)


def _seconds(run: Run, base: Run) -> float:
    """Return the seconds of the cell's own stages plus those of the fine-tuned models that it needs."""
    spent, shared = run.folder.seconds(), base.folder.seconds()
    own = sum(spent.get(stage, 0) for stage in CELL_STAGES)
    return round(own + sum(spent.get(STAGE_OF[n], shared.get(STAGE_OF[n], 0)) for n in needed(run)), 1)


def _short(found: dict) -> dict:
    """Return the figures of each model that a sweep keeps; texts are left out."""
    kept = ("familiarity", "perplexity", "entropy", "accuracy", "leaks", "temperature", "benchmarks")
    made = {name: {k: m[k] for k in kept if k in m} for name, m in found.items()}
    for m in made.values():
        if m.get("benchmarks"):
            m["pooled"] = {"benchmarks": pooled(m["benchmarks"]).to_json()}
    return made

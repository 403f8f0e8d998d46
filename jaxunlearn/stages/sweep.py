"""Methods x learning rates x alphas x seeds on one footing: the same baselines, the same prompts, one stop rule.

DIR/seed_S/base holds a seed's baseline, twin and reinforced model; DIR/seed_S/CELL one setting of one method, a run
directory of its own. What is done is skipped. Settings and steps are chosen on the tuning prompts: the least retain
perplexity among those that reach the stated familiarity. Figures are from the other prompts, and published once. With
sweep.tuning_seeds=N every setting runs on the first N seeds, and on the others only the one that was chosen there.
"""

import copy
import dataclasses
import hashlib
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxunlearn.attacks.relearn import relearning
from jaxunlearn.attacks.rtt import retraining
from jaxunlearn.config import Config, Run, Universe, as_dict, check, override
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.methods import METHODS, cost
from jaxunlearn.methods.settings import check_config, method_of, needs
from jaxunlearn.parallel.console import say
from jaxunlearn.parallel.sharding import mesh_from
from jaxunlearn.report.sweep import chosen_settings, markdown, write_sweep
from jaxunlearn.run.directory import RunDirectory
from jaxunlearn.run.inputs import Inputs, read_inputs, with_universe
from jaxunlearn.stages.evaluate import evaluate
from jaxunlearn.stages.label import label
from jaxunlearn.stages.pretrain import pretrain, reinforce
from jaxunlearn.stages.unlearn import damage, unlearn


def announce(folder: Path, found: dict[str, Any]) -> None:
    """Print the table, and where the files are."""
    say(f"\n{markdown(found)}\nsweep: {folder / 'sweep.json'}  {folder / 'sweep.md'}  {folder / 'pareto.png'}")


CELL_STAGES = ("label", "unlearn", "heal", "new_only")  # whose seconds a method costs, beside what it needs of the base


class Cell(NamedTuple):
    """One setting of one method on one seed."""

    entry: str  # as sweep.methods has it
    name: str  # of its folder
    config: Config


def cells(config: Config, seed: int) -> Iterator[Cell]:
    """Give every setting of a seed; InputError for an entry that cannot be read or could not run."""
    w = config.sweep
    for entry in w.methods:
        method, *more = shlex.split(entry)
        made = override(config, [f"unlearn.method={method}", f"unlearn.reach={w.reach}", f"seed={seed}", *more])
        known = METHODS[method].hyper if method in METHODS else {}
        trains = method in METHODS and METHODS[method].trains
        rates = [r for r in w.rates if trains and "unlearn.learning_rate" not in entry] or [None]
        alphas = [a for a in w.alphas if "alpha" in known and "whp.alpha" not in entry] or [None]
        for rate in rates:
            for alpha in alphas:
                yield _cell(made, entry, rate, alpha)


def _cell(config: Config, entry: str, rate: float | None, alpha: float | None) -> Cell:
    name = "_".join(re.sub(r"[^\w=.-]+", " ", re.sub(r"\b(unlearn|whp)\.", "", entry)).split())
    if rate is not None:
        config = dataclasses.replace(config, unlearn=dataclasses.replace(config.unlearn, learning_rate=rate))
        name += f"_rate={rate:g}"
    if alpha is not None:
        config = dataclasses.replace(config, whp=dataclasses.replace(config.whp, alpha=alpha, alphas=()))
        name += f"_alpha={alpha:g}"
    return Cell(entry, name, config)


def sweep(config: Config) -> dict[str, Any]:
    """Run what is not done yet of every cell, then write sweep.json, sweep.md and pareto.png; return the first."""
    w, root = config.sweep, config.directory
    if not w.methods or not w.seeds:
        raise InputError("sweep.methods and sweep.seeds name nothing to run; for example sweep.methods=whp,npo")
    if config.eval.relearn_steps and not config.eval.relearn_rates:
        raise InputError("a sweep that relearns needs eval.relearn_rates: every method is relearned at the same rates")
    for seed in w.seeds:
        for cell in cells(config, seed):
            check(cell.config)
            _check(cell, config)
    tuning = w.seeds[: w.tuning_seeds or None]
    found = {"name": config.name, "reach": w.reach, "tuning_seeds": list(tuning), "bases": {}, "cells": []}
    with jax.set_mesh(mesh_from(config.mesh)):
        for seed in w.seeds:
            base, x = _base(config, seed, root / f"seed_{seed}" / "base")
            found["bases"][seed] = _base_figures(base, x)
            chosen = {} if seed in tuning else chosen_settings(found)
            for cell in cells(config, seed):
                if not chosen or chosen[cell.entry]["cell"] == cell.name:
                    found["cells"].append(_row(cell, seed, base, x))
            write_sweep(root, found)
        if w.rtt:
            _retrain_chosen(config, found)
            write_sweep(root, found)
    announce(root, found)
    return found


def _row(cell: Cell, seed: int, base: RunDirectory, x: Inputs) -> dict[str, Any]:
    say(f"seed {seed}: {cell.name}")
    row = {"seed": seed, "entry": cell.entry, "cell": cell.name}
    try:
        return row | _run(cell, base, x)
    except RunError as error:  # a loss that is not finite is a result too
        say(f"  {error}")
        return row | {"failed": str(error)}


def _retrain_chosen(config: Config, found: dict[str, Any]) -> None:
    """Add RTT to the bases, and to the cells of each chosen setting that came down to the familiarity."""
    wanted = {c["cell"] for c in chosen_settings(found).values() if c["reached"]}
    for seed in config.sweep.seeds:
        base, x = _base(config, seed, config.directory / f"seed_{seed}" / "base")
        found["bases"][seed]["rtt"] = retraining(x.config, base, x, ("baseline", "twin"))
        for cell in cells(config, seed):
            for row in found["cells"]:
                if (row["seed"], row["cell"]) == (seed, cell.name) and cell.name in wanted and "failed" not in row:
                    run, seen = _cell_inputs(cell, base, x)
                    row["rtt"] = retraining(seen.config, run, seen, ("unlearned",)).get("unlearned", {})


def _check(cell: Cell, config: Config) -> None:
    """Refuse a cell before anything is loaded; the universe brings every kind of text."""
    text = cell.config.text
    if config.universe.people:
        text = dataclasses.replace(text, forget=("-",), retain=("-",), dictionary="-", answers="-", prompts="-")
    try:
        check_config(dataclasses.replace(cell.config, text=text), None if config.model else config.init.L)
    except InputError as error:
        raise InputError(f"sweep.methods {cell.entry!r}: {error}") from None


def _base(config: Config, seed: int, folder: Path) -> tuple[RunDirectory, Inputs]:
    """Make a seed's baseline and twin; return its run directory and what it works on."""
    made = dataclasses.replace(config, seed=seed, run=Run(dir=str(folder)), controls=())
    base = RunDirectory(made)
    x = read_inputs(made, base)
    base.manifest(x.hashes)
    pretrain(x.config, base, x)
    return base, x


def _base_figures(base: RunDirectory, x: Inputs) -> dict:
    found = evaluate(x.config, base, x, only=("baseline", "twin"))
    relearned = relearning(x.config, base, x, only=("baseline", "twin"))
    p = x.config.pretrain
    twin_steps = max((r["step"] for r in base.records("twin") if "step" in r), default=0)
    blocks = {"baseline": 1.0, "twin": twin_steps / p.steps if p.steps else float("nan")}
    return {"models": _short(found), "relearn": relearned, "seconds": base.seconds(), "cost": blocks}


def _cell_inputs(cell: Cell, base: RunDirectory, x: Inputs) -> tuple[RunDirectory, Inputs]:
    """Return a cell's run directory, and what it works on under its own configuration."""
    config = dataclasses.replace(cell.config, run=Run(dir=str(base.path.parent / cell.name)), controls=())
    if config.universe.people:
        config = dataclasses.replace(with_universe(config, base / "data", fresh=False), universe=Universe())
    return RunDirectory(config), _seen(x, config)


def _run(cell: Cell, base: RunDirectory, x: Inputs) -> dict:
    """Run one cell beside its base and return its figures."""
    run, seen = _cell_inputs(cell, base, x)
    config = seen.config
    run.manifest(seen.hashes)
    reinforce(config, base, seen)
    for name in ("baseline", "reinforced", "diluted"):
        if (base / name).exists() and not (run / name).exists():
            (run / name).symlink_to((base / name).resolve(), target_is_directory=True)
    _share_labels(config, base, run)
    _share_unlearned(config, run)
    label(config, run, seen)
    unlearn(config, run, seen)
    found = evaluate(config, run, seen, only=("unlearned",))
    relearned = relearning(config, run, seen, only=("unlearned",))
    for folder in ("checkpoints", "unlearned_last"):  # a sweep keeps many models; these two are not needed again
        shutil.rmtree(run / folder, ignore_errors=True)
    chosen = _chosen(run, config.unlearn.reach)
    return {
        "models": _short(found), "relearn": relearned.get("unlearned", []), "tuning": chosen,
        "seconds": _seconds(config, run, base), "cost": cost.share(config, len(seen.forget.tokens_NT)),
        "rate": config.unlearn.learning_rate, "alpha": config.whp.alpha,
    }  # fmt: skip


def _seen(x: Inputs, config: Config) -> Inputs:
    """Return the inputs under a cell's configuration; what was computed is kept where the settings allow."""
    seen = copy.copy(x)
    if as_dict(x.config.whp) | {"alpha": 0} != as_dict(config.whp) | {"alpha": 0}:
        seen = dataclasses.replace(x, config=config)
        for name in ("identity", "forget_split", "retain_split"):  # these do not depend on config.whp
            if name in x.__dict__:
                seen.__dict__[name] = x.__dict__[name]
        same = all(getattr(x.config.whp, k) == getattr(config.whp, k) for k in ("match", "draw", "repeat", "forbid"))
        if same:
            seen.__dict__["translation"] = x.translation
    object.__setattr__(seen, "config", config)
    return seen


def _share_labels(config: Config, base: RunDirectory, run: RunDirectory) -> None:
    """Let cells that label alike share their labels: a folder of the base, named by the settings."""
    if (run / "labels").exists():
        return
    key = json.dumps(as_dict(config.whp) | {"method": method_of(config)}, sort_keys=True)
    shared = base / f"labels_{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    shared.mkdir(exist_ok=True)
    (run / "labels").symlink_to(shared.resolve(), target_is_directory=True)


def _share_unlearned(config: Config, run: RunDirectory) -> None:
    """Let a cell that resets start from what the same cell without a reset unlearned, where that one is finished.

    The seconds that took are the cell's too.
    """
    plain = run.path.parent / re.sub(r"_reset\.[\w.]+=[^_]+", "", run.path.name)
    wanted = run / "unlearned_before_reset"
    if config.reset.share and plain != run.path and (plain / "evals/unlearned.json").exists() and not wanted.exists():
        wanted.symlink_to((plain / "unlearned").resolve(), target_is_directory=True)
        rows = map(json.loads, (plain / "metrics.jsonl").read_text().splitlines())
        took = [r["seconds"] for r in rows if (r["stage"], r.get("event")) == ("unlearn", "seconds")]
        run.record("unlearn", event="seconds", seconds=sum(took))


def _chosen(run: RunDirectory, reach: float) -> dict:
    """Return the measured step that was kept, as the tuning prompts saw it."""
    healed = run.records("heal", "eval")
    points = healed[-1:] or [r for r in run.records("unlearn", "eval") if r["step"]]
    if not points:
        return {}
    best = min(points, key=lambda r: damage(r, reach)) if reach else points[-1]
    return {k: best.get(k) for k in ("step", "familiarity", "perplexity_retain", "accuracy", "explicit")}


def _seconds(config: Config, run: RunDirectory, base: RunDirectory) -> float:
    """Return the seconds of this cell's own stages and of the models that it needs beside the baseline."""
    spent, shared = run.seconds(), base.seconds()
    needed = [s for s, what in (("reinforce", "reinforced"), ("dilute", "diluted")) if needs(config, what)]
    return round(sum(spent.get(s, 0) for s in CELL_STAGES) + sum(shared.get(s, 0) for s in needed), 1)


def _short(found: dict) -> dict:
    """Leave out the texts."""
    kept = ("familiarity", "perplexity", "entropy", "accuracy", "leaks", "temperature")
    return {name: {k: m[k] for k in kept if k in m} for name, m in found.items()}

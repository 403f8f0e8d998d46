"""Compare methods x learning rates x alphas x seeds with the same baselines, the same prompts and one stop rule.

DIR/seed_S/base holds the baseline, the twin and the reinforced model of a seed. DIR/seed_S/CELL is the run directory of
one setting of one method. Finished cells are skipped. Settings and steps are chosen on the tuning prompts: the least
retain perplexity among those that reach the stated familiarity. Published figures come from the other prompts. With
sweep.tuning_seeds=N every setting runs on the first N seeds; the other seeds run the chosen setting alone.
"""

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
from jaxunlearn.attacks.rtt import RTT, retraining
from jaxunlearn.config import Config, Universe, as_dict, check, override
from jaxunlearn.config import Run as RunSection
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.methods import METHODS, check_config, cost, method_of, resolved
from jaxunlearn.parallel.console import say
from jaxunlearn.parallel.sharding import mesh_from
from jaxunlearn.report.sweep import chosen_settings, markdown, write_sweep
from jaxunlearn.run import Run, open_run
from jaxunlearn.run.directory import RunDirectory
from jaxunlearn.run.sources import with_universe
from jaxunlearn.stages.evaluate import evaluate
from jaxunlearn.stages.label import label
from jaxunlearn.stages.pretrain import STAGE_OF, needed, pretrain, reinforce
from jaxunlearn.stages.unlearn import damage, unlearn

CELL_STAGES = ("label", "unlearn", "heal")  # stages whose seconds count for a cell, beside its base's


class Cell(NamedTuple):
    """One setting of one method on one seed."""

    entry: str  # as written in sweep.methods
    name: str  # the name of its folder
    config: Config


def cells(config: Config, seed: int) -> Iterator[Cell]:
    """Yield every cell of a seed. Raises InputError for an entry of sweep.methods that cannot be read."""
    w = config.sweep
    for entry in w.methods:
        method, *more = shlex.split(entry)
        given = [f"unlearn.method={method}", f"unlearn.reach={w.reach}", f"seed={seed}", *more]
        made = resolved(override(config, given))
        known = METHODS[method].settings if method in METHODS else {}
        trains = method in METHODS and METHODS[method].trains
        rates = [r for r in w.rates if trains and "unlearn.learning_rate" not in entry] or [None]
        turns = "alpha" in known and known["alpha"].section == "whp"  # another alpha is not set by whp.alpha
        alphas = [a for a in w.alphas if turns and "whp.alpha" not in entry] or [None]
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
    """Run every unfinished cell, write sweep.json, sweep.md and pareto.png, and return the content of sweep.json.

    Raises InputError, before any cell runs, for a sweep without methods or seeds and for cells that cannot run.
    """
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
            base = _base(config, seed, root / f"seed_{seed}" / "base")
            found["bases"][seed] = _base_figures(base)
            chosen = {} if seed in tuning else chosen_settings(found)
            for cell in cells(config, seed):
                if not chosen or chosen[cell.entry]["cell"] == cell.name:
                    found["cells"].append(_row(cell, seed, base))
            write_sweep(root, found)
        if w.rtt:
            _retrain_chosen(config, found)
            write_sweep(root, found)
    announce(root, found)
    return found


def announce(folder: Path, found: dict[str, Any]) -> None:
    """Print the table of a sweep and the paths of its files."""
    say(f"\n{markdown(found)}\nsweep: {folder / 'sweep.json'}  {folder / 'sweep.md'}  {folder / 'pareto.png'}")


def _row(cell: Cell, seed: int, base: Run) -> dict[str, Any]:
    say(f"seed {seed}: {cell.name}")
    row = {"seed": seed, "entry": cell.entry, "cell": cell.name}
    try:
        return row | _run(cell, base)
    except RunError as error:  # a setting that diverges is a result too; the other cells go on
        say(f"  {error}")
        return row | {"failed": str(error)}


def _retrain_chosen(config: Config, found: dict[str, Any]) -> None:
    """Add RTT to the bases, and to the cells of each chosen setting that reached the stated familiarity."""
    wanted = {c["cell"] for c in chosen_settings(found).values() if c["reached"]}
    for seed in config.sweep.seeds:
        base = _base(config, seed, config.directory / f"seed_{seed}" / "base")
        found["bases"][seed]["rtt"] = retraining(base, ("baseline", "twin"))
        for cell in cells(config, seed):
            for row in found["cells"]:
                if (row["seed"], row["cell"]) == (seed, cell.name) and cell.name in wanted and "failed" not in row:
                    row["rtt"] = retraining(_cell_run(cell, base), ("unlearned",)).get("unlearned", {})


def _check(cell: Cell, config: Config) -> None:
    """Raise InputError, before anything is loaded, for a cell that cannot run.

    The universe has every kind of text, but its files are not written yet; "-" stands for them.
    """
    text = cell.config.text
    if config.universe.people:
        text = dataclasses.replace(text, forget=("-",), retain=("-",), dictionary="-", answers="-", prompts="-")
    try:
        check_config(dataclasses.replace(cell.config, text=text), None if config.model else config.init.L)
    except InputError as error:
        raise InputError(f"sweep.methods {cell.entry!r}: {error}") from None


def _base(config: Config, seed: int, folder: Path) -> Run:
    """Make a seed's baseline and twin; return their run."""
    checks = (RTT.check,) if config.sweep.rtt else ()  # facts that cannot be asked are refused before any cell runs
    base = open_run(dataclasses.replace(config, seed=seed, run=RunSection(dir=str(folder)), controls=()), *checks)
    pretrain(base)
    return base


def _base_figures(base: Run) -> dict:
    found = evaluate(base, only=("baseline", "twin"))
    relearned = relearning(base, only=("baseline", "twin"))
    p = base.config.pretrain
    twin_steps = max((r["step"] for r in base.folder.records("twin") if "step" in r), default=0)
    blocks = {"baseline": 1.0, "twin": twin_steps / p.steps if p.steps else float("nan")}
    return {"models": _short(found), "relearn": relearned, "seconds": base.folder.seconds(), "cost": blocks}


def _cell_run(cell: Cell, base: Run) -> Run:
    """Return the run of a cell: the inputs of the base, the configuration of the cell, a folder of its own."""
    folder = base.folder.path.parent / cell.name
    config = dataclasses.replace(cell.config, run=RunSection(dir=str(folder)), controls=())
    if config.universe.people:
        config = dataclasses.replace(with_universe(config, base / "data", fresh=False), universe=Universe())
    return base.with_(config, RunDirectory(config))


def _run(cell: Cell, base: Run) -> dict:
    """Run one cell with the models of its base and return its figures. Raises RunError where it diverges."""
    run = _cell_run(cell, base)
    run.folder.manifest(run.inputs.hashes)
    reinforce(run.with_(run.config, base.folder))
    for name in ("baseline", *STAGE_OF):
        if (base / name).exists() and not (run / name).exists():
            (run / name).symlink_to((base / name).resolve(), target_is_directory=True)
    _share_labels(run, base)
    _share_unlearned(run)
    label(run)
    unlearn(run)
    found = evaluate(run, only=("unlearned",))
    relearned = relearning(run, only=("unlearned",))
    for folder in ("checkpoints", "unlearned_last"):  # no later stage needs these, and a sweep has many cells
        shutil.rmtree(run / folder, ignore_errors=True)
    chosen = _chosen(run)
    return {
        "models": _short(found), "relearn": relearned.get("unlearned", []), "tuning": chosen,
        "seconds": _seconds(run, base), "cost": cost.share(run.config, len(run.inputs.forget.tokens_NT)),
        "rate": run.config.unlearn.learning_rate, "alpha": run.config.whp.alpha,
    }  # fmt: skip


def _share_labels(run: Run, base: Run) -> None:
    """Link `labels` to a folder of the base that cells with the same label settings share."""
    if (run / "labels").exists():
        return
    key = json.dumps(as_dict(run.config.whp) | {"method": method_of(run.config).name}, sort_keys=True)
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
        rows = map(json.loads, (plain / "metrics.jsonl").read_text().splitlines())
        took = [r["seconds"] for r in rows if (r["stage"], r.get("event")) == ("unlearn", "seconds")]
        run.folder.record("unlearn", event="seconds", seconds=sum(took))


def _chosen(run: Run) -> dict:
    """Return the figures on the tuning prompts of the step that was kept."""
    reach, healed = run.config.unlearn.reach, run.folder.records("heal", "eval")
    points = healed[-1:] or [r for r in run.folder.records("unlearn", "eval") if r["step"]]
    if not points:
        return {}
    best = min(points, key=lambda r: damage(r, reach)) if reach else points[-1]
    return {k: best.get(k) for k in ("step", "familiarity", "perplexity_retain", "accuracy", "explicit")}


def _seconds(run: Run, base: Run) -> float:
    """Return the seconds of the cell's own stages plus those of the fine-tuned models that it needs."""
    spent, shared = run.folder.seconds(), base.folder.seconds()
    own = sum(spent.get(stage, 0) for stage in CELL_STAGES)
    return round(own + sum(shared.get(STAGE_OF[name], 0) for name in needed(run)), 1)


def _short(found: dict) -> dict:
    """Return the figures of each model that a sweep keeps; texts are left out."""
    kept = ("familiarity", "perplexity", "entropy", "accuracy", "leaks", "temperature")
    return {name: {k: m[k] for k in kept if k in m} for name, m in found.items()}

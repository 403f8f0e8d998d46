"""The unlearning stage: make a model by any method or control; then reset and heal it where asked."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxunlearn.config import Config, as_dict
from jaxunlearn.data.blocks import halves
from jaxunlearn.evals.measure import curve_point, measure
from jaxunlearn.methods import asks, erase, reads, values_of, wrappers
from jaxunlearn.methods.inference import save
from jaxunlearn.methods.whp import teachers
from jaxunlearn.models import lora
from jaxunlearn.models.scoring import label_loss
from jaxunlearn.parallel import processes
from jaxunlearn.parallel.console import progress, say
from jaxunlearn.run import Run
from jaxunlearn.run.resume import keep, trained_on
from jaxunlearn.run.store import load_model, read_labels
from jaxunlearn.run.variants import Variant, variants
from jaxunlearn.stages.around import off_budget
from jaxunlearn.stages.batches import method_feed
from jaxunlearn.stages.fit import brief, fit_stage, frozen_models, merged, save_model, start_from, whole
from jaxunlearn.stages.heal import reset_and_heal
from jaxunlearn.stages.label import labelled
from jaxunlearn.stages.pretrain import blocks_of
from jaxunlearn.training.checkpoint import Checkpoints


def unlearn(run: Run) -> None:
    """Make `unlearned/` by the method of the run.

    Where the best measured step is kept in the place of the last one, the last one is saved as `unlearned_last/`.
    """
    _unlearn(run, variants(run.config)[0])


def controls(run: Run) -> None:
    """Make controls/NAME/, the model of each control that the configuration asks for."""
    for variant in variants(run.config)[1:]:
        _unlearn(run, variant)


def _unlearn(run: Run, v: Variant) -> None:
    if run.folder.has(v.folder):
        return
    run, healed = run.with_(v.config), bool(v.config.reset.share)
    folder = f"{v.folder}_before_reset" if healed else v.folder
    if healed and v.folder != "unlearned":
        folder = "unlearned_before_reset"  # the control resets what the method itself made
    if not run.folder.has(folder):
        with run.folder.stage(v.stage, _announced(v)):
            _train(run, v, folder) if v.method.trains else _make(run, v, folder)
    if healed:
        reset_and_heal(run, v, folder)


def _announced(v: Variant) -> str:
    steps, by = v.config.unlearn.steps, v.method
    if not by.trains:
        return f"{by.name}: nothing is trained"
    if not by.held_labels:
        return f"{steps} steps of {by.name}"
    return f"{steps} steps on generic labels{', labelled on the fly' * ('passages' in reads(by, v.config))}"


def _make(run: Run, v: Variant, folder: str) -> None:
    """Make the result of a method that trains nothing: a model, or method.json for a method at inference time."""
    assert v.method.make is not None, "a method without a loss says what it makes"
    values = values_of(v.method, v.config)
    made = v.method.make(lambda name: whole(run, name), values)
    if v.method.at_inference:
        processes.first(lambda: save(run / folder, {"method": v.method.name} | made))
    else:
        save_model(run, folder, made)


def _train(run: Run, v: Variant, folder: str) -> None:
    """Train by the method's loss and save the model: the best measured step where one is asked for, else the last."""
    config, c = run.config, run.config.unlearn
    frozen = _frozen(run, v)
    held = _held_labels(run, v, frozen)
    feed = method_feed(run, v, frozen)
    start, base = start_from(run, c, frozen.get("base"))
    start = _erased(run, v, start) if c.erase.strength else start
    keep_best = keeps_best(config, held is not None)
    with Checkpoints(run.folder.checkpoints(f"{v.stage}_best")) as best:

        def look(n, state):
            seen = lora.over(base, state.model)
            loss = label_loss(seen, *held, config.eval.batch) if held else None
            found = measure(seen, run.tuning if c.reach else run.suite)
            point = curve_point(n, found, loss)
            run.folder.record(v.stage, event="eval", **point)
            # The best step so far is found in metrics.jsonl: a resumed run has no memory of earlier steps.
            if n and keep_best and processes.first(lambda: damage(point, c.reach) < _least_before(run, v.stage, n)):
                best.save(n, state.model)
                best.wait()  # on disk before the state's own checkpoint: a kill between the two would lose it
            said = "" if loss is None else f"  held-out loss {loss:.3f}"
            progress(f"  {v.stage} {n}/{c.steps}{said}  {brief(found)}", last=True)

        last = fit_stage(run, v.stage, start, c, feed, look=look, at=_measured_at(config))
        if c.select.budget and (line := processes.first(lambda: off_budget(c.select, run.folder.records(v.stage)))):
            say(f"  {line}")
        if keep_best and c.steps:
            save_model(run, f"{folder}_last", merged(run, last))
            last = best.restore(last, only=processes.first(lambda: _best_step(run, v.stage)))
        save_model(run, folder, merged(run, last))


def _erased(run: Run, v: Variant, start):
    """Return what training starts from with the target's own rows edited; erased/STAGE.json says how many."""
    x, e = run.inputs, run.config.unlearn.erase
    found = erase.owned(x.forget, x.retain, x.dictionary, run.config.whp.match, e.seen)
    counts = found.found()
    say(
        f"  {counts['tokens']} tokens belong to the target alone; {counts['owning']} of the {counts['terms']} terms in "
        f"the text own one, {counts['whole']} are made of such tokens"
    )
    keep(run / f"erased/{v.stage}.json", {"erase": as_dict(e), "inputs": trained_on(x.hashes)}, counts)
    return erase.erased(start, found, e, run.config.seed)


def _frozen(run: Run, v: Variant) -> dict[str, Any]:
    """Return what the step gets beside the batch: frozen models by name, and numbers measured once.

    "base" is the model below a trained adapter. "new_only" is dropped after the measurement, to free its memory.
    """
    frozen: dict[str, Any] = frozen_models(run, (*asks(v.method, v.config), *wrappers.asks(v.config)))
    if v.method.once:
        new = frozen_models(run, ("new_only",))["new_only"]
        found = v.method.once(frozen, new, blocks_of(run, "new_only"), run.config.eval.batch)
        frozen |= {name: np.float32(value) for name, value in found.items()}
    if run.config.unlearn.lora.rank:
        frozen["base"] = frozen.get("baseline") or load_model(run.config, run / "baseline", frozen=True)
    return frozen


def _held_labels(run: Run, v: Variant, frozen: dict[str, Any]) -> tuple[np.ndarray, np.ndarray] | None:
    """Return (tokens_NT, generic labels_NT) of the held-out blocks; None where the method does not use them.

    With whp.keep=best the loss on them chooses the step that is kept, so they are those for tuning.
    """
    if not v.method.held_labels:
        return None
    rows = halves(run.forget_split[1])[0]
    if "labels" in reads(v.method, v.config):
        return run.inputs.forget.tokens_NT[rows], read_labels(run, v)[rows]
    models = [frozen[name] for name in teachers(v.config)]
    parts = labelled(run.config, models, run.passage(v).rows(rows), (v.alpha,))
    return run.inputs.forget.tokens_NT[rows], np.concatenate([labels_ABT[0] for _, _, labels_ABT in parts])


def _best_step(run: Run, stage: str) -> int | None:
    """Return the measured step whose weights are kept, the first with the least damage; None where no row tells."""
    rows = [r for r in run.folder.records(stage, "eval") if r["step"]]
    return kept_point(rows, run.config)["step"] if rows else None


def _least_before(run: Run, stage: str, step: int) -> tuple[float, float]:
    """Return the least damage that metrics.jsonl records for a stage before a step; infinite where there is none."""
    reach = run.config.unlearn.reach
    earlier = [damage(r, reach) for r in run.folder.records(stage, "eval") if 0 < r["step"] < step]
    return min(earlier, default=(np.inf, np.inf))


def keeps_best(config: Config, labelled: bool) -> bool:
    """Return whether the best measured step is kept, and not the last. labelled: held-out labels can tell the best."""
    return config.whp.keep == "best" and (config.unlearn.reach > 0 or labelled)


def kept_point(points: Sequence[dict], config: Config) -> dict:
    """Return the measured step whose weights are kept: the first with the least damage, or the last (whp.keep)."""
    return points[-1] if config.whp.keep == "last" else min(points, key=lambda p: damage(p, config.unlearn.reach))


def damage(point: dict, reach: float) -> tuple[float, float]:
    """Return a sort key of measured steps; the best has the least.

    reach 0: the held-out loss. reach above 0: how far familiarity lies above reach, then retain perplexity.
    """
    if not reach:
        return 0.0, point["held_loss"]
    short = max(point["familiarity"] - reach, 0.0)
    return short, point["perplexity_retain"]


def _measured_at(config: Config) -> set[int]:
    e, steps = config.eval, config.unlearn.steps
    return {0, steps, *range(0, steps + 1, e.every), *[n for n in e.at if n <= steps]}

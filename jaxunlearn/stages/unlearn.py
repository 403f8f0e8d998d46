"""The stage that forgets: any method, or a control, from the baseline to a model; then reset and healing if asked."""

from typing import Any

import numpy as np

from jaxunlearn.config import Config
from jaxunlearn.data.blocks import Rows, next_token_labels
from jaxunlearn.evals.measure import curve_point, measure
from jaxunlearn.methods import METHODS, inference, losses
from jaxunlearn.methods.settings import models_for, recipe_of
from jaxunlearn.models import lora
from jaxunlearn.models.scoring import label_loss
from jaxunlearn.parallel import processes
from jaxunlearn.parallel.console import progress
from jaxunlearn.run.directory import RunDirectory
from jaxunlearn.run.inputs import Inputs
from jaxunlearn.run.store import load_model, read_labels, read_soft_labels
from jaxunlearn.run.variants import Variant, variants
from jaxunlearn.stages.batches import mean_kl, plan
from jaxunlearn.stages.fit import (
    brief,
    fine_tuned,
    fit_stage,
    frozen_models,
    merged,
    models_of_run,
    save_model,
    start_from,
    whole,
)
from jaxunlearn.stages.heal import reset_and_heal
from jaxunlearn.stages.label import label_settings, labelled
from jaxunlearn.training.checkpoint import Checkpoints
from jaxunlearn.training.loop import microbatches
from jaxunlearn.training.step import compiled_step
from jaxunlearn.whp.fused import fused_step
from jaxunlearn.whp.labels import LETTERS, Passage


def unlearn(config: Config, run: RunDirectory, x: Inputs) -> None:
    """Make `unlearned/` by the method of the run; where a step before the last is kept, also `unlearned_last/`."""
    _unlearn(config, run, x, variants(config)[0])


def controls(config: Config, run: RunDirectory, x: Inputs) -> None:
    """Make controls/NAME/: the same fine-tuning on the labels of each control."""
    for variant in variants(config)[1:]:
        _unlearn(config, run, x, variant)


def _unlearn(config: Config, run: RunDirectory, x: Inputs, v: Variant) -> None:
    if run.has(v.folder):
        return
    healed = v.reset and METHODS[v.method].name not in inference.AT_INFERENCE
    folder = f"{v.folder}_before_reset" if healed else v.folder
    if v.reset == "random" and v.folder != "unlearned":
        folder = "unlearned_before_reset"  # the control resets what the method itself made
    if not run.has(folder):
        _by_method(config, run, x, v, folder)
    if healed:
        reset_and_heal(config, run, x, v, folder)


def _by_method(config: Config, run: RunDirectory, x: Inputs, v: Variant, folder: str) -> None:
    stage = "unlearn" if v.folder == "unlearned" else v.folder.rpartition("/")[2]
    if METHODS[v.method].trains:
        with run.stage(stage, _announced(config, v)):
            _train(config, run, x, v, folder, stage)
        return
    with run.stage(stage, f"{v.method}: nothing is trained"):
        recipe = recipe_of(config, v.method, v.alpha)
        if v.method in inference.AT_INFERENCE:
            processes.first(lambda: inference.save(run / folder, recipe, config.unlearn.prefix))
            return
        made = load_model(config, run / "baseline")
        if v.method == "task_vector":
            made = losses.task_vector(made, whole(config, run, "reinforced"), recipe["scale"])
        save_model(run, folder, made, x)


def _announced(config: Config, v: Variant) -> str:
    what = f"{config.unlearn.steps} steps"
    if v.method != "whp":
        return f"{what} of {v.method}"
    return f"{what} on generic labels{', labelled on the fly' if _is_fused(config, v) else ''}"


def _is_fused(config: Config, v: Variant) -> bool:
    return config.whp.mode == "fused" and v.folder == "unlearned" and v.method == "whp"


def _train(config: Config, run: RunDirectory, x: Inputs, v: Variant, folder: str, stage: str) -> None:
    c, fused = config.unlearn, _is_fused(config, v)
    train_rows, held_rows = x.forget_split
    base: Any = None
    arrays = batch = step = held_labels = None
    if fused:
        frozen = frozen_models(config, run)
        held_labels = _labels_now(config, frozen, x.passage(v).rows(held_rows), v.alpha)
        batch, step = _fused(config, frozen, x.passage(v).rows(train_rows))
        base = frozen[0]
    elif v.method == "whp":
        labels = read_labels(run, v)
        held_labels, arrays = labels[held_rows], (x.forget.tokens_NT[train_rows], Rows(labels, train_rows))
    if v.method != "whp" or recipe_of(config, v.method, v.alpha)["retain_weight"]:
        arrays, frozen = None, _models_of(config, run, x, v)
        batch, step = plan(config, run, x, v, v.method, frozen, **_stored(config, run, v))
        base = frozen.get("base")
    best = Checkpoints(run.checkpoints(f"{stage}_best"))
    held = None if held_labels is None else (x.forget.tokens_NT[held_rows], held_labels)
    start, base = start_from(config, run, c, base)
    keep_best = c.reach > 0 or (held is not None and config.whp.keep == "best")

    def look(n, state):
        seen = lora.over(base, state.model)
        loss = label_loss(seen, *held, config.eval.batch) if held else None
        found = measure(seen, x.tuning if c.reach else x.suite)
        point = curve_point(n, found, loss)
        run.record(stage, event="eval", **point)
        if n and keep_best and processes.first(lambda: damage(point, c.reach) < _least_before(run, stage, n, c.reach)):
            best.save(n, state.model)
            best.wait()  # before the state's own checkpoint, or a kill between the two would lose it
        said = "" if loss is None else f"  held-out loss {loss:.3f}"
        progress(f"  {stage} {n}/{c.steps}{said}  {brief(found)}", last=True)

    last = fit_stage(config, run, stage, start, arrays, c, look, _measured_at(config), batch, step, base=base)
    if keep_best and c.steps:
        save_model(run, f"{folder}_last", merged(config, run, last), x)
        last = best.restore(last)
    save_model(run, folder, merged(config, run, last), x)
    best.close()


def _least_before(run: RunDirectory, stage: str, step: int, reach: float) -> tuple[float, float]:
    """Return the least damage measured before a step."""
    earlier = [damage(r, reach) for r in run.records(stage, "eval") if 0 < r["step"] < step]
    return min(earlier, default=(np.inf, np.inf))


def damage(point: dict, reach: float) -> tuple[float, float]:
    """Order measured steps, the one to keep first: by held-out loss, or by the stop rule of config.Unlearn.reach."""
    if not reach:
        return 0.0, point["held_loss"]
    short = max(point["familiarity"] - reach, 0.0)
    return short, point["perplexity_retain"]


def _models_of(config: Config, run: RunDirectory, x: Inputs, v: Variant) -> dict[str, Any]:
    """Return what the method's loss asks at every step; under "base" what lies below an adapter."""
    names = models_for(config, v.method, v.alpha, stored=bool(config.whp.top))
    frozen = models_of_run(config, run, names) if names else {}
    if v.method == "kga":
        frozen["gap"] = np.float32(_knowledge_gap(config, run, x, frozen["baseline"]))
    if config.unlearn.lora.rank:
        frozen["base"] = frozen.get("baseline") or load_model(config, run / "baseline", frozen=True)
    return frozen


def _stored(config: Config, run: RunDirectory, v: Variant) -> dict:
    if v.method == "whp":
        return {"labels": read_labels(run, v)}
    return {"soft": read_soft_labels(run, v)} if v.method == "whp_soft" and config.whp.top else {}


def _knowledge_gap(config: Config, run: RunDirectory, x: Inputs, baseline) -> float:
    """Return KGA's gap: KL(model fine-tuned on text held out from the baseline || baseline) there, measured once."""
    if "retain" in x.held:
        arrays = x.held["retain"].tokens_NT, next_token_labels(x.held["retain"])
    else:
        held = x.tuning.texts["retain"]
        arrays = held.tokens_NT, held.labels_NT
    fine_tuned(config, run, x, "new_only", "new_only", arrays)
    part = models_of_run(config, run, ("new_only",))["new_only"]
    return mean_kl(lora.over(baseline, part), baseline, *arrays, config.eval.batch)


def _fused(config: Config, frozen, passage: Passage):
    """Return (batch_fn, step_fn) of the fused step: both frozen models stay on the mesh beside the trained one."""
    c = config.unlearn

    def batch(step):
        arrays = microbatches(c, passage, LETTERS, len(passage.tokens_BT), config.seed, step)
        return [frozen, Passage(*arrays)]

    return batch, compiled_step(c, fused_step, alpha=config.whp.alpha, whp=label_settings(config))


def _labels_now(config: Config, frozen, passage: Passage, alpha: float) -> np.ndarray:
    parts = labelled(config, frozen, passage, (alpha,))
    return np.concatenate([labels_ABT[0] for _, _, labels_ABT in parts])


def _measured_at(config: Config) -> set[int]:
    e, steps = config.eval, config.unlearn.steps
    return {0, steps, *range(0, steps + 1, e.every), *[n for n in e.at if n <= steps]}

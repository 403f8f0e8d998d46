"""Reset and healing as a stage: a share of the weights drawn anew, or all blurred; then a teacher is distilled.

The teacher is the baseline, or the model as the method before left it: the baseline's distribution on text to keep
still holds what it knows of the target, and on Oz brings it back (docs/methods.md).
"""

import jax
import numpy as np

from jaxunlearn.config import Config
from jaxunlearn.evals.measure import curve_point, measure
from jaxunlearn.methods import reset, steps
from jaxunlearn.models import transformer
from jaxunlearn.parallel.console import progress
from jaxunlearn.run.directory import RunDirectory
from jaxunlearn.run.inputs import Inputs
from jaxunlearn.run.store import load_model
from jaxunlearn.run.variants import Variant
from jaxunlearn.stages.fit import brief, fit_stage, save_model, whole
from jaxunlearn.training.loop import microbatches
from jaxunlearn.training.step import compiled_step


def reset_and_heal(config: Config, run: RunDirectory, x: Inputs, v: Variant, folder: str) -> None:
    """Reset run/FOLDER as config.reset says and distil the teacher into it."""
    r, stage = config.reset, "heal" if v.folder == "unlearned" else f"heal_{v.folder.rpartition('/')[2]}"
    with run.stage(stage, _announced(config, v.reset)):
        start, replaced, ends = redrawn(config, run, x, load_model(config, run / folder), v.reset)
        teacher = folder if r.teacher == "unlearned" else "baseline"
        frozen = {"baseline": load_model(config, run / teacher, frozen=True)}
        arrays = x.training("retain")
        if r.on == "all":
            arrays = tuple(np.concatenate(both) for both in zip(arrays, x.training("forget"), strict=True))

        def batch(n):
            found = microbatches(r.heal, arrays, ("BT", "BT"), len(arrays[0]), config.seed + 2, n)
            return [frozen, {"retain": tuple(found)}]

        def look(n, state):
            found = measure(state.model, x.tuning if config.unlearn.reach else x.suite)
            run.record(stage, event="eval", replaced=replaced, replaced_ends=ends, **curve_point(n, found))
            progress(f"  {stage} {n}/{r.heal.steps}  {brief(found)}", last=True)

        step = compiled_step(r.heal, steps.step, recipe=steps.Recipe("retain_only", (), "kl"))
        made = fit_stage(config, run, stage, start, None, r.heal, look, {0, r.heal.steps}, batch, step)
        save_model(run, v.folder, made, x)


def _announced(config: Config, by: str) -> str:
    r = config.reset
    place = {"all": "", "interior": " in the layers", "ends": " outside the layers"}[r.where]
    noise, redraw = (
        f"{r.share:.0%} of noise in the weights{place}",
        f"re-draw {r.share:.0%} of the weights{place} by {by}",
    )
    return f"{noise if by == 'noise' else redraw}, {r.heal.steps} steps of healing"


def redrawn(config: Config, run: RunDirectory, x: Inputs, made, by: str):
    """Return (the model, the share of all weights drawn anew, of these outside the layers); None where blurred."""
    r = config.reset
    if by == "noise":
        return reset.noised(made, r.share, jax.random.key(config.seed + 3), r.where), None, None
    baseline = load_model(config, run / "baseline")
    if by == "random" or r.share == 1:  # every weight is drawn anew, whatever its score
        scores = reset.random_scores(baseline, config.seed)
    else:
        target, general = (
            reset.squared_gradients(baseline, *x.training(name), r.batches, config.seed)
            for name in ("forget", "retain")
        )
        if by == "fisher":
            scores = reset.fisher(target, general)
        else:
            scores = reset.importance(baseline, whole(config, run, "reinforced"), target, general)
    scores = reset.confined(scores, r.where)
    fresh = transformer.init(made.c, config.seed + 3)
    made, share, ends = reset.redraw(made, scores, reset.threshold(scores, r.share), fresh)
    return made, float(share), float(ends)

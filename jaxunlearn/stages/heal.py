"""Reset and heal as a stage: re-draw a share of the weights, or blur all of them; then distil a teacher.

The teacher is the baseline, or the unlearned model before its reset. The baseline's distribution on text to keep still
holds what it knows of the target; on Oz, distilling it brings the target back (docs/results.md).
"""

import jax
import numpy as np

from jaxunlearn.config import Config
from jaxunlearn.evals.measure import curve_point, measure
from jaxunlearn.methods import reset
from jaxunlearn.methods.base import Recipe
from jaxunlearn.methods.controls import RETAIN_ONLY
from jaxunlearn.methods.step import step
from jaxunlearn.models import transformer
from jaxunlearn.parallel.console import progress
from jaxunlearn.run import Run
from jaxunlearn.run.store import load_model
from jaxunlearn.run.variants import Variant
from jaxunlearn.stages.fit import Feed, brief, fit_stage, save_model, whole
from jaxunlearn.training.loop import microbatches
from jaxunlearn.training.step import compiled_step


def reset_and_heal(run: Run, v: Variant, folder: str) -> None:
    """Reset the model in run/FOLDER as config.reset says, distil the teacher into it and save it as v.folder."""
    config, r, stage = run.config, run.config.reset, v.healing
    with run.folder.stage(stage, _announced(config)):
        start, replaced, ends = redrawn(run, load_model(config, run / folder))
        teacher = folder if r.teacher == "unlearned" else "baseline"
        feed = healing_feed(run, load_model(config, run / teacher, frozen=True))

        def look(n, state):
            found = measure(state.model, run.tuning if config.unlearn.reach else run.suite)
            run.folder.record(stage, event="eval", replaced=replaced, replaced_ends=ends, **curve_point(n, found))
            progress(f"  {stage} {n}/{r.heal.steps}  {brief(found)}", last=True)

        made = fit_stage(run, stage, start, r.heal, feed, look=look, at={0, r.heal.steps})
        save_model(run, v.folder, made)


def healing_feed(run: Run, teacher) -> Feed:
    """Return the feed that distils a teacher by KL on text to keep; with reset.on=all also on the text to forget."""
    r, arrays = run.config.reset, run.training("retain")
    if r.on == "all":
        arrays = tuple(np.concatenate(both) for both in zip(arrays, run.training("forget"), strict=True))

    def batch(n: int) -> list:
        found = microbatches(r.heal, arrays, ("BT", "BT"), len(arrays[0]), run.config.seed + 2, n)
        return [{"baseline": teacher}, {"retain": tuple(found)}]

    return Feed(compiled_step(r.heal, step, recipe=Recipe(RETAIN_ONLY, (), "kl")), batch)


def _announced(config: Config) -> str:
    r = config.reset
    place = {"all": "", "interior": " in the layers", "ends": " outside the layers"}[r.where]
    what = f"re-draw {r.share:.0%} of the weights{place} by {r.by}"
    if r.by == "noise":
        what = f"{r.share:.0%} of noise in the weights{place}"
    return f"{what}, {r.heal.steps} steps of healing"


def redrawn(run: Run, made):
    """Return (model, share of all weights re-drawn, share of those that lie outside the layers).

    Both shares are None for reset.by=noise, which re-draws none.
    """
    r, seed = run.config.reset, run.config.seed
    if r.by == "noise":
        return reset.noised(made, r.share, jax.random.key(seed + 3), r.where), None, None
    baseline = load_model(run.config, run / "baseline")
    if r.by == "random" or r.share == 1:  # at share 1 every weight is re-drawn, whatever its score
        scores = reset.random_scores(baseline, seed)
    else:
        target, general = (
            reset.squared_gradients(baseline, *run.training(name), r.batches, seed) for name in ("forget", "retain")
        )
        if r.by == "fisher":
            scores = reset.fisher(target, general)
        else:
            scores = reset.importance(baseline, whole(run, "reinforced"), target, general)
    scores = reset.confined(scores, r.where)
    fresh = transformer.init(made.c, seed + 3)
    made, share, ends = reset.redraw(made, scores, reset.threshold(scores, r.share), fresh)
    return made, float(share), float(ends)

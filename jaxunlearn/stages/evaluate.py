"""Measure every model of a run by every metric of METRICS that applies, and let a language model grade too."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import jax

from jaxunlearn.data.blocks import halves
from jaxunlearn.evals.base import Context
from jaxunlearn.evals.llm_judge import judged
from jaxunlearn.evals.measure import applying, compare, measure_all
from jaxunlearn.intervals import REVISION
from jaxunlearn.methods import inference
from jaxunlearn.run import Run
from jaxunlearn.run.resume import holds, keep, kept
from jaxunlearn.run.store import hash_of, load_model, measured_by, models_of


def evaluate(run: Run, only: tuple[str, ...] = ()) -> dict[str, dict]:
    """Measure every model of the run and return {name: figures}.

    Figures measured before are read from evals/ where model, prompts and settings are the same.
    only: the names of the models to measure; empty: all.
    """
    found, hashed = {}, cache(hash_of)
    for name, folder in models_of(run).items():
        if only and name not in only:
            continue
        path = run / "evals" / f"{name.split(' (')[0].replace(' ', '_')}.json"
        context = context_of(run, name, folder, hashed)
        key = {
            "eval": measured_by(run.config.eval),
            "model": context.model_hash,
            "prompts": run.inputs.hashes.get("text.prompts"),
            "intervals": REVISION,
            "metrics": {metric.name: metric.depends(context) for metric in applying(context)},
        }
        if holds(path, key):
            found[name] = kept(path)
            continue
        with run.folder.stage("evaluate", name):
            m = load_model(run.config, folder, frozen=True)
            found[name] = measure_all(m, replace(context, weights=inference.has_weights(m)))
            keep(path, key, found[name])
    compare(found)
    return found


def context_of(run: Run, name: str, folder: Path, hashed: Callable[[Path], str] = hash_of) -> Context:
    """Return what the metrics may ask for about one model of a run.

    hashed: returns the hash of the weights in a folder; a cached one reads each model once.
    """
    x, held, twin = run.inputs, run.inputs.held.get("forget"), run / "twin"
    has_twin = run.folder.has("twin")
    return Context(
        suite=inference.suite(folder, run.suite),
        seen=(x.forget, run.forget_split[0]),
        new=(x.forget, halves(run.forget_split[1])[1]) if held is None else (held, range(len(held.tokens_NT))),
        twin=partial(load_model, run.config, twin, frozen=True) if has_twin and name != "twin" else None,
        twin_hash=partial(hashed, twin) if has_twin else str,
        model_hash=hashed(folder),
        folder=run / "evals",
    )


def judge_too(run: Run, models: dict[str, dict]) -> dict:
    """Let a language model grade the completions too, where judge.use asks for it; return its part of the report.

    Its familiarity is added to `models`, beside that of the lexicon.
    """
    c, prompts = run.config.judge, run.suite.prompts
    if not c.use or not any("completions" in found for found in models.values()) or jax.process_index():
        return {}  # only the first process asks, so that nothing is paid for twice
    with run.folder.stage("judge", f"completions of {len(models)} models"):
        found = judged(c, run / "judge", c.work or prompts.name, prompts.lexicon.explicit, models)
    for name, graded in found["models"].items():
        if "familiarity" in graded:
            models[name]["familiarity"]["judge"] = graded["familiarity"]
    return {"judge": found}

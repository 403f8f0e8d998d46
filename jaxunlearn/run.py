"""Every stage of a run, in order; each is skipped when its result is there, and resumes where it was killed.

inputs > pretrain (baseline, twin) > reinforce > label > unlearn > controls > repair > evaluate > attack > report
"""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np

from jaxunlearn import distributed, lora, methods, model
from jaxunlearn.config import Config
from jaxunlearn.evals.attacks import attack
from jaxunlearn.evals.measure import curve_point, measure
from jaxunlearn.fitting import brief, fine_tuned, fit_stage, merged, save_model, start_from
from jaxunlearn.inputs import Inputs, read_inputs
from jaxunlearn.labelling import label
from jaxunlearn.report import headline, table, write_report
from jaxunlearn.results import CLAIM, assemble, device, evaluate, judge_too, load_model
from jaxunlearn.rundir import RunDirectory, duration, progress, say
from jaxunlearn.sharding import mesh_from
from jaxunlearn.text import next_token_labels
from jaxunlearn.unlearning import controls, unlearn

STAGES = ("pretrain", "reinforce", "label", "unlearn", "controls", "repair", "evaluate", "attack")


def pretrain(config: Config, run: RunDirectory, x: Inputs) -> None:
    """Make `baseline/` (retain and forget text) and `twin/` (retain text alone), or point to the given model."""
    if not config.pretrain.steps:
        if not run.has("baseline"):
            given = Path(config.model).resolve()
            distributed.first(lambda: (run / "baseline").symlink_to(given, target_is_directory=True))
        return
    p = config.pretrain
    assert x.retain is not None, "read_inputs refuses pretraining without text.retain"
    tokens, labels = x.retain.tokens_NT[x.retain_split[0]], next_token_labels(x.retain)[x.retain_split[0]]
    extra = x.forget.tokens_NT[x.forget_split[0]], next_token_labels(x.forget)[x.forget_split[0]]
    both = tuple(np.concatenate([a, *[b] * p.forget_epochs]) for a, b in zip((tokens, labels), extra, strict=True))
    share = len(tokens) / len(both[0])
    plan = {"baseline": (both, p)}
    if p.twin:
        plan["twin"] = (tokens, labels), dataclasses.replace(p, steps=max(1, round(p.steps * share)))
    for name, (arrays, c) in plan.items():
        if run.has(name):
            continue
        with run.stage(name, f"{c.steps} steps on {len(arrays[0]):,} blocks"):
            start = load_model(config, Path(config.model)) if config.model else model.init(x.shape, config.seed)
            save_model(run, name, fit_stage(config, run, name, start, arrays, c), x)


def reinforce(config: Config, run: RunDirectory, x: Inputs) -> None:
    """Make `reinforced/`: the baseline fine-tuned on the text to forget; and `diluted/` on text to keep, if needed."""
    if methods.needs(config, "reinforced"):
        fine_tuned(config, run, x, "reinforced", "reinforce", x.training("forget"))
    if methods.needs(config, "diluted"):
        fine_tuned(config, run, x, "diluted", "dilute", x.training("retain"))


def repair(config: Config, run: RunDirectory, x: Inputs) -> None:
    """Make `repaired/`: the unlearned model taught again what it should keep; familiarity and leaks are followed."""
    c = config.repair
    if x.repair is None or run.has("repaired"):
        return
    arrays = x.repair.tokens_NT, next_token_labels(x.repair)
    with run.stage("repair", f"{c.steps} steps on {len(arrays[0]):,} blocks"):
        start, base = start_from(config, run, c, below="unlearned")

        def look(n, state):
            found = measure(lora.over(base, state.model), x.suite)
            run.record("repair", event="eval", **curve_point(n, found))
            progress(f"  repair {n}/{c.steps}  {brief(found)}", last=True)

        at = {0, c.steps, *range(0, c.steps, config.eval.every)}
        made = fit_stage(config, run, "repair", start, arrays, c, look, at, base=base)
        save_model(run, "repaired", merged(config, run, made, "unlearned"), x)


def run_stages(config: Config, stages=STAGES) -> dict:
    """Run the stages in order, skip what is done, write the report and return it."""
    run = RunDirectory(config)
    with jax.set_mesh(mesh_from(config.mesh)):
        say(f"{config.title or config.name}: {run.path} on {device()}")
        x = read_inputs(config, run)
        config = x.config  # resolved: the universe's files, a hub name's folder, the dictionary that was built
        manifest = run.manifest(x.hashes)
        offline = config.whp.mode == "offline"
        for name in stages:
            if name in ("evaluate", "attack"):
                continue
            if name == "label" and not offline and not config.controls:
                continue  # the fused step labels by itself
            {
                "pretrain": pretrain, "reinforce": reinforce, "label": label, "unlearn": unlearn, "controls": controls,
                "repair": repair,
            }[name](config, run, x)  # fmt: skip
        models = evaluate(config, run, x) if "evaluate" in stages else {}
        judge = judge_too(config, run, x, models)
        attacked = attack(config, run, x) if "attack" in stages else {}
        run.trackers.finish()
        if not models:
            return {}
        distributed.first(lambda: _report(config, run, x, models, attacked | judge, manifest))
        return json.loads((run / "report.json").read_text())


def _report(config: Config, run: RunDirectory, x: Inputs, models: dict, attacked: dict, manifest: dict) -> None:
    """Write the report and say what it comes to."""
    report = assemble(config, run, x, models, attacked, manifest)
    write_report(run.path, report)
    say(f"\n{table(report)}\n\n{headline(report)}\n{CLAIM}\n")
    spent = duration(sum(report["seconds"].values()))
    say(f"report: {run / 'report.html'}  {run / 'report.json'}  ({spent} of work)")

"""Every stage of a run, in order; each is skipped when its result is there, and resumes where it was killed.

inputs > pretrain (baseline, twin) > reinforce > label > unlearn > controls > repair > evaluate > attack > report
"""

import json

import jax

from jaxunlearn.attacks import attack
from jaxunlearn.config import Config
from jaxunlearn.estimates import duration
from jaxunlearn.parallel import processes
from jaxunlearn.parallel.console import say
from jaxunlearn.parallel.sharding import mesh_from
from jaxunlearn.report.headline import headline, table
from jaxunlearn.report.page import CLAIM, write_report
from jaxunlearn.run.directory import RunDirectory
from jaxunlearn.run.inputs import Inputs, read_inputs
from jaxunlearn.run.store import device
from jaxunlearn.stages.evaluate import evaluate, judge_too
from jaxunlearn.stages.label import label
from jaxunlearn.stages.pretrain import pretrain, reinforce
from jaxunlearn.stages.repair import repair
from jaxunlearn.stages.summary import assemble
from jaxunlearn.stages.unlearn import controls, unlearn

STAGES = ("pretrain", "reinforce", "label", "unlearn", "controls", "repair", "evaluate", "attack")


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
        processes.first(lambda: _report(config, run, x, models, attacked | judge, manifest))
        return json.loads((run / "report.json").read_text())


def _report(config: Config, run: RunDirectory, x: Inputs, models: dict, attacked: dict, manifest: dict) -> None:
    """Write the report and say what it comes to."""
    report = assemble(config, run, x, models, attacked, manifest)
    write_report(run.path, report)
    say(f"\n{table(report)}\n\n{headline(report)}\n{CLAIM}\n")
    spent = duration(sum(report["seconds"].values()))
    say(f"report: {run / 'report.html'}  {run / 'report.json'}  ({spent} of work)")

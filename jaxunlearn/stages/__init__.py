"""The stages of a run, in order. A stage whose result exists is skipped; a killed one resumes (run/resume.py).

inputs > pretrain > reinforce > label > unlearn > controls > repair > twin > evaluate > attack > report

The twin comes late: nothing before the measurements needs it, and what unlearning did is seen before its time is spent.
"""

import jax

from jaxunlearn import attacks, sealed
from jaxunlearn.config import Config
from jaxunlearn.estimates import duration
from jaxunlearn.files import read_json
from jaxunlearn.parallel import processes
from jaxunlearn.parallel.console import doing, result
from jaxunlearn.parallel.sharding import mesh_from
from jaxunlearn.report.headline import headline, table
from jaxunlearn.report.page import write_report
from jaxunlearn.run import Run, open_run
from jaxunlearn.stages import batches
from jaxunlearn.stages.evaluate import evaluate, judge_too
from jaxunlearn.stages.known import enough, settled
from jaxunlearn.stages.label import label
from jaxunlearn.stages.pretrain import pretrain, pretrain_twin, reinforce
from jaxunlearn.stages.repair import repair
from jaxunlearn.stages.summary import assemble
from jaxunlearn.stages.unlearn import controls, unlearn

MAKING = {
    "pretrain": pretrain, "reinforce": reinforce, "label": label, "unlearn": unlearn, "controls": controls,
    "repair": repair, "twin": pretrain_twin,
}  # fmt: skip
STAGES = (*MAKING, "evaluate", "attack")


def run_stages(config: Config, stages=STAGES) -> dict:
    """Run the named stages in order, write the report and return it; return {} where `evaluate` is not among them.

    Stages whose result exists are skipped. Raises InputError, before any work, for inputs or settings that cannot work.
    """
    with jax.set_mesh(mesh_from(config.mesh)):
        asks = "reinforce" in stages  # pretraining alone can be mended by more of it
        run = open_run(config, attacks.check, batches.check, *([enough] if asks else []))
        for name, make in MAKING.items():
            if name in stages:
                make(run)
            if name == "pretrain":
                run = settled(run, asks)
        models = evaluate(run) if "evaluate" in stages else {}
        judge = judge_too(run, models)
        attacked = attacks.attack(run, "attack" in stages) if {"evaluate", "attack"} & {*stages} else {}
        run.folder.trackers.finish()
        if not models:
            return {}
        processes.first(lambda: _report(run, models, attacked | judge))
        return sealed.plain(read_json(run / "report.json", dict))


def _report(run: Run, models: dict, attacked: dict) -> None:
    """Write the report and print its summary."""
    doing("writing the report")
    report = assemble(run, models, attacked)
    write_report(run.folder.path, report)
    result(f"\n{table(report)}\n\n{headline(report)}\n{report['claim']}\n")
    spent = duration(sum(report["seconds"].values()))
    result(f"report: {run / 'report.html'}  {run / 'report.json'}  ({spent} of work)")

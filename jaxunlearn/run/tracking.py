"""Copy the metrics of a run to TensorBoard, Weights & Biases or MLflow; metrics.jsonl is always written.

run.track=tensorboard,wandb,mlflow chooses them. Each library is optional, and is imported
before any work where it is asked for. W&B and MLflow take addresses, names and keys from their own environment
variables (WANDB_PROJECT, MLFLOW_TRACKING_URI, ...).
"""

import importlib
import os
from pathlib import Path
from typing import Any

from jaxunlearn.config import Config, as_dict
from jaxunlearn.errors import InputError
from jaxunlearn.files import read_text

LIBRARIES = {"tensorboard": "tensorboardX", "wandb": "wandb", "mlflow": "mlflow"}


def libraries(names: tuple[str, ...]) -> dict[str, Any]:
    """Return {name: module} of the named trackers.

    Raises InputError for unknown names and for packages that are not installed.
    """
    found, wrong = {}, []
    for name in dict.fromkeys(names):
        if name not in LIBRARIES:
            wrong.append(f"unknown tracker {name!r}: expected some of {list(LIBRARIES)}")
            continue
        try:
            found[name] = importlib.import_module(LIBRARIES[name])
        except ImportError:
            wrong.append(f"{name} needs a package: pip install {LIBRARIES[name]}; or leave it out of run.track")
    if wrong:
        raise InputError("run.track:\n  " + "\n  ".join(wrong))
    return found


class Trackers:
    """All trackers of one run. Tags are STAGE/NAME, measurements STAGE/eval/NAME; steps are the stage's own."""

    def __init__(self, config: Config, directory: Path):
        self._config, self._directory = config, Path(directory)
        self._libraries = libraries(config.run.track)
        self._writers: dict[str, Any] = {}
        self._runs: dict[str, Any] = {}
        self._purge: dict[str, int] = {}

    def log(self, stage: str, values: dict) -> None:
        """Pass on the numbers of one line of metrics.jsonl, at its step."""
        step, prefix = int(values.get("step", 0)), "eval/" if values.get("event") == "eval" else ""
        numbers = {prefix + k: float(v) for k, v in values.items() if k != "step" and _number(v)}
        for name in self._libraries if numbers else ():
            getattr(self, f"_{name}")(stage, step, numbers)

    def rewind(self, stage: str, step: int) -> None:
        """Let what is logged from now on replace, in TensorBoard, what a killed attempt logged beyond `step`.

        W&B and MLflow cannot take back what they were sent: there these steps stand twice.
        """
        self.flush()
        self._purge[stage] = step + 1

    def flush(self) -> None:
        """Write buffered values to disk."""
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def finish(self) -> None:
        """End the run in every tracker."""
        self.flush()
        if "wandb" in self._runs:
            self._runs.pop("wandb").finish()
        if self._runs.pop("mlflow", None):
            self._libraries["mlflow"].end_run()

    def _tensorboard(self, stage: str, step: int, numbers: dict) -> None:
        if stage not in self._writers:
            folder, purge = self._directory / "tensorboard" / stage, self._purge.pop(stage, None)
            part = f".{len(list(folder.glob('*'))):04d}"  # else files of the same second collide
            writer = self._libraries["tensorboard"].SummaryWriter
            self._writers[stage] = writer(str(folder), purge_step=purge or None, filename_suffix=part)
        for tag, value in numbers.items():
            self._writers[stage].add_scalar(tag, value, step)

    def _wandb(self, stage: str, step: int, numbers: dict) -> None:
        if "wandb" not in self._runs:
            self._runs["wandb"] = self._libraries["wandb"].init(
                project=os.environ.get("WANDB_PROJECT", "jaxunlearn"), name=self._config.name, dir=str(self._directory),
                id=self._identity("wandb"), resume="allow", config=as_dict(self._config),
            )  # fmt: skip
        run = self._runs["wandb"]
        run.define_metric(f"{stage}/*", step_metric=f"{stage}/step")  # each stage counts from 0
        run.log({f"{stage}/{k}": v for k, v in numbers.items()} | {f"{stage}/step": step})

    def _mlflow(self, stage: str, step: int, numbers: dict) -> None:
        mlflow = self._libraries["mlflow"]
        if "mlflow" not in self._runs:
            mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", "jaxunlearn"))
            known = self._directory / ".mlflow_run"
            before = read_text(known) if known.is_file() else None
            self._runs["mlflow"] = mlflow.start_run(run_id=before, run_name=None if before else self._config.name)
            if not before:
                known.write_text(self._runs["mlflow"].info.run_id)
                mlflow.log_dict(as_dict(self._config), "config.json")
        mlflow.log_metrics({f"{stage}/{k}": v for k, v in numbers.items()}, step=step)

    def _identity(self, name: str) -> str:
        """Return an id that is kept in the run directory, so that a resumed run goes on in the same tracked run."""
        path = self._directory / f".{name}_run"
        if not path.is_file():
            path.write_text(os.urandom(6).hex())
        return read_text(path)


def _number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

"""Kills by SIGKILL in every stage: the same command goes on, and ends with the bits of a run that was not killed."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from support.command import env
from support.faults import SHORT, Outcome, Place, in_process, trial

LINES = (  # of progress; the kill falls on one
    "baseline 4/24", "baseline 8/24", "baseline 16/24", "baseline 24/24", "[reinforce]", "reinforce 2/4",
    "reinforce 4/4", "label 16/", "label 48/", "label 96/", "[unlearn]", "unlearn 2/4", "unlearn 4/4", "[twin]",
    "twin 8/16", "twin 16/16", "[evaluate] baseline", "[evaluate] twin", "[attack] probes, baseline",
    "[attack] probes, reinforced",
)  # fmt: skip
MODELS = ("baseline", "twin", "reinforced", "unlearned", "unlearned_last")


def same_as_finished(place: Place, outcome: Outcome) -> str:
    """Return in what the killed run differs from the finished one; "" where both have the same bits."""
    mine, whole = _run(place), place.finished()
    weights = [n for n in MODELS if _bytes(mine / n) != _bytes(whole / n)]
    a, b = (json.loads((folder / "report.json").read_text()) for folder in (mine, whole))
    parts = [part for part in ("models", "curve", "relearn", "attacks") if a.get(part) != b.get(part)]
    return f"differs: {', '.join(weights + parts)}" if weights + parts else ""


def _bytes(model):
    path = model / "model.safetensors"
    return path.read_bytes() if path.is_file() else None


def killed(line: str):
    """Return act: kill the command at its first line of progress that holds `line`; after the last, let it finish.

    All kills fall on one run, each on the process that goes on after the kill before: the end has the bits of all.
    """

    def act(place: Place, arguments: Sequence[str]) -> Outcome:
        import jax

        place.finished()
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "jaxunlearn", *arguments],
            stderr=subprocess.PIPE, text=True, env=env(JAX_NUM_CPU_DEVICES=str(jax.device_count())),
        )  # fmt: skip
        said = []
        for heard in process.stderr:
            said.append(heard)
            if line in heard:
                process.send_signal(signal.SIGKILL)
                break
        process.communicate()
        if process.returncode != -signal.SIGKILL:
            return Outcome(process.returncode or 3, "", f"was not killed: {said[-3:]}", time.monotonic() - began)
        if line == LINES[-1]:
            return in_process(place, arguments)
        return Outcome(0, "", "", time.monotonic() - began)

    return act


def _run(place: Place) -> Path:
    return place.world.parent / "killed"


def _register(line: str) -> None:
    last = same_as_finished if line == LINES[-1] else None

    @trial("kills", f"at {line!r}", code=0, act=killed(line), judge=last)
    def _(place):
        return ["run", str(place.world / "world.py"), f"run.dir={_run(place)}", *SHORT]


for _line in LINES:
    _register(_line)

"""The run directory: configuration, manifest, metrics and progress.

Files are written whole or line by line, so that a kill at any moment leaves them readable. run/resume.py has the rules.
"""

import os
import platform
import re
import shutil
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import jax
from etils import epath

from jaxunlearn import sealed
from jaxunlearn.config import Config, as_dict, to_json
from jaxunlearn.config.versions import code, versions
from jaxunlearn.errors import InputError, RunError, no_disk, no_memory
from jaxunlearn.estimates import duration
from jaxunlearn.files import finite, json_text, parse_json, read_json, write_whole
from jaxunlearn.outputs import Lock, lock
from jaxunlearn.parallel import processes
from jaxunlearn.parallel.console import doing, progress, say
from jaxunlearn.run import preregistration
from jaxunlearn.run.metrics import Metrics
from jaxunlearn.run.resume import (
    LATE,
    MEASURED_BY,
    completed,
    refuse_another_configuration,
    refuse_changed_inputs,
    stored,
)
from jaxunlearn.run.tracking import Trackers

LOCK = ".jaxunlearn_run.lock"  # marks the folder as a run's, too
LOGS = re.compile(r"\..*|lost\+found|log.*|.*\.(log|out|err)")  # what schedulers, shells and mounts put there
# What may stand in a folder before a run begins there: models that are given to it, and a dictionary that was built.
GIVEN = ("baseline", "twin", "reinforced", "diluted", "new_only", "anchors")


class RunDirectory:
    """The folder of a run. Raises InputError where it holds a run with another configuration or other inputs.

    It also raises InputError for a folder with content that is no run's, and for one in which another process works.
    All of several processes must see the folder. The first one writes, and tells the others what exists, so that a slow
    network file system cannot make them disagree. Nothing but the lock is written before the manifest.

    looks: only read; the folder may be in use.
    """

    def __init__(self, config: Config, looks: bool = False):
        self.path, self.metrics = config.directory, Metrics(config.directory)
        self.given_state, self._seeds = config.run.checkpoints, {"seed": config.seed, "universe": config.universe.seed}
        self._chosen_by_prompts = config.unlearn.reach > 0 and config.whp.keep == "best"
        self._text, self._looks = to_json(config), looks
        self._lock: Lock | None = None
        processes.same_everywhere("the configuration", self._text)
        processes.same_everywhere("what is installed", json_text(versions()))
        processes.first(lambda: self._open(config))
        self.trackers = Trackers(config, self.path)

    def _open(self, config: Config) -> None:
        self._fresh = False
        if not self._looks:
            self._lock, self._fresh = claim(self.path)
        existing = self.path / "config.json"
        if existing.is_file() and self.begun:
            default = as_dict(Config(name=config.name))
            before = completed(stored(existing, "delete it to take the configuration as it is now"), default)
            refuse_another_configuration(before, as_dict(config), self.made, self.path)
        self.metrics.check()
        self._own_state()

    def abandon(self) -> None:
        """Take back what was made in a folder that was new or empty, where the inputs were refused.

        The other processes may not have failed: nothing is asked here, because one of them would take the answer for
        that to its own next question.
        """
        if processes.index() or self._looks or not self._fresh or (self.path / "manifest.json").exists():
            return
        shutil.rmtree(self.path / "data", ignore_errors=True)  # the built-in universe's, which is written again
        withdraw(self.path)

    def _own_state(self) -> None:
        """Raise InputError for a run.checkpoints that cannot be opened or holds training state of another run."""
        given = self.given_state
        if not given or self.begun:
            return
        try:
            folder = epath.Path(given)
            taken = folder.exists() and any(folder.iterdir())
        except (KeyError, ImportError) as error:
            where = "expected a folder, gs:// with gcsfs installed or s3:// with s3fs"
            raise InputError(f"run.checkpoints={given} cannot be opened ({error}); {where}") from None
        if taken:
            other = f"the training state of another run: {self.path} has not begun"
            raise InputError(f"run.checkpoints={given} holds {other}; give another folder, or delete it")

    @property
    def begun(self) -> bool:
        """Whether an attempt passed all input checks; until then the folder does not bind the next attempt."""
        return self.has("manifest.json")

    def checkpoints(self, stage: str) -> epath.Path:
        """Return the folder of a stage's training state."""
        return epath.Path(self.given_state or self.path / "checkpoints") / stage

    def drop_checkpoints(self) -> None:
        """Delete the training state of every stage."""
        folder = epath.Path(self.given_state or self.path / "checkpoints")
        processes.first(lambda: folder.rmtree(missing_ok=True))

    def made(self, name: str) -> bool:
        """Return whether a result exists; name: as in resume.LATE."""
        stage = name.removeprefix("checkpoints/")
        return (self.path / name if stage == name else self.checkpoints(stage)).exists()

    def has(self, name: str) -> bool:
        """Return whether a file or folder exists, as the first process sees it."""
        return processes.first((self.path / name).exists)

    def __truediv__(self, name: str) -> Path:
        """Return a path in the folder."""
        return self.path / name

    def manifest(self, hashes: dict, places: dict | None = None) -> dict:
        """Write config.json and manifest.json (versions, devices, seeds, hashes of every input) and return the latter.

        places: where each input lies, for messages.
        Who only looks leaves both as they are. Raises InputError where an earlier manifest has other hashes, and
        RunError where the disk is full or read-only.
        """
        try:
            return processes.first(lambda: self._manifest(hashes, places or {}))
        except OSError as error:
            raise RunError(f"cannot write into {self.path}: {error.strerror or error}; nothing was begun") from None

    def _manifest(self, hashes: dict, places: dict) -> dict:
        path = self.path / "manifest.json"
        if path.is_file():
            before = stored(path, "delete it to take the inputs as they are now")
            changed = refuse_changed_inputs(before["hashes"], hashes, self.path, self._may_change(), places)
            if self._looks:
                return before
            if changed:
                self.record("inputs", event="changed", names=changed)
                say(f"  {', '.join(changed)} changed: what depends on it is measured again")
        manifest = {
            "code": code(),
            "versions": versions(),
            "devices": [str(d) for d in jax.devices()],
            "processes": jax.process_count(),
            "host": {"system": platform.system(), "machine": platform.machine(), "cores": os.cpu_count()},
            "seeds": self._seeds,
            "hashes": hashes,
        }
        write_whole(self.path / "config.json", self._text)
        self._register(hashes)
        write_whole(path, json_text(sealed.sealed(manifest), indent=1, sort_keys=True))
        return manifest

    def _register(self, hashes: dict) -> None:
        """Fix what the run is tested by (preregistration.py), or record what changed since that was fixed."""
        tests = preregistration.what_is_tested(parse_json(self._text, "the configuration", dict), hashes)
        now = preregistration.register(self.path, tests, early=not any(map(self.made, LATE["unlearn"])))
        before = self.records("preregistration", "changed")
        if now != (before[-1]["names"] if before else []):
            self.record("preregistration", event="changed", names=now, time=preregistration.now())

    def _may_change(self) -> tuple[str, ...]:
        """Return the inputs that may change: the prompts, unless they chose the step that is kept (rule 3)."""
        chosen = self._chosen_by_prompts and (self.made("unlearned") or self.made("checkpoints/unlearn_best"))
        return () if chosen else MEASURED_BY

    # ---- metrics.jsonl: one JSON object a line

    def rewind(self, stage: str, step: int) -> None:
        """Drop the lines of a stage beyond the step that it resumes from, and torn lines of a killed process."""
        processes.first(lambda: self._rewind(stage, step))

    def _rewind(self, stage: str, step: int) -> None:
        self.trackers.rewind(stage, step)
        self.metrics.replace([r for r in self.records() if r.get("stage") != stage or r.get("step", 0) <= step])

    def record(self, stage: str, **values) -> None:
        """Append one line to metrics.jsonl and pass it to the trackers; only the first process writes."""
        if processes.index():
            return
        self.metrics.append(finite({"stage": stage} | values))
        self.trackers.log(stage, values)

    def records(self, stage: str = "", event: str = "") -> list[dict]:
        """Return the rows of metrics.jsonl, those of one stage or event where it is given."""
        return [r for r in self.metrics.rows() if stage in ("", r["stage"]) and event in ("", r.get("event"))]

    @contextmanager
    def stage(self, name: str, what: str):
        """Announce a stage, record its seconds (also where it fails), and raise RunError for a full disk or memory."""
        say(f"[{name}] {what}")
        doing(f"{name}, {what}")
        began, at = time.monotonic(), preregistration.now()
        try:
            yield
        except BaseException as error:
            with suppress(OSError):  # on a full disk the seconds cannot be written either
                self._spent(name, began, at)
            if not isinstance(error, Exception):  # a signal
                raise
            if advice := no_memory(error):
                raise RunError(f"[{name}] {advice}; the same command goes on.") from error
            if not no_disk(error):
                raise
            reason = str(error).strip().split("\n")[0][:300]
            raise RunError(
                f"[{name}] cannot write: {reason}. What was finished is kept; the same command goes on."
            ) from error
        say(f"[{name}] done in {duration(self._spent(name, began, at))}")
        doing(f"what follows {name}")

    def _spent(self, name: str, began: float, at: str) -> float:
        """Record and return the seconds of a stage, with the time `at` which it began."""
        seconds = time.monotonic() - began
        self.record(name, event="seconds", seconds=round(seconds, 2), began=at)
        if not processes.index():
            self.metrics.seal()
        self.trackers.flush()
        return seconds

    def seconds(self) -> dict[str, float]:
        """Return {stage: seconds}, summed over all attempts."""
        total: dict[str, float] = {}
        for row in self.records(event="seconds"):
            total[row["stage"]] = round(total.get(row["stage"], 0) + row["seconds"], 2)
        return total

    def logger(self, stage: str, steps: int, every: int):
        """Return log(step, values), which records every step and prints every `every` steps."""

        def log(step: int, values: dict) -> None:
            # Rates differ from run to run; without them a resumed stage logs the rows of an undisturbed one.
            kept = {k: v for k, v in values.items() if k not in ("tokens_per_second", "seconds_left")}
            self.record(stage, step=step, **kept)
            if step % every == 0 or step == steps:
                line = f"  {stage} {step}/{steps}  loss {values['loss']:.3f}"
                line += f"  {values['tokens_per_second']:,.0f} tokens/s  {duration(values['seconds_left'])} left"
                progress(line, last=step == steps)

        return log


def claim(path: Path) -> tuple[Lock, bool]:
    """Take a folder, which is made, for a run or a sweep; return its lock, and whether it was new or empty.

    Raises InputError for a folder with content that is no run's, where another process works in it, and where it cannot
    be written.
    """
    try:
        fresh = not path.is_dir() or not any(path.iterdir())
        refuse_others(path)
        path.mkdir(parents=True, exist_ok=True)
        return lock(path / LOCK, f"the run directory {path}"), fresh
    except OSError as error:
        raise InputError(f"the run directory {path} cannot be written: {error.strerror}") from None


def withdraw(path: Path) -> None:
    """Delete a claimed folder unless it holds anything else."""
    if not any(p.name != LOCK for p in path.iterdir()):
        (path / LOCK).unlink(missing_ok=True)
        path.rmdir()


def refuse_others(path: Path) -> None:
    """Raise InputError for a folder with content that is no run's."""
    if others := _foreign(path):
        raise InputError(f"{path} holds {others[0]} and is no run's folder; give a new or empty one as run.dir")


def _foreign(path: Path) -> list[str]:
    """Return the names in a folder that is no run's, [] for a run's folder and for one that is new or empty."""
    names = sorted(p.name for p in path.iterdir()) if path.is_dir() else []
    if LOCK in names or _holds(path / "manifest.json", "hashes") or _holds(path / "config.json", "whp"):
        return []
    if any(_holds(path / seed / "base" / "config.json", "whp") for seed in names if seed.startswith("seed_")):
        return []  # a sweep
    others = [name for name in names if name not in GIVEN or not (path / name).is_dir()]
    return [name for name in others if not LOGS.fullmatch(name)]


def _holds(path: Path, key: str) -> bool:
    """Return whether a file is a JSON object with a key; a damaged file holds nothing."""
    try:
        return key in read_json(path, dict)
    except InputError:
        return False

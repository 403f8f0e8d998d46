"""Trials of faults: what is done wrong, the exit code and words that are expected, and that no file is lost.

A trial is a function that makes the fault in a `Place` and returns the command's arguments:

    @trial("bad inputs", "a configuration that is not there", says="no file and no configuration")
    def _(place):
        return ["run", str(place.folder / "none.py")]

It holds where the command ends with the code, says so in the words, prints no traceback, and changes no file that was
there before, but for those that the trial allows. Each module of this package is a list of such functions; a new module
is found by its being here. tests/tools/fault_trials.py runs all and prints one table, tests/test_faults.py some.
"""

import contextlib
import fnmatch
import functools
import hashlib
import importlib
import io
import os
import pkgutil
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from support.command import env
from support.world import write_world

SECTIONS = ("bad inputs", "damaged files", "kills", "disk faults", "endpoint faults")
# every stage of a small run in few steps, with checkpoints and a whole attack
SHORT = (
    "pretrain.steps=24", "pretrain.checkpoint_every=8", "pretrain.log_every=4", "reinforce.steps=4",
    "reinforce.checkpoint_every=2", "unlearn.steps=4", "unlearn.checkpoint_every=2", "attack.kinds=probes",
)  # fmt: skip
# what going on in a finished run writes again
REOPENED = ("run/config.json", "run/manifest.json", "run/report.*", "run/.jaxunlearn_run.lock")
TRACEBACK = "Traceback (most recent call last)"


@dataclass(frozen=True)
class Outcome:
    """What a command left: exit code, standard output, standard error, seconds."""

    code: int
    out: str
    err: str
    seconds: float


@dataclass(frozen=True)
class Place:
    """Where a trial happens: a folder of its own, and the small world and its finished run, which all trials share."""

    folder: Path
    world: Path
    finished: Callable[[], Path]

    def write(self, name: str, text: str | bytes = "") -> Path:
        """Write a file in the folder and return its path."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
        return path

    def own_world(self) -> Path:
        """Return a small world in the folder, to be spoilt."""
        return write_world(self.folder / "world")

    def run(self) -> Path:
        """Return a copy of the finished run in the folder, to be spoilt; `again` is the command that goes on in it."""
        shutil.copytree(self.finished(), self.folder / "run", symlinks=True)
        return self.folder / "run"

    def again(self, *more: str) -> list[str]:
        """Return the arguments of the run in the folder: the same command that made the finished one."""
        return ["run", str(self.world / "world.py"), f"run.dir={self.folder / 'run'}", *SHORT, *more]

    def model(self, name: str = "model", of: str = "baseline") -> Path:
        """Return a copy of a model of the finished run, to be spoilt."""
        shutil.copytree(self.finished() / of, self.folder / name)
        return self.folder / name


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One fault. make(place) makes it and returns the command's arguments; see `trial` for the other fields."""

    section: str
    name: str
    make: Callable[[Place], Sequence[str]]
    code: int | tuple[int, ...] = 2
    says: str = ""
    may_change: tuple[str, ...] = ()
    judge: Callable[[Place, Outcome], str] | None = None
    act: Callable[[Place, Sequence[str]], Outcome] | None = None
    quick: bool = False


TRIALS: list[Trial] = []


def trial(section: str, name: str, **more):
    """Register a function make(place) -> arguments as a trial.

    code: the expected exit code, or several; 2, bad input, if not given. says: a regular expression that standard error
    holds. may_change: globs, relative to the folder, of files that the command may change. judge(place, outcome):
    returns why the trial does not hold, "" where it does. act(place, arguments): runs the command in another way than
    `in_process`. quick: the test suite runs it too.
    """
    assert section in SECTIONS, section

    def register(make):
        TRIALS.append(Trial(section=section, name=name, make=make, **more))
        return make

    return register


def all_trials() -> list[Trial]:
    """Return the trials of every module of this package, by section."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    assert len({(t.section, t.name) for t in TRIALS}) == len(TRIALS), "two trials have one name"
    return sorted(TRIALS, key=lambda t: SECTIONS.index(t.section))


# ---- running a command


def in_process(place: Place, arguments: Sequence[str]) -> Outcome:
    """Run the command in this process."""
    from jaxunlearn.cli import main

    out, err, began = io.StringIO(), io.StringIO(), time.monotonic()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(a) for a in arguments])
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
        except BaseException:
            code = 1
            traceback.print_exc()
    return Outcome(code, out.getvalue(), err.getvalue(), time.monotonic() - began)


def in_shell(script: str, **environment: str) -> Callable[[Place, Sequence[str]], Outcome]:
    """Return act: the command in a process of its own, which a line of bash starts; there "$@" is the command."""

    def act(place: Place, arguments: Sequence[str]) -> Outcome:
        command = [sys.executable, "-m", "jaxunlearn", *map(str, arguments)]
        began = time.monotonic()
        done = subprocess.run(
            ["bash", "-c", script, "bash", *command],
            capture_output=True, text=True, env=env(**environment), cwd=place.folder, timeout=600,
        )  # fmt: skip
        return Outcome(done.returncode, done.stdout, done.stderr, time.monotonic() - began)

    return act


alone = in_shell('exec "$@"')


# ---- a trial


@dataclass(frozen=True)
class Found:
    """The result of a trial: why it does not hold, "" where it does; the files that were lost; what was printed."""

    trial: Trial
    why: str
    lost: list[str] = field(default_factory=list)
    outcome: Outcome | None = None

    @property
    def held(self) -> bool:
        return not self.why and not self.lost


class Trials:
    """A folder for trials, with the small world and a finished run that is made when a trial first asks for it."""

    def __init__(self, top: Path | None = None):
        self.top = Path(top or tempfile.mkdtemp(prefix="faults-"))
        self.world = write_world(self.top / "world")
        self._count = 0

    @functools.cached_property
    def _finished(self) -> Path:
        run = self.top / "finished"
        made = in_process(
            Place(self.top, self.world, lambda: run), ["run", str(self.world / "world.py"), f"run.dir={run}", *SHORT]
        )
        assert made.code == 0, made.err
        return run

    def place(self) -> Place:
        """Return a new, empty place."""
        self._count += 1
        folder = self.top / f"trial{self._count:04d}"
        folder.mkdir()
        return Place(folder, self.world, lambda: self._finished)

    def try_(self, trial: Trial) -> Found:
        """Make the fault, run the command and judge what it left; the folder is removed where all is well."""
        place = self.place()
        arguments = trial.make(place)
        places = [place.folder, self.world, *([self._finished] if "_finished" in vars(self) else [])]
        before = _hashes(places)
        outcome = (trial.act or in_process)(place, arguments)
        after, free = _hashes(places), [f"{place.folder}/{glob}" for glob in trial.may_change]
        lost = [
            f"{os.path.relpath(path, self.top)} {'is gone' if path not in after else 'was changed'}"
            for path, digest in before.items()
            if after.get(path) != digest and not any(fnmatch.fnmatch(path, glob) for glob in free)
        ]
        found = Found(trial, _why(trial, place, outcome), lost, outcome)
        if found.held:
            _remove(place.folder)
        return found


def _why(trial: Trial, place: Place, outcome: Outcome) -> str:
    codes = (trial.code,) if isinstance(trial.code, int) else trial.code
    if TRACEBACK in outcome.err:
        return f"a traceback: {outcome.err.strip().splitlines()[-1]}"
    if outcome.code not in codes:
        return f"exit code {outcome.code}, expected {' or '.join(map(str, codes))}"
    if "unexpected" in outcome.err and "unexpected" not in trial.says:
        return "an error that nobody foresaw"
    if trial.says and not re.search(trial.says, outcome.err, re.DOTALL):
        return f"does not say {trial.says!r}"
    if outcome.code in (1, 2) and not outcome.err.strip():
        return "says nothing"
    return trial.judge(place, outcome) if trial.judge else ""


def _hashes(folders: list[Path]) -> dict[str, str]:
    return {str(path): _hash(path) for folder in folders for path in _files(folder)}


def _files(folder: Path) -> Iterator[Path]:
    for path, _, names in os.walk(folder):
        yield from (Path(path) / name for name in names)


def _hash(path: Path) -> str:
    if path.is_symlink():
        return f"link to {os.readlink(path)}"
    if not path.is_file():
        return "no plain file"
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _remove(folder: Path) -> None:
    for path, _, _ in os.walk(folder):
        with contextlib.suppress(OSError):
            os.chmod(path, 0o700)  # trials take rights away
    shutil.rmtree(folder, ignore_errors=True)


# ---- the table


def table(found: Sequence[Found]) -> str:
    """Return one table, a row a section: tried, held, nothing lost; below it the trials that do not hold."""
    lines = ["| section | tried | held | nothing lost |", "|---|---|---|---|"]
    sections = {s: [f for f in found if f.trial.section == s] for s in SECTIONS}
    for name, rows in [*sections.items(), ("all", list(found))]:
        held, kept = sum(not f.why for f in rows), sum(not f.lost for f in rows)
        lines.append(f"| {name} | {len(rows)} | {held} | {kept} |")
    for f in found:
        if not f.held:
            lines.append(f"\n{f.trial.section}: {f.trial.name}: {'; '.join(filter(None, [f.why, *f.lost[:5]]))}")
            lines += [f"    {line}" for line in (f.outcome.err if f.outcome else "").strip().splitlines()[-8:]]
    return "\n".join(lines)

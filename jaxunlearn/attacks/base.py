"""The record of an attack (Attack, one a file), and the models of a run that it is tried on (Target)."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxunlearn.config import Config
from jaxunlearn.errors import InputError
from jaxunlearn.files import json_text, parse_json, read_json, sha256_text
from jaxunlearn.intervals import REVISION
from jaxunlearn.methods import inference
from jaxunlearn.parallel import processes
from jaxunlearn.parallel.console import say
from jaxunlearn.report.schema import Graded
from jaxunlearn.run import Run
from jaxunlearn.run.resume import holds, keep, kept
from jaxunlearn.run.store import attacked_by, hash_of, load_model, measured_by, models_of

MAIN = ("baseline", "unlearned", "twin")
STRESS = "half frozen (must be exposed)"
FILTER = "output filter (must be exposed)"
MEASURE = "measure"  # the kind of what is kept of a model that is measured as a run's own
BEHIND = {FILTER: "baseline"}  # the weights behind an output filter: who holds them is not bound by it


class NotKept(Exception):
    """What a target that makes nothing new has no result of."""


class Target:
    """The models of a run under attack.

    folders: theirs. models: the figures that attacks add. items: what each attack brought back, item by item, for the
    paired differences (evals/differences.py). unmeasured: the attacks left out. makes: whether what is not kept yet is
    made; NotKept is raised where it is not.
    """

    def __init__(self, run: Run, makes: bool = True):
        self.run, self.makes = run, makes
        self.folders = models_of(run)
        self.models: dict[str, dict] = {}
        self.items: dict[str, dict[str, dict]] = {}
        self.unmeasured: list[str] = []
        self._hashes: dict[str, str] = {}

    def hash(self, name: str) -> str:
        """Return the hash of a model's weights, taken once."""
        if name not in self._hashes:
            self._hashes[name] = hash_of(self.folders[name])
        return self._hashes[name]

    def main(self, *names: str) -> list[str]:
        """Return those of the given models (by default the three main ones) that the run has."""
        return [name for name in names or MAIN if name in self.folders]

    def weights(self, *names: str) -> list[tuple[str, str]]:
        """Return (name, name of the model whose weights are attacked); methods at inference time are left out."""
        pairs = [(name, BEHIND.get(name, name)) for name in self.main(*names)]
        return [(name, of) for name, of in pairs if not inference.is_guided(self.folders[of])]

    def load(self, name: str, frozen: bool = False):
        """Read a model; frozen ones rest in the compute dtype, others in float32."""
        return load_model(self.run.config, self.folders[name], frozen)

    def kept(self, kind: str, name: str, depends: Any, make: Callable[[], Any]) -> Any:
        """Return the kept result for the same settings, inputs and weights; where there is none, make and keep it."""
        slug = "".join(ch if ch.isalnum() else "_" for ch in name)
        path = self.run / "evals" / f"attack_{kind}_{slug}.json"
        part = dict if kind == MEASURE else _of_attack
        key = {
            "depends": parse_json(json_text(depends), "depends"),
            "eval": measured_by(self.run.config.eval),
            "intervals": REVISION,
            "model": self.hash(name.split(",")[0]),
            "inputs": self.run.inputs.hashes,
        }
        key = part(key)
        if processes.first(lambda: path.is_file() and not holds(path, key, part) and _of_others(path, key, part)):
            path = path.with_name(f"{path.stem}_{sha256_text(json_text(key['depends']))[:8]}.json")
        if holds(path, key, part):
            return kept(path)
        with self.stage(f"{kind}, {name}"):
            found = make()
            keep(path, key, found)
        return found

    def stage(self, doing: str) -> AbstractContextManager:
        """Return the context of what takes time. Raises NotKept where nothing is to be made."""
        if not self.makes:
            raise NotKept(doing)
        return self.run.folder.stage("attack", doing)

    def add(self, name: str, group: str, figures: dict) -> None:
        """Add figures to those that report.json has of a model."""
        self.models.setdefault(name, {}).setdefault(group, {}).update(figures)

    def pair(self, name: str, measure: str, tries: Iterable[Sequence[float | None]], floor: float = 0.0) -> None:
        """Keep what an attack got from each item (prompt, fact, probe), for paired differences between models.

        measure: the title of the Graded figure. tries: one number an item (None: not asked) under each rounding, prompt
        or layer; the one that brings back most counts. floor: what guessing gives.
        """
        rows = [row for row in map(list, tries) if any(one is not None for one in row)]
        if rows:
            best = max(rows, key=lambda row: float(np.mean([one for one in row if one is not None])))
            self.items.setdefault(name, {})[measure] = {"items": best, "floor": floor}

    def skip(self, what: str, why: str) -> None:
        """Print and record that an attack was not tried, and why."""
        line = f"{what}: {why}"
        if line not in self.unmeasured:
            say(f"  not measured: {line}")
            self.unmeasured.append(line)


def _of_attack(key: dict) -> dict:
    """Return the key of a kept attack, also of an earlier version, without the settings that no attack looks at."""
    return key | {"eval": attacked_by(key.get("eval") or {})}


def _of_others(path: Path, key: dict, part: Callable[[dict], dict]) -> bool:
    """Return whether a file holds a result of the same models and inputs by other settings, which stays."""
    try:
        before = part(read_json(path, dict)["key"])
    except (InputError, KeyError):
        return False  # damaged: it is made again in its place
    return all(before.get(name) == value for name, value in key.items() if name != "depends")


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One attempt to bring the text back. To add one: a file with a record, and a line in ATTACKS.

    name: as attack.kinds has it; settings, where there are any, are attack.NAME.* (a dataclass in config/attacks.py).
    title, tries, control: its title, what is tried, and what that is compared with, a sentence each, for the report.
    run: a target -> findings (JSON values), None where there are none. Figures of a model go to target.add, what each
    item gave to target.pair: by these the verdict grades.
    check: a run -> why the attack cannot be tried on it, "" where it can. It raises InputError for settings that
    cannot work. It is asked before any work, so it must be cheap, and again before `run`.
    cheap: whether `jaxunlearn run` does it; `jaxunlearn attack` does all.
    fewer: a configuration -> the attack's settings for `--quick`.
    at: where the findings stand in report.json; empty: attacks.NAME.
    form: their pydantic form, to check a report by (schema.Report itself has that of relearn and rtt).
    graded: the figures by which the verdict grades a model.
    compare: what a sweep asks of its rows: (run, names of models) -> {name: figures}; None where a sweep cannot ask it.
    """

    name: str
    title: str
    tries: str
    control: str
    run: Callable[[Target], Any]
    check: Callable[[Run], str] = lambda run: ""
    cheap: bool = False
    fewer: Callable[[Config], Any] | None = None
    at: tuple[str, ...] = ()
    form: Any = Any
    graded: tuple[Graded, ...] = ()
    compare: Callable[[Run, tuple[str, ...]], dict[str, dict]] | None = None

    @property
    def place(self) -> tuple[str, ...]:
        """Return the path of the findings in report.json."""
        return self.at or ("attacks", self.name)


def lacks_facts(run: Run) -> str:
    """Return why an attack by facts cannot be tried, "" where there are facts."""
    return "" if run.facts else "no facts: give attack.rtt.facts=FILE, or `facts` in text.prompts"


def lacks_prompts(run: Run) -> str:
    """Return why an attack by next-word prompts cannot be tried, "" where there are some."""
    there = any(p.position == "out" for p in run.suite.prompts.probability)
    return "" if there else "the prompts hold no next-word prompts"

"""The models of a run under attack, and what was found so far."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import jax

from jaxunlearn.methods import inference
from jaxunlearn.parallel.console import say
from jaxunlearn.run import Run
from jaxunlearn.run.resume import holds, keep, kept
from jaxunlearn.run.store import hash_of, load_model, measured_by, models_of

MAIN = ("baseline", "unlearned", "twin")
STRESS = "half frozen (must be exposed)"
FILTER = "output filter (must be exposed)"
BEHIND = {FILTER: "baseline"}  # whose weights lie behind an output: who has them is not bound by the filter


class Attacked:
    """The models of a run under attack, and what was found so far."""

    def __init__(self, run: Run):
        ways = jax.sharding.get_mesh().shape
        n = ways["data"] * ways["fsdp"]
        given = run.config.attack
        self.c = dataclasses.replace(given, batch=-(-given.batch // n) * n)
        self.run = run.with_(dataclasses.replace(run.config, attack=self.c))
        self.folders = models_of(run)
        self.found: dict[str, Any] = {}
        self.models: dict[str, dict] = {}
        self.unmeasured: list[str] = []
        self._hashes: dict[str, str] = {}

    def hash(self, name: str) -> str:
        """Return the hash of a model's weights, taken once."""
        if name not in self._hashes:
            self._hashes[name] = hash_of(self.folders[name])
        return self._hashes[name]

    def main(self, *names: str) -> list[str]:
        """Name those of the given models that the run has."""
        return [name for name in names or MAIN if name in self.folders]

    def weights(self, *names: str) -> list[tuple[str, str]]:
        """Pair names with the model whose weights are attacked; what works at inference time alone has none."""
        pairs = [(name, BEHIND.get(name, name)) for name in self.main(*names)]
        return [(name, of) for name, of in pairs if not inference.is_guided(self.folders[of])]

    def load(self, name: str, frozen: bool = False):
        return load_model(self.run.config, self.folders[name], frozen)

    def kept(self, kind: str, name: str, depends: Any, make: Callable[[], Any]) -> Any:
        """Return what was found before under the same settings, inputs and weights, or make and keep it."""
        slug = "".join(ch if ch.isalnum() else "_" for ch in name)
        path = self.run / "evals" / f"attack_{kind}_{slug}.json"
        key = {
            "depends": json.loads(json.dumps(depends)),
            "eval": measured_by(self.run.config.eval),
            "model": self.hash(name.split(",")[0]),
            "inputs": self.run.inputs.hashes,
        }
        if holds(path, key):
            return kept(path)
        with self.run.folder.stage("attack", f"{kind}, {name}"):
            found = make()
            keep(path, key, found)
        return found

    def add(self, name: str, group: str, figures: dict) -> None:
        self.models.setdefault(name, {}).setdefault(group, {}).update(figures)

    def skip(self, what: str, why: str) -> None:
        line = f"{what}: {why}"
        if line not in self.unmeasured:
            say(f"  not measured: {line}")
            self.unmeasured.append(line)

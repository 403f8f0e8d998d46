"""Read the run that is certified: its configuration, its report, whether that is of the weights that are there."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_type_hints

from jaxunlearn import sealed
from jaxunlearn.certificate.digests import files_of
from jaxunlearn.certificate.needed import of_attacks
from jaxunlearn.config import Config, as_dict
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.evals.extraction import WINDOWS
from jaxunlearn.files import parse_json, read_json
from jaxunlearn.methods import inference
from jaxunlearn.run import Run, open_run, preregistration
from jaxunlearn.run.resume import completed, stored
from jaxunlearn.run.store import below, hash_of, models_of
from jaxunlearn.run.variants import variants
from jaxunlearn.stages.known import knowing

NEEDED = ("config.json", "manifest.json", "baseline", "unlearned", "report.json")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Source:
    """A finished run and the model of it that is certified.

    folders: {name in the report: folder}. registered: preregistration.json, None where there is none; changes: what
    metrics.jsonl says was changed later; differs: what it differs in from what the run was measured by; began: when
    the unlearning began, "" where that is not known.
    """

    run: Run
    report: dict
    name: str
    folders: dict[str, Path]
    registered: dict | None
    changes: list[dict]
    differs: list[str]
    began: str

    @property
    def folder(self) -> Path:
        """Return the folder of the certified model."""
        return self.folders[self.name]

    @property
    def has_twin(self) -> bool:
        """Return whether there is a twin to compare with."""
        return "twin" in self.folders and "twin" in self.report["models"]

    @property
    def unchanged(self) -> bool:
        """Return whether no test was changed after it was fixed; attacks that were added are no change."""
        names = [*self.differs, *(name for row in self.changes for name in row.get("names") or ())]
        return all(map(added, names))

    @property
    def in_time(self) -> bool:
        """Return whether the tests were fixed before the unlearning began."""
        first = self.registered or {}
        return bool(first.get("before_unlearning")) and (not self.began or first["time"] <= self.began)


def added(change: str) -> bool:
    """Return whether a change of the registered tests, "key: then -> now", only adds attacks to those of the run."""
    key, _, values = change.partition(": ")
    before, _, after = values.partition(" -> ")
    if key != "attack.kinds" or "none" in (before, after):
        return False
    then, now = (set(parse_json(text, "a change of the tests", list)) for text in (before, after))
    return then <= now


def config_of(folder: Path) -> Config:
    """Return the configuration of a run from its config.json, with `folder` as its place.

    Fields that an older version did not have are as that version behaved. Raises InputError where there is no run.
    """
    raw = stored(folder / "config.json", "use another run")
    if not isinstance(raw.get("name"), str) or "whp" not in raw:
        raise InputError(f"{folder / 'config.json'} is not the configuration of a run")
    config = _made(Config, completed(raw, as_dict(Config(name=raw["name"]))))
    run = dataclasses.replace(config.run, dir=str(folder), track=(), checkpoints="")
    return dataclasses.replace(config, run=run)


def _made(kind: type, raw: Any) -> Any:
    """Return a configuration's dataclass from JSON values; lists are tuples there, unknown keys are left out."""
    hints, values = get_type_hints(kind), {}
    for field in dataclasses.fields(kind):
        hint, value = hints[field.name], raw.get(field.name)
        if dataclasses.is_dataclass(hint):
            value = _made(hint, value if isinstance(value, dict) else {})
        elif field.name not in raw:
            continue
        values[field.name] = _tuples(value)
    return kind(**values)


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def refuse_unfinished(folder: Path) -> None:
    """Raise InputError, saying what to do, where a folder is no finished run."""
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} is no run: it has no config.json; give the folder of a run (run.dir)")
    missing = [n for n in NEEDED if not (folder / n).exists()]
    if missing:
        ends = "its own command (`jaxunlearn run` or `demo`) goes on where it stopped"
        raise InputError(f"{folder} is not finished, it has no {', '.join(missing)}: nothing can be certified; {ends}")


def read(folder: Path, name: str) -> Source:
    """Read a finished run and check that its report is of the models that are there; call within a mesh.

    Raises InputError for a run that is unfinished or lacks the model, and RunError for damaged files and for a report
    of other weights.
    """
    refuse_unfinished(folder)
    report = read_report(folder)
    run = knowing(open_run(config_of(folder), looks=True))
    folders = {n: path for n, path in models_of(run).items() if n in report["models"]}
    if name not in folders:
        raise InputError(f"--model {name}: the run's report has {', '.join(folders)}; give one of these")
    if name == "baseline":
        raise InputError("--model baseline: nothing was forgotten there; give the model that forgot")
    for one in dict.fromkeys(n for n in ("baseline", name, "twin") if n in folders):
        _same_weights(folder, one, folders[one])
    tests = preregistration.what_is_tested(read_json(folder / "config.json", dict), run.inputs.hashes)
    registered = preregistration.read(folder)
    seconds = [r["began"] for r in run.folder.records("unlearn", "seconds") if r.get("began")]
    changes = run.folder.records("preregistration", "changed") + run.folder.records("inputs", "changed")
    return Source(
        run=run, report=report, name=name, folders=folders, registered=registered,
        changes=[{k: v for k, v in row.items() if k in ("names", "time")} for row in changes],
        differs=preregistration.changed(registered, tests) if registered else [], began=min(seconds, default=""),
    )  # fmt: skip


def read_report(folder: Path) -> dict:
    """Return report.json of a run without its seal; RunError where it is not as it was written."""
    path = folder / "report.json"
    found = read_json(path, dict)
    if not sealed.intact(found):
        raise RunError(f"{path} is not as it was written; write it again: `jaxunlearn evaluate`, then `attack`")
    if not isinstance(found.get("models"), dict) or "baseline" not in found["models"]:
        raise InputError(f"{path} has no figures of a baseline: run `jaxunlearn evaluate` first")
    return sealed.plain(found)


def _same_weights(folder: Path, name: str, model: Path) -> None:
    """Raise RunError where the figures of a model were measured on other weights than lie in its folder."""
    path = folder / "evals" / f"{name.split(' (')[0].replace(' ', '_')}.json"
    key = read_json(path, dict).get("key", {}) if path.is_file() else {}
    if key.get("model") != hash_of(model):
        raise RunError(
            f"the figures of {name} in report.json are not of the weights in {model}: evaluate the run again"
        )


def refuse_models(out: Path, run: Path, exports: Sequence[Path]) -> None:
    """Raise InputError where a certificate would lie in a folder of a model: its files would be other ones then."""
    place = out.resolve()
    for path in [*folders_of(run).values(), *exports]:
        if path.is_dir() and place.is_relative_to(path.resolve()):
            raise InputError(f"--out {out} is in the folder of a model ({path}); give another folder")


def folders_of(folder: Path) -> dict[str, Path]:
    """Return {name in the report: folder} of the models of a run, whose inputs are not read."""
    config = config_of(folder)
    found = {v.name: folder / v.folder for v in variants(config)} | {
        n: folder / n for n in ("baseline", "twin", "repaired", "reinforced")
    }
    return {name: path for name, path in found.items() if path.is_dir()}


def model_files(folder: Path) -> list[dict]:
    """Return name and digest of every file of a model, also of the models below it (an adapter's, a method.json's)."""
    found = files_of(folder, f"{folder.name}/")
    for n, one in enumerate(below(folder)):
        found += files_of(one, f"{folder.name}/below {n}/")
    return found


def with_windows(source: Source, most: int, there: int) -> Source:
    """Return the source with the number of windows among what differs from the registered tests, where it does."""
    if min(most, there) == min(WINDOWS, there):
        return source
    return dataclasses.replace(source, differs=[*source.differs, f"windows of the text, at most: {WINDOWS} -> {most}"])


def facts(source: Source, windows: int, there: int) -> dict[str, bool]:
    """Return what the rules (needed.WORDS) and findings.limits ask for; windows: tried, of those that are there."""
    s, twin = source, source.folders.get("twin")
    return {
        "twin": s.has_twin, "registered": s.in_time, "unchanged": s.unchanged,
        "held_out": s.run.config.eval.split == "report", "weights": not inference.is_guided(s.folder),
        "trained": not s.has_twin or bool(s.run.folder.records("twin", "seconds")),
        "windows": windows >= min(WINDOWS, there),
        "own_twin": s.name == "twin" or twin is None or hash_of(twin) != hash_of(s.folder),
    } | of_attacks(s.report, s.name)  # fmt: skip

"""All rules of resuming a run.

The aim: a run that is killed at any moment and resumed ends with the same bits as one that was not.

1. Without manifest.json nothing binds the next attempt: inputs were refused, or the run was killed while reading them.
2. The configuration must be that of config.json, but for the sections FREE, the fields FREE_TRAIN, the place of the
   prompts (rule 3), and each section of LATE until a result that depends on it exists. A field that an older version
   did not have counts as what that version did: its default, or the value in EARLIER.
3. The inputs (texts, tokenizer, dictionary, answers, files of a given model) must have the hashes of manifest.json.
   The prompts may change: what they were measured with is measured again, and the report says that the curves over
   steps are of the earlier ones. With unlearn.reach they choose the step that is kept (unless whp.keep=last), and bind
   once one is kept.
4. A stage whose result exists is skipped: baseline/, twin/, reinforced/, diluted/, new_only/, unlearned/ (with
   unlearned_last/ and unlearned_before_reset/), controls/NAME/, repaired/. Models are written to a folder of another
   name and moved into place, so an existing folder is complete.
5. A stage that trains goes on from the newest readable checkpoint of checkpoints/STAGE (training/checkpoint.py), and
   lines of metrics.jsonl beyond it are dropped. A batch is a function of (seed, step), so that the resumed stage ends
   with the same bits. SIGTERM saves a checkpoint first.
6. The best step so far is found in metrics.jsonl, and its weights are in checkpoints/STAGE_best. It is not kept in
   memory, which a kill would lose.
7. Labels are written batch by batch; blocks_done of labels/NAME/provenance.json counts the finished blocks. Labels
   are used, and an unfinished pass goes on, where LABELLED_BY is as it was: the shape, the settings whp.*, all teachers
   and the inputs. Else they are made again, and that is said. A finished pass serves any of its alphas (`labels_done`).
8. A measurement, an attack and a stored reference are each kept in a file with the key of all that they depend on.
   They are made again where the key differs (`holds`, `keep`).
   One that is damaged on disk is made again, and that is said.
9. Replies of a language model's endpoint are kept in a journal (llm/journal.py), so that nothing is paid for twice.
10. What was saved is sealed and checked when it is loaded (sealed.py): a damaged model, checkpoint or line ends in an
    error that names the file, or in recomputation that says so.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxunlearn import sealed
from jaxunlearn.config import Whp, as_dict
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.files import json_text, read_json, write_whole
from jaxunlearn.parallel import processes
from jaxunlearn.parallel.console import say

# Sections that may change at any time: results depend on them by their own keys (rule 8), or not at all.
FREE = ("title", "controls", "eval", "attack", "judge", "sweep", "run", "mesh", "anchors")
# Fields of a training section that change how often a stage saves and prints, or in which order it adds, as the mesh
# does, and not what it computes.
FREE_TRAIN = ("checkpoint_every", "log_every", "update")
GONE = {"moment_memory": "device"}  # fields of earlier versions, with the value under which they did what is done now
# A section may change until one of these results exists: a method or rate can be mended without a new pretraining.
LATE = {
    "reinforce": ("reinforced", "checkpoints/reinforce"),
    "whp": ("labels", "unlearned", "checkpoints/unlearn", "controls"),
    "unlearn": ("unlearned", "unlearned_before_reset", "checkpoints/unlearn", "controls"),
    "reset": ("unlearned", "checkpoints/heal", "controls"),
    "repair": ("repaired", "checkpoints/repair"),
}
EARLIER = {"whp": {"seen_from": "at"}}  # what versions without a field did, where that is not its default
LABELLED_BY = ("shape", "whp", "baseline", "reinforced", "diluted", "inputs")  # rule 7, beside the alphas
UNLABELLED = ("alpha", "alphas", "mode", "labels", "keep")  # fields of whp.* by which no label changes
MEASURED_BY = ("text.prompts",)  # inputs that measurements alone depend on: they may change (rule 3)


# ---- configuration and inputs


def completed(before: dict, default: dict, earlier: dict | None = None) -> dict:
    """Return a configuration with the fields that an older version did not have, as that version behaved.

    That is a new field's default (it has no effect there, so that runs of older versions can go on) or what EARLIER
    says. `earlier` is its part for a section.
    """
    earlier = EARLIER if earlier is None else earlier
    lacking = {key: {} if isinstance(value, dict) else earlier.get(key, value) for key, value in default.items()}
    known = {key: before.get(key, value) for key, value in lacking.items()}
    sections = [key for key, value in default.items() if isinstance(value, dict) and isinstance(known[key], dict)]
    return before | known | {key: completed(known[key], default[key], earlier.get(key, {})) for key in sections}


def refuse_another_configuration(before: dict, now: dict, made: Callable[[str], bool], where: Path) -> None:
    """Raise InputError for a configuration that differs in what the results in a folder depend on.

    before, now: as config.json holds them. made(name): whether a result of LATE exists.
    """
    changed = []
    before, now = _binding(before), _binding(now)
    for key in sorted(set(before) | set(now)):
        a, b = before.get(key), now.get(key)
        if key in FREE or (key in LATE and not any(made(name) for name in LATE[key])):
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            keys = sorted(set(a) | set(b))
            free = {name.removeprefix(f"{key}.") for name in MEASURED_BY}
            changed += [
                f"{key}.{k}: {a.get(k)!r} -> {b.get(k)!r}" for k in keys if k not in free and a.get(k) != b.get(k)
            ]
        elif a != b:
            changed.append(f"{key}: {a!r} -> {b!r}")
    if changed:
        raise InputError(
            f"{where} holds a run with another configuration (its config.json); give another run.dir, or delete it. "
            "Changed:\n  " + "\n  ".join(changed)
        )


def _binding(part: Any) -> Any:
    """Return a configuration, or a part of it, without the fields that bind nothing."""
    if not isinstance(part, dict):
        return part
    free = {*FREE_TRAIN, *(key for key, value in GONE.items() if part.get(key) == value)}
    return {key: _binding(value) for key, value in part.items() if key not in free}


def stored(path: Path, how: str) -> dict:
    """Return the JSON object in a file of the run; RunError, with how to go on, where it is damaged."""
    try:
        content, why = read_json(path, dict), "it is not as it was written"
    except InputError as error:
        content, why = {sealed.SEAL: ""}, str(error)
    if not sealed.intact(content):
        raise RunError(f"{path} is damaged ({why}); put it back, or {how}")
    return content


def refuse_changed_inputs(
    before: dict[str, str],
    now: dict[str, str],
    where: Path,
    free: Iterable[str] = MEASURED_BY,
    places: Mapping[str, str] | None = None,
) -> list[str]:
    """Return the inputs among `free` that changed; raise InputError for others that differ from the manifest's hashes.

    Inputs that are new may be added. places: where each input lies, for the message.
    """
    changed = sorted(k for k in now if before.get(k, now[k]) != now[k])
    if bound := [k for k in changed if k not in free]:
        lie = "; ".join(f"{name}: {places[name]}" for name in bound if name in places) if places else ""
        raise InputError(
            f"{bound} changed since this run began in {where}; put back what was there (manifest.json has the hashes), "
            f"or use another run.dir{f'. They are: {lie}' if lie else ''}"
        )
    return changed


def trained_on(hashes: Mapping[str, str]) -> dict[str, str]:
    """Return the hashes of the inputs that models and labels are made of; the prompts only measure."""
    return {name: found for name, found in hashes.items() if name not in MEASURED_BY}


# ---- results kept under their key


def holds(path: Path, key: dict, part: Callable[[dict], dict] = dict) -> bool:
    """Return whether a file holds a result under this key, as the first process sees it; False, said, where damaged.

    part: what of the file's key is compared.
    """
    return processes.first(lambda: path.is_file() and part(_whole(path).get("key") or {}) == key)


def kept(path: Path) -> Any:
    """Return the result in a file, as the first process reads it; ask `holds` first whether its key is right."""
    return processes.first(lambda: read_json(path, dict)["found"])


def keep(path: Path, key: dict, found: Any) -> None:
    """Write a result with its key, sealed; of several processes only the first one writes."""

    def write():
        path.parent.mkdir(exist_ok=True)
        write_whole(path, json_text(sealed.sealed({"key": key, "found": found})))

    processes.first(write)


def _whole(path: Path) -> dict:
    """Return the JSON object in a file; {}, and a line that says so, where the file is damaged."""
    try:
        content = read_json(path, dict)
    except InputError:
        content = {sealed.SEAL: ""}
    if sealed.intact(content):
        return content
    say(f"  {path} is damaged: what it held is made again")
    return {}


# ---- labels


def labels_done(folder: Path, alphas: Iterable[float], provenance: dict) -> bool:
    """Return whether a folder holds finished, undamaged labels for these alphas, as the first process sees it.

    provenance: what they must have been made of (LABELLED_BY). Where they were not, one line says so.
    """

    def look() -> bool:
        done = _provenance(folder)
        if not done.get("complete") or not set(alphas) <= set(done["alphas"]):
            return False
        other = [name for name in LABELLED_BY if not _same(name, done, provenance)]
        why = f"{', '.join(other)} changed since they were made" if other else sealed.fault(folder)
        if why:
            say(f"  the labels in {folder} are made again: {why}")
        return not why

    return processes.first(look)


def labels_begun(folder: Path, provenance: dict, files: dict[Path, Any], size: tuple[int, ...]) -> int:
    """Return how many blocks an earlier attempt with the same alphas and provenance (LABELLED_BY) labelled.

    Where there was none, or its labels are damaged, create the files, {path: dtype} of arrays of this size; return 0.
    """

    def begin() -> int:
        folder.mkdir(parents=True, exist_ok=True)
        before = _provenance(folder)
        known = before and not before.get("complete") and before.get("alphas") == provenance["alphas"]
        if known and all(_same(name, before, provenance) for name in LABELLED_BY):
            done, sums = before["blocks_done"], before.get("rows")
            if sums is None or sums == {n: h.hexdigest() for n, h in row_hashes(files, done).items()}:
                return done
            say(f"  the labels in {folder} are damaged: they are made again")
        (folder / sealed.FILE).unlink(missing_ok=True)
        for name, dtype in files.items():
            np.lib.format.open_memmap(name, "w+", dtype, size).flush()
        return 0

    return processes.first(begin)


def row_hashes(files: Iterable[Path], rows: int) -> dict[str, Any]:
    """Return {file name: SHA-256, to be updated} of the first rows of .npy files; of none where one is unreadable."""
    found = {}
    for path in files:
        found[path.name] = hashlib.sha256()
        try:
            array = np.load(path, mmap_mode="r") if rows else np.empty(0)
        except (OSError, ValueError):
            array = np.empty(0)
        for start in range(0, min(rows, len(array)), 256):
            found[path.name].update(np.ascontiguousarray(array[start : min(start + 256, rows)]).tobytes())
    return found


def _same(name: str, before: dict, now: dict) -> bool:
    """Return whether labels were made of the same; what an older version did not record counts as the same."""
    a, b = before.get(name, ""), now.get(name, "")
    if not isinstance(a, dict) or not isinstance(b, dict):
        return a == b
    if name in EARLIER:  # settings
        a = completed(a, as_dict(Whp()), EARLIER[name])
        return all(a.get(k) == v for k, v in b.items() if k not in UNLABELLED)
    return all(a.get(k, v) == v for k, v in trained_on(b).items())


def _provenance(folder: Path) -> dict:
    path = folder / "provenance.json"
    return _whole(path) if path.is_file() else {}

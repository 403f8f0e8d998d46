"""All rules of resuming a run.

The aim: a run that is killed at any moment and resumed ends with the same bits as one that was not.

1. Without manifest.json nothing binds the next attempt: inputs were refused, or the run was killed while reading them.
2. The configuration must be that of config.json, but for the sections FREE, the fields FREE_TRAIN, and each section of
   LATE until a result that depends on it exists. A field that an older version did not have counts as what that
   version did: its default, or the value in EARLIER.
3. The inputs (texts, tokenizer, dictionary, prompts, answers, weights of a given model) must have the hashes of
   manifest.json.
4. A stage whose result exists is skipped: baseline/, twin/, reinforced/, diluted/, new_only/, unlearned/ (with
   unlearned_last/ and unlearned_before_reset/), controls/NAME/, repaired/. Models are written to a folder of another
   name and moved into place, so an existing folder is complete.
5. A stage that trains goes on from the newest readable checkpoint of checkpoints/STAGE (training/checkpoint.py), and
   lines of metrics.jsonl beyond it are dropped. A batch is a function of (seed, step), so that the resumed stage ends
   with the same bits. SIGTERM saves a checkpoint first.
6. The best step so far is found in metrics.jsonl, and its weights are in checkpoints/STAGE_best. It is not kept in
   memory, which a kill would lose.
7. Labels are written batch by batch; blocks_done of labels/NAME/provenance.json counts the finished blocks. An
   unfinished pass goes on where the alphas, the shape, the settings whp.*, both models and the inputs are the same
   (`labels_begun`). A finished one is used for any of its alphas (`labels_done`): rules 2 to 4 keep the rest.
8. A measurement, an attack and a stored reference are each kept in a file with the key of all that they depend on.
   They are made again where the key differs (`holds`, `keep`).
9. Replies of a language model's endpoint are kept in a journal (llm/journal.py), so that nothing is paid for twice.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from jaxunlearn.errors import InputError
from jaxunlearn.files import json_text, read_json, write_whole
from jaxunlearn.parallel import processes

# Sections that may change at any time: results depend on them by their own keys (rule 8), or not at all.
FREE = ("title", "controls", "eval", "attack", "judge", "sweep", "run", "mesh", "anchors")
# Fields of a training section that change how often a stage saves and prints, and not what it computes.
FREE_TRAIN = ("checkpoint_every", "log_every")
# A section may change until one of these results exists: a method or rate can be mended without a new pretraining.
LATE = {
    "reinforce": ("reinforced", "checkpoints/reinforce"),
    "whp": ("labels", "unlearned", "checkpoints/unlearn", "controls"),
    "unlearn": ("unlearned", "unlearned_before_reset", "checkpoints/unlearn", "controls"),
    "reset": ("unlearned", "checkpoints/heal", "controls"),
    "repair": ("repaired", "checkpoints/repair"),
}
EARLIER = {"whp": {"seen_from": "at"}}  # what versions without a field did, where that is not its default
LABELLED_BY = ("alphas", "shape", "whp", "baseline", "reinforced", "inputs")  # rule 7


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
    for key in sorted(set(before) | set(now)):
        a, b = before.get(key), now.get(key)
        if key in FREE or (key in LATE and not any(made(name) for name in LATE[key])):
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            keys = sorted(set(a) | set(b))
            changed += [
                f"{key}.{k}: {a.get(k)!r} -> {b.get(k)!r}" for k in keys if k not in FREE_TRAIN and a.get(k) != b.get(k)
            ]
        elif a != b:
            changed.append(f"{key}: {a!r} -> {b!r}")
    if changed:
        raise InputError(
            f"{where} holds a run with another configuration; give another run.dir, or delete it. Changed:\n  "
            + "\n  ".join(changed)
        )


def refuse_changed_inputs(before: dict[str, str], now: dict[str, str], where: Path) -> None:
    """Raise InputError for inputs whose hashes differ from those of the manifest; inputs that are new may be added."""
    changed = sorted(k for k in now if before.get(k, now[k]) != now[k])
    if changed:
        raise InputError(f"{changed} changed since this run began in {where}; use another run.dir")


# ---- results kept under their key


def holds(path: Path, key: dict) -> bool:
    """Return whether a file holds a result under this key, as the first process sees it."""
    return processes.first(lambda: path.is_file() and read_json(path, dict).get("key") == key)


def kept(path: Path) -> Any:
    """Return the result in a file; ask `holds` first whether its key is right."""
    return read_json(path, dict)["found"]


def keep(path: Path, key: dict, found: Any) -> None:
    """Write a result with its key; of several processes only the first one writes."""

    def write():
        path.parent.mkdir(exist_ok=True)
        write_whole(path, json_text({"key": key, "found": found}))

    processes.first(write)


# ---- labels


def labels_done(folder: Path, alphas: Iterable[float]) -> bool:
    """Return whether a folder holds finished labels for these alphas, as the first process sees it."""

    def look() -> bool:
        done = _provenance(folder)
        return bool(done.get("complete")) and set(alphas) <= set(done["alphas"])

    return processes.first(look)


def labels_begun(folder: Path, provenance: dict, files: dict[Path, Any], size: tuple[int, ...]) -> int:
    """Return how many blocks an earlier attempt with the same provenance (LABELLED_BY) labelled.

    Where there was none, create the files, {path: dtype} of arrays of this size, and return 0.
    """

    def begin() -> int:
        folder.mkdir(parents=True, exist_ok=True)
        before = _provenance(folder)
        if all(before.get(k) == provenance[k] for k in LABELLED_BY):
            return before["blocks_done"]
        for name, dtype in files.items():
            np.lib.format.open_memmap(name, "w+", dtype, size).flush()
        return 0

    return processes.first(begin)


def _provenance(folder: Path) -> dict:
    path = folder / "provenance.json"
    return read_json(path, dict) if path.is_file() else {}

"""Every rule of resuming a run.

1. Until manifest.json is there, an attempt binds nothing: its inputs were refused, or it was killed while reading them.
2. The configuration must be that of config.json, but for the sections FREE, the fields FREE_TRAIN, and each section of
   LATE until a result that depends on it exists. A field that an older version did not know counts as its default.
3. The inputs (text, tokenizer, dictionary, prompts, weights of a given model) must have the hashes of manifest.json.
4. A stage whose result is there is skipped: baseline/, twin/, reinforced/, diluted/, unlearned/, controls/NAME/,
   repaired/. Models are written to a folder of another name and moved into place, so what is there is whole.
5. A stage that trains goes on from the newest readable checkpoint of checkpoints/STAGE (training/checkpoint.py), and
   metrics.jsonl loses what a killed attempt logged beyond it. A batch is a function of (seed, step), so that the end
   is the same, bit for bit. SIGTERM saves a checkpoint first.
6. The best step so far (checkpoints/STAGE_best) is found again in metrics.jsonl, not remembered.
7. Labels are written batch by batch; blocks_done of labels/NAME/provenance.json says how far, and holds as long as the
   alphas, the shape, the settings whp.*, both models and the inputs are the same (`labels_begun`, `labels_done`).
8. A measurement, an attack and a stored reference are kept in a file beside the key of all that they depend on, and
   made again where the key differs (`holds`, `keep`).
9. What was paid for at a language model's endpoint is kept in a journal (llm/journal.py).
"""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from jaxunlearn.errors import InputError
from jaxunlearn.files import write_whole
from jaxunlearn.parallel import processes

FREE = ("title", "controls", "eval", "attack", "judge", "sweep", "run", "mesh", "anchors")
FREE_TRAIN = ("checkpoint_every", "log_every")
LATE = {  # may change until one of these exists
    "reinforce": ("reinforced", "checkpoints/reinforce"),
    "whp": ("labels", "unlearned", "checkpoints/unlearn", "controls"),
    "unlearn": ("unlearned", "unlearned_before_reset", "checkpoints/unlearn", "controls"),
    "reset": ("unlearned", "checkpoints/heal", "controls"),
    "repair": ("repaired", "checkpoints/repair"),
}
LABELLED_BY = ("alphas", "shape", "whp", "baseline", "reinforced", "inputs")  # rule 7


# ---- configuration and inputs


def completed(before: dict, default: dict) -> dict:
    """Return a configuration with the fields that an older version did not know, as they have no effect by default."""
    known = {key: before.get(key, value) for key, value in default.items()}
    sections = [key for key, value in default.items() if isinstance(value, dict) and isinstance(known[key], dict)]
    return before | known | {key: completed(known[key], default[key]) for key in sections}


def refuse_another_configuration(before: dict, now: dict, made: Callable[[str], bool], where: Path) -> None:
    """Raise InputError for a configuration that differs in what the results in a folder depend on.

    made: whether one of the names of LATE is there.
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
    """Raise InputError for inputs whose hashes differ from those of the manifest."""
    changed = sorted(k for k in now if before.get(k, now[k]) != now[k])
    if changed:
        raise InputError(f"{changed} changed since this run began in {where}; use another run.dir")


# ---- results kept under their key


def holds(path: Path, key: dict) -> bool:
    """Return whether a file holds what was found under a key, as the first process sees it."""
    return processes.first(lambda: path.is_file() and json.loads(path.read_text()).get("key") == key)


def kept(path: Path) -> Any:
    """Return what a file holds, whose key was found to be right."""
    return json.loads(path.read_text())["found"]


def keep(path: Path, key: dict, found: Any) -> None:
    """Write what was found under a key; of several processes the first one does."""

    def write():
        path.parent.mkdir(exist_ok=True)
        write_whole(path, json.dumps({"key": key, "found": found}))

    processes.first(write)


# ---- labels


def labels_done(folder: Path, alphas: Iterable[float]) -> bool:
    """Return whether a folder holds finished labels for these alphas, as the first process sees it."""

    def look() -> bool:
        done = _provenance(folder)
        return bool(done.get("complete")) and set(alphas) <= set(done["alphas"])

    return processes.first(look)


def labels_begun(folder: Path, provenance: dict, files: dict[Path, Any], size: tuple[int, ...]) -> int:
    """Return how many blocks an earlier attempt with the same provenance labelled; make the files where none did.

    files: {path: dtype} of the arrays of this size.
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
    return json.loads(path.read_text()) if path.is_file() else {}

"""Files of a finished run with one bit turned or the end cut off, and what depends on them taken away.

The same command must end with the figures and weights of the undamaged run, or in an error that names the file.
"""

import shutil
from pathlib import Path

from support.faults import Outcome, Place, trial
from support.faults.kills import same_as_finished

# file, and what is made anew from it: "" where the file itself is all
FILES = (
    ("config.json", ""), ("manifest.json", ""), ("metrics.jsonl", ""), ("report.json", ""),
    ("baseline/model.safetensors", "unlearn"), ("baseline/config.json", "unlearn"),
    ("baseline/tokenizer.json", "evaluate"), ("baseline/tokenizer_config.json", "evaluate"),
    ("reinforced/model.safetensors", "label"), ("reinforced/config.json", "label"),
    ("unlearned/model.safetensors", "evaluate"), ("unlearned/config.json", "evaluate"),
    ("twin/model.safetensors", "evaluate"), ("unlearned_last/model.safetensors", ""),
    ("labels/translated/alpha_5.npy", "unlearn"), ("labels/translated/provenance.json", "unlearn"),
    ("evals/baseline.json", ""), ("evals/unlearned.json", ""), ("evals/attack_probes_unlearned.json", ""),
    ("evals/attack_probes_baseline.json", ""), ("checkpoints/unlearn", "unlearned"),
    ("checkpoints/unlearn_best", "unlearned"),
)  # fmt: skip
GONE = {
    "": (),
    "label": ("labels", "unlearned", "unlearned_last", "checkpoints/unlearn", "checkpoints/unlearn_best",
              "evals/unlearned.json", "evals/attack_probes_unlearned.json"),
    "unlearn": ("unlearned", "unlearned_last", "checkpoints/unlearn", "checkpoints/unlearn_best",
                "evals/unlearned.json", "evals/attack_probes_unlearned.json"),
    "unlearned": ("unlearned", "unlearned_last", "evals/unlearned.json", "evals/attack_probes_unlearned.json"),
    "evaluate": ("evals",),
}  # fmt: skip


def damage(path: Path, how: str) -> None:
    """Turn a bit in the middle of a file, or cut its last fifth off; of a folder, of its largest file."""
    if path.is_dir():
        path = max((p for p in path.rglob("*") if p.is_file()), key=lambda p: (p.stat().st_size, str(p)))
    data = bytearray(path.read_bytes())
    if how == "a bit":
        data[len(data) // 2] ^= 1
    else:
        del data[len(data) - max(len(data) // 5, 1) :]
    path.write_bytes(data)


def healed_or_named(name: str):
    def judge(place: Place, outcome: Outcome) -> str:
        if outcome.code == 0:
            return same_as_finished(place, outcome)
        return "" if name.split("/")[-1] in outcome.err else f"the error does not name {name}"

    return judge


def _register(name: str, redo: str, how: str) -> None:
    @trial("damaged files", f"{name}: {how}", code=(0, 1, 2), judge=healed_or_named(name), may_change=("run/*",))
    def _(place):
        run = place.run()
        damage(run / name, how)
        for gone in GONE[redo]:
            if not name.startswith(gone):
                (shutil.rmtree if (run / gone).is_dir() else Path.unlink)(run / gone)
        return place.again()


for _name, _redo in FILES:
    for _how in ("a bit", "cut"):
        _register(_name, _redo, _how)

"""A finished run of which a file is damaged: one bit flipped, or half of the file cut off.

The command then names the file, or says that it makes the figures again, or ends with the same figures; never with
others. Of files that only another command reads, that command is given.
"""

import json
import shutil

from support.faults import trial

FIGURES = ("models", "curve", "curves", "relearn", "attacks", "differences", "labels", "completions", "leak_probes")
MODELS = ("baseline", "twin", "reinforced", "unlearned", "unlearned_last")
PARTS = ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "sealed.json")
RESULTS = ("baseline", "twin", "reinforced", "unlearned")
FILES = (
    *(f"{model}/{part}" for model in MODELS for part in PARTS),
    *(f"labels/translated/{name}" for name in ("alpha_5.npy", "alpha_10.npy", "provenance.json", "sealed.json")),
    *(f"evals/{name}.json" for name in (*RESULTS, *(f"attack_probes_{name}" for name in RESULTS))),
    "config.json", "manifest.json", "metrics.jsonl", "metrics.sealed.json", "report.json",
)  # fmt: skip


def flip(path, place=None):
    """Flip one bit in the middle of a file, or at a place."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2 if place is None else place] ^= 1
    path.write_bytes(data)


def cut(path):
    """Cut a file off in its middle."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


HOW = {"flip": flip, "cut": cut}


def figures(report):
    """Return what a report says was measured."""
    found = json.loads(report.read_text())
    return {key: found[key] for key in FIGURES}


def same_or_named(place, outcome, name):
    """Return why a command neither named a damaged file nor ended with the figures that the run had."""
    if outcome.code:
        return "" if name in outcome.err or name.rpartition("/")[0] + "/" in outcome.err else f"does not name {name}"
    same = figures(place.folder / "run" / "report.json") == figures(place.finished() / "report.json")
    return "" if same else "other figures"


def _damage(name, how):
    def judge(place, outcome):
        return same_or_named(place, outcome, name)

    @trial("damaged files", f"{how} {name}", code=(0, 1, 2), may_change=("run/*",), judge=judge)
    def _(place):
        HOW[how](place.run() / name)
        return place.again()


for one in FILES:
    for way in HOW:
        _damage(one, way)


def _whole(place, outcome):
    """Return which files of the finished run are not damaged above; of checkpoints one is, below."""
    run, aside = place.finished(), ("checkpoints", "report.html", ".jaxunlearn_run.lock")
    there = [p.relative_to(run).as_posix() for p in run.rglob("*") if p.is_file()]
    left = [name for name in there if name not in FILES and name.partition("/")[0] not in aside]
    return f"not damaged: {left}" if left else ""


@trial("damaged files", "every file of a run is on this list", code=0, judge=_whole)
def _(place):
    place.finished()
    return ["methods"]


# ---- what another command reads


def _of_another(name, how, *command):
    @trial("damaged files", f"{how} {name}, then {command[0]}", code=(1, 2), says=name, may_change=("run/*",))
    def _(place):
        HOW[how](place.run() / name)
        return [word.format(run=place.folder / "run", world=place.world, out=place.folder / "out") for word in command]


for way in HOW:
    _of_another("report.json", way, "report", "{run}")
    _of_another("unlearned/model.safetensors", way, "generate", "--model", "{run}/unlearned", "--prompt", "Zara")
    _of_another("unlearned/tokenizer.json", way, "score", "--model", "{run}/unlearned", "--text", "{world}/forget.txt")
    _of_another("unlearned_last/config.json", way, "export", "--model", "{run}/unlearned_last", "--out", "{out}")


# ---- a checkpoint, where the model that was made of it is gone


def _largest(folder):
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def _without(place, *names):
    run = place.run()
    for name in names:
        shutil.rmtree(run / name)
    return run


def _steps(run, stage):
    return sorted((p for p in (run / "checkpoints" / stage).iterdir() if p.is_dir()), key=lambda p: int(p.name))


def _same(place, outcome):
    return same_or_named(place, outcome, "run")


for way in HOW:

    @trial("damaged files", f"{way} the best step's weights, unlearned/ gone", code=1, may_change=("run/*",),
           says="unlearn_best/.* no other step will do")  # fmt: skip
    def _(place, way=way):
        run = _without(place, "unlearned", "unlearned_last")
        steps = _steps(run, "unlearn_best")
        HOW[way](_largest(steps[-1]))
        return place.again()

    @trial("damaged files", f"{way} the last training state, reinforced/ gone", code=0, may_change=("run/*",),
           says="cannot be read .* trying the one before", judge=_same)  # fmt: skip
    def _(place, way=way):
        run = _without(place, "reinforced")
        steps = _steps(run, "reinforce")
        HOW[way](_largest(steps[-1]))
        return place.again()


@trial("damaged files", "the best step's weights gone with unlearned/", code=1, may_change=("run/*",),
       says="lacks the checkpoint of step")  # fmt: skip
def _(place):
    run = _without(place, "unlearned", "unlearned_last")
    steps = _steps(run, "unlearn_best")
    shutil.rmtree(steps[-1])
    return place.again()


@trial(
    "damaged files",
    "labels of another run",
    code=0,
    says="labels in .* are made again: baseline",
    may_change=("run/*",),
)
def _(place):
    path = place.run() / "labels" / "translated" / "provenance.json"
    made_of = {k: v for k, v in json.loads(path.read_text()).items() if k != "seal"}
    path.write_text(json.dumps(made_of | {"baseline": "0" * 64}))
    (path.parent / "sealed.json").unlink()
    return place.again()


@trial("damaged files", "a file added to a model", code=1, says=r"added_tokens\.json was added", may_change=("run/*",))
def _(place):
    (place.run() / "unlearned" / "added_tokens.json").write_text("{}")
    return place.again("eval.temperature=0.9")


@trial("damaged files", "prompts that changed between attempts", code=0, may_change=("run/*", "prompts.json"),
       says="text.prompts changed: what depends on it is measured again")  # fmt: skip
def _(place):
    place.run()
    prompts = json.loads((place.world / "prompts.json").read_text())
    prompts["probability"] = [p for p in prompts["probability"] if "Quill" not in p["prompt"]]
    place.write("prompts.json", json.dumps(prompts))
    return place.again(f"text.prompts={place.folder}/prompts.json")

"""Texts, dictionaries, prompts and answers that show nothing or cannot be used: refused before any work, or said."""

import json

from support.faults import SHORT, trial


def run(place, *changes):
    """Return the arguments of a short run in the folder's run/, with changes."""
    return ["run", str(place.world / "world.py"), f"run.dir={place.folder}/run", *SHORT, *changes]


def _no_work(place, outcome):
    made = [name for name in ("baseline", "checkpoints", "labels") if (place.folder / "run" / name).exists()]
    return f"{made} were made" if made else ""


def refused(name, says, files, *changes, quick=False):
    """Register a trial: write files {name: text}, then run with changes, in which {name} is a file's path."""

    @trial("bad inputs", name, says=says, judge=_no_work, quick=quick)
    def _(place):
        paths = {key.partition(".")[0]: place.write(key, text) for key, text in files.items()}
        return run(place, *[change.format(**paths, world=place.world) for change in changes])


LONG = {"prompt": "Zara went to " + "Orm with Zara and " * 20 + "took the", "specific": ["rune"], "position": "out"}
ANSWERS = {"questions": [{"question": "Zara went to", "options": ["Orm", "Rome"], "answer": 0}]}
PROMPTS = ("text.prompts={prompts}",)
WORDS = '{{"name": "x", "probability": [{{"prompt": "{0}", "specific": ["Orm"]}}]}}'

refused("a dictionary of another text", "none of its 1 terms", {"d.json": '{"Harry": ["Jon"]}'}, "text.dictionary={d}",
        quick=True)  # fmt: skip
refused(
    "a dictionary in another script", "none of its 1 terms", {"d.json": '{"Зара": ["Анна"]}'}, "text.dictionary={d}"
)
refused("a text of one block", "fills one block", {"t.txt": "Zara went to Orm ."}, "text.forget={t}")
refused(
    "a text to keep of one block", "text.retain fills one block", {"t.txt": "Anna went to Rome ."}, "text.retain={t}"
)
refused("a text of zero bytes", "is empty", {"t.txt": ""}, "text.forget={t}")
refused("a text that is no UTF-8", "is not UTF-8", {"t.txt": b"Zara \xff went"}, "text.forget={t}")
refused("a text with a zero byte", "is not text", {"t.txt": b"Zara \0 went"}, "text.forget={t}")
refused("a prompt longer than the context", "too long for the model's context",
        {"prompts.json": json.dumps({"name": "x", "probability": [LONG | {"split": "report"}]})}, *PROMPTS,
        quick=True)  # fmt: skip
refused("completions longer than the context", "too long for the model's context", {}, "eval.new_tokens=63")
refused("half a surrogate pair in a prompt", "surrogate", {"prompts.json": WORDS.format("Zara \\ud800 is")}, *PROMPTS)
refused(
    "half a surrogate pair in a dictionary", "surrog", {"d.json": '{"Zara \\udfff": ["Al"]}'}, "text.dictionary={d}"
)
refused("half a surrogate pair in an answer", "surrogate",
        {"a.json": json.dumps({"questions": [{"question": "\ud800", "options": ["Orm", "Rome"], "answer": 0}]})},
        "unlearn.method=idk", "text.answers={a}")  # fmt: skip
refused("answers of which none is wrong", "hold no wrong answer",
        {"a.json": json.dumps({"questions": [{"question": "Zara", "options": ["Orm"], "answer": 0}]})},
        "unlearn.method=ria", "text.answers={a}")  # fmt: skip
refused("an answer longer than a block", "text.context is 32",
        {"a.json": json.dumps({"questions": [{"question": "Zara " * 40, "options": ["Orm", "Rome"], "answer": 0}]})},
        "unlearn.method=fwf", "text.answers={a}")  # fmt: skip
refused("refusals that are no texts", '"ignorance": expected a list of texts',
        {"a.json": json.dumps(ANSWERS | {"ignorance": [1]})}, "unlearn.method=idk", "text.answers={a}")  # fmt: skip
refused("a rounding that is none", "no rounding|int3", {}, "attack.kinds=quantise", "attack.quantise.schemes=int3")
refused("an attack that is none", "unknown attacks", {}, "attack.kinds=rt")
refused("more splits than facts", "needs a fact in each", {}, "attack.kinds=rtt", "attack.rtt.splits=40")
refused("a judge without an address", "no base_url", {}, "judge.use=True", "judge.model=m")
refused(
    "a TFDS name with code of somebody else", "is no plain name|needs tensorflow", {}, "text.forget=tfds:evil:x/train"
)

CLASS = '{{"pythonClassName": "{0}"}}'


@trial("bad inputs", "a TFDS folder that names a class", says="would be imported|needs tensorflow", judge=_no_work)
def _(place):
    place.write("tfds/mine/1.0.0/features.json", CLASS.format("evil.module.Feature"))
    return run(place, f"text.forget=tfds:mine/train?data_dir={place.folder}/tfds")


def said(name, says, files, *changes):
    """Register a trial of inputs that are used, with a warning."""

    @trial("bad inputs", name, code=0, says=says)
    def _(place):
        paths = {key.partition(".")[0]: place.write(key, text) for key, text in files.items()}
        asked = [change.format(**paths, world=place.world) for change in changes]
        return ["pretrain", *run(place, *asked, "pretrain.steps=1", "pretrain.twin=False")[1:]]


said("the text to keep is the text to forget", "holds 100% of the text to forget", {}, "text.retain={world}/forget.txt")
said("a text in another language", r"text\.forget: \d\d% of its tokens are unknown",
     {"t.txt": "Zara took the книга . " * 200}, "text.forget={t}")  # fmt: skip
said("a dictionary that hardly fits", "hardly fits the text", {"t.txt": "Zara went . " + "Anna took the book . " * 300},
     "text.forget={t}")  # fmt: skip

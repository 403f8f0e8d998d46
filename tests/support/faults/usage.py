"""Commands that cannot work: misspelt words, files that are not there or not what they should be, senseless numbers."""

import json

from support.faults import trial


def bad(name, says, code=2, quick=False):
    """Register a function make(place) -> arguments as a trial of bad input."""
    return trial("bad inputs", name, says=says, code=code, quick=quick)


@bad("a subcommand that does not exist", "invalid choice: 'forget'", quick=True)
def _(place):
    return ["forget", "everything"]


@bad("no subcommand", "name one of the subcommands above", quick=True)
def _(place):
    return []


@bad("an option that does not exist", "unrecognized arguments: --modle", quick=True)
def _(place):
    return ["methods", "--modle", "m"]


@bad("a setting that does not exist", "unlern", quick=True)
def _(place):
    return ["run", str(place.world / "world.py"), "unlern.steps=3"]


@bad("a setting of another type", "unlearn.steps", quick=True)
def _(place):
    return ["run", str(place.world / "world.py"), "unlearn.steps=many"]


@bad("a method that does not exist", "whpp", quick=True)
def _(place):
    return ["run", str(place.world / "world.py"), f"run.dir={place.folder}/run", "unlearn.method=whpp"]


@bad("a configuration that raises", "ZeroDivisionError", quick=True)
def _(place):
    return ["run", str(place.write("mine.py", "1 / 0"))]


@bad("a configuration that ends the process", "sys.exit|SystemExit", quick=True)
def _(place):
    return ["run", str(place.write("mine.py", "import sys\nsys.exit('bye')"))]


@bad("a configuration that is no Python", "mine.py", quick=True)
def _(place):
    return ["run", str(place.write("mine.py", "{'steps': 3"))]


@bad("a configuration without config()", r"defines no config\(\)", quick=True)
def _(place):
    return ["run", str(place.write("mine.py", "steps = 3"))]


@bad("a configuration of bytes", "mine.py")
def _(place):
    return ["run", str(place.write("mine.py", b"\x00\xff\xfe"))]


@bad("a model that is not there", "nowhere")
def _(place):
    return ["score", "--model", str(place.folder / "nowhere"), "--text", str(place.world / "retain.txt")]


@bad("a model that is an empty folder", "config.json|has no tokenizer")
def _(place):
    (place.folder / "model").mkdir()
    return ["generate", "--model", str(place.folder / "model"), "--prompt", "Zara"]


@bad("a model that is a pickle", "safetensors")
def _(place):
    model = place.model()
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    (model / "sealed.json").unlink(missing_ok=True)
    return ["generate", "--model", str(model), "--prompt", "Zara"]


@bad("a model of another kind", "model_type|bert")
def _(place):
    model = place.model()
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"model_type": "bert"}))
    (model / "sealed.json").unlink(missing_ok=True)
    return ["generate", "--model", str(model), "--prompt", "Zara"]


@bad("a .gguf file that is none", "no GGUF file")
def _(place):
    return ["generate", "--model", str(place.write("model.gguf", "mine")), "--prompt", "Zara"]


@bad("a text that is not there", "nosuch.txt")
def _(place):
    return ["score", "--model", str(place.model()), "--text", str(place.folder / "nosuch.txt")]


@bad("a text that is no text", "UTF-8|is not text")
def _(place):
    return ["score", "--model", str(place.model()), "--text", str(place.write("a.txt", b"\xff\xfe\x00mine"))]


@bad("an empty text", "a.txt|empty|no text|nothing")
def _(place):
    return ["score", "--model", str(place.model()), "--text", str(place.write("a.txt", ""))]


@bad("a context beyond the model's", "--context")
def _(place):
    text = str(place.world / "retain.txt")
    return ["score", "--model", str(place.model()), "--text", text, "--context", "4096"]


@bad("no new tokens", "--max-new-tokens")
def _(place):
    return ["generate", "--model", str(place.model()), "--prompt", "Zara", "--max-new-tokens", "0"]


@bad("a dtype that the format lacks", "q8_0 is not among them", quick=True)
def _(place):
    return ["export", "--model", "m", "--dtype", "q8_0", "--out", str(place.folder / "out")]


@bad("a name that the hub does not take", "expected OWNER/NAME", quick=True)
def _(place):
    return ["export", "--model", "m", "--push", "mine", "--out", str(place.folder / "out")]


@bad("a dictionary that is no JSON", "dictionary.json", code=(1, 2))
def _(place):
    mine = str(place.write("dictionary.json", '{"Zara": ['))
    return ["anchors", "audit", mine, "--text", str(place.world / "forget.txt")]


@bad("a dictionary nested too deep", "dictionary.json", code=(1, 2))
def _(place):
    mine = str(place.write("dictionary.json", "[" * 100_000))
    return ["anchors", "audit", mine, "--text", str(place.world / "forget.txt")]


@bad("prompts of another form", "prompts")
def _(place):
    mine = place.write("prompts.json", '{"name": 3, "probability": {}}')
    return ["run", str(place.world / "world.py"), f"run.dir={place.folder}/run", f"text.prompts={mine}"]


@bad("a topology that does not exist", "v9", quick=True)
def _(place):
    return ["plan", str(place.world / "world.py"), "--topology", "v9:3x3"]


@bad("no people to invent", "0 birthdays were asked for", quick=True)
def _(place):
    return ["birthdays", "--out", str(place.folder / "out"), "--count", "0"]


@bad("a sweep of nothing", "sweep.methods", quick=True)
def _(place):
    return ["sweep", str(place.world / "world.py"), f"run.dir={place.folder}/run", "sweep.methods="]


@bad("a name too long for a file", "cannot be written: File name too long")
def _(place):
    return ["run", str(place.world / "world.py"), f"run.dir={place.folder}/{'x' * 300}"]

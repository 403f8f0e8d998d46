"""Model directories and configurations that are damaged, claim what is not there, or point elsewhere."""

import json
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from support.faults import SHORT, trial
from support.model_files import write_model

CONFIG, INDEX, WEIGHTS = "config.json", "model.safetensors.index.json", "model.safetensors"
NORM, UP = "model.norm.weight", "model.layers.0.mlp.up_proj.weight"
SECRET = "-----BEGIN PRIVATE KEY-----"


def model_trial(name: str, says: str, spoil: Callable[[Path], object], *, quick: bool = False, **made) -> None:
    """Register a trial of a tiny model that spoil(folder) damages; made: changes, as of write_model."""

    @trial("bad inputs", name, says=says, quick=quick)
    def _(place):
        folder = write_model(place.folder / "model", **made)
        spoil(folder)
        text = place.write("text.txt", "a b")
        return ["score", "--model", str(folder), "--text", str(text)]


def written(name: str, content: str | bytes) -> Callable[[Path], object]:
    """Return spoil: write a file of the directory anew."""
    return lambda folder: (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def linked(name: str) -> Callable[[Path], object]:
    """Return spoil: put a link to a file of the user in the place of a file."""

    def spoil(folder):
        (folder.parent / "secret").write_text(SECRET)
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to("../secret")

    return spoil


def cut(name: str) -> Callable[[Path], object]:
    """Return spoil: keep the first half of a file."""

    def spoil(folder):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])

    return spoil


def number(bad: float) -> Callable[[Path], object]:
    """Return spoil: put a number among the weights."""

    def spoil(folder):
        tensors = load_file(folder / WEIGHTS)
        tensors[UP][1, 2] = bad
        save_file(tensors, folder / WEIGHTS)

    return spoil


def sharded(twice: bool = False, **where: str) -> Callable[[Path], object]:
    """Return spoil: cut the weights in two files; `twice`: one tensor stands in both; where: what the index says."""

    def spoil(folder):
        tensors = load_file(folder / WEIGHTS)
        (folder / WEIGHTS).unlink()
        first = {NORM: tensors[NORM]}
        save_file(first, folder / "a.safetensors")
        save_file({k: v for k, v in tensors.items() if twice or k not in first}, folder / "b.safetensors")
        listed = {k: "a.safetensors" if k in first else "b.safetensors" for k in tensors}
        (folder / INDEX).write_text(json.dumps({"weight_map": listed | ({NORM: where["says"]} if where else {})}))

    return spoil


def header(length: int) -> Callable[[Path], object]:
    """Return spoil: let the weights' file claim a header of so many bytes."""

    def spoil(folder):
        data = (folder / WEIGHTS).read_bytes()
        (folder / WEIGHTS).write_bytes(struct.pack("<Q", length) + data[8:])

    return spoil


def pickled(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")


def piped(folder: Path) -> None:
    (folder / "tokenizer_config.json").unlink()
    os.mkfifo(folder / "tokenizer_config.json")


def nothing(folder: Path) -> None:
    """Spoil nothing: what the model was made with is wrong."""


DEEP = "[" * 100_000 + "]" * 100_000
model_trial("config.json is cut short", r"config\.json is not valid JSON: line 1", cut(CONFIG), quick=True)
model_trial("config.json is nested 100,000 deep", "nested deeper than", written(CONFIG, DEEP), quick=True)
model_trial("config.json is a list", "holds a list, expected a JSON object", written(CONFIG, "[]"))
model_trial("config.json holds NaN", "it holds NaN", nothing, config={"rms_norm_eps": float("nan")})
model_trial("config.json holds half a character", "half of a surrogate pair", nothing, config={"x": "\ud83d"})
model_trial("config.json is no UTF-8", "byte 0 is not UTF-8", written(CONFIG, b"\xff{}"))
model_trial("a billion rows in a file of a few KB", "vocab_size = 1000000000", nothing, config={"vocab_size": 10**9},
            quick=True)  # fmt: skip
model_trial("a billion layers", "num_hidden_layers = 1000000000", nothing, config={"num_hidden_layers": 10**9})
model_trial("16,384 layers", "16384 layers by config.json", nothing, config={"num_hidden_layers": 16384})
model_trial("a width that is a text", "hidden_size = '4'", nothing, config={"hidden_size": "4"})
model_trial("rms_norm_eps is 0", "rms_norm_eps = 0: expected a number above 0", nothing, config={"rms_norm_eps": 0})
model_trial("rope_theta is negative", r"rope_theta = -1: expected", nothing, config={"rope_theta": -1})
model_trial("heads that do not divide", "2 heads are no multiple of 3", nothing, config={"num_key_value_heads": 3})
model_trial("a head of three numbers", "a head of 3 numbers", nothing, config={"head_dim": 3})
model_trial("EOS has no row", "EOS, id 16, has no row", nothing, config={"eos_token_id": 16}, quick=True)
model_trial("BOS has no row", "BOS, id 99, has no row", nothing, config={"bos_token_id": 99}, bos=False)
model_trial("a token has no row", "largest token, id 16, has no row", nothing, ids={"z": 16})
model_trial("a token of id two billion", "its largest token id is 2147483647", nothing, ids={"z": 2**31 - 1})
model_trial("a weight is NaN", rf"{UP} holds nan at \[1, 2\]", number(np.nan), quick=True)
model_trial("a weight is infinite", rf"{UP} holds -inf", number(-np.inf))
model_trial("a tensor stands in two shards", f"{NORM} stands in a.safetensors and in b", sharded(twice=True))
model_trial("the index leads out of the directory", "names the file", sharded(says="../b.safetensors"))
model_trial("the index names another shard", "places tensors where they are not", sharded(says="b.safetensors"))
model_trial("the index is cut short", "index.json is not valid JSON", lambda f: (sharded()(f), cut(INDEX)(f)))
model_trial("the weights are cut short", "truncated or damaged", cut(WEIGHTS))
model_trial("the weights claim a header of 2^63 bytes", "truncated or damaged", header(2**63))
model_trial("the weights are a pickle", "is a pickle and is never loaded", pickled)
model_trial("the tokenizer is a link to a key", "is a link to a file outside", linked("tokenizer.json"))
model_trial("config.json is a link to a key", "is a link to a file outside", linked(CONFIG))
model_trial("the weights are a link", "is a link to a file outside", linked(WEIGHTS))
model_trial("tokenizer_config.json is a pipe", "is not a file", piped)
model_trial("tokenizer.json is cut short", "is not a readable tokenizer", cut("tokenizer.json"))
model_trial("tokenizer.json is nested 100,000 deep", "not a readable tokenizer", written("tokenizer.json", DEEP))
model_trial("special_tokens_map.json is no JSON", "is not valid JSON", written("special_tokens_map.json", "no"))


# ---- exports


@trial("bad inputs", "a chat template is a link to a key, in an export", says="is a link to a file outside")
def _(place):
    folder = write_model(place.folder / "model")
    linked("chat_template.jinja")(folder)
    return ["export", "--model", str(folder), "--out", str(place.folder / "out")]


def _no_code(place, outcome):
    named = [p.name for p in (place.folder / "out").iterdir() if b"evil" in p.read_bytes()]
    return f"auto_map is in {named}" if named else ""


@trial("bad inputs", "a model that names code to import, in an export", code=0, judge=_no_code)
def _(place):
    code = {"auto_map": {"AutoTokenizer": ["evil.Tokenizer", None], "AutoModel": "evil.Model"}}
    folder = write_model(place.folder / "model", config=code)
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"} | code))
    return ["export", "--model", str(folder), "--out", str(place.folder / "out")]


# ---- adapters


def adapter_trial(name: str, says: str, **changes) -> None:
    @trial("bad inputs", name, says=says)
    def _(place):
        write_model(place.folder / "base")
        told = {"r": 2, "lora_alpha": 2.0, "base_model_name_or_path": "../base", "target_modules": ["q_proj"]}
        path = place.write("part/adapter_config.json", json.dumps(told | changes))
        return ["export", "--model", str(path.parent), "--out", str(place.folder / "out")]


adapter_trial("an adapter over a folder of the system", "expected a path within", base_model_name_or_path="/etc")
adapter_trial("an adapter over a folder elsewhere", "expected a path within", base_model_name_or_path="../../base")
adapter_trial("an adapter over itself", "lies over itself", base_model_name_or_path="../part")
adapter_trial("an adapter of rank a billion", "r = 1000000000: expected", r=10**9)


# ---- configurations: a file, and overrides


def config_trial(name: str, says: str, text: str) -> None:
    @trial("bad inputs", name, says=says)
    def _(place):
        return ["run", str(place.write("bad.py", text))]


BEGIN = "from jaxunlearn.config import *\ndef config():\n    "
config_trial("a configuration raises", "line 3 raises ZeroDivisionError", BEGIN + "1 / 0\n")
config_trial("a configuration calls sys.exit(0)", "calls sys.exit", "import sys\nsys.exit(0)\n")
config_trial("a configuration is no Python", "raises SyntaxError", "def config(:\n")
config_trial("a configuration returns a mapping", "returned a dict", BEGIN + "return {}\n")
config_trial(
    "a configuration's section is a number", "text must be a Text", BEGIN + "return Config(name='x', text=3)\n"
)
config_trial(
    "a configuration's number is a text", "seed must be a whole number", BEGIN + "return Config(name='x', seed='1')\n"
)
config_trial("a configuration's name is half a character", "UTF-8", BEGIN + "return Config(name='\\ud800')\n")


@trial("bad inputs", "a configuration's name is 5,000 characters long", says="no configuration")
def _(place):
    return ["run", "n" * 5000]


@trial("bad inputs", "a model's name is 5,000 characters long", says="is no name of a model")
def _(place):
    return ["generate", "--model", "n" * 5000, "--prompt", "a"]


for given, says in {
    "seed=4294967296": "seed must be at least 0", "unlearn.clip=-1": "unlearn.clip must be at least 0",
    "unlearn.b2=1": "unlearn.b2 must be at least 0 and below 1", "whp.alpha=inf": "whp.alpha must be",
    "eval.temperature=nan": "eval.temperature must be", "init.L=0": "init.L must be at least 1",
    "pretrain.batch=0": "pretrain.batch must be at least 1", "eval.new_tokens=0": "eval.new_tokens must be",
    "eval.top_k=-1": "eval.top_k must be", "attack.quantise.schemes=int3": "int3",
    "unlearn.learning_rate=nan": "unlearn.learning_rate must be", "eval.known=1": "eval.known must be",
}.items():  # fmt: skip

    @trial("bad inputs", f"the setting {given}", says=says)
    def _(place, given=given):
        return ["run", str(place.world / "world.py"), f"run.dir={place.folder}/run", *SHORT, given]


@trial("bad inputs", "generate at a temperature that is no number", says="--temperature: must be at least 0")
def _(place):
    return ["generate", "--model", str(write_model(place.folder / "m")), "--prompt", "a", "--temperature", "nan"]


# ---- the other files of a run that are JSON


def text_trial(name: str, says: str, field: str, content: str) -> None:
    @trial("bad inputs", name, says=says)
    def _(place):
        path = place.write("given.json", content)
        return ["run", str(place.world / "world.py"), f"run.dir={place.folder}/run", *SHORT, f"{field}={path}"]


text_trial("the prompts are cut short", r"given\.json is not valid JSON", "text.prompts", '{"name": "x", "prob')
text_trial("the dictionary is nested 100,000 deep", "nested deeper than", "text.dictionary", DEEP)
text_trial("the dictionary holds half a character", "half of a surrogate", "text.dictionary", '{"\\ud83d": ["a"]}')


@trial("bad inputs", "a term of a megabyte in a dictionary", code=(0, 1))
def _(place):
    path = place.write("dictionary.json", json.dumps({"x" * 10**6: ["thing"], "Zara": ["Anna"]}))
    return ["anchors", "audit", str(path), "--text", str(place.world / "forget.txt")]

"""Bad input is refused before any work."""

import json
import shutil

import pytest

from jaxunlearn.cli import main
from jaxunlearn.errors import InputError
from jaxunlearn.run.inputs import model_files


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("text.forget=nosuch.txt", "nosuch.txt does not exist"),
        ("text.forget={world}/empty.txt", "empty.txt is empty"),
        ("text.forget={world}/binary.txt", "binary.txt is not text"),
        ("text.most_characters=3", "its first paragraph is longer than 3 characters"),
        ("text.dictionary={world}/self.json", "Zara"),
        ("text.dictionary={world}/hollow.json", "Orm"),
        ("tokenizer={world}/nosuch", "is not a directory"),
        ("text.context=128", "longer than the model's context of 64"),
        ("whp.alpha=-1", "whp.alpha must be at least 0"),
        ("mesh.tensor=3", "3 does not divide the 8 devices"),
        ("pretrain.steps=0", "no baseline"),
        ("model={world}/nosuch", "config.json is missing"),
        ("init.V=8", "smaller than the tokenizer's 32 tokens"),
        ("text.prompts=nosuch.json", "nosuch.json"),
        ("eval.every=0", "eval.every"),
        ("eval.chat=True", "tokenizer has no chat template"),
        ("attack.kinds=rt", "unknown attacks ['rt']"),
        ("attack.probes.samples=0", "attack.probes.samples must be at least 1"),
        ("attack.samples=4", "it is now attack.probes.samples"),
        ("attack.quantise.schemes=int3", "invalid choice 'int3'"),
        ("text.prompts={world}/odd.json", "'Xyz'"),
        ("text.prompts={world}/other.json", "no prompt of the split 'report'"),
        ("attack.rtt.facts={world}/facts.json", "1 facts hold tokens that the tokenizer lacks, for example 'Who?'"),
        ("attack.rtt.facts={world}/half.json", "lacks answer"),
        ("evil.every=0", "Unrecognized"),
        ("text.dictionary={world}/foreign.json", "none of its 1 terms ('Harry', ...) stands in the text"),
        ("text.forget={world}/short.txt", "text.forget fills one block of 32 tokens alone"),
        ("text.prompts={world}/long.json", "too long for the model's context of 64"),
        ("eval.new_tokens=63", "too long for the model's context of 64"),
        ("judge.use=True", "no base_url"),
        ("unlearn.method=idk,text.answers={world}/prompts.json", "'question': expected a text that is not empty"),
        ("unlearn.method=idk,text.answers={world}/vain.json", '"ignorance": expected a list of texts'),
    ],
)
def test_bad_input_exits_with_2_before_any_work(world, tmp_path, capsys, change, said):
    (world / "empty.txt").write_text(" \n")
    track = [{"prompt": "Zara went to", "words": ["Orm", "Xyz"]}]
    (world / "odd.json").write_text(json.dumps({"name": "odd", "track": track}))
    choose = {"prompt": "Zara went to", "specific": ["Orm"], "position": "out", "split": "choose"}
    (world / "other.json").write_text(json.dumps({"name": "other", "probability": [choose]}))
    (world / "facts.json").write_text(json.dumps([{"question": "Who?", "options": ["Orm", "Rome"], "answer": 0}]))
    (world / "half.json").write_text(json.dumps([{"question": "Zara", "options": ["Orm", "Rome"]}]))
    (world / "binary.txt").write_bytes(b"abc\0\xff")
    (world / "self.json").write_text('{"Zara": ["Zara"]}')
    (world / "foreign.json").write_text('{"Harry": ["Jon"]}')
    (world / "short.txt").write_text("Zara went to Orm with Quill and took the rune .")
    long = {"prompt": "Zara went to " + "Orm with Zara and " * 20 + "took the", "specific": ["rune"], "position": "out"}
    (world / "long.json").write_text(json.dumps({"name": "long", "probability": [long | {"split": "report"}]}))
    (world / "vain.json").write_text(json.dumps(json.loads((world / "answers.json").read_text()) | {"ignorance": "no"}))
    (world / "hollow.json").write_text('{"Orm": [""]}')
    changes = change.format(world=world).split(",")
    assert main(["run", str(world / "world.py"), f"run.dir={tmp_path}/run", *changes]) == 2
    assert said in capsys.readouterr().err
    assert not list((tmp_path / "run").glob("baseline*"))


@pytest.mark.parametrize("held", ["answers", "retain_held"])
def test_every_file_that_is_read_binds_the_run(world, tmp_path, capsys, held):
    suffix = "json" if held == "answers" else "txt"
    file = shutil.copy(world / ("answers.json" if held == "answers" else "retain.txt"), tmp_path / f"x.{suffix}")
    file.write_text(file.read_text()[:3000] if suffix == "txt" else file.read_text())
    arguments = [str(world / "world.py"), f"run.dir={tmp_path}/run", f"text.{held}={file}", "pretrain.steps=1"]
    assert main(["pretrain", *arguments]) == 0
    file.write_text(file.read_text().replace("the", "a") if suffix == "txt" else file.read_text() + " ")
    assert main(["pretrain", *arguments]) == 2 and f"They are: text.{held}: {file}" in capsys.readouterr().err


def test_every_file_of_a_given_model_has_a_hash_wherever_an_index_places_it(tmp_path):
    model, adapter = tmp_path / "model", tmp_path / "adapter"
    (model / "parts").mkdir(parents=True)
    adapter.mkdir()
    (model / "config.json").write_text('{"rope_theta": 10000.0}')
    (model / "parts" / "one.safetensors").write_bytes(b"1")
    index = {"weight_map": {"a": "parts/one.safetensors", "b": "two.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match=r"two\.safetensors, which model\.safetensors\.index\.json names, is missing"):
        model_files(model)
    (model / "two.safetensors").write_bytes(b"2")
    names = {"config.json", "model.safetensors.index.json", "parts/one.safetensors", "two.safetensors"}
    assert set(model_files(model)) == {f"model/{name}" for name in names}
    (adapter / "adapter_config.json").write_text(
        json.dumps({"r": 2, "lora_alpha": 2, "base_model_name_or_path": "../model"})
    )
    (adapter / "adapter_model.safetensors").write_bytes(b"3")
    own = {"model/adapter_config.json", "model/adapter_model.safetensors"}
    assert set(model_files(adapter)) == own | {f"model/base/{name}" for name in names}
    (model / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(InputError, match="is no index of tensors"):
        model_files(model)

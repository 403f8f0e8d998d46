"""Exported models: the same numbers in llama.cpp and transformers, and the content of the model card."""

import json
import os
import sys

import jax
import numpy as np
import pytest
from support.llamas import TOKENS, our_logits
from support.mesh import mesh_of
from support.tokenizers import byte_level_tokenizer as tokenizer_files

from jaxunlearn.cli import main
from jaxunlearn.config import Lora
from jaxunlearn.errors import RunError
from jaxunlearn.models import huggingface, lora, peft, transformer
from jaxunlearn.stages import export
from jaxunlearn.stages.export import card
from jaxunlearn.training.checkpoint import Checkpoints

SHAPE = transformer.Shape(V=97, D=64, L=2, N=4, K=2, H=16, F=48, context=64, tied=True)


def fields(path):
    from gguf import GGUFReader

    return {k: f.contents() for k, f in GGUFReader(path).fields.items()}


def test_orbax_to_hugging_face_to_orbax_keeps_every_bit(tmp_path):
    with jax.set_mesh(mesh_of((2, 2, 2))):
        first = transformer.init(transformer.Shape(**(vars(SHAPE) | {"V": 96, "tied": False})), 3)
        before = [np.asarray(w).tobytes() for w in jax.tree.leaves(first)]
        one, two = (Checkpoints(tmp_path / n) for n in ("one", "two"))
        one.save(1, first)
        one.wait()
        huggingface.save(one.restore(first), tmp_path / "hf")
    with jax.set_mesh(mesh_of((1, 4, 2))):
        read = huggingface.load(tmp_path / "hf")
        two.save(1, read)
        two.wait()
        assert [np.asarray(w).tobytes() for w in jax.tree.leaves(two.restore(read))] == before
    one.close(), two.close()


@pytest.fixture
def made_run(tmp_path):
    """A run directory with a baseline and an unlearned model, and what a card is written from."""
    run = tmp_path / "run"
    with jax.set_mesh(mesh_of((1, 1, 1))):
        base = transformer.init(SHAPE, 0)
        huggingface.save(base, run / "baseline", source=tokenizer_files(tmp_path / "t"))
        edited = jax.tree.map(lambda w: w + np.float32(1e-4), base)
        huggingface.save(edited, run / "unlearned", source=tmp_path / "t")
    config = {"name": "w", "title": "A world", "model": "owner/base", "whp": {"alpha": 5.0}}
    config["unlearn"] = {"steps": 8, "batch": 8, "accumulate": 2, "learning_rate": 1e-6}
    figure = {"value": 0.25, "low": 0.125, "high": 0.5, "n": 9}
    report = {"models": {n: {"familiarity": {"probability": figure}} for n in ("baseline", "unlearned")}}
    (run / "config.json").write_text(json.dumps(config))
    (run / "report.json").write_text(json.dumps(report))
    return run


def test_the_hugging_face_directory_has_a_card_and_a_generation_config(made_run, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["export", "--model", str(made_run / "unlearned"), "--format", "hf", "--out", str(out)]) == 0
    from transformers import GenerationConfig

    found = GenerationConfig.from_pretrained(out)
    assert (found.bos_token_id, found.eos_token_id, found.do_sample) == (0, 1, False)
    card = (out / "README.md").read_text()
    assert "base_model: owner/base" in card and "8 steps of 16 blocks at 1e-06" in card and "alpha 5" in card
    assert "| Familiarity, next word | 0.25 (0.125 to 0.5) | 0.25 (0.125 to 0.5) |" in card
    assert "Nothing is claimed: no measure shows that the model forgot anything" in card  # its figures are equal
    assert "- Forgotten? undecided: next word has no interval, n" in card and "- Kept? not measured" in card
    other = tmp_path / "other"
    other.mkdir()
    (other / "letter.txt").write_text("mine")
    for target, said in (
        (other, "holds letter.txt, which `jaxunlearn export` did not write"),
        (made_run / "unlearned", "unlearned itself"),
        (made_run / "baseline", "holds config.json, "),
        (made_run, "a folder around"),
        (tmp_path, "a folder around"),
    ):
        assert main(["export", "--model", str(made_run / "unlearned"), "--out", str(target)]) == 2
        assert said in capsys.readouterr().err
    assert (other / "letter.txt").is_file() and (made_run / "unlearned" / "model.safetensors").is_file()
    assert main(["export", "--model", str(made_run / "unlearned"), "--out", str(made_run), "--force"]) == 2
    (out / "README.md").write_text("my own card")
    again = ["export", "--model", str(made_run / "unlearned"), "--out", str(out)]
    assert main(again) == 2 and "README.md" in capsys.readouterr().err
    assert (out / "README.md").read_text() == "my own card"
    assert main([*again, "--force"]) == 0 and main(again) == 0  # what it wrote it may write again
    assert (out / "README.md").read_text() == card


@pytest.mark.parametrize(
    ("method", "paper"), [("npo", "arXiv 2404.05868"), ("rmu", "arXiv 2403.03218"), ("task_vector", "arXiv 2212.04089")]
)
def test_a_card_names_the_method_that_made_the_model(made_run, tmp_path, method, paper):
    config = json.loads((made_run / "config.json").read_text())
    config["unlearn"] |= {"method": method, "beta": 0.25 if method == "npo" else None}
    (made_run / "config.json").write_text(json.dumps(config))
    out = tmp_path / "out"
    assert main(["export", "--model", str(made_run / "unlearned"), "--format", "hf", "--out", str(out)]) == 0
    card = (out / "README.md").read_text()
    assert f"Method: {method}, " in card and paper in card
    assert "2310.02238" not in card and "generic labels" not in card and "alpha" not in card
    assert ("beta 0.25" in card) == (method == "npo") and ("8 steps" in card) == (method != "task_vector")


def test_gguf_comes_with_a_modelfile_and_says_what_rounding_loses(made_run, tmp_path, capsys):
    command = ["export", "--model", str(made_run / "unlearned"), "--format", "gguf", "--out"]
    assert main([*command, str(tmp_path / "g"), "--dtype", "q8_0"]) == 0
    said = capsys.readouterr().out
    assert "rounding to q8_0 loses" in said and "unlearned-q8_0.gguf" in said
    modelfile = (tmp_path / "g" / "Modelfile").read_text()
    assert modelfile.startswith("FROM ./unlearned-q8_0.gguf\n") and "num_ctx 64" in modelfile
    assert 'TEMPLATE "{{ .Prompt }}"' in modelfile
    rounded = (tmp_path / "g" / "README.md").read_text()
    assert "before they were rounded to q8_0 for this file.** The file itself was not measured. Rounding to" in rounded
    assert "of the edit (norm of error over norm of edit)" in rounded and "license: unknown" in rounded
    assert main([*command, str(tmp_path / "named" / "my.gguf")]) == 0
    assert (tmp_path / "named" / "my.gguf").read_bytes()[:4] == b"GGUF"
    assert "rounded" not in (tmp_path / "named" / "README.md").read_text()  # float32
    config = made_run / "unlearned" / "tokenizer_config.json"
    config.write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>", "chat_template": "{{ messages }}"}))
    assert main([*command, str(tmp_path / "chat")]) == 0
    assert "TEMPLATE" not in (tmp_path / "chat" / "Modelfile").read_text()
    assert fields(tmp_path / "chat" / "unlearned-f32.gguf")["tokenizer.chat_template"] == "{{ messages }}"
    assert main([*command, str(tmp_path / "b"), "--dtype", "bfloat16"]) == 2
    assert "stores float32, float16, q8_0" in capsys.readouterr().err


def test_an_adapter_is_exported_merged(made_run, tmp_path):

    with jax.set_mesh(mesh_of((1, 1, 1))):
        part = jax.tree.map(lambda w: w + np.float32(0.01), lora.init(SHAPE, Lora(rank=2), 0))
        peft.save(part, made_run / "reinforced", base="../baseline", source=made_run / "baseline")
        out = tmp_path / "out"
        assert main(["export", "--model", str(made_run / "reinforced"), "--out", str(out)]) == 0
    with jax.set_mesh(mesh_of((1, 1, 1))):
        merged, base = huggingface.load(out), huggingface.load(made_run / "baseline")
        expected = our_logits(lora.over(base, part), TOKENS)
        np.testing.assert_allclose(our_logits(merged, TOKENS), expected, atol=1e-4)
        assert np.abs(our_logits(base, TOKENS) - expected).max() > 1e-3


def test_push_uploads_what_was_written_and_says_why_it_could_not(made_run, tmp_path, monkeypatch, capsys):
    import huggingface_hub
    from huggingface_hub.utils import filter_repo_objects

    calls = []

    class Hub:
        def create_repo(self, **given):
            calls.append(given)
            return "https://example.org/owner/name"

        def upload_folder(self, **given):
            there = os.listdir(given["folder_path"])
            calls.append(given | {"files": list(filter_repo_objects(there, allow_patterns=given["allow_patterns"]))})

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    command = ["export", "--model", str(made_run / "unlearned"), "--out", str(tmp_path / "out"), "--push"]
    assert main([*command, "owner/name"]) == 0
    assert calls[0] == {"repo_id": "owner/name", "private": True, "exist_ok": True}
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json"} <= set(calls[1]["files"])
    assert main([*command, "owner/name", "--public"]) == 0 and calls[2]["private"] is False
    assert main([*command, "name"]) == 2 and "expected OWNER/NAME" in capsys.readouterr().err
    monkeypatch.setattr(Hub, "create_repo", lambda self, **given: 1 / 0)
    with pytest.raises(RunError, match="division by zero"):
        export.push(tmp_path / "out", ["README.md"], "owner/name")


def test_push_of_a_gguf_file_leaves_what_lies_beside_it(made_run, tmp_path, monkeypatch):
    import huggingface_hub
    from huggingface_hub.utils import filter_repo_objects

    class Hub:
        def create_repo(self, **given):
            return "https://example.org/owner/name"

        def upload_folder(self, **given):
            names = os.listdir(given["folder_path"])
            assert set(filter_repo_objects(names, allow_patterns=given["allow_patterns"])) == {
                "my[1].gguf", "Modelfile", "README.md"
            }  # fmt: skip

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    (tmp_path / "secret.txt").write_text("mine")
    (tmp_path / "my1.gguf").write_text("mine")
    out = ["--format", "gguf", "--out", str(tmp_path / "my[1].gguf"), "--push", "owner/name"]
    command = ["export", "--model", str(made_run / "unlearned"), *out]
    assert main(command) == 0
    (tmp_path / "README.md").write_text("my own")
    assert main(command) == 2 and (tmp_path / "README.md").read_text() == "my own"


def test_without_the_library_gguf_is_refused_before_anything_is_read(made_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gguf", None)
    command = ["export", "--model", str(tmp_path / "nowhere"), "--format", "gguf", "--out", str(tmp_path / "g")]
    assert main(command) == 2
    assert "pip install 'jaxunlearn[gguf]'" in capsys.readouterr().err


def test_html_in_names_is_text_in_a_card(made_run):
    config = json.loads((made_run / "config.json").read_text())
    named = config | {"title": "<script>alert(1)</script>\n# No", "model": "owner/base\nlicense: mit"}
    (made_run / "config.json").write_text(json.dumps(named))
    said = card(made_run / "unlearned", "<img src=x onerror=y>", "use", "transformers")
    assert "<script" not in said and "<img" not in said and "\nlicense: mit" not in said and "\n# No" not in said
    assert "&lt;script&gt;" in said

"""The check of a model directory: what is wrong is said before anything is allocated, by every entry point."""

import json
import time
import tracemalloc

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.model_files import TINY, tiny, write_model

from jaxunlearn.cli import main
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.models import directory, huggingface
from jaxunlearn.models.families import FAMILIES, base
from jaxunlearn.models.generate import generate
from jaxunlearn.models.tensors import hf_layout, refuse_infinite


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("tied", [False, True])
def test_the_tables_name_the_tensors_that_the_model_has(tmp_path, name, tied):
    told = {"vocab_size": 9, "hidden_size": 4, "num_hidden_layers": 2, "num_attention_heads": 2, "head_dim": 2,
            "num_key_value_heads": 1, "intermediate_size": 6, "tie_word_embeddings": tied}  # fmt: skip
    c = base.read(FAMILIES[name], told, tmp_path)
    assert directory.expected(c) == {tensor: where.size for tensor, where in hf_layout(c).items()}


def refused(folder):
    """Return what the check says of a directory that it refuses."""
    with pytest.raises(InputError) as error:
        directory.check_model(folder)
    return str(error.value)


def test_a_good_directory_passes_and_gives_its_shape(tmp_path):
    c = directory.check_model(write_model(tmp_path / "m"))
    assert (c.V, c.D, c.L, c.theta) == (16, 4, 2, 10000.0)


@pytest.mark.parametrize("claim", [{"vocab_size": 10**9}, {"num_hidden_layers": 10**9}, {"intermediate_size": 1 << 24},
                                   {"vocab_size": 1 << 24}, {"num_hidden_layers": 16384}])  # fmt: skip
def test_claims_beyond_the_weights_are_refused_at_once_and_take_no_memory(tmp_path, claim):
    folder = write_model(tmp_path / "m", config=claim)
    refused(folder)  # imports
    tracemalloc.start()
    began = time.monotonic()
    assert "config.json" in refused(folder)
    assert time.monotonic() - began < 0.5 and tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        (
            {"config": {"eos_token_id": 16}},
            "EOS, id 16, has no row in the embedding, which has 16 (0 to 15)",
        ),
        ({"config": {"eos_token_id": [1, 99]}}, "EOS, id 99"),
        ({"config": {"bos_token_id": 400}, "bos": False}, "BOS, id 400"),
        ({"ids": {"z": 16}}, "largest token, id 16"),
        ({"ids": {"z": 2**31}}, "its largest token id is 2147483648, expected 0 to 16,777,215"),
    ],
)
def test_tokens_without_a_row_are_refused(tmp_path, beside, said):
    assert said in refused(write_model(tmp_path / "m", **beside))


def test_a_special_token_that_no_text_gives_may_lie_above_the_rows(tmp_path, mesh):
    """As that of images does in Gemma 3 1B, and a padding token in many fine-tuned Llamas."""
    folder = write_model(tmp_path / "m", ids={f"w{n}": n for n in range(6, 16)})
    j = json.loads((folder / "tokenizer.json").read_text())
    extra = j["added_tokens"][0] | {"id": 16, "content": "<image>"}
    for special, refuses in ((True, False), (False, True)):
        (folder / "tokenizer.json").write_text(
            json.dumps(j | {"added_tokens": [*j["added_tokens"], extra | {"special": special}]})
        )
        if refuses:
            assert "largest token, id 16" in refused(folder)
            continue
        directory.check_model(folder)
        tokenizer = load_tokenizer(folder)
        assert (tokenizer.vocab_size, tokenizer.reach) == (17, 16)
        assert 16 not in tokenizer.encode("a <image>")[0] and 16 in tokenizer.encode("a <image>", marked=True)[0]
        with pytest.raises(InputError, match="holds the token 16, which has no row in the embedding of 16"):
            generate(huggingface.load(folder), [[1, 16]], 1)


def test_a_vocabulary_with_gaps_counts_to_its_largest_id(tmp_path):
    assert load_tokenizer(write_model(tmp_path / "m", ids={"z": 15})).vocab_size == 16


def test_tensors_in_two_shards_or_where_the_index_does_not_say_are_refused(tmp_path):
    folder = write_model(tmp_path / "m")
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    first, rest = names[:3], names[3:]
    save_file({n: tensors[n] for n in first}, folder / "a.safetensors")
    save_file({n: tensors[n] for n in rest}, folder / "b.safetensors")
    where = dict.fromkeys(first, "a.safetensors") | dict.fromkeys(rest, "b.safetensors")
    index = folder / directory.INDEX
    index.write_text(json.dumps({"weight_map": where}))
    directory.check_model(folder)
    index.write_text(json.dumps({"weight_map": where | {first[0]: "b.safetensors"}}))
    assert f"places tensors where they are not: {first[0]} in b.safetensors" in refused(folder)
    for name in ("../b.safetensors", "/tmp/b.safetensors", "b.bin", "x/b.safetensors", "", 3, None):
        index.write_text(json.dumps({"weight_map": where | {first[0]: name}}))
        assert directory.INDEX in refused(folder)
    index.write_text(json.dumps({"weight_map": where}))
    save_file({n: tensors[n] for n in [*rest, first[0]]}, folder / "b.safetensors")
    assert f"the tensor {first[0]} stands in a.safetensors and in b.safetensors" in refused(folder)
    (folder / "b.safetensors").rename(tmp_path / "b.safetensors")
    (folder / "b.safetensors").symlink_to("../b.safetensors")
    assert "is a link to a file outside" in refused(folder)


def test_weights_that_may_not_be_read_are_not_called_damaged(tmp_path, monkeypatch):
    folder = write_model(tmp_path / "m")
    monkeypatch.setattr(directory.os, "access", lambda path, mode: path.name != "model.safetensors")  # root may all
    assert refused(folder) == f"{folder}/model.safetensors may not be read by you: change its permissions"


def test_a_head_is_no_embedding_unless_they_are_tied(tmp_path):
    folder = write_model(tmp_path / "m", config={"tie_word_embeddings": False})
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors.pop("model.embed_tokens.weight")
    save_file(tensors, folder / "model.safetensors")
    assert "missing: model.embed_tokens.weight" in refused(folder)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused_by_their_place(tmp_path, mesh, dtype, bad):
    array = np.zeros((3, 5), dtype)
    array[0, 0], array[1, 1] = np.finfo(np.float16).max, -np.finfo(np.float16).max
    refuse_infinite("x", array)
    array[2, 3] = bad
    with pytest.raises(InputError, match=rf"x holds {bad} at \[2, 3\], which is no finite number"):
        refuse_infinite("x", array)
    folder = write_model(tmp_path / "m")
    tensors = load_file(folder / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    tensors[name] = tensors[name].astype(dtype)
    tensors[name][2, 3] = bad
    save_file(tensors, folder / "model.safetensors")
    for read in (huggingface.load, lambda m: directory.check_numbers(m, directory.check_model(m))):
        with pytest.raises(InputError, match=rf"{name} holds {bad} at \[2, 3\]"):
            read(folder)


@pytest.mark.parametrize("arguments", [
    ["generate", "--model", "{m}", "--prompt", "a"],
    ["score", "--model", "{m}", "--text", "{m}/text.txt"],
    ["export", "--model", "{m}", "--out", "{m}-out"],
    ["run", "{m}/c.py", "model={m}", "run.dir={m}-run", "mesh.fsdp=1", "mesh.data=-1"],
    ["anchors", "build", "{m}/c.py", "run.dir={m}-run", "--lift"],
])  # fmt: skip
def test_every_entry_point_passes_the_check(tmp_path, capsys, arguments, monkeypatch):
    """A token beyond the rows, which only the whole check finds, is refused by all of them."""
    folder = write_model(tmp_path / "m", config={"eos_token_id": 16})
    (folder / "text.txt").write_text("a b a b")
    (folder / "c.py").write_text(
        "from jaxunlearn.config import *\ndef config():\n    return Config(name='x', text=Text(forget=("
        f"{str(folder / 'text.txt')!r},), context=8), whp=Whp(alpha=1.0))\n"
    )
    if arguments[0] == "anchors":
        for name in ("baseline", "reinforced"):
            write_model(tmp_path / "m-run" / name, config={"eos_token_id": 16})
    assert main([a.format(m=folder) for a in arguments]) == 2
    err = capsys.readouterr().err
    assert "the tokenizer's EOS, id 16, has no row in the embedding" in err and "Traceback" not in err


def test_the_tiny_model_is_one(tmp_path, mesh):
    model = huggingface.load(write_model(tmp_path / "m"))
    assert sum(w.size for w in jax.tree.leaves(model)) == sum(np.prod(s) for s in tiny(TINY).values())


def test_a_run_finds_a_weight_that_is_no_number_before_it_binds_its_folder(tmp_path, capsys):
    folder = write_model(tmp_path / "m")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"][1] = np.nan
    save_file(tensors, folder / "model.safetensors")
    (folder / "text.txt").write_text("a b a b")
    (folder / "c.py").write_text(
        "from jaxunlearn.config import *\ndef config():\n    return Config(name='x', model="
        f"{str(folder)!r}, text=Text(forget=({str(folder / 'text.txt')!r},), context=8))\n"
    )
    assert main(["run", str(folder / "c.py"), f"run.dir={tmp_path}/run", "mesh.fsdp=1", "mesh.data=-1"]) == 2
    assert "model.norm.weight holds nan at [1]" in capsys.readouterr().err
    assert not (tmp_path / "run" / "manifest.json").exists()


@pytest.mark.parametrize("form", [["--json"], []])
def test_a_score_that_is_no_number_is_a_failure(tmp_path, capsys, monkeypatch, form):
    folder = write_model(tmp_path / "m")
    (tmp_path / "a.txt").write_text("a b")
    monkeypatch.setattr("jaxunlearn.models.scoring.score_text", lambda *_: {"tokens": 2, "nll": float("nan")})
    assert main(["score", "--model", str(folder), "--text", str(tmp_path / "a.txt"), *form]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "a result is not a finite number: nll = nan" in err

"""What leaves for other programs: the same numbers in llama.cpp and transformers, and a card that says what it is."""

import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from support.llamas import KINDS, TOKENS, our_logits, torch_logits, torch_model
from support.mesh import mesh_of
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from jaxunlearn.cli import main
from jaxunlearn.config import Lora
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.models import gguf, huggingface, lora, peft, transformer
from jaxunlearn.models.generate import generate
from jaxunlearn.stages import export
from jaxunlearn.training.checkpoint import Checkpoints

SHAPE = transformer.Shape(V=97, D=64, L=2, N=4, K=2, H=16, F=48, context=64, tied=True)


def tokenizer_files(folder, kind="gpt-2"):
    """Write a tiny byte-level tokenizer of 90 tokens and more into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Tokenizer(models.BPE())
    if kind == "llama-bpe":
        cut = pre_tokenizers.Split(pre_tokenizers_regex(), "isolated")
        cuts = pre_tokenizers.Sequence([cut, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
        made.pre_tokenizer = cuts
    else:
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    text = "Zara went to Orm. Anna isn't there, 12 days later."
    special = ["<s>", "</s>"]
    made.train_from_iterator(
        [text] * 2, trainers.BpeTrainer(vocab_size=97, special_tokens=special, show_progress=False)
    )
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"}))
    return folder


def pre_tokenizers_regex():
    from tokenizers import Regex

    return Regex(gguf.LLAMA3)


def tensors(path):
    """Read a GGUF file back with the format's own reader: {name: fp32 array}."""
    from gguf import GGUFReader, dequantize

    return {t.name: dequantize(t.data, t.tensor_type).astype(np.float32) for t in GGUFReader(path).tensors}


def fields(path):
    from gguf import GGUFReader

    return {k: f.contents() for k, f in GGUFReader(path).fields.items()}


def numpy_logits(path, tokens_BT, read=lambda x: x):
    """Compute a GGUF file's logits in fp64 as llama.cpp does: by its own names, rotating neighbouring pairs.

    read: how activations are rounded before they meet a matrix.
    """
    w, k = {n: a.astype(np.float64) for n, a in tensors(path).items()}, fields(path)
    H, N, K = (k[f"llama.attention.{n}"] for n in ("key_length", "head_count", "head_count_kv"))
    B, T = tokens_BT.shape
    freq = k["llama.rope.freq_base"] ** (-np.arange(0, H, 2) / H) / w.get("rope_freqs.weight", np.ones(H // 2))
    angle = np.arange(T)[:, None] * freq / k.get("llama.rope.scaling.factor", 1.0)
    turn = np.exp(1j * angle)[None, :, None]  # a pair is a complex number

    def norm(x, scale):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + k["llama.attention.layer_norm_rms_epsilon"]) * scale

    def rotated(x):
        z = (x[..., ::2] + 1j * x[..., 1::2]) * turn
        return np.stack([z.real, z.imag], -1).reshape(x.shape)

    x = w["token_embd.weight"][tokens_BT]
    for n in range(k["llama.block_count"]):
        b = {name.split(".", 2)[2]: a for name, a in w.items() if name.startswith(f"blk.{n}.")}
        y = read(norm(x, b["attn_norm.weight"]))
        q = rotated((y @ b["attn_q.weight"].T).reshape(B, T, N, H))
        key = rotated((y @ b["attn_k.weight"].T).reshape(B, T, K, H)).repeat(N // K, 2)
        v = (y @ b["attn_v.weight"].T).reshape(B, T, K, H).repeat(N // K, 2)
        s = np.einsum("btnh,bsnh->bnts", q, key) / np.sqrt(H) + np.triu(np.full((T, T), -np.inf), 1)
        p = np.exp(s - s.max(-1, keepdims=True))
        a = np.einsum("bnts,bsnh->btnh", p / p.sum(-1, keepdims=True), v).reshape(B, T, N * H)
        x = x + read(a) @ b["attn_output.weight"].T
        y = read(norm(x, b["ffn_norm.weight"]))
        g = y @ b["ffn_gate.weight"].T
        x = x + read(g / (1 + np.exp(-g)) * (y @ b["ffn_up.weight"].T)) @ b["ffn_down.weight"].T
    return read(norm(x, w["output_norm.weight"])) @ w.get("output.weight", w["token_embd.weight"]).T


@pytest.mark.parametrize("kind", KINDS)
def test_the_gguf_computes_what_transformers_does(mesh, tmp_path, kind):
    theirs = torch_model(**KINDS[kind])
    theirs.save_pretrained(tmp_path / "m")
    tokenizer_files(tmp_path / "m")
    gguf.write_gguf(huggingface.load(tmp_path / "m"), tmp_path / "m.gguf", source=tmp_path / "m")
    np.testing.assert_allclose(numpy_logits(tmp_path / "m.gguf", TOKENS), torch_logits(theirs, TOKENS), atol=1e-4)


def test_q_and_k_change_places_as_worked_out_by_hand(mesh):
    c = transformer.Shape(V=8, D=1, L=1, N=2, K=1, H=4, F=1, context=8)
    rows = np.arange(8.0)[:, None]
    q = gguf.interleaved("model.layers.0.self_attn.q_proj.weight", rows, c)
    assert q[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    assert gguf.interleaved("model.layers.0.self_attn.k_proj.weight", rows[:4], c)[:, 0].tolist() == [0, 2, 1, 3]
    assert gguf.interleaved("model.layers.0.self_attn.v_proj.weight", rows, c) is rows


def test_every_tensor_in_every_type(mesh, tmp_path):
    """F16 is numpy's rounding; Q8_0 is worked out here: 32 numbers, one fp16 scale of max/127, rounded to whole."""
    made, source = transformer.init(SHAPE, 0), tokenizer_files(tmp_path / "m")
    said = {d: gguf.write_gguf(made, tmp_path / f"{d}.gguf", source=source, dtype=d) for d in gguf.DTYPES}
    assert said["float16"] == [] and "rows of [48] numbers are stored as F16" in said["q8_0"][0]
    exact = {n: gguf.interleaved(n, a, SHAPE) for n, a in huggingface.hf_tensors(made)}
    for dtype in gguf.DTYPES:
        stored = tensors(tmp_path / f"{dtype}.gguf")
        assert set(stored) == {gguf.gguf_name(n, SHAPE) for n in exact} and "output.weight" not in stored  # tied
        for name, array in exact.items():
            expected = array
            if array.ndim == 2 and dtype == "q8_0" and array.shape[1] % 32 == 0:
                blocks = array.reshape(-1, 32)
                scale = np.abs(blocks).max(1, keepdims=True) / np.float32(127)
                whole = np.trunc(blocks / scale + np.copysign(0.5, blocks))
                expected = (whole * scale.astype(np.float16).astype(np.float32)).reshape(array.shape)
            elif array.ndim == 2 and dtype != "float32":
                expected = array.astype(np.float16).astype(np.float32)
            atol = 1e-7 if dtype != "q8_0" else np.abs(array).max() / 127  # where a tie falls the other way
            np.testing.assert_allclose(stored[gguf.gguf_name(name, SHAPE)], expected, atol=atol, rtol=0)
            np.testing.assert_array_equal(gguf.rounded(array, dtype), stored[gguf.gguf_name(name, SHAPE)])


def test_dimensions_vocabulary_and_rope_scaling_are_described(mesh, tmp_path):
    source = tokenizer_files(tmp_path / "m")
    scaled = transformer.init(transformer.Shape(**(vars(SHAPE) | {"scaling": (8.0, 1.0, 4.0, 64.0), "window": 32})), 0)
    gguf.write_gguf(scaled, tmp_path / "s.gguf", source=source)
    found, tokenizer = fields(tmp_path / "s.gguf"), load_tokenizer(source)
    assert found["llama.attention.head_count_kv"] == 2 and found["llama.context_length"] == 32
    assert len(found["tokenizer.ggml.tokens"]) == 97 and found["tokenizer.ggml.pre"] == "gpt-2"
    assert found["tokenizer.ggml.tokens"][: tokenizer.vocab_size] == tokenizer.pieces(range(tokenizer.vocab_size))
    assert found["tokenizer.ggml.bos_token_id"] == 0 and found["tokenizer.ggml.token_type"][:3] == [3, 3, 1]
    plain = 10000.0 ** (-np.arange(0, 16, 2) / 16)
    factors = tensors(tmp_path / "s.gguf")["rope_freqs.weight"]
    np.testing.assert_allclose(plain / factors, transformer.rope_frequencies(scaled.c), rtol=1e-5)
    assert factors[0] == 1 and factors[-1] == 8  # the fastest is kept, the slowest stretched whole
    stretched = transformer.init(transformer.Shape(**(vars(SHAPE) | {"stretch": 4.0})), 0)
    gguf.write_gguf(stretched, tmp_path / "l.gguf", source=tokenizer_files(tmp_path / "l", "llama-bpe"))
    found = fields(tmp_path / "l.gguf")
    assert (found["llama.rope.scaling.type"], found["llama.rope.scaling.factor"]) == ("linear", 4.0)
    assert found["tokenizer.ggml.pre"] == "llama-bpe" and found["tokenizer.ggml.merges"]


def test_a_tokenizer_that_llama_cpp_lacks_is_refused(mesh, tmp_path, world):
    with pytest.raises(InputError, match="has no tokenizer like the one in"):
        gguf.write_gguf(transformer.init(SHAPE, 0), tmp_path / "w.gguf", source=world / "tokenizer")
    assert not list(tmp_path.glob("*.gguf*"))


def test_numbers_beyond_fp16_are_refused(mesh, tmp_path):
    made = jax.tree.map(lambda w: w * 1e7, transformer.init(SHAPE, 0))
    with pytest.raises(InputError, match="beyond fp16's 65504"):
        gguf.write_gguf(made, tmp_path / "x.gguf", source=tokenizer_files(tmp_path / "m"), dtype="float16")
    assert not (tmp_path / "x.gguf").exists()


LLAMA_CPP = """
import json, sys
import xllamacpp
p = xllamacpp.CommonParams()
p.model.path, p.n_ctx, p.n_parallel, p.warmup, p.cpuparams.n_threads = sys.argv[1], 256, 1, False, 1
p.cache_type_k = p.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32  # it would round keys and values to fp16
p.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
server = xllamacpp.Server(p)
ask = {"n_predict": 40, "temperature": 0, "top_k": 1, "logprobs": 1}
print("ANSWER" + json.dumps([server.handle_completions(ask | {"prompt": q}) for q in json.loads(sys.argv[2])]))
"""


def llama_cpp(path, prompts):
    """Return (token ids, their log-probabilities) of what the program writes after each prompt."""
    run = [sys.executable, "-c", LLAMA_CPP, str(path), json.dumps(prompts)]
    done = subprocess.run(run, capture_output=True, text=True, timeout=120)
    assert "ANSWER" in done.stdout, done.stderr[-2000:]
    answers = json.loads(done.stdout.split("ANSWER")[1].splitlines()[0])
    words = [answer["choices"][0]["logprobs"]["content"] for answer in answers]
    return [([t["id"] for t in some], [t["logprob"] for t in some]) for some in words]


def test_llama_cpp_writes_the_same_greedy_text(shared, mesh, tmp_path):
    """The program itself, on a real model: text, and the probabilities of what it wrote."""
    pytest.importorskip("xllamacpp", reason="needs llama.cpp: pip install xllamacpp")
    source, prompts = shared / "models" / "tinystories-656k", ["Once upon a time", "The dog was sad because"]
    tokenizer, ours = load_tokenizer(source), huggingface.load(source)
    ids = [[tokenizer.bos_id, *map(int, tokenizer.encode(p)[0])] for p in prompts]
    written = generate(ours, ids, 40, eos_ids=tokenizer.eos_ids)
    for dtype in ("float32", "float16"):
        path = tmp_path / f"{dtype}.gguf"
        gguf.write_gguf(ours, path, source=source, dtype=dtype)
        for prompt, new, (theirs, logprob) in zip(ids, written, llama_cpp(path, prompts), strict=True):
            tokens = np.array([[*prompt, *theirs]], np.int32)
            own = jax.nn.log_softmax(our_logits(ours, tokens))[0, len(prompt) - 1 : -1]
            picked = np.asarray(own)[np.arange(len(theirs)), theirs]
            np.testing.assert_allclose(logprob, picked, atol={"float32": 1e-4, "float16": 0.02}[dtype])
            assert theirs[: len(new)] == list(map(int, new))


def test_q8_0_departs_by_the_rounding_of_weights_and_activations_alone(shared, mesh, tmp_path):
    """llama.cpp meets Q8_0 weights with activations that it rounds to Q8_0 too.

    With both rounded, first words agree to the last digit. Not all of them: where a number lies on the edge between two
    of the 255, fp32 and fp64 round it to different sides, and everything after it differs by that much.
    """
    pytest.importorskip("xllamacpp", reason="needs llama.cpp: pip install xllamacpp")
    source, path = shared / "models" / "tinystories-656k", tmp_path / "q8_0.gguf"
    prompts = ["Once", "The", "One", "Tom", "Lily", "A", "She", "He", "There", "In", "Every", "It"]
    tokenizer = load_tokenizer(source)
    gguf.write_gguf(huggingface.load(source), path, source=source, dtype="q8_0")

    def read(x):
        return gguf.rounded(x.astype(np.float32), "q8_0").astype(np.float64)

    gaps, short = [], []
    for prompt, (theirs, logprob) in zip(prompts, llama_cpp(path, prompts), strict=True):
        ids = [tokenizer.bos_id, *map(int, tokenizer.encode(prompt)[0])]
        tokens = np.array([[*ids, *theirs]])
        both, weights = (numpy_logits(path, tokens, f)[0, len(ids) - 1 : -1] for f in (read, lambda x: x))
        own = [(v - np.log(np.exp(v).sum(-1, keepdims=True)))[np.arange(len(theirs)), theirs] for v in (both, weights)]
        gaps.append([abs(p[0] - logprob[0]) for p in own])
        short += (both.max(-1) - both[np.arange(len(theirs)), theirs]).tolist()
    both, weights = np.transpose(gaps)
    assert (both < 1e-4).sum() >= 4 and (weights > 1e-3).all() and both.max() < 0.2
    assert max(short) < 0.15  # what is written is the likeliest word, or one as likely but for the rounding


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
    assert "not that the knowledge is gone" in card
    other = tmp_path / "other"
    other.mkdir()
    (other / "letter.txt").write_text("mine")
    for target, said in ((other, "something else than a model"), (made_run / "unlearned", "is the model itself")):
        assert main(["export", "--model", str(made_run / "unlearned"), "--out", str(target)]) == 2
        assert said in capsys.readouterr().err
    assert (other / "letter.txt").is_file() and (made_run / "unlearned" / "model.safetensors").is_file()


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
    assert main([*command, str(tmp_path / "named" / "my.gguf")]) == 0
    assert (tmp_path / "named" / "my.gguf").read_bytes()[:4] == b"GGUF"
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

    calls = []

    class Hub:
        def create_repo(self, **given):
            calls.append(given)
            return "https://example.org/owner/name"

        def upload_folder(self, **given):
            calls.append(given | {"files": sorted(os.listdir(given["folder_path"]))})

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    command = ["export", "--model", str(made_run / "unlearned"), "--out", str(tmp_path / "out"), "--push"]
    assert main([*command, "owner/name"]) == 0
    assert calls[0] == {"repo_id": "owner/name", "private": True, "exist_ok": True}
    assert {"README.md", "config.json", "model.safetensors", "tokenizer.json"} <= set(calls[1]["files"])
    assert main([*command, "owner/name", "--public"]) == 0 and calls[2]["private"] is False
    assert main([*command, "name"]) == 2 and "expected OWNER/NAME" in capsys.readouterr().err
    monkeypatch.setattr(Hub, "create_repo", lambda self, **given: 1 / 0)
    with pytest.raises(RunError, match="division by zero"):
        export.push(tmp_path / "out", "owner/name")


def test_without_the_library_gguf_is_refused_before_anything_is_read(made_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gguf", None)
    command = ["export", "--model", str(tmp_path / "nowhere"), "--format", "gguf", "--out", str(tmp_path / "g")]
    assert main(command) == 2
    assert "pip install 'jaxunlearn[gguf]'" in capsys.readouterr().err

"""GGUF files written: what they hold, by the format's own reader, and what llama.cpp computes from them."""

import jax
import numpy as np
import pytest
from support.gguf_files import fields, llama_cpp, tensors
from support.llamas import KINDS, TOKENS, our_logits, torch_family, torch_logits, torch_model
from support.tokenizers import byte_level_tokenizer as tokenizer_files

from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.models import gguf, huggingface, transformer
from jaxunlearn.models.generate import generate
from jaxunlearn.models.gguf import write
from jaxunlearn.models.gguf.write import write_gguf

SHAPE = transformer.Shape(V=97, D=64, L=2, N=4, K=2, H=16, F=48, context=64, tied=True)


def numpy_logits(path, tokens_BT, read=lambda x: x):
    """Compute a GGUF file's logits in fp64 as llama.cpp does: by its own names; a Llama rotates neighbouring pairs.

    read: how activations are rounded before they meet a matrix.
    """
    w, found = {n: a.astype(np.float64) for n, a in tensors(path).items()}, fields(path)
    kind = found["general.architecture"]
    k = {"llama." + n.removeprefix(f"{kind}."): v for n, v in found.items() if n.startswith(f"{kind}.")}
    H, N, K = (k[f"llama.attention.{n}"] for n in ("key_length", "head_count", "head_count_kv"))
    B, T = tokens_BT.shape
    freq = k["llama.rope.freq_base"] ** (-np.arange(0, H, 2) / H) / w.get("rope_freqs.weight", np.ones(H // 2))
    angle = np.arange(T)[:, None] * freq / k.get("llama.rope.scaling.factor", 1.0)
    turn = np.exp(1j * angle)[None, :, None]  # a pair is a complex number

    def norm(x, scale):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + k["llama.attention.layer_norm_rms_epsilon"]) * scale

    def rotated(x):
        if kind != "llama":
            z = (x[..., : H // 2] + 1j * x[..., H // 2 :]) * turn
            return np.concatenate([z.real, z.imag], -1)
        z = (x[..., ::2] + 1j * x[..., 1::2]) * turn
        return np.stack([z.real, z.imag], -1).reshape(x.shape)

    def heads(b, y, name, count):
        x = (y @ b[f"attn_{name}.weight"].T + b.get(f"attn_{name}.bias", 0)).reshape(B, T, count, H)
        return norm(x, b[f"attn_{name}_norm.weight"]) if f"attn_{name}_norm.weight" in b else x

    x = w["token_embd.weight"][tokens_BT]
    for n in range(k["llama.block_count"]):
        b = {name.split(".", 2)[2]: a for name, a in w.items() if name.startswith(f"blk.{n}.")}
        y = read(norm(x, b["attn_norm.weight"]))
        q = rotated(heads(b, y, "q", N))
        key = rotated(heads(b, y, "k", K)).repeat(N // K, 2)
        v = heads(b, y, "v", K).repeat(N // K, 2)
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
    write_gguf(huggingface.load(tmp_path / "m"), tmp_path / "m.gguf", source=tmp_path / "m")
    np.testing.assert_allclose(numpy_logits(tmp_path / "m.gguf", TOKENS), torch_logits(theirs, TOKENS), atol=1e-4)


def test_a_mistral_is_written_as_a_llama_whose_context_is_its_window(mesh, tmp_path):
    theirs = torch_family("mistral", sliding_window=32)
    theirs.save_pretrained(tmp_path / "m")
    tokenizer_files(tmp_path / "m")
    ours, path = huggingface.load(tmp_path / "m"), tmp_path / "m.gguf"
    assert (ours.c.family, ours.c.window, ours.c.context) == ("mistral", 32, 64)
    write_gguf(ours, path, source=tmp_path / "m")
    found = fields(path)
    assert (found["general.architecture"], found["llama.context_length"]) == ("llama", 32)
    assert "llama.attention.sliding_window" not in found
    np.testing.assert_allclose(numpy_logits(path, TOKENS), torch_logits(theirs, TOKENS), atol=1e-4)


@pytest.mark.parametrize("kind", ["qwen2", "qwen3"])
def test_qwens_too_by_formula_and_in_llama_cpp(mesh, tmp_path, kind):
    theirs = torch_family(kind, head_dim=8, tie_word_embeddings=True)
    theirs.save_pretrained(tmp_path / "m")
    tokenizer_files(tmp_path / "m", "qwen2")
    ours, path = huggingface.load(tmp_path / "m"), tmp_path / "m.gguf"
    write_gguf(ours, path, source=tmp_path / "m")
    assert (fields(path)["general.architecture"], fields(path)["tokenizer.ggml.pre"]) == (kind, "qwen2")
    np.testing.assert_allclose(numpy_logits(path, TOKENS), torch_logits(theirs, TOKENS), atol=1e-4)
    pytest.importorskip("xllamacpp", reason="needs llama.cpp: pip install xllamacpp")
    tokenizer, prompt = load_tokenizer(tmp_path / "m"), "Zara went to Orm. Anna"
    ids = [tokenizer.bos_id, *map(int, tokenizer.encode(prompt)[0])]
    ((written, logprob),) = llama_cpp(path, [prompt], 12)
    own = jax.nn.log_softmax(our_logits(ours, np.array([[*ids, *written]], np.int32)))[0, len(ids) - 1 : -1]
    np.testing.assert_allclose(logprob, np.asarray(own)[np.arange(len(written)), written], atol=1e-4)


@pytest.mark.parametrize("kind", ["gemma3_text", "smollm3"])
def test_layers_that_differ_in_llama_cpp(mesh, tmp_path, kind):
    """Windows and two ropes, or layers without one: it has their pattern built in; the text is beyond the window.

    Its GELU is a table of fp16 numbers, so Gemma's log-probabilities are within 0.01.
    """
    more = {"gemma3_text": dict(sliding_window=8, query_pre_attn_scalar=8), "smollm3": {}}[kind]
    theirs = torch_family(kind, head_dim=8, num_hidden_layers=7, **more)
    theirs.save_pretrained(tmp_path / "m")
    tokenizer_files(tmp_path / "m", "qwen2")
    ours, path = huggingface.load(tmp_path / "m"), tmp_path / "m.gguf"
    write_gguf(ours, path, source=tmp_path / "m")
    found, offset = fields(path), {"gemma3_text": 1, "smollm3": 0}[kind]
    assert found["general.architecture"] == kind.removesuffix("_text")
    assert found.get("gemma3.attention.sliding_window") == {"gemma3_text": 8}.get(kind)
    norm = dict(huggingface.hf_tensors(ours))["model.layers.6.post_attention_layernorm.weight"] + np.float32(offset)
    name = {"gemma3_text": "post_attention_norm", "smollm3": "ffn_norm"}[kind]
    np.testing.assert_array_equal(tensors(path)[f"blk.6.{name}.weight"], norm)
    pytest.importorskip("xllamacpp", reason="needs llama.cpp: pip install xllamacpp")
    tokenizer, prompt = load_tokenizer(tmp_path / "m"), "Zara went to Orm. Anna went to Orm. Zara"
    ids = [tokenizer.bos_id, *map(int, tokenizer.encode(prompt)[0])]
    assert len(ids) > 8
    ((written, logprob),) = llama_cpp(path, [prompt], 12)
    own = jax.nn.log_softmax(our_logits(ours, np.array([[*ids, *written]], np.int32)))[0, len(ids) - 1 : -1]
    atol = {"gemma3_text": 0.01, "smollm3": 1e-4}[kind]
    np.testing.assert_allclose(logprob, np.asarray(own)[np.arange(len(written)), written], atol=atol, rtol=0)


def test_every_tensor_in_every_type(mesh, tmp_path):
    """F16 is numpy's rounding; Q8_0 is worked out here: 32 numbers, one fp16 scale of max/127, rounded to whole."""
    made, source = transformer.init(SHAPE, 0), tokenizer_files(tmp_path / "m")
    said = {d: write_gguf(made, tmp_path / f"{d}.gguf", source=source, dtype=d) for d in write.DTYPES}
    assert said["float16"] == [] and "rows of [48] numbers are stored as F16" in said["q8_0"][0]
    exact = {n: gguf.interleaved(n, a, SHAPE) for n, a in huggingface.hf_tensors(made)}
    for dtype in write.DTYPES:
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
            np.testing.assert_array_equal(write.rounded(array, dtype), stored[gguf.gguf_name(name, SHAPE)])


def test_dimensions_vocabulary_and_rope_scaling_are_described(mesh, tmp_path):
    source = tokenizer_files(tmp_path / "m")
    scaled = transformer.init(transformer.Shape(**(vars(SHAPE) | {"scaling": (8.0, 1.0, 4.0, 64.0), "window": 32})), 0)
    write_gguf(scaled, tmp_path / "s.gguf", source=source)
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
    write_gguf(stretched, tmp_path / "l.gguf", source=tokenizer_files(tmp_path / "l", "llama-bpe"))
    found = fields(tmp_path / "l.gguf")
    assert (found["llama.rope.scaling.type"], found["llama.rope.scaling.factor"]) == ("linear", 4.0)
    assert found["tokenizer.ggml.pre"] == "llama-bpe" and found["tokenizer.ggml.merges"]


def test_a_tokenizer_that_llama_cpp_lacks_is_refused(mesh, tmp_path, world):
    with pytest.raises(InputError, match="has no tokenizer like the one in"):
        write_gguf(transformer.init(SHAPE, 0), tmp_path / "w.gguf", source=world / "tokenizer")
    assert not list(tmp_path.glob("*.gguf*"))


def test_numbers_beyond_fp16_are_refused(mesh, tmp_path):
    made = jax.tree.map(lambda w: w * 1e7, transformer.init(SHAPE, 0))
    with pytest.raises(InputError, match="beyond float16's 65504"):
        write_gguf(made, tmp_path / "x.gguf", source=tokenizer_files(tmp_path / "m"), dtype="float16")
    assert not (tmp_path / "x.gguf").exists()


def test_llama_cpp_writes_the_same_greedy_text(shared, mesh, tmp_path):
    """The program itself, on a real model: text, and the probabilities of what it wrote."""
    pytest.importorskip("xllamacpp", reason="needs llama.cpp: pip install xllamacpp")
    source, prompts = shared / "models" / "tinystories-656k", ["Once upon a time", "The dog was sad because"]
    tokenizer, ours = load_tokenizer(source), huggingface.load(source)
    ids = [[tokenizer.bos_id, *map(int, tokenizer.encode(p)[0])] for p in prompts]
    written = generate(ours, ids, 40, eos_ids=tokenizer.eos_ids)
    for dtype in ("float32", "float16"):
        path = tmp_path / f"{dtype}.gguf"
        write_gguf(ours, path, source=source, dtype=dtype)
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
    write_gguf(huggingface.load(source), path, source=source, dtype="q8_0")

    def read(x):
        return write.rounded(x.astype(np.float32), "q8_0").astype(np.float64)

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

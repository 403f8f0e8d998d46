"""GGUF files read: the numbers that transformers reads, what our own writer wrote, and what is refused."""

import json
import shutil
import threading

import numpy as np
import pytest
from support.gguf_files import changed, fields, random_model
from support.llamas import KINDS, import_torch, torch_family, torch_model
from support.paths import ROOT
from support.tokenizers import byte_level_tokenizer as tokenizer_files

from jaxunlearn.cli import main
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.models import huggingface, transformer
from jaxunlearn.models.families import hf_config
from jaxunlearn.models.families import read_shape as shape_of
from jaxunlearn.models.families.gemma import GEMMA3
from jaxunlearn.models.gguf import read, rope_factors, write
from jaxunlearn.models.gguf.read_tokens import write_tokenizer
from jaxunlearn.models.gguf.write import write_gguf
from jaxunlearn.models.hub import find_model

SHAPE = dict(V=97, D=64, L=2, N=4, K=2, H=16, F=96, context=64)
FAMILIES = {
    "llama": dict(tied=True),
    "llama 3": dict(scaling=(8.0, 1.0, 4.0, 64.0), theta=5e5, epsilon=1e-6),
    "linear": dict(stretch=4.0, H=32),
    "qwen2": dict(family="qwen2", qkv_bias=True),
    "qwen3": dict(family="qwen3", qk_norm=True, tied=True),
    "gemma3": dict(
        family="gemma3_text", L=7, window=8, windowed=(True,) * 5 + (False, True), local_theta=1e4, query_scalar=16,
        tied=True, **GEMMA3.always,
    ),
    "smollm3": dict(family="smollm3", L=5, rotated=(1, 1, 1, 0, 1), tied=True),
}  # fmt: skip


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "jaxunlearn" / "gguf"


@pytest.fixture
def good(tmp_path):
    """A small model as a GGUF file."""
    source = tokenizer_files(tmp_path / "source")
    write_gguf(random_model(transformer.Shape(**SHAPE)), tmp_path / "good.gguf", source=source)
    return tmp_path / "good.gguf"


def arrays(directory):
    """Return {name: array} of a directory's safetensors."""
    from safetensors.numpy import load_file

    return {name: a for file in directory.glob("*.safetensors") for name, a in load_file(file).items()}


@pytest.mark.parametrize("kind", FAMILIES)
@pytest.mark.parametrize("dtype", write.DTYPES)
def test_what_was_written_is_read_back_to_the_rounding(tmp_path, kind, dtype):
    c = transformer.Shape(**(SHAPE | FAMILIES[kind]))
    made = random_model(c)
    source = tokenizer_files(tmp_path / "source", "qwen2", lambda j: j.update(normalizer={"type": "NFC"}))
    (source / "tokenizer_config.json").write_text(
        json.dumps({"bos_token": "<s>", "eos_token": "</s>", "chat_template": "{{ messages }}"})
    )
    write_gguf(made, tmp_path / "m.gguf", source=source, dtype=dtype)
    found = find_model(tmp_path / "m.gguf")
    assert shape_of(found) == c and found.name == "m"
    stored = arrays(found)
    for name, array in huggingface.hf_tensors(made):
        more = np.float32(kind == "gemma3" and "norm" in name)  # llama.cpp's norm has 1 + the weight, which loses a bit
        np.testing.assert_array_equal(stored.pop(name), write.rounded(array + more, dtype) - more, err_msg=name)
    assert not stored
    before, after, text = load_tokenizer(source), load_tokenizer(found), "Zara  went\n\n12 Orm isn't <s> Zoe\u0308"
    assert before.encode(text)[0].tolist() == after.encode(text)[0].tolist()
    assert (after.bos_id, after.eos_ids) == (0, (1,))
    assert json.loads((found / "tokenizer_config.json").read_text())["chat_template"] == "{{ messages }}"


OTHERS = {  # than Llamas, as transformers names them; it reads no GGUF file of a SmolLM3
    "qwen2": {},
    "qwen3": {},
    "gemma3_text": dict(num_hidden_layers=7, sliding_window=8, query_pre_attn_scalar=8, head_dim=8),
}


@pytest.mark.parametrize("kind", ["gqa", "tied", *OTHERS])
def test_the_numbers_are_those_that_transformers_reads(mesh, tmp_path, kind):
    """Q8_0 and Q4_1, to the last bit; and they are those of both formats worked out here."""
    torch = import_torch()
    from gguf import GGMLQuantizationType, quantize
    from transformers import AutoModelForCausalLM

    theirs = torch_family(kind, **OTHERS[kind]) if kind in OTHERS else torch_model(**KINDS[kind])
    theirs.save_pretrained(tmp_path / "m")
    source = tokenizer_files(tmp_path / "m")
    write_gguf(huggingface.load(source), tmp_path / "a.gguf", source=source, dtype="q8_0")
    up = np.random.default_rng(1).normal(size=(48, 32)).astype(np.float32)
    q4_1 = GGMLQuantizationType.Q4_1
    path = changed(tmp_path / "a.gguf", tmp_path / "b.gguf", arrays={"blk.1.ffn_up.weight": (quantize(up, q4_1), q4_1)})
    ours = arrays(find_model(path))
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="b.gguf", dtype=torch.float32).state_dict()
    for name, array in ours.items():
        np.testing.assert_array_equal(array, loaded[name].numpy(), err_msg=name)
    assert set(loaded) - set(ours) <= {"lm_head.weight"}  # tied

    raw = {t.name: np.array(t.data) for t in read.opened(path).tensors}
    blocks = raw["blk.1.ffn_up.weight"].reshape(-1, 20)  # fp16 step and least, then 32 numbers of 4 bits
    step, least = (blocks[:, n : n + 2].copy().view(np.float16).astype(np.float32) for n in (0, 2))
    whole = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], 1)
    np.testing.assert_array_equal(ours["model.layers.1.mlp.up_proj.weight"], (whole * step + least).reshape(48, 32))
    blocks = raw["blk.0.ffn_gate.weight"].reshape(-1, 34)  # fp16 step, then 32 int8
    expected = blocks[:, 2:].view(np.int8) * blocks[:, :2].copy().view(np.float16).astype(np.float32)
    np.testing.assert_array_equal(ours["model.layers.0.mlp.gate_proj.weight"], expected.reshape(48, 32))


def test_generate_continues_from_a_file_as_from_the_directory_that_it_was_made_of(tmp_path, cache, capsys):
    made, source = random_model(transformer.Shape(**(SHAPE | FAMILIES["llama 3"]))), tmp_path / "source"
    huggingface.save(made, source)
    tokenizer_files(source, "qwen2")
    write_gguf(made, tmp_path / "m.gguf", source=source)
    asked = ["--prompt", "Zara went", "--prompt", "went to", "--max-new-tokens", "9", "--json"]
    written = []
    for model in (source, tmp_path / "m.gguf", tmp_path / "m.gguf"):
        assert main(["generate", "--model", str(model), *asked]) == 0
        written.append(capsys.readouterr())
    assert written[0].out == written[1].out == written[2].out
    tokens = [one["tokens"] for one in json.loads(written[0].out)["completions"]]
    assert [len(set(one)) > 3 for one in tokens] == [True, True] and tokens[0] != tokens[1]
    assert [one.err.count("unpacking") for one in written] == [0, 1, 0] and len(list(cache.rglob("config.json"))) == 1


def test_a_file_is_unpacked_once_and_several_may_ask(good, cache, monkeypatch):
    made, write_shards = [], read.write_shards
    monkeypatch.setattr(read, "write_shards", lambda *given: made.append(1) or write_shards(*given))
    found = []
    asking = [threading.Thread(target=lambda: found.append(find_model(good))) for _ in range(4)]
    for one in asking:
        one.start()
    for one in asking:
        one.join()
    assert len(found) == 4 and len(set(found)) == 1 and made == [1]
    shutil.copy(good, good.with_name("copy.gguf"))
    changed(good, good, arrays={"output_norm.weight": np.full(64, 3, np.float32)})  # another file of that name
    again = find_model(good)
    assert again != found[0] and (arrays(again)["model.norm.weight"] == 3).all() and len(made) == 2
    assert cache in again.parents


def test_an_unpacking_that_is_stopped_leaves_nothing_and_is_begun_again(good, cache, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(read, "write_shards", stop)
    with pytest.raises(KeyboardInterrupt):
        find_model(good)
    assert [p.name for p in cache.rglob("*") if p.is_file()] == ["lock"]
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache.parent.parent))
    assert (find_model(good) / "model.safetensors").is_file()


def test_a_cache_that_cannot_be_written_is_said(good, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"cannot be unpacked into .* XDG_CACHE_HOME names another place"):
        find_model(good)


# ---- metadata


@pytest.mark.parametrize(
    ("theta", "H", "scaling"),
    [
        (5e5, 64, (32.0, 1.0, 4.0, 8192.0)),  # Llama-3.2
        (1e4, 128, (4.0, 1.0, 8.0, 5000.0)),  # an original context that is no power of two
        (5e5, 64, (8.0, 1.0, 4.0, 5000.0)),  # its fit is a little below
        (1e4, 8, (8.0, 1.0, 4.0, 16.0)),
    ],
)
def test_llama_3_scaling_is_found_in_its_factors(tmp_path, theta, H, scaling):
    c = transformer.Shape(**(SHAPE | {"theta": theta, "H": H}))
    meant = transformer.Shape(**(vars(c) | {"scaling": scaling}))
    found = read.scaled(c, rope_factors(meant).astype(np.float32), tmp_path)
    np.testing.assert_allclose(found.scaling, scaling, rtol=1e-4)
    assert hf_config(found, "float32")["rope_scaling"]["original_max_position_embeddings"] == scaling[3]
    np.testing.assert_allclose(rope_factors(found), rope_factors(meant), rtol=1e-5)
    assert read.scaled(c, np.ones(H // 2, np.float32), tmp_path).scaling is None


def test_other_factors_are_refused(tmp_path):
    c = transformer.Shape(**SHAPE)
    for factors in (np.linspace(1, 3, 8), np.full(8, 2.0), np.ones(4)):
        with pytest.raises(InputError, match="factors that no Llama-3 rope scaling has"):
            read.scaled(c, factors.astype(np.float32), tmp_path)


def test_numbers_are_read_as_their_author_wrote_them():
    assert read.plain(np.float32(1e-5)) == 1e-5 and read.plain(np.float32(5e5)) == 5e5


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"general.architecture": "gemma9"}, "of the architecture 'gemma9': expected one of llama, qwen2, qwen3"),
        ({"llama.block_count": None}, "llama.block_count is missing"),
        ({"llama.attention.layer_norm_rms_epsilon": None}, "llama.attention.layer_norm_rms_epsilon is missing"),
        ({"llama.expert_count": 8}, "llama.expert_count = 8 is unknown"),
        ({"llama.attention.head_count_kv": [2, 1]}, r"head_count_kv = \[2, 1\]: expected one number for all layers"),
        ({"llama.rope.dimension_count": 8}, "rope.dimension_count = 8: only the head size, 16, is supported"),
        ({"llama.rope.scaling.type": "yarn"}, "rope.scaling.type = 'yarn': expected none or linear"),
        ({"llama.attention.causal": False}, "attention.causal = False: only True is supported"),
        ({"split.count": 3}, "one of 3 parts; join them first"),
        ({"llama.block_count": 10**9}, "block_count = 1000000000: expected a whole number"),
        ({"llama.block_count": 16384}, "block_count = 16384: the file holds"),
        ({"llama.embedding_length": "64"}, "embedding_length = '64'"),
        ({"llama.attention.layer_norm_rms_epsilon": 0.0}, "epsilon = 0.0: expected a number above 0"),
        ({"llama.rope.freq_base": float("nan")}, "rope.freq_base = nan"),
        ({"llama.rope.scaling.factor": -1.0}, "rope.scaling.factor = -1.0"),
        ({"tokenizer.ggml.tokens": 3}, "metadata of another type than the format has"),
        ({"tokenizer.ggml.token_type": [1]}, "metadata of another type than the format has"),
        ({"tokenizer.ggml.eos_token_id": "x"}, "metadata of another type than the format has"),
        ({"tokenizer.ggml.model": "none"}, "holds no tokenizer"),
        ({"tokenizer.ggml.pre": "klingon"}, "the pre-tokeniser 'klingon'"),
    ],
)
def test_metadata_that_is_not_supported_is_refused_by_name(good, tmp_path, cache, keys, why):
    path = changed(good, tmp_path / "odd.gguf", keys=keys)
    with pytest.raises(InputError, match=why) as error:
        find_model(path)
    assert str(path) in str(error.value) and [p.name for p in cache.rglob("*") if p.is_file()] == ["lock"]


def test_a_window_that_the_family_needs_must_be_said(tmp_path):
    source = tokenizer_files(tmp_path / "source")
    write_gguf(random_model(transformer.Shape(**(SHAPE | FAMILIES["gemma3"]))), tmp_path / "g.gguf", source=source)
    path = changed(tmp_path / "g.gguf", tmp_path / "odd.gguf", keys={"gemma3.attention.sliding_window": None})
    with pytest.raises(InputError, match=r"gemma3\.attention\.sliding_window is missing"):
        find_model(path)


def test_metadata_that_changes_nothing_is_passed_over(good, tmp_path):
    keys = {"llama.expert_count": 0, "llama.attention.causal": True, "llama.attention.head_count_kv": [2, 2]}
    keys |= {"llama.tensor_data_layout": "Meta AI original pth", "llama.rope.scaling.type": "none"}
    keys |= {"llama.rope.scaling.factor": 4.0, "llama.attention.key_length": None, "llama.vocab_size": None}
    found = shape_of(find_model(changed(good, tmp_path / "plain.gguf", keys=keys)))
    assert found == transformer.Shape(**SHAPE)


# ---- tensors and bytes


def test_tensors_that_do_not_fit_are_refused_by_name(good, tmp_path):
    from gguf import GGMLQuantizationType

    odd = {
        "blk.0.attn_q.weight": None, "blk.0.attn_q.bias": np.zeros(64, np.float32),
        "blk.1.ffn_up.weight": np.zeros((96, 32), np.float32),
        "blk.1.attn_norm.weight": (np.zeros(64, np.int8), GGMLQuantizationType.I8),
    }  # fmt: skip
    with pytest.raises(InputError) as error:
        find_model(changed(good, tmp_path / "odd.gguf", arrays=odd))
    assert str(error.value).split("\n  ")[1:] == [
        "missing: blk.0.attn_q.weight [64, 64]",
        "unknown: blk.0.attn_q.bias",
        "type of blk.1.attn_norm.weight: I8, which the library gguf does not dequantise",
        "shape of blk.1.ffn_up.weight: [96, 32] in the file, [96, 64] by its metadata",
    ]


def test_damaged_files_are_refused_wherever_they_end(good, tmp_path):
    whole, bad = good.read_bytes(), tmp_path / "bad.gguf"
    for length in (30, 900, len(whole) // 3, len(whole) - 8):
        bad.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"bad\.gguf is truncated or damaged; fetch it again"):
            find_model(bad)
    for content in (b"", b"PK", b"PK\3\4 a wheel"):
        bad.write_bytes(content)
        with pytest.raises(InputError, match=r"bad\.gguf is no GGUF file; expected a model's directory or"):
            find_model(bad)
    bad.write_bytes(b"GGUF\1\0\0\0" + whole[8:])
    with pytest.raises(InputError, match="of a version that is not supported"):
        find_model(bad)
    name = b"output_norm.weight" + (1).to_bytes(4, "little") + (64).to_bytes(8, "little")
    at = whole.index(name) + len(name)
    bad.write_bytes(whole[:at] + (77).to_bytes(4, "little") + whole[at + 4 :])
    with pytest.raises(InputError, match=r"a type that the library gguf does not know .*77"):
        find_model(bad)
    with pytest.raises(InputError, match=r"nowhere\.gguf does not exist"):
        find_model(tmp_path / "nowhere.gguf")


def test_a_missing_library_is_said_with_how_to_install_it(good, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(InputError, match=r"pip install 'jaxunlearn\[gguf\]'"):
        find_model(good)


def test_a_file_read_and_written_again_is_the_same(mesh, good, tmp_path):
    found = find_model(good)
    write_gguf(huggingface.load(found), tmp_path / "again.gguf", source=found, name="source")
    before, after = fields(good), fields(tmp_path / "again.gguf")
    assert {k: v for k, v in after.items() if v != before.get(k)} == {} and before.keys() <= after.keys()
    assert good.read_bytes()[-4096:] == (tmp_path / "again.gguf").read_bytes()[-4096:]


SMOLLM2 = ROOT / "models" / "SmolLM2-135M-Instruct.Q4_1.gguf"
TEXTS = {  # the ids of llama.cpp and of transformers' reading of the file, which lacks the cut at digits: none merge
    "The Wizard of Oz was written in 1900.": [504, 46064, 282, 28508, 436, 2855, 281, 216, 33, 41, 32, 32, 30],
    "  def f(x):\n\treturn x**2  # 12 345\n": [
        216, 753, 275, 24, 104, 727, 198, 197, 5406, 1792, 828, 34, 216, 907, 216, 33, 34, 216, 35, 36, 37, 198,
    ],
    "naïve café — “Dorothy’s” 🦁 中文 isn't": [
        3546, 46494, 37366, 1841, 619, 52, 270, 16824, 417, 99, 573, 15107, 116, 219, 216, 28589, 29184, 3247, 982,
    ],
}  # fmt: skip


def test_a_real_file_is_read_as_its_authors_meant_it(tmp_path):
    """SmolLM2's shape, ids of texts, and a tensor that changes its order, by the library's own dequantisation."""
    if not SMOLLM2.is_file():
        pytest.skip(f"needs a real GGUF file (make smollm2): no {SMOLLM2}")
    from gguf import dequantize

    reader = read.opened(SMOLLM2)
    fields, tensors = {n: f.contents() for n, f in reader.fields.items()}, {t.name: t for t in reader.tensors}
    c = read.read_shape(fields, tensors, SMOLLM2)
    told = dict(V=49152, D=576, L=30, N=9, K=3, H=64, F=1536, context=8192, theta=1e5, epsilon=1e-5, tied=True)
    assert c == transformer.Shape(**told)
    ids = write_tokenizer(fields, tmp_path, c.V, SMOLLM2)
    assert ids == {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    tokenizer = load_tokenizer(tmp_path)
    assert (tokenizer.start, tokenizer.eos_ids, tokenizer.vocab_size, tokenizer.has_chat) == ((), (2,), 49152, True)
    assert {text: tokenizer.encode(text)[0].tolist() for text in TEXTS} == TEXTS
    stored = tensors["blk.0.attn_k.weight"]
    whole = dequantize(stored.data, stored.tensor_type)  # [K * H, D], neighbouring rows rotate with one another
    halves = np.concatenate([half for n in range(3) for half in (whole[n * 64 :][:64:2], whole[n * 64 :][1:64:2])])
    np.testing.assert_array_equal(read.dequantised(tensors, "model.layers.0.self_attn.k_proj.weight", c), halves)

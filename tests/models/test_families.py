"""A new architecture is one record and one line in the registry: read, train, round, adapt, write; nothing else."""

import json

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from jaxunlearn.attacks.quantise import quantised
from jaxunlearn.config import Lora, Train
from jaxunlearn.errors import InputError
from jaxunlearn.methods import reset
from jaxunlearn.models import families, huggingface, lora, peft
from jaxunlearn.models.families.base import Family
from jaxunlearn.parallel.sharding import put
from jaxunlearn.training.step import compiled_step, init_state

TOY = Family(
    name="toy",
    architecture="ToyForCausalLM",
    top={"embed_VD": ("wte.weight", "V D"), "norm_D": ("ln_f.weight", "D"), "head_DV": ("out.weight", "V D")},
    prefix="h.{}.",
    layer={
        "attention_norm_D": ("ln_1.weight", "D"),
        "q_DNH": ("attn.query.weight", "NH D"),
        "k_DKH": ("attn.key.weight", "KH D"),
        "v_DKH": ("attn.value.weight", "KH D"),
        "q_bias_NH": ("attn.query.bias", "NH"),
        "k_bias_KH": ("attn.key.bias", "KH"),
        "v_bias_KH": ("attn.value.bias", "KH"),
        "o_NHD": ("attn.out.weight", "D NH"),
        "mlp_norm_D": ("ln_2.weight", "D"),
        "gate_DF": ("mlp.w1.weight", "F D"),
        "up_DF": ("mlp.w3.weight", "F D"),
        "down_FD": ("mlp.w2.weight", "D F"),
    },
    fields={"V": "n_vocab", "D": "n_embd", "L": "n_layer", "N": "n_head", "K": "n_kv", "H": "d_head", "F": "n_inner",
            "context": "n_ctx", "epsilon": "norm_eps", "tied": "tied"},
    always={"qkv_bias": True},
    fixed={"activation": "silu"},
)  # fmt: skip
CONFIG = {
    "architectures": ["ToyForCausalLM"], "model_type": "toy", "n_vocab": 16, "n_embd": 8, "n_layer": 2, "n_head": 2,
    "n_kv": 1, "d_head": 4, "n_inner": 12, "n_ctx": 32, "norm_eps": 1e-5, "tied": False, "activation": "silu",
}  # fmt: skip


@pytest.fixture
def toy(tmp_path, monkeypatch, mesh):
    """Return a directory with a checkpoint in the toy's spelling, and its tensors; the toy is registered."""
    monkeypatch.setitem(families.FAMILIES, "toy", TOY)
    sizes = {"wte.weight": (16, 8), "ln_f.weight": (8,), "out.weight": (16, 8)}
    for n in range(2):
        layer = {
            "ln_1.weight": (8,), "attn.query.weight": (8, 8), "attn.query.bias": (8,), "attn.key.weight": (4, 8),
            "attn.key.bias": (4,), "attn.value.weight": (4, 8), "attn.value.bias": (4,), "attn.out.weight": (8, 8),
            "ln_2.weight": (8,), "mlp.w1.weight": (12, 8), "mlp.w3.weight": (12, 8), "mlp.w2.weight": (8, 12),
        }  # fmt: skip
        sizes |= {f"h.{n}.{name}": size for name, size in layer.items()}
    draw = np.random.default_rng(0)
    tensors = {name: draw.normal(size=size).astype(np.float32) for name, size in sizes.items()}
    folder = tmp_path / "toy"
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return folder, tensors


def host(tree):
    return [np.asarray(w).tobytes() for w in jax.tree.leaves(tree)]


def test_it_is_read_and_written_in_its_own_spelling(toy, tmp_path):
    folder, tensors = toy
    model = huggingface.load(folder)
    assert model.c.family == "toy" and model.c.qkv_bias and (model.c.N, model.c.K, model.c.H) == (2, 1, 4)
    np.testing.assert_array_equal(model.blocks.q_bias_NH[...][1], tensors["h.1.attn.query.bias"].reshape(2, 4))
    np.testing.assert_array_equal(model.blocks.o_NHD[...][0], tensors["h.0.attn.out.weight"].T.reshape(2, 4, 8))
    huggingface.save(model, tmp_path / "again")
    stored = load_file(tmp_path / "again" / "model.safetensors")
    assert set(stored) == set(tensors)
    for name, array in tensors.items():
        np.testing.assert_array_equal(stored[name], array, err_msg=name)
    written = json.loads((tmp_path / "again" / "config.json").read_text())
    assert written.items() >= CONFIG.items()
    again = huggingface.load(tmp_path / "again")
    assert again.c == model.c and host(again) == host(model)


def test_it_learns_biases_and_all(toy, tmp_path):
    model = huggingface.load(toy[0])
    before = {name: np.asarray(getattr(model.blocks, name)[...]) for name in ("q_bias_NH", "v_bias_KH", "down_FD")}
    c = Train(batch=8, learning_rate=1e-2)
    tokens = np.random.default_rng(1).integers(0, 16, (1, 8, 12)).astype(np.int32)
    batch = [put(a, "ABT") for a in (tokens, np.roll(tokens, -1, -1))]
    state, losses = init_state(model, c), []
    for _ in range(2):
        state, metrics = compiled_step(c)(state, np.float32(1e-2), *batch)
        losses.append(float(metrics["loss"]))
    assert losses[1] < losses[0]
    for name, weight in before.items():
        assert (np.asarray(getattr(state.model.blocks, name)[...]) != weight).any(), name
    huggingface.save(state.model, tmp_path / "trained")
    assert host(huggingface.load(tmp_path / "trained")) == host(state.model)


def test_its_matrices_are_rounded_and_blurred_and_its_biases_are_not(toy):
    model = huggingface.load(toy[0])
    before = {n: np.asarray(getattr(model.blocks, n)[...]) for n in (*lora.WEIGHTS, "q_bias_NH", "v_bias_KH")}
    rounded = quantised(model, "int4").blocks
    blurred = reset.noised(model, 0.5, jax.random.key(0)).blocks  # consumes the model
    for name, weight in before.items():
        is_bias = "bias" in name
        assert (np.asarray(getattr(rounded, name)[...]) == weight).all() == is_bias, name
        assert (np.asarray(getattr(blurred, name)[...]) == 0.5 * weight).all() == is_bias, name  # shrunk, no noise


def test_it_is_adapted_in_its_own_spelling(toy, tmp_path):
    base = huggingface.load(toy[0])
    part = jax.tree.map(lambda w: w + 0.1, lora.init(base.c, Lora(rank=2, alpha=4.0), 0))
    peft.save(part, tmp_path / "part", base=str(toy[0]))
    names = set(load_file(tmp_path / "part" / "adapter_model.safetensors"))
    assert "base_model.model.h.1.attn.query.lora_A.weight" in names and len(names) == 2 * 2 * 7
    assert host(peft.load(tmp_path / "part", base.c)) == host(part)
    merged = lora.merge(huggingface.load(toy[0]), part)
    assert host(huggingface.load(tmp_path / "part")) == host(merged)
    np.testing.assert_array_equal(merged.blocks.q_bias_NH[...], base.blocks.q_bias_NH[...])


def test_what_its_record_does_not_know_is_refused_by_name(toy, monkeypatch):
    folder, tensors = toy
    for change, said in (
        ({"activation": "gelu"}, "activation = 'gelu': only 'silu' is supported"),
        ({"n_experts": 8}, "unknown attribute n_experts = 8"),
        ({"hidden_size": 8}, "unknown attribute hidden_size"),
        ({"layer_types": ["sliding_attention"]}, "layer_types holds 'sliding_attention'"),
    ):
        (folder / "config.json").write_text(json.dumps(CONFIG | change))
        with pytest.raises(InputError, match=said):
            huggingface.load(folder)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    save_file({n: t for n, t in tensors.items() if n != "h.1.attn.key.bias"}, folder / "model.safetensors")
    with pytest.raises(InputError, match=r"missing: h\.1\.attn\.key\.bias \[4\]"):
        huggingface.load(folder)
    monkeypatch.delitem(families.FAMILIES, "toy")
    with pytest.raises(InputError, match="model_type = 'toy': expected one of llama, mistral, qwen2, qwen3"):
        huggingface.load(folder)

"""Parity with transformers: models made there are read here, models written here are read there."""

import json
import warnings

import jax
import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from support.llamas import KINDS, TOKENS, import_torch, our_logits, torch_logits, torch_model, writes_the_same
from support.mesh import MESHES, mesh_of

from jaxunlearn.errors import InputError
from jaxunlearn.models import huggingface
from jaxunlearn.models.families import read_shape
from jaxunlearn.models.transformer import context_fits
from jaxunlearn.parallel import sharding


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A directory and the reference logits of each kind of model, written by transformers."""
    made = {}
    for kind, changes in KINDS.items():
        folder = tmp_path_factory.mktemp(kind)
        model = torch_model(**changes)
        model.save_pretrained(folder)
        made[kind] = folder, torch_logits(model, TOKENS)
    return made


@pytest.mark.parametrize("kind", KINDS)
def test_logits_equal_transformers(saved, mesh, kind):
    folder, reference = saved[kind]
    np.testing.assert_allclose(our_logits(huggingface.load(folder), TOKENS), reference, atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["llama3", "linear"])
def test_the_cache_rotates_scaled_positions_as_transformers_does(saved, mesh, kind):
    """Greedy text up to position 31, beyond the original context of 16."""
    writes_the_same(torch_model(**KINDS[kind]), huggingface.load(saved[kind][0]))


@pytest.mark.parametrize("sizes", MESHES[1:])
def test_a_model_reads_the_same_onto_every_mesh(saved, sizes):
    folder, reference = saved["gqa"]
    weights = {}
    with jax.set_mesh(mesh_of((1, 1, 1))):
        weights["one"] = list(huggingface.hf_tensors(huggingface.load(rename_vocabulary(folder))))
    with jax.set_mesh(mesh_of(sizes)):
        model = huggingface.load(rename_vocabulary(folder))
        assert model.blocks.q_DNH[...].sharding.spec == sharding.param("LDNH")
        for (name, a), (_, b) in zip(weights["one"], huggingface.hf_tensors(model), strict=True):
            np.testing.assert_array_equal(a, b, err_msg=name)
        np.testing.assert_allclose(our_logits(model, TOKENS)[..., :97], reference, atol=1e-4, rtol=0)


def rename_vocabulary(folder):
    """Pad the vocabulary from 97 to 104, which eight devices divide."""
    target = folder.with_name(folder.name + "_104")
    if not target.exists():
        target.mkdir()
        tensors = load_file(folder / "model.safetensors")
        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            tensors[name] = np.pad(tensors[name], ((0, 7), (0, 0)))
        save_file(tensors, target / "model.safetensors")
        config = json.loads((folder / "config.json").read_text()) | {"vocab_size": 104}
        (target / "config.json").write_text(json.dumps(config))
    return target


@pytest.mark.parametrize("kind", ["gqa", "tied", "llama3", "linear"])
def test_export_is_read_by_transformers_with_the_same_logits(saved, mesh, tmp_path, kind):
    from transformers import LlamaForCausalLM

    folder, reference = saved[kind]
    huggingface.save(huggingface.load(folder), tmp_path / "out", shard_bytes=20_000)
    assert len(list((tmp_path / "out").glob("*.safetensors"))) > 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        back = LlamaForCausalLM.from_pretrained(tmp_path / "out")
    np.testing.assert_allclose(torch_logits(back, TOKENS), reference, atol=1e-6, rtol=0)
    np.testing.assert_allclose(our_logits(huggingface.load(tmp_path / "out"), TOKENS), reference, atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_files_are_read_exactly(saved, mesh, tmp_path, dtype):
    model = huggingface.load(saved["gqa"][0])
    huggingface.save(model, tmp_path / "half", dtype=dtype)
    for (name, a), (_, b) in zip(
        huggingface.hf_tensors(model), huggingface.hf_tensors(huggingface.load(tmp_path / "half")), strict=True
    ):
        np.testing.assert_array_equal(a.astype(huggingface.DTYPES[dtype]).astype(np.float32), b, err_msg=name)


def test_rounding_loss_by_hand(saved, mesh):
    base = huggingface.load(saved["gqa"][0])
    base = jax.tree.map(lambda w: w * 0 + 1, base)
    tiny, large = jax.tree.map(lambda w: w + 2.0**-12, base), jax.tree.map(lambda w: w + 2.0**-4, base)
    assert huggingface.rounding_loss(tiny, base, "bfloat16") == {
        "lost": 1.0,
        "unchanged": 1.0,
    }  # bf16 steps by 2^-7 at 1
    assert huggingface.rounding_loss(large, base, "bfloat16") == {"lost": 0.0, "unchanged": 0.0}
    assert huggingface.rounding_loss(tiny, base, "float32") == {"lost": 0.0, "unchanged": 0.0}


def edited(folder, target, **changes):
    """Copy a model directory with changes to its config.json; None removes."""
    target.mkdir()
    (target / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    config = json.loads((folder / "config.json").read_text()) | changes
    (target / "config.json").write_text(json.dumps({k: v for k, v in config.items() if v is not None}))
    return target


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_act": "gelu"}, "hidden_act = 'gelu'"),
        ({"attention_bias": True}, "attention_bias = True"),
        ({"quantization_config": {"bits": 4}}, "the weights are quantised"),
        ({"model_type": "gpt2"}, "model_type = 'gpt2'"),
        ({"hidden_size": None}, "attributes missing: ['hidden_size']"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "rope scaling 'yarn'"),
        ({"intermediate_size": 64}, "shape of model.layers.0.mlp.down_proj.weight"),
        ({"num_hidden_layers": 4}, "missing: model.layers.3.input_layernorm.weight"),
        ({"num_hidden_layers": 2}, "unknown: model.layers.2.input_layernorm.weight"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(saved, mesh, tmp_path, changes, message):
    with pytest.raises(InputError) as error:
        huggingface.load(edited(saved["mha"][0], tmp_path / "bad", **changes))
    assert message in str(error.value)


def test_a_block_may_be_longer_than_the_window_but_not_than_the_context(saved, mesh, tmp_path):
    folder = edited(saved["gqa"][0], tmp_path / "m", model_type="mistral", sliding_window=32)
    shape = huggingface.load(folder).c
    context_fits(shape, 64, "a block")
    with pytest.raises(InputError, match="context of 64"):
        context_fits(shape, 65, "a block")
    huggingface.save(huggingface.load(folder), tmp_path / "again")
    assert read_shape(tmp_path / "again") == shape


def test_damaged_directories_say_what_is_wrong(saved, mesh, tmp_path):
    good = saved["mha"][0]
    with pytest.raises(InputError, match=r"config\.json is missing"):
        huggingface.load(tmp_path)
    cut = edited(good, tmp_path / "cut")
    data = (cut / "model.safetensors").read_bytes()
    (cut / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match="truncated or damaged"):
        huggingface.load(cut)
    pickled = edited(good, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    with pytest.raises(InputError, match="is a pickle and is never loaded"):
        huggingface.load(pickled)


def test_the_mesh_must_divide_the_heads(saved):
    with jax.set_mesh(mesh_of((1, 1, 2))), pytest.raises(InputError, match="K = 1 does not divide over tensor = 2"):
        huggingface.load(saved["mqa"][0])


def test_real_model_equals_transformers(shared, mesh):
    import_torch()
    from transformers import LlamaForCausalLM

    folder = shared / "models" / "tinystories-656k"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference = LlamaForCausalLM.from_pretrained(folder)
    tokens = np.random.default_rng(1).integers(3, 2048, size=(2, 200)).astype(np.int32)
    np.testing.assert_allclose(
        our_logits(huggingface.load(folder), tokens), torch_logits(reference, tokens), atol=1e-4, rtol=0
    )


def changed(folder, target, **tensors):
    """Copy a model directory with other tensors, by name with "." for "__"."""
    edited(folder, target)
    known = load_file(folder / "model.safetensors")
    save_file(known | {name.replace("__", "."): value for name, value in tensors.items()}, target / "model.safetensors")
    return target


def test_a_tied_head_that_differs_is_refused_and_a_copy_is_not(saved, mesh, tmp_path):
    good = saved["tied"][0]
    embedding = load_file(good / "model.safetensors")["model.embed_tokens.weight"]
    other = embedding.copy()
    other[-1, -1] += 1
    huggingface.load(changed(good, tmp_path / "copy", lm_head__weight=embedding))
    for n, head in enumerate((other, embedding[:-1])):
        with pytest.raises(InputError, match=r"lm_head\.weight differs from model\.embed_tokens\.weight.*to false"):
            huggingface.load(changed(good, tmp_path / f"other{n}", lm_head__weight=head))


def test_files_of_both_half_precisions_are_read_exactly(saved, mesh, tmp_path):

    folder = edited(saved["gqa"][0], tmp_path / "mixed")
    tensors = load_file(folder / "model.safetensors")
    kinds = (np.float16, ml_dtypes.bfloat16, np.float32)
    halves = {name: tensors[name].astype(kinds[n % 3]) for n, name in enumerate(sorted(tensors))}
    save_file(halves, folder / "model.safetensors")
    for name, array in huggingface.hf_tensors(huggingface.load(folder)):
        np.testing.assert_array_equal(array, halves[name].astype(np.float32), err_msg=name)


def test_numbers_that_a_type_cannot_hold_are_refused_by_name(saved, mesh, tmp_path):
    name = "model.layers.1.mlp.up_proj.weight"
    large = load_file(saved["gqa"][0] / "model.safetensors")[name]
    large[3, 4] = -70_000
    folder = changed(saved["gqa"][0], tmp_path / "large", **{name.replace(".", "__"): large})
    model = huggingface.load(folder)
    with pytest.raises(InputError, match=rf"{name} holds values beyond float16's 65504"):
        huggingface.save(model, tmp_path / "out", dtype="float16")
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match=rf"{name} holds values beyond float16's 65504"):
        huggingface.load(folder, dtype="float16")
    huggingface.save(model, tmp_path / "out", dtype="bfloat16")
    with pytest.raises(InputError, match=r"x holds values beyond bfloat16's 3\.38953e\+38"):
        huggingface.narrowed("x", np.array([3.4e38], np.float32), "bfloat16")
    np.testing.assert_array_equal(huggingface.narrowed("x", np.array([np.inf, 1]), "float16"), [np.inf, 1])

"""Adapters on disk: written, read again, merged into their base, and what is wrong with them by name."""

import json
import shutil

import jax
import numpy as np
import pytest
from support.adapters import SHAPE, made
from support.mesh import mesh_of

from jaxunlearn.errors import InputError
from jaxunlearn.models import huggingface, lora, peft
from jaxunlearn.models.directory import check_model


def host(tree):
    return [np.asarray(w).tobytes() for w in jax.tree.leaves(tree)]


def test_what_is_written_is_read_again_and_damage_is_named(mesh, tmp_path):
    base, part = made()
    huggingface.save(base, tmp_path / "base")
    peft.save(part, tmp_path / "part", base="../base")
    assert host(peft.load(tmp_path / "part", SHAPE)) == host(part)
    assert host(huggingface.load(tmp_path / "part")) == host(lora.merge(huggingface.load(tmp_path / "base"), part))
    stored = json.loads((tmp_path / "part" / "adapter_config.json").read_text())
    for change, said in (
        ({"r": 2}, "shape of"),
        ({"use_dora": True}, "use_dora"),
        ({"target_modules": ["q_proj"]}, "target"),
    ):
        (tmp_path / "part" / "adapter_config.json").write_text(json.dumps(stored | change))
        with pytest.raises(InputError, match=said):
            peft.load(tmp_path / "part", SHAPE)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A run's folder with base/, a model, and part/, an adapter over it."""
    run = tmp_path_factory.mktemp("written") / "run"
    with jax.set_mesh(mesh_of((1, 1, 1))):
        base, part = made()
        huggingface.save(base, run / "base")
        peft.save(part, run / "part", base="../base")
    return run


@pytest.fixture
def adapter(tmp_path, written, mesh):
    """A copy of an adapter's folder, with its neighbour, and the adapter's configuration."""
    shutil.copytree(written, tmp_path / "run")
    return tmp_path / "run" / "part", json.loads((tmp_path / "run" / "part" / "adapter_config.json").read_text())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"base_model_name_or_path": "../../other"}, "expected a path within"),
        ({"base_model_name_or_path": "/etc"}, "expected a path within"),
        ({"base_model_name_or_path": "{top}/other"}, "expected a path within"),
        ({"base_model_name_or_path": "nowhere"}, "expected a path within"),
        ({"base_model_name_or_path": "../part"}, "lies over itself"),
        ({"base_model_name_or_path": 3}, "base_model_name_or_path = 3"),
        ({"base_model_name_or_path": "a\0b"}, "base_model_name_or_path = 'a"),
        ({"r": 10**9}, "r = 1000000000: expected a whole number at least 1 and at most 65,536"),
        ({"r": "3"}, "r = '3'"),
        ({"lora_alpha": 1e999}, "it holds Infinity"),
        ({"lora_alpha": -1}, "lora_alpha = -1: expected a number above 0"),
        ({"target_modules": "all-linear"}, "target_modules = 'all-linear'"),
        ({"target_modules": [3, "q_proj"]}, "target_modules = [3, 'q_proj']"),
    ],
)
def test_an_adapter_cannot_point_elsewhere_or_claim_what_is_not_there(adapter, tmp_path, change, said):
    folder, config = adapter
    (tmp_path / "other").symlink_to(folder.parent / "base", target_is_directory=True)
    change = {k: v.format(top=tmp_path) if isinstance(v, str) else v for k, v in change.items()}
    (folder / "adapter_config.json").write_text(json.dumps(config | change))
    with pytest.raises(InputError) as error:
        huggingface.load(folder)
    assert said in str(error.value)


def test_the_base_of_an_adapter_is_its_neighbour_or_a_name_on_the_hub_and_nothing_below_the_working_directory(
    adapter, tmp_path, monkeypatch
):
    folder, config = adapter
    assert peft.base_of(folder) == folder.parent / "base" and check_model(folder) == SHAPE
    asked = []
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **_: asked.append(name) or str(tmp_path))
    monkeypatch.chdir(tmp_path)  # where owner/name is a folder
    (tmp_path / "owner" / "name").mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "owner/name"}))
    assert peft.base_of(folder) == tmp_path and asked == ["owner/name"]


def test_damaged_factors_of_an_adapter_are_refused(adapter):
    from safetensors.numpy import load_file, save_file

    folder, _ = adapter
    file = folder / "adapter_model.safetensors"
    tensors = load_file(file)
    name = next(iter(tensors))
    for value, said in ((np.full_like(tensors[name], np.nan), f"{name} holds nan"),
                        (tensors[name].astype(np.int32), f"type of {name}: int32")):  # fmt: skip
        save_file(tensors | {name: value}, file)
        with pytest.raises(InputError, match=said):
            peft.load(folder, SHAPE)
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(InputError, match="cannot be read as safetensors"):
        peft.load(folder, SHAPE)
    file.unlink()
    file.symlink_to("../base/model.safetensors")
    with pytest.raises(InputError, match="is a link to a file outside"):
        peft.load(folder, SHAPE)

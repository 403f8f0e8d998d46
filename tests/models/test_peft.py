"""Adapters on disk: written, read again, merged into their base, and what is wrong with them by name."""

import json

import jax
import numpy as np
import pytest
from support.adapters import SHAPE, made

from jaxunlearn.errors import InputError
from jaxunlearn.models import huggingface, lora, peft


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

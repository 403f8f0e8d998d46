"""The families of models that can be read, trained and written: one file an architecture, one line each below."""

import os
from pathlib import Path

from jaxunlearn.errors import InputError, shown
from jaxunlearn.files import read_json
from jaxunlearn.models.families import base, gemma, llama, qwen, smollm
from jaxunlearn.models.families.base import Family
from jaxunlearn.models.transformer import Shape

FAMILIES: dict[str, Family] = {family.name: family for family in (
    llama.LLAMA,
    llama.MISTRAL,
    qwen.QWEN2,
    qwen.QWEN3,
    gemma.GEMMA3,
    smollm.SMOLLM3,
)}  # fmt: skip


def family_of(c: Shape) -> Family:
    """Return the family of a model, in whose spelling it is written."""
    return FAMILIES[c.family]


def read_shape(directory: Path, compute: str = "float32", remat: str = "auto") -> Shape:
    """Return a model's shape from its directory's config.json; `compute` and `remat` are taken as given.

    Raises InputError where the file is missing or no JSON, and for what this code would compute otherwise, by name.
    """
    path, known = Path(directory) / "config.json", ", ".join(FAMILIES)
    if not os.path.isfile(path):
        raise InputError(
            f"{directory} is no model directory: config.json is missing (expected a Hugging Face model of type {known})"
        )
    j = read_json(path, dict)
    if not isinstance(j.get("model_type"), str) or j["model_type"] not in FAMILIES:
        parts = " (its text model alone, saved by itself, is gemma3_text)" if j.get("model_type") == "gemma3" else ""
        raise InputError(
            f"{path} describes a model that is not supported:\n"
            f"  model_type = {shown(j.get('model_type'))}: expected one of {known}{parts}"
        )
    return base.read(FAMILIES[j["model_type"]], j, path, compute=compute, remat=remat)


def hf_config(c: Shape, dtype: str) -> dict:
    """Return the config.json of a model, in the spelling of its family; `dtype` is that of the tensors."""
    return base.write(family_of(c), c, dtype)

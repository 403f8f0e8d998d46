"""Adapters on disk, as the PEFT library spells them."""

import math
import os
import shutil
from functools import partial
from pathlib import Path

import jax
import numpy as np

from jaxunlearn import sealed
from jaxunlearn.config import Lora
from jaxunlearn.config.bounds import Range
from jaxunlearn.data.links import inside
from jaxunlearn.data.tokenizer_files import copy_tokenizer
from jaxunlearn.errors import InputError, named, shown
from jaxunlearn.files import json_text, read_json, shared
from jaxunlearn.models.families import family_of
from jaxunlearn.models.families.ranges import fault
from jaxunlearn.models.hub import HUB, fetched, find_model
from jaxunlearn.models.lora import WEIGHTS, Adapter, rank_fits, thin, thin_sizes
from jaxunlearn.models.tensors import DTYPES, refuse_infinite
from jaxunlearn.models.transformer import Shape
from jaxunlearn.parallel import processes
from jaxunlearn.parallel.sharding import fetch, shard

CONFIG = "adapter_config.json"
PREFIX = "base_model.model."  # of every name in a PEFT file


def is_adapter(directory: Path) -> bool:
    """Return whether a directory holds an adapter instead of a model."""
    return (Path(directory) / CONFIG).is_file()


def save(part: Adapter, directory: Path, *, base: str, source: Path | None = None) -> None:
    """Write adapter_model.safetensors and adapter_config.json, complete or not at all.

    `base` is what the adapter lies over: a path, from the adapter's folder if relative, or a hub name.
    """
    directory = Path(directory)
    scratch = directory.with_name(f".{directory.name}.writing")
    tensors = dict(_tensors(part))  # gathered by all processes, written by one
    lora = part.lora
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "r": lora.rank,
        "lora_alpha": lora.alpha, "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": False,
        "inference_mode": True, "target_modules": _targets(part.c),
    }  # fmt: skip
    processes.first(lambda: _write(tensors, config, directory, scratch, source))


def _write(tensors: dict, config: dict, directory: Path, scratch: Path, source: Path | None) -> None:
    from safetensors.numpy import save_file

    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    save_file(tensors, scratch / "adapter_model.safetensors", metadata={"format": "pt"})
    shared(scratch / "adapter_model.safetensors")
    if source:
        copy_tokenizer(source, scratch)
    (scratch / CONFIG).write_text(json_text(config, indent=1))
    sealed.seal(scratch)
    shutil.rmtree(directory, ignore_errors=True)
    os.rename(scratch, directory)


def _module(c: Shape, weight: str) -> str:
    """Return the Hugging Face name of a weight's module within a layer, such as self_attn.q_proj."""
    return family_of(c).layer[weight][0].removesuffix(".weight")


def _targets(c: Shape) -> list[str]:
    """Return the last parts of the adapted modules' names, as target_modules lists them."""
    return sorted(_module(c, name).split(".")[-1] for name in WEIGHTS)


def _stem(c: Shape, weight: str, layer: int) -> str:
    """Return what the names of a weight's two factors in a PEFT file begin with."""
    return f"{PREFIX}{family_of(c).prefix.format(layer)}{_module(c, weight)}"


def _tensors(part: Adapter):
    """Yield (PEFT's name, host array): lora_A [R, inputs] and lora_B [outputs, R] of every layer."""
    rank = part.lora.rank
    for name in WEIGHTS:
        down, up = (fetch(getattr(part.blocks, f)[...]).astype(np.float32) for f in thin(name))
        for n in range(part.c.L):
            stem = _stem(part.c, name, n)
            yield f"{stem}.lora_A.weight", np.ascontiguousarray(down[n].reshape(-1, rank).T)
            yield f"{stem}.lora_B.weight", np.ascontiguousarray(up[n].reshape(rank, -1).T)


def base_of(directory: Path) -> Path:
    """Return the local directory of the model that an adapter lies over.

    It is a folder or GGUF file within the folder that holds the adapter's own, or a name on the hub. Raises InputError
    for a path that leads elsewhere, which would put the user's other models into what is exported, and for adapters
    that lie over each other in a circle.
    """
    seen, base = [Path(directory).resolve()], _below(Path(directory))
    at = base
    while is_adapter(at):
        if at.resolve() in seen:
            raise InputError(f"the adapter in {directory} lies over itself: {CONFIG} must name a model")
        seen, at = [*seen, at.resolve()], _below(at)
    return base


def _below(directory: Path) -> Path:
    name, home = _config(directory)["base_model_name_or_path"], directory.resolve()
    beside = Path(os.path.normpath(home / name))
    if beside.is_relative_to(home.parent) and os.path.exists(beside):
        return find_model(beside)
    if HUB.fullmatch(name):
        return fetched(name)
    raise InputError(
        f"{directory / CONFIG} names the base model {shown(name)}: expected a path within {home.parent}, written from "
        "the adapter's folder, or a name on the hub (OWNER/NAME)"
    )


def _config(directory: Path, targets: list[str] | None = None) -> dict:
    """Read adapter_config.json; InputError names what is missing, not supported, or adapts other modules."""
    path = Path(directory) / CONFIG
    found = read_json(inside(directory, CONFIG), dict)
    wrong = [f"{k} is missing" for k in ("r", "lora_alpha", "base_model_name_or_path") if found.get(k) is None]
    wrong += fault("r", found.get("r"), Range(1, 1 << 16), whole=True)
    wrong += fault("lora_alpha", found.get("lora_alpha"), Range(0, 1e6, above=True))
    if not isinstance(name := found.get("base_model_name_or_path", ""), str | None) or "\0" in (name or ""):
        wrong.append(f"base_model_name_or_path = {shown(name)}: expected a path or a name on the hub")
    given = found.get("target_modules")
    if targets and (not isinstance(given, list) or sorted(map(str, given)) != targets):
        wrong.append(f"target_modules = {shown(given)}: expected {targets}")
    for key in ("use_dora", "use_rslora", "rank_pattern", "alpha_pattern", "modules_to_save", "layers_to_transform"):
        if found.get(key):
            wrong.append(f"{key} = {shown(found[key])} is not supported")
    if wrong:
        raise InputError(f"{path} describes an adapter that is not supported:\n  " + "\n  ".join(wrong))
    return found


def load(directory: Path, c: Shape) -> Adapter:
    """Read an adapter for a model of this shape; InputError names what is missing, unknown or of another shape."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    found = _config(directory, _targets(c))
    lora = Lora(rank=found["r"], alpha=float(found["lora_alpha"]))
    rank_fits(c, lora, str(directory))
    path = inside(directory, "adapter_model.safetensors")
    try:
        files = load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path} cannot be read as safetensors ({shown(str(error))}); fetch it again") from None
    like = jax.eval_shape(partial(Adapter, c, lora), jax.random.key(0))
    expected = {name: array.shape for name, array in _shapes(c, lora)}
    wrong = [f"missing: {n} {list(expected[n])}" for n in sorted(set(expected) - set(files))]
    wrong += [f"unknown: {named(n)}" for n in sorted(set(files) - set(expected))]
    wrong += [
        f"shape of {n}: {list(files[n].shape)}, expected {list(s)}"
        for n, s in expected.items()
        if n in files and files[n].shape != s
    ]
    wrong += [f"type of {n}: {a.dtype}, expected a float" for n, a in files.items() if a.dtype.name not in DTYPES]
    if wrong:
        raise InputError(f"the adapter in {directory} does not fit its model:\n  " + "\n  ".join(wrong[:12]))
    for name, array in files.items():
        refuse_infinite(name, array)

    def leaf(path, target, sharding):
        name = [k.name for k in path if hasattr(k, "name") and k.name != "value"][-1]
        weight = next(w for w in WEIGHTS if name in thin(w))
        side = "lora_A" if name == thin(weight)[0] else "lora_B"
        parts = [files[f"{_stem(c, weight, n)}.{side}.weight"].T for n in range(c.L)]
        whole = np.stack(parts).astype(np.float32).reshape(target.shape)
        return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])

    return jax.tree_util.tree_map_with_path(leaf, like, shard(like))


def _shapes(c: Shape, lora: Lora):
    """Yield (PEFT's name, an array of its shape that takes no memory)."""
    for name in WEIGHTS:
        down, up = thin_sizes(c, name, lora.rank)
        for n in range(c.L):
            stem = _stem(c, name, n)
            yield f"{stem}.lora_A.weight", jax.ShapeDtypeStruct((lora.rank, math.prod(down[:-1])), np.float32)
            yield f"{stem}.lora_B.weight", jax.ShapeDtypeStruct((math.prod(up[1:]), lora.rank), np.float32)

"""LoRA: what training adds to a weight, as a product of two thin matrices that follow from the weight's letters.

A weight q_DNH gets q_DR and q_RNH (R: rank) beside it, and x q becomes x q + alpha / R (x q_DR) q_RNH. The base is
frozen, may rest in the compute dtype and is held once, however many adapters look through it; sharding.py splits the
adapters by their letters. On disk an adapter is what the PEFT library, transformers and vLLM read.
Source: Hu et al., arXiv 2106.09685, section 4.1.
"""

import json
import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jaxunlearn import distributed
from jaxunlearn.config import Lora
from jaxunlearn.errors import InputError
from jaxunlearn.model import LowRank, Model, Shape
from jaxunlearn.sharding import fetch, param, shard

WEIGHTS = ("q_DNH", "k_DKH", "v_DKH", "o_NHD", "gate_DF", "up_DF", "down_FD")  # of a block: all but the norms
CONFIG = "adapter_config.json"
PREFIX = "base_model.model."  # of every name in a PEFT file


def thin(name: str) -> tuple[str, str]:
    """Return the names of a weight's two factors: q_DNH -> (q_DR, q_RNH), o_NHD -> (o_NHR, o_RD)."""
    stem, _, letters = name.rpartition("_")
    inner, outer = ("D", letters[1:]) if letters[0] == "D" else (letters[:-1], "D")
    return f"{stem}_{inner}R", f"{stem}_R{outer}"


class Factors(nnx.Module):
    """The thin matrices of all layers, stacked along L like the weights that they belong to."""

    def __init__(self, c: Shape, rank: int, key):
        keys = jax.random.split(key, len(WEIGHTS))
        for name, k in zip(WEIGHTS, keys, strict=True):
            inner, outer = (_sizes(c, rank, part) for part in thin(name))
            down = jax.random.normal(k, (c.L, *inner)) / np.sqrt(np.prod(inner[:-1]))
            setattr(self, thin(name)[0], nnx.Param(down))
            setattr(self, thin(name)[1], nnx.Param(jnp.zeros((c.L, *outer))))


class Adapter(nnx.Module):
    """The trained part of an adapted model; a pytree that holds nothing else."""

    def __init__(self, c: Shape, lora: Lora, key):
        self.c, self.lora = c, lora
        self.blocks = Factors(c, lora.rank, key)


def _sizes(c: Shape, rank: int, name: str) -> list[int]:
    sizes = {"D": c.D, "N": c.N, "K": c.K, "H": c.H, "F": c.F, "R": rank}
    return [sizes[letter] for letter in name.rpartition("_")[2]]


def rank_fits(c: Shape, lora: Lora, name: str) -> None:
    """Raise InputError for a rank that is larger than a matrix it should be thinner than."""
    if lora.rank < 0 or (lora.rank and not lora.alpha > 0):
        raise InputError(
            f"{name}: rank must be >= 0 (0: no adapter) and alpha > 0 (got rank {lora.rank}, alpha {lora.alpha})"
        )
    for weight in WEIGHTS:
        inner, outer = (int(np.prod(_sizes(c, 1, part))) for part in thin(weight))
        if lora.rank > min(inner, outer):
            raise InputError(
                f"{name}.rank = {lora.rank} is larger than the matrix {weight} ({inner} x {outer}); "
                f"use at most {min(inner, outer)}, 4 to 64 as a rule, or 0 to train the weights themselves"
            )


def init(c: Shape, lora: Lora, seed: int) -> Adapter:
    """Make an adapter that changes nothing yet (normal times zero), already sharded on the current mesh."""
    make, key = partial(Adapter, c, lora), jax.random.key(seed)
    return jax.jit(make, out_shardings=shard(jax.eval_shape(make, key)))(key)


def over(base: Model | None, part: Any) -> Any:
    """Return the model that `part` stands for: itself, or the base seen through an adapter (no weight is copied)."""
    if not isinstance(part, Adapter):
        return part
    assert base is not None, "an adapter needs the model that it was made for"
    seen: Any = jax.tree.map(lambda w: w, base)  # other modules, the same arrays
    for name in WEIGHTS:
        down, up = (getattr(part.blocks, f) for f in thin(name))
        setattr(seen.blocks, name, LowRank(getattr(base.blocks, name), down, up, part.lora.alpha / part.lora.rank))
    return seen


@partial(jax.jit, donate_argnums=0)
def merge(base: Model, part: Adapter) -> Model:
    """Return the base with the adapter added to its weights, in fp32 before they are stored; consumes the base."""
    merged: Any = jax.tree.map(lambda w: w, base)
    for name in WEIGHTS:
        letters = ["L" + n.rpartition("_")[2] for n in (*thin(name), name)]
        down, up = (getattr(part.blocks, f)[...] for f in thin(name))
        form = f"{letters[0]},{letters[1]}->{letters[2]}"
        change = jnp.einsum(form, down, up, out_sharding=param(letters[2]), precision="highest")
        w = getattr(base.blocks, name)[...]
        added = w.astype(jnp.float32) + part.lora.alpha / part.lora.rank * change
        setattr(merged.blocks, name, nnx.Param(added.astype(w.dtype)))
    return merged


# ---- on disk, as PEFT spells it


def is_adapter(directory: Path) -> bool:
    return (Path(directory) / CONFIG).is_file()


def save(part: Adapter, directory: Path, *, base: str, source: Path | None = None) -> None:
    """Write adapter_model.safetensors and adapter_config.json, complete or not at all.

    `base` is what the adapter lies over: a path, from the adapter's folder if relative, or a hub name.
    """
    directory = Path(directory)
    scratch = directory.with_name(f".{directory.name}.writing")
    tensors = dict(_tensors(part))  # gathered by all processes, written by one
    distributed.first(lambda: _write(tensors, part.lora, directory, scratch, base, source))


def _write(tensors: dict, lora: Lora, directory: Path, scratch: Path, base: str, source: Path | None) -> None:
    from safetensors.numpy import save_file

    from jaxunlearn.convert import copy_tokenizer

    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    save_file(tensors, scratch / "adapter_model.safetensors", metadata={"format": "pt"})
    if source:
        copy_tokenizer(source, scratch)
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "r": lora.rank,
        "lora_alpha": lora.alpha, "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": False,
        "inference_mode": True, "target_modules": sorted(_hf_name(n).split(".")[-1] for n in WEIGHTS),
    }  # fmt: skip
    (scratch / CONFIG).write_text(json.dumps(config, indent=1))
    shutil.rmtree(directory, ignore_errors=True)
    os.rename(scratch, directory)


def _hf_name(weight: str) -> str:
    from jaxunlearn.convert import LAYER

    return LAYER[weight][0].removesuffix(".weight")


def _tensors(part: Adapter):
    """Yield (PEFT's name, host array): lora_A [R, inputs] and lora_B [outputs, R] of every layer."""
    rank = part.lora.rank
    for name in WEIGHTS:
        down, up = (fetch(getattr(part.blocks, f)[...]).astype(np.float32) for f in thin(name))
        for n in range(part.c.L):
            stem = f"{PREFIX}model.layers.{n}.{_hf_name(name)}"
            yield f"{stem}.lora_A.weight", np.ascontiguousarray(down[n].reshape(-1, rank).T)
            yield f"{stem}.lora_B.weight", np.ascontiguousarray(up[n].reshape(rank, -1).T)


def base_of(directory: Path) -> Path:
    """Return the local directory of the model that an adapter lies over."""
    from jaxunlearn.convert import find_model

    name = _config(directory)["base_model_name_or_path"]
    beside = Path(directory).resolve() / name
    return beside if beside.is_dir() else find_model(name)


def _config(directory: Path) -> dict:
    path = Path(directory) / CONFIG
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    targets = sorted(_hf_name(n).split(".")[-1] for n in WEIGHTS)
    wrong = [f"{k} is missing" for k in ("r", "lora_alpha", "base_model_name_or_path") if k not in found]
    wrong += [f"target_modules = {found.get('target_modules')}: expected {targets}"] * (
        sorted(found.get("target_modules") or []) != targets
    )
    for key in ("use_dora", "use_rslora", "rank_pattern", "alpha_pattern", "modules_to_save", "layers_to_transform"):
        if found.get(key):
            wrong.append(f"{key} = {found[key]!r} is not supported")
    if wrong:
        raise InputError(f"{path} describes an adapter that is not supported:\n  " + "\n  ".join(wrong))
    return found


def load(directory: Path, c: Shape) -> Adapter:
    """Read an adapter for a model of this shape; InputError names what is missing, unknown or of another shape."""
    from safetensors.numpy import load_file

    found = _config(directory)
    lora = Lora(rank=found["r"], alpha=float(found["lora_alpha"]))
    rank_fits(c, lora, str(directory))
    files = load_file(Path(directory) / "adapter_model.safetensors")
    like = jax.eval_shape(partial(Adapter, c, lora), jax.random.key(0))
    expected = {name: array.shape for name, array in _shapes(c, lora)}
    wrong = [f"missing: {n} {list(expected[n])}" for n in sorted(set(expected) - set(files))]
    wrong += [f"unknown: {n}" for n in sorted(set(files) - set(expected))]
    wrong += [
        f"shape of {n}: {list(files[n].shape)}, expected {list(s)}"
        for n, s in expected.items()
        if n in files and files[n].shape != s
    ]
    if wrong:
        raise InputError(f"the adapter in {directory} does not fit its model:\n  " + "\n  ".join(wrong[:12]))

    def leaf(path, target, sharding):
        name = [k.name for k in path if hasattr(k, "name") and k.name != "value"][-1]
        weight = next(w for w in WEIGHTS if name in thin(w))
        side = "lora_A" if name == thin(weight)[0] else "lora_B"
        parts = [files[f"{PREFIX}model.layers.{n}.{_hf_name(weight)}.{side}.weight"].T for n in range(c.L)]
        whole = np.stack(parts).astype(np.float32).reshape(target.shape)
        return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])

    return jax.tree_util.tree_map_with_path(leaf, like, shard(like))


def _shapes(c: Shape, lora: Lora):
    """Yield (PEFT's name, an array of its shape that takes no memory)."""
    for name in WEIGHTS:
        inner, outer = (_sizes(c, 1, part) for part in thin(name))
        for n in range(c.L):
            stem = f"{PREFIX}model.layers.{n}.{_hf_name(name)}"
            yield f"{stem}.lora_A.weight", jax.ShapeDtypeStruct((lora.rank, int(np.prod(inner))), np.float32)
            yield f"{stem}.lora_B.weight", jax.ShapeDtypeStruct((int(np.prod(outer)), lora.rank), np.float32)

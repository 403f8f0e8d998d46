"""The tensors of a checkpoint: which there are, how a number is narrowed, and safetensors files cut at a size."""

import os
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import jax
import ml_dtypes
import numpy as np

from jaxunlearn.errors import InputError
from jaxunlearn.files import json_text, shared
from jaxunlearn.models import weights
from jaxunlearn.models.families import family_of
from jaxunlearn.models.families.base import stored
from jaxunlearn.models.transformer import Model, Shape

DTYPES = {"float32": np.float32, "float16": np.float16, "bfloat16": ml_dtypes.bfloat16}


class Tensor(NamedTuple):
    """What a tensor of a checkpoint is."""

    weight: str  # our name within a layer or outside them, such as q_DNH
    layer: int | None  # None outside the layers
    size: tuple[int, ...]  # as it is stored


@lru_cache
def hf_layout(c: Shape) -> dict[str, Tensor]:
    """Return {Hugging Face name: what it is} of a model's tensors, in the order of huggingface.hf_tensors."""
    found = {}
    for path, _ in jax.tree_util.tree_leaves_with_path(jax.eval_shape(lambda: Model(c, jax.random.key(0)))):
        where = stored(family_of(c), path)
        size = tuple(weights.size(c, group) for group in where.groups.split())
        for n in range(c.L) if where.layered else [None]:
            found[where.name.format(n)] = Tensor(where.weight, n, size)
    return found


def narrowed(name: str, array: np.ndarray, dtype: str) -> np.ndarray:
    """Return the array in a type of DTYPES; InputError, naming the tensor, where a number would become infinite."""
    with np.errstate(over="ignore"):
        cast = array.astype(DTYPES[dtype])
    if cast.dtype != array.dtype and (np.isinf(cast) & np.isfinite(array)).any():
        limit = float(ml_dtypes.finfo(DTYPES[dtype]).max)
        raise InputError(f"{name} holds values beyond {dtype}'s {limit:.6g}; keep it in float32")
    return cast


EXPONENT = {2: {"float16": 0x7C00, "bfloat16": 0x7F80}, 4: {"float32": 0x7F800000}}  # bits that NaN and infinities set


def refuse_infinite(name: str, array: np.ndarray) -> None:
    """Raise InputError, naming the tensor, where it holds a number that is NaN or infinite: it would spread to all."""
    flat, mask = np.ascontiguousarray(array).reshape(-1), EXPONENT[array.dtype.itemsize][array.dtype.name]
    bits = flat.view(f"u{array.dtype.itemsize}")
    for start in range(0, len(bits), 1 << 22):
        odd = np.flatnonzero((bits[start : start + (1 << 22)] & mask) == mask)
        if len(odd):
            place = [int(n) for n in np.unravel_index(start + odd[0], array.shape)]
            said = f"{name} holds {flat[start + odd[0]]} at {place}"
            raise InputError(f"{said}, which is no finite number: the weights are damaged; fetch them again")


def write_shards(arrays, folder: Path, shard_bytes: int) -> None:
    """Write (name, array) pairs as safetensors files of about `shard_bytes`, with an index where there are several.

    At most one file's arrays are in memory.
    """
    from safetensors.numpy import save_file

    files, batch, size, total, where = 0, {}, 0, 0, {}

    def flush():
        nonlocal files, batch, size
        files += 1
        name = f"model-{files:05d}.safetensors"
        save_file(batch, folder / name, metadata={"format": "pt"})
        shared(folder / name)
        where.update(dict.fromkeys(batch, name))
        batch, size = {}, 0

    for name, array in arrays:
        array = np.ascontiguousarray(array)
        if batch and size + array.nbytes > shard_bytes:
            flush()
        batch[name], size, total = array, size + array.nbytes, total + array.nbytes
    flush()
    if files == 1:
        os.rename(folder / "model-00001.safetensors", folder / "model.safetensors")
    else:
        index = {"metadata": {"total_size": total}, "weight_map": where}
        (folder / "model.safetensors.index.json").write_text(json_text(index, indent=1))

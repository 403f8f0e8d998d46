"""Hugging Face directories in and out: safetensors and config.json only, one strict table a family, shard by shard.

Nothing from a model directory is ever run or unpickled. What the family's table does not know is refused by name.
"""

import hashlib
import os
import shutil
from pathlib import Path

import jax
import numpy as np

from jaxunlearn import sealed
from jaxunlearn.data.tokenizer_files import copy_tokenizer
from jaxunlearn.files import json_text
from jaxunlearn.models import lora, peft
from jaxunlearn.models.directory import shape_in, slice_of, weights_in
from jaxunlearn.models.families import family_of, hf_config
from jaxunlearn.models.families.base import Stored, stored
from jaxunlearn.models.tensors import DTYPES, narrowed, refuse_infinite, write_shards
from jaxunlearn.models.transformer import Model, Shape, abstract
from jaxunlearn.models.weights import parameter_bytes, resting
from jaxunlearn.parallel import processes
from jaxunlearn.parallel.host_memory import return_freed
from jaxunlearn.parallel.sharding import fetch, model_fits, once


def load(directory: Path | str, compute: str = "float32", dtype: str = "float32", remat: str = "auto") -> Model:
    """Read a Hugging Face directory into a sharded model whose matrices rest in `dtype`, norms and biases in fp32.

    Each device's slice is read on its own, so no process ever holds a whole tensor that it does not need. Raises
    InputError, naming every tensor, where weights_in does (directory.py), for numbers that are NaN or infinite, and for
    those that `dtype` cannot hold. An adapter's directory (peft.py) is read as the model below it with the adapter
    merged in.
    """
    directory = Path(directory)
    if peft.is_adapter(directory):
        base = load(peft.base_of(directory), compute, dtype, remat)
        return lora.merge(base, peft.load(directory, base.c))
    shape = shape_in(directory, compute, remat)
    model_fits(shape)
    return_freed(parameter_bytes(shape, "float32"))
    files = weights_in(directory, shape)
    like = abstract(shape)

    def leaf(path, target):
        where, rests = stored(family_of(shape), path), resting(path, dtype)

        def read(index):
            if not where.layered:
                return narrowed(where.name, _read(files, where, index, shape.H), rests)
            layers = [where._replace(name=where.name.format(n)) for n in range(*index[0].indices(shape.L))]
            # each is cast by itself: a file of bf16 and one of fp16 have no common type
            return np.stack([narrowed(one.name, _read(files, one, index[1:], shape.H), rests) for one in layers])

        return jax.make_array_from_callback(target.shape, target.sharding, once(read))

    return jax.tree_util.tree_map_with_path(leaf, like)


def glance(path: Path, places: int = 256, width: int = 64) -> str:
    """Return a hash of a file's size, its first 64 KiB and `width` bytes at each of `places` even places.

    Two hosts compare by it whether they see the same large file, without reading it whole.
    """
    size = path.stat().st_size
    digest = hashlib.sha256(f"{path.name} {size}".encode())
    with path.open("rb") as file:
        digest.update(file.read(1 << 16))
        for n in range(places):
            file.seek(n * size // places)
            digest.update(file.read(width))
    return digest.hexdigest()


def _read(files: dict, where: Stored, index, H: int):
    """Read the part of one tensor that `index` (slices in our letter order) asks for, in our layout."""
    asked = dict(zip(where.letters, index, strict=True))
    view = slice_of(files, where.name)
    rows, dims, order = [], [], ""
    for group, length in zip(where.groups.split(), view.get_shape(), strict=True):
        factor = H if len(group) == 2 else 1  # "NH": heads, then H numbers each
        start, stop, _ = asked[group[0]].indices(length // factor)
        rows.append(slice(start * factor, stop * factor))
        dims += [stop - start] + ([factor] if len(group) == 2 else [])
        order += group
    part = view[tuple(rows)]
    refuse_infinite(where.name, part)
    return part.reshape(dims).transpose([order.index(c) for c in where.letters])


def save(
    model: Model, directory: Path, *, source: Path | None = None, dtype: str = "float32", shard_bytes: int = 5 << 30,
    seal: bool = False,
):  # fmt: skip
    """Write a Hugging Face directory, complete or not at all; tokenizer files are copied from `source`.

    seal: add the hashes of all files (sealed.py), as a run's models have them. Files are cut at about `shard_bytes`;
    tensors leave the devices one at a time. Raises InputError where `dtype` cannot hold a number; then nothing is
    written.
    """
    directory = Path(directory)
    arrays = hf_tensors(model)  # gathered by all processes, written by one
    if processes.index() == 0:
        _write(arrays, model.c, directory, source, dtype, shard_bytes=shard_bytes, seal=seal)
    for _ in arrays:
        pass
    processes.first(lambda: None)  # no process reads the directory before it is complete


def _write(arrays, c: Shape, directory: Path, source: Path | None, dtype: str, *, shard_bytes: int, seal: bool) -> None:
    scratch = directory.with_name(f".{directory.name}.writing")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    write_shards(((name, narrowed(name, array, dtype)) for name, array in arrays), scratch, shard_bytes)
    tokens = copy_tokenizer(source, scratch) if source else {}
    (scratch / "config.json").write_text(json_text(hf_config(c, dtype) | tokens, indent=1))
    if seal:
        sealed.seal(scratch)
    shutil.rmtree(directory, ignore_errors=True)
    os.rename(scratch, directory)


def hf_tensors(model: Model):
    """Yield (Hugging Face name, host array in its layout) for every tensor."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(model):
        name, _, letters, groups, layered = stored(family_of(model.c), path)
        order = groups.replace(" ", "")
        for n in range(leaf.shape[0]) if layered else [0]:
            part = fetch(leaf[n] if layered else leaf)
            sizes = dict(zip(letters, part.shape, strict=True))
            shape = [int(np.prod([sizes[c] for c in g])) for g in groups.split()]
            yield name.format(n), part.transpose([letters.index(c) for c in order]).reshape(shape)


def rounding_loss(edited: Model, baseline: Model, dtype: str, stored=None) -> dict:
    """Return how much of the edit (edited - baseline) is lost when the edited weights are rounded to `dtype`.

    `lost`: norm of the rounding error over the norm of the edit; `unchanged`: share of edited weights that fall back
    to exactly the baseline's value. `stored(array)` gives what is read back of a format that is no numpy type.
    """
    stored = stored or (lambda array: array.astype(DTYPES[dtype]))
    edit2 = error2 = 0.0
    moved = back = 0
    for (_, a), (_, b) in zip(hf_tensors(edited), hf_tensors(baseline), strict=True):
        a, b = a.astype(np.float32), b.astype(np.float32)
        rounded, rounded_base = stored(a), stored(b)
        edit2 += float(np.sum((a - b).astype(np.float64) ** 2))
        kept = rounded.astype(np.float32) - rounded_base.astype(np.float32)
        error2 += float(np.sum((kept - (a - b)).astype(np.float64) ** 2))
        moved += int(np.sum(a != b))
        back += int(np.sum((a != b) & (rounded == rounded_base)))
    return {"lost": (error2 / edit2) ** 0.5 if edit2 else 0.0, "unchanged": back / moved if moved else 0.0}

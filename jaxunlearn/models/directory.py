"""The check of a model directory: everything that reads a model passes it, before anything is allocated.

In its order, the cheap first: files are files of the directory (data/links.py); config.json describes a model that is
computed here, with numbers in range (families/ranges.py); the headers of the weights hold the tensors that it names, in
their shapes; the tokenizer gives no id beyond the rows of the embedding.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jaxunlearn.data.links import inside, refuse_links
from jaxunlearn.data.tokenizer import Tokenizer, has_tokenizer, load_tokenizer
from jaxunlearn.errors import InputError, named, shown
from jaxunlearn.files import read_json
from jaxunlearn.models import peft
from jaxunlearn.models.families import family_of, read_shape
from jaxunlearn.models.tensors import refuse_infinite
from jaxunlearn.models.transformer import Shape
from jaxunlearn.models.weights import size

INDEX = "model.safetensors.index.json"
LISTED = 12  # faults that a message lists


def check_model(
    directory: Path | str, tokenizer: Tokenizer | None = None, compute: str = "float32", remat: str = "auto"
) -> Shape:
    """Return the shape of the model in a directory, checked with its tokenizer: the one given, or the directory's own.

    Of an adapter it is that of the model below it. Only headers of weights are read: what the numbers are is checked
    where they are read (tensors.refuse_infinite). Raises InputError, naming file and fault.
    """
    directory = Path(directory)
    if peft.is_adapter(directory):
        refuse_links(directory)
        return check_model(peft.base_of(directory), tokenizer, compute, remat)
    shape = shape_in(directory, compute, remat)
    weights_in(directory, shape)
    if tokenizer is None and has_tokenizer(directory):
        tokenizer = load_tokenizer(directory)
    if tokenizer:
        tokens_fit(tokenizer, shape.V, str(directory))
    return shape


def tokens_fit(tokenizer: Tokenizer, V: int, where: str) -> None:
    """Raise InputError where a token's id has no row among the V of the embedding: it would read another token's.

    Special tokens that no text gives, such as one for images, may lie above: generate refuses them in a prompt.
    """
    ids = [("largest token", tokenizer.reach - 1), ("BOS", tokenizer.bos_id)]
    for name, i in [*ids, *(("EOS", i) for i in tokenizer.eos_ids)]:
        if i is not None and i >= V:
            raise InputError(
                f"{where}: the tokenizer's {name}, id {i}, has no row in the embedding, which has {V} (0 to {V - 1}): "
                "tokenizer and weights do not belong together"
            )


def shape_in(directory: Path, compute: str = "float32", remat: str = "auto") -> Shape:
    """Return the shape that a directory's config.json describes; InputError as of refuse_links and read_shape."""
    if Path(directory).is_dir():
        refuse_links(directory)
    return read_shape(directory, compute, remat)


# ---- weights


def weights_in(directory: Path, shape: Shape) -> dict:
    """Return {tensor name: (open safetensors file, its name there)} of a directory whose config.json has this shape.

    Raises InputError, naming every tensor, for missing, unknown or misshapen ones, for one that stands in two files,
    and for a head that is not the embedding to which config.json ties it.
    """
    files = _opened(directory)
    embedding, head = (family_of(shape).top[name][0] for name in ("embed_VD", "head_DV"))
    if shape.tied and embedding not in files and head in files:  # tied weights may be stored under either name
        files[embedding] = files[head]
    _check_tensors(directory, files, shape)
    return files


def check_numbers(directory: Path, shape: Shape) -> None:
    """Read all weights once, some rows at a time. Raises InputError for a number that is NaN or infinite."""
    files = weights_in(directory, shape)
    for name in expected(shape):
        for part in _parts(files, name):
            refuse_infinite(name, part)


def _opened(directory: Path) -> dict:
    """Open all safetensors files; InputError if one is missing, cut short or not in the directory."""
    from safetensors import SafetensorError, safe_open

    listed = _listed(directory)
    found, standing = {}, {}
    for name in sorted(set(listed.values())) or ["model.safetensors"]:
        path = inside(directory, name)
        if not path.is_file():
            pickles = sorted(p.name for p in [*directory.glob("*.bin"), *directory.glob("*.pt*")])
            hint = f"; {pickles[0]} is a pickle and is never loaded: convert it to safetensors first" if pickles else ""
            raise InputError(f"{path} is missing{hint}")
        if not os.access(path, os.R_OK):
            raise InputError(f"{path} may not be read by you: change its permissions")
        try:
            file = safe_open(path, framework="numpy")
        except (SafetensorError, OSError) as error:
            raise InputError(
                f"{path} cannot be read as safetensors ({shown(str(error))}): truncated or damaged; fetch it again"
            ) from None
        for key in file.keys():  # noqa: SIM118
            if key in found:
                said = f"the tensor {named(key)} stands in {standing[key]} and in {name}"
                raise InputError(f"{directory}: {said}; fetch it again")
            found[key], standing[key] = (file, key), name
    astray = [f"{named(k)} in {named(n)}" for k, n in listed.items() if standing.get(k) != n]
    if astray:
        raise InputError(f"{directory / INDEX} places tensors where they are not: {', '.join(astray[:LISTED])}")
    return found


def _listed(directory: Path) -> dict[str, str]:
    """Return {tensor: file} of the index, {} without one. Raises InputError for a file that is not in the directory."""
    path = inside(directory, INDEX)
    if not path.is_file():
        return {}
    listed = read_json(path, dict).get("weight_map")
    if not isinstance(listed, dict) or not listed or not all(isinstance(n, str) for n in listed.values()):
        raise InputError(f"{path} holds no weight_map, which names the file of each tensor; fetch it again")
    for name in set(listed.values()):
        if "/" in name or not name.endswith(".safetensors"):
            raise InputError(f"{path} names the file {named(name)}: expected .safetensors files beside it")
    return listed


def expected(c: Shape) -> dict[str, tuple[int, ...]]:
    """Return {name: shape as it is stored} of a model's tensors, by the tables of its family; nothing is made."""
    family, found = family_of(c), {}
    for weight, (name, groups) in family.top.items():
        if weight != "head_DV" or not c.tied:
            found[name] = tuple(size(c, group) for group in groups.split())
    layer = {name: tuple(size(c, group) for group in groups.split()) for name, groups in family.layer.values()}
    for n in range(c.L):
        found |= {family.prefix.format(n) + name: shape for name, shape in layer.items()}
    return found


def _check_tensors(directory: Path, files: dict, shape: Shape) -> None:
    family = family_of(shape)
    if len(files) < shape.L:
        raise InputError(
            f"the tensors in {directory} do not fit its config.json:\n  {len(files)} tensors in the files, {shape.L} "
            f"layers by config.json; missing: {family.prefix.format(shape.L - 1)}"
        )
    wrong, by_config = [], expected(shape)
    for name in sorted(set(by_config) - set(files)):
        wrong.append(f"missing: {name} {list(by_config[name])}")
    for name in sorted(set(files) - set(by_config)):
        tied_copy = shape.tied and name == family.top["head_DV"][0]
        if not tied_copy and not name.endswith(family.ignored):
            wrong.append(f"unknown: {named(name)}")
    for name in sorted(set(files) & set(by_config)):
        view = slice_of(files, name)
        if tuple(view.get_shape()) != by_config[name]:
            wrong.append(f"shape of {name}: {view.get_shape()} in the file, {list(by_config[name])} by config.json")
        if view.get_dtype() not in ("F32", "F16", "BF16"):
            wrong.append(f"type of {name}: {view.get_dtype()}; expected F32, F16 or BF16")
    embedding, head = (family.top[name][0] for name in ("embed_VD", "head_DV"))
    if not wrong and shape.tied and head in files and not _equal(files, embedding, head):
        wrong.append(
            f"{head} differs from {embedding}, to which config.json ties it: set tie_word_embeddings to false to read "
            f"both (as transformers does), or leave {head} out of the file"
        )
    if wrong:
        more = f"\n  ... and {len(wrong) - LISTED} more" if len(wrong) > LISTED else ""
        said = "\n  ".join(wrong[:LISTED]) + more
        raise InputError(f"the tensors in {directory} do not fit its config.json:\n  {said}")


def slice_of(files: dict, name: str):
    """Return the library's view of a tensor, of which parts are read."""
    file, stored = files[name]
    return file.get_slice(stored)


def _parts(files: dict, name: str, rows: int = 4096) -> Iterator[np.ndarray]:
    """Yield a tensor some rows at a time."""
    view = slice_of(files, name)
    count = view.get_shape()[0]
    yield from (view[n : min(n + rows, count)] for n in range(0, count, rows))


def _equal(files: dict, name: str, other: str) -> bool:
    """Return whether two tensors hold the same numbers; they are compared some rows at a time."""
    if slice_of(files, name).get_shape() != slice_of(files, other).get_shape():
        return False
    if files[name] == files[other]:
        return True  # one tensor, stored under one of the names
    pairs = zip(_parts(files, name), _parts(files, other), strict=True)
    return all(np.array_equal(one.astype(np.float32), two.astype(np.float32)) for one, two in pairs)

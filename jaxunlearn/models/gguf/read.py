"""Read a GGUF file: unpacked once into a Hugging Face directory in the user's cache, in fp32.

So everything that takes a model's directory takes the file. Numbers and their order are those of transformers' reading
of the same file. What llama.cpp would compute otherwise than our model is refused by name.
"""

import dataclasses
import fcntl
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from jaxunlearn.errors import InputError, shown
from jaxunlearn.files import cache_folder, json_text, sha256
from jaxunlearn.models.families import FAMILIES, hf_config
from jaxunlearn.models.families.base import Family, Gguf
from jaxunlearn.models.families.ranges import faults, odd
from jaxunlearn.models.gguf import (
    HEADS,
    LOCAL_THETA,
    REAL,
    ROPE_FACTORS,
    WHOLE,
    WINDOW,
    gguf_name,
    interleaved,
    known_to_llama_cpp,
    library,
    rope_factors,
    shifted,
)
from jaxunlearn.models.gguf.read_tokens import write_tokenizer
from jaxunlearn.models.tensors import hf_layout, write_shards
from jaxunlearn.models.transformer import Shape, rope_frequencies
from jaxunlearn.parallel.console import say

LAYOUT = 1  # a higher number where this module or read_tokens writes something else; then a file is unpacked again
SHARD = 1 << 30  # bytes of a safetensors file, and about the memory that unpacking takes
HARMLESS = ("vocab_size", "tensor_data_layout", "rope.scaling.original_context_length", "rope.scaling.finetuned")
NEUTRAL = {"attention.causal": True, "rope.scaling.attn_factor": 1.0}  # any other value is refused
STRETCHED = ("rope.scaling.type", "rope.scaling.factor", "rope.scale_linear")
NEEDED = ("D", "L", "N", "F", "context", "epsilon")


def unpack(path: Path) -> Path:
    """Return the Hugging Face directory of a GGUF file, made where the cache has none: whole, or not at all.

    Several processes may ask at once; one of them makes it. Raises InputError for a file that is damaged or no GGUF,
    for a model, a tensor type or a tokenizer that is not supported, and where the cache cannot be written.
    """
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise InputError(f"{path} is no GGUF file; expected a model's directory or a .gguf file")
    target = cache_folder() / "gguf" / f"{sha256(path)[:16]}-{LAYOUT}" / path.stem
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with (target.parent / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the system frees it where this process dies
            if not target.is_dir():
                scratch = target.with_name(f".{target.name}.writing")
                shutil.rmtree(scratch, ignore_errors=True)
                scratch.mkdir()
                try:
                    _write(path, scratch, target)
                    scratch.rename(target)
                finally:
                    shutil.rmtree(scratch, ignore_errors=True)
    except OSError as error:
        raise InputError(
            f"{path} cannot be unpacked into {target}: {error.strerror or error}; XDG_CACHE_HOME names another place"
        ) from None
    return target


def _write(path: Path, folder: Path, target: Path) -> None:
    """Write weights, config.json and tokenizer files of a GGUF file into a folder."""
    reader = opened(path)
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    try:
        fields = {name: field.contents() for name, field in reader.fields.items()}
        c = read_shape(fields, tensors, path)
        _check_tensors(tensors, c, path)
        tokens = write_tokenizer(fields, folder, c.V, path)
    except InputError:
        raise
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        said = f"{type(error).__name__}: {shown(str(error))}"
        raise InputError(
            f"{path} holds metadata of another type than the format has ({said}); fetch it again"
        ) from None
    size = 4 * sum(int(np.prod(t.size)) for t in hf_layout(c).values())
    say(f"unpacking {path} into {target}: {size / 1e9:.2g} GB, once")
    write_shards(((name, dequantised(tensors, name, c)) for name in hf_layout(c)), folder, SHARD)
    (folder / "config.json").write_text(json_text(hf_config(c, "float32") | tokens, indent=1))
    if isinstance(licence := fields.get("general.license"), str):
        (folder / "README.md").write_text(f"---\nlicense: {json_text(licence)}\n---\n")


def opened(path: Path):
    """Return the library's reader of a GGUF file; InputError where the file is damaged, or of a form not supported."""
    gguf = library()

    class Reader(gguf.GGUFReader):
        """The library's, over a plain array: slices of a memmap, some for every token, take four times as long."""

        def __setattr__(self, name, value):
            super().__setattr__(name, np.asarray(value) if name == "data" else value)

    try:
        reader = Reader(path)
    except Exception as error:  # of numpy, of enums, of text: whatever the bytes happen to hit
        said = str(error).split("\n")[0]
        if "GGMLQuantizationType" in said:
            raise InputError(f"{path} holds a tensor of a type that the library gguf does not know ({said})") from None
        if "version" in said:
            raise InputError(f"{path} is a GGUF file of a version that is not supported ({said})") from None
        raise InputError(f"{path} is truncated or damaged; fetch it again ({said})") from None
    if reader.endianess != gguf.GGUFEndian.LITTLE:
        raise InputError(f"{path} is written for a big-endian machine; fetch the usual little-endian file")
    parts = reader.get_field("split.count")
    if parts is not None and parts.contents() > 1:
        raise InputError(f"{path} is one of {parts.contents()} parts; join them first (llama-gguf-split --merge)")
    return reader


# ---- the model's shape


def read_shape(fields: dict[str, Any], tensors: dict, path: Path) -> Shape:
    """Return the shape that a GGUF file's metadata describes; fields: {key: value}, tensors: {name: the reader's}.

    Raises InputError, naming every key, for what is missing and for what our model would compute otherwise.
    """
    kind = fields.get("general.architecture")
    known: dict[str, tuple[Family, Gguf]] = {}
    for one in FAMILIES.values():
        if one.gguf:
            known.setdefault(one.gguf.architecture, (one, one.gguf))
    if not isinstance(kind, str) or kind not in known:
        raise InputError(f"{path} holds a model of the architecture {shown(kind)}: expected one of {', '.join(known)}")
    if "token_embd.weight" not in tensors:
        raise InputError(f"{path} holds no token_embd.weight: it is no whole language model")
    family, llama_cpp = known[kind]
    keys, needed = {**WHOLE, **REAL}, NEEDED
    if llama_cpp.windows:
        keys, needed = {**keys, "window": WINDOW, "local_theta": LOCAL_THETA}, (*NEEDED, "window")
    given = {key.removeprefix(f"{kind}."): _one(value) for key, value in fields.items() if key.startswith(f"{kind}.")}
    found = {field: given[key] for field, key in keys.items() if key in given}
    wrong = [f"{kind}.{keys[field]} is missing" for field in needed if field not in found]
    wrong += faults(found, {field: f"{kind}.{keys[field]}" for field in found})
    if not wrong:
        found |= {field: plain(found[field]) for field in (*REAL, "local_theta") if field in found}
        if found["L"] > len(tensors):
            wrong.append(f"{kind}.{keys['L']} = {found['L']}: the file holds {len(tensors)} tensors")
    wrong += _otherwise(given, {*keys.values(), *HARMLESS, *STRETCHED}, kind)
    if not wrong:
        found = {"K": found["N"], "H": found["D"] // found["N"], "theta": 10000.0} | found
        wrong = [f"{kind}.{key} = {given[key]}: only the head size, {found['H']}, is supported" for key in HEADS
                 if given.get(key, found["H"]) != found["H"]]  # fmt: skip
    if wrong:
        raise InputError(f"{path} describes a model that is not supported:\n  " + "\n  ".join(wrong))
    told: dict[str, Any] = {**family.defaults, **found, **family.always, **llama_cpp.built_in(found)}
    told["V"], told["tied"] = int(tensors["token_embd.weight"].shape[-1]), "output.weight" not in tensors
    c = Shape(**told | {"family": family.name, "stretch": stretch(given)})
    if wrong := [
        *faults(vars(c), {"V": "rows of token_embd.weight", "stretch": f"{kind}.rope.scaling.factor"}),
        *odd(c),
    ]:
        raise InputError(f"{path} describes a model that is not supported:\n  " + "\n  ".join(wrong))
    if ROPE_FACTORS in tensors and known_to_llama_cpp(c).factors:
        c = scaled(c, library().dequantize(tensors[ROPE_FACTORS].data, tensors[ROPE_FACTORS].tensor_type), path)
    return c


def _one(value):
    """Return the one value of a list that repeats it for every layer; any other as it is."""
    return value[0] if isinstance(value, list) and value and all(v == value[0] for v in value) else value


def plain(value: float) -> float:
    """Return the shortest decimal number that is the same in fp32, as its author wrote it (1e-05)."""
    return float(str(np.float32(value)))


def _otherwise(given: dict, known: set[str], kind: str) -> list[str]:
    """Return, in sentences, what a file says about its model that ours does not compute."""
    wrong = []
    for key, value in sorted(given.items()):
        if key in known and isinstance(value, list):
            wrong.append(f"{kind}.{key} = {value!r}: expected one number for all layers")
        elif key == "rope.scaling.type" and value not in ("none", "linear"):
            wrong.append(f"{kind}.{key} = {value!r}: expected none or linear")
        elif key in NEUTRAL and value != NEUTRAL[key]:
            wrong.append(f"{kind}.{key} = {value!r}: only {NEUTRAL[key]!r} is supported")
        elif key not in {*known, *NEUTRAL, *HEADS} and value not in (False, 0, "", []):
            wrong.append(f"{kind}.{key} = {value!r} is unknown")
    return wrong


def stretch(given: dict) -> float:
    """Return what positions are divided by; llama.cpp reads a factor without a type as linear."""
    factor = given.get("rope.scaling.factor") or given.get("rope.scale_linear") or 1.0
    return 1.0 if given.get("rope.scaling.type") == "none" else plain(factor)


def scaled(c: Shape, factors: np.ndarray, path: Path) -> Shape:
    """Return the shape with the Llama-3 scaling whose factors these are; raise InputError where none has them.

    The factors fix the scaling up to what no frequency shows. First the usual settings are tried (low 1, high 4, an
    original context that is a power of two), then what the frequencies between both ends say.
    """
    factors = factors.astype(np.float64)
    fits = len(factors) == c.H // 2
    if fits and np.allclose(factors, 1, rtol=1e-6):
        return c
    most = plain(factors.max())
    tries = [(most, 1.0, 4.0, float(1 << n)) for n in range(24, 2, -1)]
    between = (factors > 1 + 1e-6) & (factors < most * (1 - 1e-6))
    if fits and between.sum() > 1:
        turns = rope_frequencies(c) / (2 * np.pi)  # of a token; smooth = (original * turns - low) / (high - low)
        smooth = (1 / factors - 1 / most) / (1 - 1 / most)
        slope, start = np.polyfit(turns[between], smooth[between], 1)
        tries.append((most, 1.0, 1 - 1 / start, -slope / start))
    for scaling in tries if fits else []:
        found = dataclasses.replace(c, scaling=scaling)
        if np.allclose(rope_factors(found), factors, rtol=1e-5, atol=0):
            return found
    raise InputError(f"{path}: {ROPE_FACTORS} holds factors that no Llama-3 rope scaling has: {factors[:4]} ...")


# ---- its tensors


def _check_tensors(tensors: dict, c: Shape, path: Path) -> None:
    """Raise InputError, naming every tensor that is missing, unknown, of another shape or of a type not supported."""
    gguf, wrong = library(), []
    expected = {gguf_name(name, c): where.size for name, where in hf_layout(c).items()}
    extra = {ROPE_FACTORS} if known_to_llama_cpp(c).factors else set()
    wrong += [f"missing: {name} {list(expected[name])}" for name in sorted(set(expected) - set(tensors))]
    wrong += [f"unknown: {name}" for name in sorted(set(tensors) - set(expected) - extra)]
    readable: dict[Any, bool] = {}
    for name in sorted(set(tensors) & set(expected)):
        tensor, size = tensors[name], tuple(map(int, reversed(tensors[name].shape)))
        if size != expected[name]:
            wrong.append(f"shape of {name}: {list(size)} in the file, {list(expected[name])} by its metadata")
        kind = tensor.tensor_type
        if kind not in readable:
            try:
                gguf.dequantize(tensor.data[:1], kind)
                readable[kind] = True
            except NotImplementedError:
                readable[kind] = False
        if not readable[kind]:
            wrong.append(f"type of {name}: {kind.name}, which the library gguf does not dequantise")
    if wrong:
        more = f"\n  ... and {len(wrong) - 12} more" if len(wrong) > 12 else ""
        raise InputError(f"the tensors in {path} do not fit its metadata:\n  " + "\n  ".join(wrong[:12]) + more)


def dequantised(tensors: dict, hf_name: str, c: Shape) -> np.ndarray:
    """Return a tensor of a GGUF file in fp32, by its Hugging Face name and in Hugging Face's order."""
    tensor = tensors[gguf_name(hf_name, c)]
    array = library().dequantize(tensor.data, tensor.tensor_type).reshape(hf_layout(c)[hf_name].size)
    return shifted(hf_name, interleaved(hf_name, array.astype(np.float32, copy=False), c, back=True), c, back=True)

"""Write a model as a GGUF file for llama.cpp and Ollama.

Matrices are stored as F32, F16 or Q8_0, norms and biases as F32; tensors leave the devices one at a time.
"""

import os
from pathlib import Path

import numpy as np

from jaxunlearn.models import huggingface
from jaxunlearn.models.gguf import (
    HEADS,
    REAL,
    ROPE_FACTORS,
    WHOLE,
    context,
    gguf_name,
    interleaved,
    known_to_llama_cpp,
    library,
    rope_factors,
    shifted,
)
from jaxunlearn.models.gguf.write_tokens import add_tokenizer
from jaxunlearn.models.tensors import hf_layout, narrowed
from jaxunlearn.models.transformer import Model, Shape

DTYPES = ("float32", "float16", "q8_0")
BLOCK = 32  # numbers that share a scale in Q8_0


def write_gguf(model: Model, path: Path, *, source: Path, dtype: str = "float32", name: str = "") -> list[str]:
    """Write one GGUF file, complete or not at all; return what a reader of it should know, in sentences.

    Raises InputError for a family, a rope scaling or a tokenizer that llama.cpp lacks, and for numbers beyond fp16.
    """
    gguf, known = library(), known_to_llama_cpp(model.c)
    c, path = model.c, Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.writing")
    writer = gguf.GGUFWriter(scratch, known.architecture)
    try:
        writer.add_name(name or Path(source).name)
        describe(writer, c, dtype)
        said = add_tokenizer(writer, Path(source), c.V)
        sizes = {gguf_name(hf_name, c): where.size for hf_name, where in hf_layout(c).items()}
        announce(writer, c, sizes, dtype)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        write_tensors(writer, model, dtype)
        writer.close()
        os.replace(scratch, path)
    finally:
        writer.close()
        scratch.unlink(missing_ok=True)
    narrow = sorted({size[-1] for size in sizes.values() if dtype == "q8_0" and stored_as(size, dtype) == "float16"})
    if narrow:
        said.append(f"matrices with rows of {narrow} numbers are stored as F16: Q8_0 needs a multiple of {BLOCK}")
    return said


def announce(writer, c: Shape, sizes: dict, dtype: str) -> None:
    """Add every tensor's name, size and type, before any number of it is fetched; sizes: {llama.cpp's name: size}."""
    q8 = library().GGMLQuantizationType.Q8_0
    if c.scaling:
        writer.add_tensor_info(ROPE_FACTORS, [c.H // 2], np.dtype(np.float32), 2 * c.H)
    for name, size in sizes.items():
        kind = stored_as(size, dtype)
        if kind == "q8_0":
            row = size[-1] // BLOCK * 34  # bytes: a scale of two and 32 numbers
            writer.add_tensor_info(name, [size[0], row], np.dtype(np.uint8), size[0] * row, q8)
        else:
            number = np.dtype(kind)
            writer.add_tensor_info(name, size, number, int(np.prod(size)) * number.itemsize)


def write_tensors(writer, model: Model, dtype: str) -> None:
    """Write every tensor, in the order announced."""
    c = model.c
    if c.scaling:
        writer.write_tensor_data(rope_factors(c).astype(np.float32))
    for hf_name, array in huggingface.hf_tensors(model):
        kind = stored_as(array.shape, dtype)
        array = shifted(hf_name, np.ascontiguousarray(interleaved(hf_name, array, c), np.float32), c)
        writer.write_tensor_data(quantise(hf_name, array) if kind == "q8_0" else narrowed(hf_name, array, kind))


def describe(writer, c: Shape, dtype: str) -> None:
    """Add the model's dimensions; the writer puts the architecture's name before each key."""
    gguf = library()
    types = {"float32": "ALL_F32", "float16": "MOSTLY_F16", "q8_0": "MOSTLY_Q8_0"}
    writer.add_file_type(gguf.LlamaFileType[types[dtype]])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(c.V)
    seen = {"context": context(c)}
    for field, key in WHOLE.items():
        writer.add_uint32(f"{writer.arch}.{key}", seen.get(field, getattr(c, field)))
    for key in HEADS:
        writer.add_uint32(f"{writer.arch}.{key}", c.H)
    for field, key in REAL.items():
        writer.add_float32(f"{writer.arch}.{key}", getattr(c, field))
    if c.window is not None and known_to_llama_cpp(c).windows:
        writer.add_sliding_window(c.window)
    if c.stretch != 1:
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(c.stretch)


def stored_as(size, dtype: str) -> str:
    """Return how a tensor is stored: vectors as float32, rows that Q8_0 cannot cut as float16."""
    if len(size) == 1:
        return "float32"
    return "float16" if dtype == "q8_0" and size[-1] % BLOCK else dtype


def quantise(name: str, array: np.ndarray) -> np.ndarray:
    """Return Q8_0's bytes: for every 32 numbers one fp16 scale and 32 int8; InputError where a scale is too large."""
    gguf = library()
    narrowed(name, np.abs(array).max(keepdims=True) / 127, "float16")
    return gguf.quants.quantize(array, gguf.GGMLQuantizationType.Q8_0)


def rounded(array: np.ndarray, dtype: str) -> np.ndarray:
    """Return what a reader gets back of a tensor stored as `dtype`, in fp32."""
    if stored_as(array.shape, dtype) != "q8_0":
        return array.astype(stored_as(array.shape, dtype)).astype(np.float32)
    gguf = library()
    return gguf.quants.dequantize(quantise("a matrix", array), gguf.GGMLQuantizationType.Q8_0).reshape(array.shape)

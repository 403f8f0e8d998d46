"""GGUF files, as llama.cpp and Ollama read them, through the format's own library (pip install 'jaxunlearn[gguf]').

Here is what reading and writing share: names of tensors and of dimensions, the order of the rows of q and k, factors
of rope. `write` makes a file of a model, `read` makes a Hugging Face directory of a file; `cuts` holds how text is cut
before its merges, `write_tokens` and `read_tokens` the tokenizer.

For some families (`Gguf.pairs`) llama.cpp rotates neighbouring pairs where Hugging Face rotates one half with the
other, so the rows of q and k change places.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np

from jaxunlearn.errors import InputError
from jaxunlearn.models.families import family_of
from jaxunlearn.models.families.base import Gguf
from jaxunlearn.models.tensors import hf_layout
from jaxunlearn.models.transformer import Shape, rope_frequencies

# Field of Shape -> llama.cpp's key, which follows "ARCHITECTURE.".
WHOLE: Mapping[str, str] = {
    "context": "context_length", "D": "embedding_length", "L": "block_count", "F": "feed_forward_length",
    "N": "attention.head_count", "K": "attention.head_count_kv", "H": "attention.key_length",
}  # fmt: skip
REAL: Mapping[str, str] = {"theta": "rope.freq_base", "epsilon": "attention.layer_norm_rms_epsilon"}
WINDOW, LOCAL_THETA = "attention.sliding_window", "rope.freq_base_swa"  # of families with Gguf.windows
HEADS = ("attention.value_length", "rope.dimension_count")  # H again
ROPE_FACTORS = "rope_freqs.weight"  # the plain frequencies over the scaled ones, [H/2]
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6  # kinds of token, here and in SentencePiece


def library():
    """Return the format's library; InputError says how to install it."""
    try:
        import gguf
    except ImportError:
        raise InputError("GGUF needs the library gguf: pip install 'jaxunlearn[gguf]'") from None
    return gguf


def sentencepiece_format() -> Any:
    """Return the module of SentencePiece's file format (tokenizer.model): ModelProto and TrainerSpec."""
    return import_module("sentencepiece.sentencepiece_model_pb2")  # its classes are made when it is imported


def known_to_llama_cpp(c: Shape) -> Gguf:
    """Return how llama.cpp knows a model's family; InputError where it does not, or would compute another model."""
    family = family_of(c)
    if family.gguf is None:
        raise InputError(f"llama.cpp has no architecture for {family.name} models that is known here; use --format hf")
    if c.scaling and not family.gguf.factors:
        raise InputError(f"llama.cpp reads no Llama-3 rope scaling in a {family.name} model; use --format hf")
    if why := family.gguf.refuse(c):
        raise InputError(f"llama.cpp would compute another {family.name} model: {why}; use --format hf")
    return family.gguf


def context(c: Shape) -> int:
    """Return how many tokens llama.cpp computes as the model means it: to the window, where it knows none."""
    return c.context if c.window is None or known_to_llama_cpp(c).windows else min(c.context, c.window)


def shifted(hf_name: str, array: np.ndarray, c: Shape, back: bool = False) -> np.ndarray:
    """Return a norm's weight with what the model adds to it (Gemma): llama.cpp's norms multiply by the sum.

    Any other tensor is returned as it is. back: from that sum to the weight.
    """
    if not c.norm_offset or "norm" not in hf_layout(c)[hf_name].weight:
        return array
    return array + np.float32(-c.norm_offset if back else c.norm_offset)


def gguf_name(hf_name: str, c: Shape) -> str:
    """Return llama.cpp's name of a tensor."""
    where = hf_layout(c)[hf_name]
    name = known_to_llama_cpp(c).names[where.weight]
    return name if where.layer is None else f"blk.{where.layer}.{name}"


def interleaved(hf_name: str, array: np.ndarray, c: Shape, back: bool = False) -> np.ndarray:
    """Return q and k with each head's rows 0, H/2, 1, H/2 + 1, ... where llama.cpp rotates neighbouring pairs.

    Any other tensor is returned as it is. back: from that order into Hugging Face's.
    """
    heads = {"q_DNH": c.N, "k_DKH": c.K, "q_bias_NH": c.N, "k_bias_KH": c.K, "q_norm_H": 1, "k_norm_H": 1}
    weight = hf_layout(c)[hf_name].weight
    if weight not in heads or not known_to_llama_cpp(c).pairs:
        return array
    pairs = (c.H // 2, 2) if back else (2, c.H // 2)
    return array.reshape(heads[weight], *pairs, -1).swapaxes(1, 2).reshape(array.shape)


def rope_factors(c: Shape) -> np.ndarray:
    """Return what llama.cpp divides a model's plain rotation frequencies by, [H/2] in fp64."""
    return c.theta ** (-np.arange(0, c.H, 2, dtype=np.float64) / c.H) / c.stretch / rope_frequencies(c)

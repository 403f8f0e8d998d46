"""GGUF files for llama.cpp and Ollama, through the format's own writer library (pip install 'jaxunlearn[gguf]').

For some families (`Gguf.pairs`) llama.cpp rotates neighbouring pairs where Hugging Face rotates one half with the
other, so the rows of q and k change places. Matrices are stored as F32, F16 or Q8_0, norms and biases as F32; tensors
leave the devices one at a time.
"""

import json
import os
import re
from pathlib import Path

import numpy as np

from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.files import read_text
from jaxunlearn.models import huggingface
from jaxunlearn.models.families import family_of
from jaxunlearn.models.families.base import Gguf
from jaxunlearn.models.transformer import Model, Shape, rope_frequencies

DTYPES = ("float32", "float16", "q8_0")
BLOCK = 32  # numbers that share a scale in Q8_0
# How Llama-3 and Qwen2 cut text before its merges; llama.cpp knows such patterns by name alone.
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
CUTS = {LLAMA3: "llama-bpe", QWEN2: "qwen2"}
NORMAL, UNKNOWN, CONTROL, UNUSED, BYTE = 1, 2, 3, 5, 6  # llama.cpp's kinds of token


def library():
    """Return the writer library; InputError says how to install it."""
    try:
        import gguf
    except ImportError:
        raise InputError("GGUF needs the library gguf: pip install 'jaxunlearn[gguf]'") from None
    return gguf


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


def write_gguf(model: Model, path: Path, *, source: Path, dtype: str = "float32", name: str = "") -> list[str]:
    """Write one GGUF file, complete or not at all; return what a reader of it should know, in sentences.

    Raises InputError for a family, a rope scaling or a tokenizer that llama.cpp lacks, and for numbers beyond fp16.
    """
    gguf, known = library(), known_to_llama_cpp(model.c)
    c, path = model.c, Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.writing")
    writer = gguf.GGUFWriter(scratch, known.architecture)
    writer.add_name(name or Path(source).name)
    describe(writer, c, dtype)
    said = add_tokenizer(writer, Path(source), c.V)
    sizes = {gguf_name(hf_name, c): where.size for hf_name, where in huggingface.hf_layout(c).items()}
    announce(writer, c, sizes, dtype)
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        write_tensors(writer, model, dtype)
    finally:
        writer.close()
    os.replace(scratch, path)
    narrow = sorted({size[-1] for size in sizes.values() if dtype == "q8_0" and stored_as(size, dtype) == "float16"})
    if narrow:
        said.append(f"matrices with rows of {narrow} numbers are stored as F16: Q8_0 needs a multiple of {BLOCK}")
    return said


def announce(writer, c: Shape, sizes: dict, dtype: str) -> None:
    """Add every tensor's name, size and type, before any number of it is fetched; sizes: {llama.cpp's name: size}."""
    q8 = library().GGMLQuantizationType.Q8_0
    if c.scaling:
        writer.add_tensor_info("rope_freqs.weight", [c.H // 2], np.dtype(np.float32), 2 * c.H)
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
        plain = c.theta ** (-np.arange(0, c.H, 2, dtype=np.float64) / c.H)
        writer.write_tensor_data((plain / rope_frequencies(c)).astype(np.float32))
    for hf_name, array in huggingface.hf_tensors(model):
        kind = stored_as(array.shape, dtype)
        if c.norm_offset and "norm" in huggingface.hf_layout(c)[hf_name].weight:
            array = array + np.float32(c.norm_offset)  # llama.cpp has one kind of norm: the offset lies in its weight
        array = np.ascontiguousarray(interleaved(hf_name, array, c), np.float32)
        writer.write_tensor_data(quantise(array) if kind == "q8_0" else in_range(hf_name, array, kind))


def describe(writer, c: Shape, dtype: str) -> None:
    """Add the model's dimensions; the writer puts the architecture's name before each key."""
    gguf = library()
    types = {"float32": "ALL_F32", "float16": "MOSTLY_F16", "q8_0": "MOSTLY_Q8_0"}
    writer.add_file_type(gguf.LlamaFileType[types[dtype]])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(c.V)
    writer.add_context_length(context(c))
    writer.add_embedding_length(c.D)
    writer.add_block_count(c.L)
    writer.add_feed_forward_length(c.F)
    writer.add_head_count(c.N)
    writer.add_head_count_kv(c.K)
    writer.add_key_length(c.H)
    writer.add_value_length(c.H)
    writer.add_rope_dimension_count(c.H)
    writer.add_rope_freq_base(c.theta)
    writer.add_layer_norm_rms_eps(c.epsilon)
    if c.window is not None and known_to_llama_cpp(c).windows:
        writer.add_sliding_window(c.window)
    if c.stretch != 1:
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(c.stretch)


def context(c: Shape) -> int:
    """Return how many tokens llama.cpp computes as the model means it: to the window, where it knows none."""
    return c.context if c.window is None or known_to_llama_cpp(c).windows else min(c.context, c.window)


def gguf_name(hf_name: str, c: Shape) -> str:
    """Return llama.cpp's name of a tensor."""
    where = huggingface.hf_layout(c)[hf_name]
    name = known_to_llama_cpp(c).names[where.weight]
    return name if where.layer is None else f"blk.{where.layer}.{name}"


def interleaved(hf_name: str, array: np.ndarray, c: Shape) -> np.ndarray:
    """Return q and k with each head's rows 0, H/2, 1, H/2 + 1, ... where llama.cpp rotates neighbouring pairs.

    Any other tensor is returned as it is.
    """
    heads = {"q_DNH": c.N, "k_DKH": c.K, "q_bias_NH": c.N, "k_bias_KH": c.K, "q_norm_H": 1, "k_norm_H": 1}
    weight = huggingface.hf_layout(c)[hf_name].weight
    if weight not in heads or not known_to_llama_cpp(c).pairs:
        return array
    return array.reshape(heads[weight], 2, c.H // 2, -1).swapaxes(1, 2).reshape(array.shape)


def stored_as(size, dtype: str) -> str:
    """Return how a tensor is stored: vectors as float32, rows that Q8_0 cannot cut as float16."""
    if len(size) == 1:
        return "float32"
    return "float16" if dtype == "q8_0" and size[-1] % BLOCK else dtype


def quantise(array: np.ndarray) -> np.ndarray:
    """Return Q8_0's bytes: for every 32 numbers one fp16 scale and 32 int8."""
    gguf = library()
    return gguf.quants.quantize(array, gguf.GGMLQuantizationType.Q8_0)


def rounded(array: np.ndarray, dtype: str) -> np.ndarray:
    """Return what a reader gets back of a tensor stored as `dtype`, in fp32."""
    if stored_as(array.shape, dtype) != "q8_0":
        return array.astype(stored_as(array.shape, dtype)).astype(np.float32)
    gguf = library()
    return gguf.quants.dequantize(quantise(array), gguf.GGMLQuantizationType.Q8_0).reshape(array.shape)


def in_range(name: str, array: np.ndarray, kind: str) -> np.ndarray:
    """Return the array cast to a type; InputError for what fp16 would turn into infinity."""
    if kind == "float16" and np.abs(array).max() > np.finfo(np.float16).max:
        raise InputError(f"{name} holds values beyond fp16's 65504; export with --dtype float32 or q8_0")
    return array.astype(kind)


# ---- the tokenizer


def add_tokenizer(writer, directory: Path, V: int) -> list[str]:
    """Add the vocabulary, filled up to V tokens; return warnings where llama.cpp will read text in another way.

    Raises InputError for a tokenizer that llama.cpp lacks.
    """
    gguf, tokenizer = library(), load_tokenizer(directory)
    if (directory / "tokenizer.json").is_file():
        kind, tokens, scores, types, merges = from_json(directory / "tokenizer.json")
    else:
        kind, merges = "llama", []
        rows = list(gguf.SentencePieceVocab(directory).all_tokens())
        tokens, scores, types = ([r[i] for r in rows] for i in range(3))
    if kind == "none":
        raise InputError(
            f"llama.cpp has no tokenizer like the one in {directory}: it reads SentencePiece, BPE with byte fallback, "
            "and byte-level BPE cut as GPT-2, Llama-3 or Qwen2 do; and it stops on a file without one. Use --format hf"
        )
    missing = V - len(tokens)
    tokens = [*tokens, *(f"[PAD{n}]" for n in range(missing))]
    writer.add_tokenizer_model("llama" if kind == "llama" else "gpt2")
    writer.add_tokenizer_pre("default" if kind == "llama" else kind)
    writer.add_token_list(tokens)
    writer.add_token_types([*types, *[UNUSED] * missing])
    if kind == "llama":
        writer.add_token_scores([*scores, *[-1e4] * missing])
        writer.add_add_space_prefix(_space_first(directory))
    else:
        writer.add_token_merges(merges)
    if tokenizer.bos_id is not None:
        writer.add_bos_token_id(tokenizer.bos_id)
    writer.add_add_bos_token(bool(tokenizer.start))
    if tokenizer.eos_id is not None:
        writer.add_eos_token_id(tokenizer.eos_id)
    if unknown := [n for n, t in enumerate(types) if t == UNKNOWN]:
        writer.add_unk_token_id(unknown[0])
    if template := chat_template(directory):
        writer.add_chat_template(template)
    if kind == "llama" and sum(t == BYTE for t in types) < 256:
        return ["the vocabulary lacks bytes: llama.cpp refuses a text with a character that no token holds"]
    return []


def from_json(path: Path) -> tuple[str, list, list, list, list]:
    """Return (kind, tokens, scores, types, merges) of a tokenizer.json.

    Kind is "llama" (pieces marked with ▁, bytes as <0x..>), the name llama.cpp has for a byte-level tokenizer's way to
    cut text, or "none". A piece's score is minus the rank of its merge, so that the same merges come first.
    """
    j = json.loads(read_text(path))
    m, added = j["model"], {a["id"]: a for a in j.get("added_tokens") or []}
    kind = _kind(j)
    if kind == "none":
        return kind, [], [], [], []
    vocabulary = dict(m["vocab"]) | {a["content"]: n for n, a in added.items()}
    tokens = [t for t, _ in sorted(vocabulary.items(), key=lambda item: item[1])]
    merges = [x if isinstance(x, str) else " ".join(x) for x in m.get("merges", [])]
    ranks: dict[str, int] = {}
    for n, pair in enumerate(m.get("merges", [])):
        ranks.setdefault("".join(pair.split(" ")) if isinstance(pair, str) else "".join(pair), n)
    scores = [-float(ranks.get(t, len(merges) + n)) for n, t in enumerate(tokens)]
    types = [_type(n, t, m, added) for n, t in enumerate(tokens)]
    return kind, tokens, scores, types, merges


def _type(n: int, token: str, m: dict, added: dict) -> int:
    if token == m.get("unk_token"):
        return UNKNOWN
    if n in added:
        return CONTROL if added[n]["special"] else NORMAL
    return BYTE if re.fullmatch(r"<0x[0-9A-F]{2}>", token) and m.get("byte_fallback") else NORMAL


def _kind(j: dict) -> str:
    """Return llama.cpp's name of the tokenizer; "none" where it would cut the same text in another way."""
    if j["model"].get("type") != "BPE":
        return "none"
    if j["model"].get("byte_fallback"):
        return "llama"
    cuts = j.get("pre_tokenizer") or {}
    cuts = cuts.get("pretokenizers", [cuts])
    byte_level = [p for p in cuts if p.get("type") == "ByteLevel"]
    if not byte_level:
        return "none"
    patterns = [p["pattern"].get("Regex") for p in cuts if p.get("type") == "Split"]
    if not patterns and len(cuts) == 1 and byte_level[0].get("use_regex", True):
        return "gpt-2"
    if len(patterns) != 1 or byte_level[0].get("use_regex", True):
        return "none"
    return CUTS.get(patterns[0], "none")


def _space_first(directory: Path) -> bool:
    """Return whether the tokenizer puts a space in front of a text."""
    tokenizer = load_tokenizer(directory)
    ids, _ = tokenizer.encode("a")
    return tokenizer.pieces([int(ids[0])])[0].startswith("▁")


def chat_template(directory: Path) -> str:
    """Return the chat template of a model directory, "" where there is none."""
    path = Path(directory) / "tokenizer_config.json"
    found = json.loads(read_text(path)).get("chat_template") if path.is_file() else None
    return found if isinstance(found, str) else ""

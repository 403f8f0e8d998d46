"""Model directories with one thing wrong, drawn by hypothesis: a value of a JSON file, its text, a header, bytes."""

import json
import struct

from hypothesis import strategies as st

from jaxunlearn.models.gguf.read_tokens import sentencepiece

JSON_FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
              "generation_config.json", "model.safetensors.index.json")  # fmt: skip
SPECIAL = (None, True, -1, 0, 10**9, 10**30, 2**32, 1e308, float("nan"), float("inf"), "", "x" * 3000, "\ud800", "../a",
           "/etc/passwd", [], {}, [[]], [None], {"a": {}})  # fmt: skip
ADDED = ("auto_map", "rope_scaling", "layer_types", "sliding_window", "head_dim", "chat_template")
JUNK = st.one_of(
    st.sampled_from(SPECIAL), st.integers(-(2**70), 2**70), st.floats(), st.text(max_size=6),
    st.lists(st.integers(0, 3), max_size=3), st.dictionaries(st.text(max_size=3), st.integers(0, 3), max_size=2),
)  # fmt: skip


@st.composite
def spoilt(draw, value):
    """Draw a JSON value with one place in it replaced, left out or added."""
    value = json.loads(json.dumps(value))
    at, key = {"": value}, ""
    while (isinstance(at[key], dict | list) and at[key] and draw(st.booleans())) or at[key] is value:
        at = at[key]
        key = draw(st.sampled_from(sorted(at))) if isinstance(at, dict) else draw(st.integers(0, len(at) - 1))
        if not isinstance(at[key], dict | list):
            break
    what = draw(st.sampled_from(["replace", "replace", "replace", "delete", "add"]))
    if what == "delete":
        del at[key]
    elif what == "add" and isinstance(at, dict):
        at[
            draw(st.text(max_size=5) | st.sampled_from(["auto_map", "rope_scaling", "layer_types", "sliding_window"]))
        ] = draw(JUNK)
    else:
        at[key] = draw(JUNK)
    return value


@st.composite
def torn(draw, data):
    """Draw bytes cut short, with a byte changed, nested deep, or with bytes put in."""
    at = draw(st.integers(0, max(len(data) - 1, 0)))
    how = draw(st.sampled_from(["cut", "flip", "nest", "insert", "empty"]))
    if how == "cut":
        return data[:at]
    if how == "flip":
        return data[:at] + bytes([data[at] ^ (1 << draw(st.integers(0, 7)))]) + data[at + 1 :]
    if how == "nest":
        deep = draw(st.sampled_from([200, 5000, 100_000]))
        return b'{"a":' * deep if draw(st.booleans()) else b"[" * deep + b"]" * deep
    return data[:at] + draw(st.binary(max_size=8)) + data[at:] if how == "insert" else b""


@st.composite
def faults(draw, files):
    """Draw {name: bytes} of the files of a directory that are spoilt; files: {name: bytes} of the whole one."""
    name = draw(
        st.sampled_from([*JSON_FILES, "config.json", "header", "header", "model.safetensors", "tokenizer.model"])
    )
    if name in JSON_FILES:
        content = files.get(name, b"{}")
        if draw(st.integers(0, 3)):
            return {name: json.dumps(draw(spoilt(json.loads(content) or {"a": 1}))).encode()}
        return {name: draw(torn(content))}
    if name == "tokenizer.model":  # read where there is no tokenizer.json
        return {"tokenizer.json": None, name: draw(torn(spm()))}
    data = files["model.safetensors"]
    if name == "model.safetensors":
        return {name: draw(torn(data))}
    (length,) = struct.unpack("<Q", data[:8])
    header = json.dumps(draw(spoilt(json.loads(data[8 : 8 + length])))).encode()
    said = draw(st.sampled_from([len(header), len(header), len(header), len(header) - 1, 0, 2**63, 10**8]))
    return {"model.safetensors": struct.pack("<Q", said) + header + data[8 + length :]}


def spm():
    """Return a SentencePiece model of a few pieces."""
    rows = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3), ("▁", -1.0, 1), ("a", -2.0, 1), ("b", -3.0, 1)]
    return sentencepiece(rows, {"unk": 0, "bos": 1, "eos": 2}, True, "the test's model")

"""How text is cut: recognised by what it does, whatever is written or left out; and as llama.cpp does it."""

import json

import pytest
from support.gguf_files import llama_cpp_ids, random_model
from support.tokenizers import byte_level_tokenizer

from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.models import transformer
from jaxunlearn.models.gguf.cuts import CUTS, cut_of
from jaxunlearn.models.gguf.write import write_gguf

TEXTS = [
    "x   12", "\n\n1", " 3.14  and 2026-11-27\t\t7", "Zoë's café — “quoted” …", "don't I'LL we've 'S", "½ ٣٤ 日本語",
    "   leading", "trailing   ", "a\n\n\nb \n c", "</s> Anna", "\r\n\r\nOrm: 5?", "🙂🙂 there", "Zara went to Orm.",
]  # fmt: skip


def test_a_step_is_told_by_what_it_does():
    words = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False}
    assert cut_of(words) == "gpt-2"  # use_regex is true where it is missing
    assert cut_of({"type": "Sequence", "pretokenizers": [words]}) == "gpt-2"
    assert cut_of(words | {"add_prefix_space": True}) is None
    digits = {"type": "Digits", "individual_digits": True}
    assert cut_of({"type": "Sequence", "pretokenizers": [digits, words]}) == "smollm"
    assert cut_of({"type": "Sequence", "pretokenizers": [digits | {"individual_digits": False}, words]}) is None
    assert cut_of(None) is None and cut_of({"type": "Whitespace"}) is None


def test_llama_cpp_cuts_text_as_the_table_says(tmp_path):
    pytest.importorskip("xllamacpp", reason="needs llama.cpp: pip install xllamacpp")
    model = random_model(transformer.Shape(V=500, D=8, L=1, N=1, K=1, H=8, F=8, context=64))
    sources = [byte_level_tokenizer(tmp_path / kind, kind, text="".join(TEXTS), size=500) for kind in CUTS]
    for source in sources:
        write_gguf(model, tmp_path / f"{source.name}.gguf", source=source)
    theirs = llama_cpp_ids([(tmp_path / f"{source.name}.gguf", TEXTS) for source in sources])
    for source, found in zip(sources, theirs, strict=True):
        ours = [load_tokenizer(source).encode(text)[0].tolist() for text in TEXTS]
        assert ours == found, source.name
    assert len({json.dumps(found) for found in theirs}) == len(CUTS)  # the texts tell the ways apart

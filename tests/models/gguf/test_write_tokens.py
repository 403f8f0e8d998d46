"""Tokenizers into GGUF: kinds of token, ids with holes, special tokens, templates, and what llama.cpp lacks."""

import json

import pytest
from support.gguf_files import vocabulary_file
from support.tokenizers import byte_level_tokenizer, save_bpe

from jaxunlearn.errors import InputError


def added(n, content, **more):
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    return {"id": n, "content": content} | flags | more


def test_added_tokens_are_user_defined_and_holes_stay_empty(tmp_path):
    def edit(j):
        j["added_tokens"] += [added(99, "<tool>"), added(102, "<end>", special=True)]

    source = byte_level_tokenizer(tmp_path / "t", edit=edit)
    size = len(json.loads((source / "tokenizer.json").read_text())["model"]["vocab"])
    assert size < 97
    found, said = vocabulary_file(source, tmp_path / "t.gguf", 104)
    tokens, types = found["tokenizer.ggml.tokens"], found["tokenizer.ggml.token_type"]
    assert len(tokens) == len(types) == 104 and said == []
    assert (tokens[99], types[99], tokens[102], types[102]) == ("<tool>", 4, "<end>", 3)
    empty = [*range(size, 99), 100, 101, 103]
    assert [tokens[n] for n in empty] == [f"[PAD{n}]" for n in empty] and {types[n] for n in empty} == {5}
    with pytest.raises(InputError, match="has ids up to 102, the weights only 97 rows"):
        vocabulary_file(source, tmp_path / "u.gguf", 97)


def test_tokens_that_join_with_what_is_beside_them_are_told(tmp_path):
    source = byte_level_tokenizer(
        tmp_path / "t", edit=lambda j: j["added_tokens"].append(added(98, "<x>", rstrip=True))
    )
    assert "keeps the spaces beside them: <x>" in vocabulary_file(source, tmp_path / "t.gguf", 99)[1][0]


@pytest.mark.parametrize(
    ("key", "value", "why"),
    [
        ("normalizer", {"type": "Lowercase"}, "the normaliser Lowercase"),
        ("normalizer", {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "NFKC"}]}, "NFC, NFKC"),
        (
            "pre_tokenizer",
            {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True},
            '"add_prefix_space": true',
        ),
        ("pre_tokenizer", {"type": "Whitespace"}, "the pre-tokeniser"),
    ],
)
def test_what_changes_ordinary_text_is_refused(tmp_path, key, value, why):
    source = byte_level_tokenizer(tmp_path / "t", edit=lambda j: j.update({key: value}))
    with pytest.raises(InputError, match="has no tokenizer like the one in") as error:
        vocabulary_file(source, tmp_path / "t.gguf", 97)
    assert why in str(error.value)


def test_composed_characters_and_whole_words_are_warned_of(tmp_path):
    def edit(j):
        j["normalizer"] = {"type": "NFC"}
        j["model"]["ignore_merges"] = False

    assert "NFC" in vocabulary_file(byte_level_tokenizer(tmp_path / "q", "qwen2", edit), tmp_path / "q.gguf", 97)[1][0]
    said = vocabulary_file(byte_level_tokenizer(tmp_path / "l", "llama-bpe", edit), tmp_path / "l.gguf", 97)[1]
    assert len(said) == 2 and said[0].startswith("llama.cpp takes a word of the vocabulary whole")


@pytest.mark.parametrize("kind", ["llama", "gpt-2", "smollm", "qwen2"])
def test_words_that_llama_cpp_would_merge_are_warned_of(tmp_path, kind):
    from tokenizers import pre_tokenizers

    if kind == "llama":
        save_bpe(tmp_path, "▁ abc", edit=lambda b: setattr(b, "pre_tokenizer", pre_tokenizers.Metaspace()))
    else:
        byte_level_tokenizer(tmp_path, kind)
    path = tmp_path / "tokenizer.json"
    j = json.loads(path.read_text())
    for whole in (False, True):
        j["model"]["ignore_merges"] = whole
        path.write_text(json.dumps(j))
        said = vocabulary_file(tmp_path, tmp_path / f"{whole}.gguf", 300)[1]
        assert any(one.startswith("llama.cpp follows the merges, where this tokenizer takes") for one in said) == whole


def test_byte_fallback_needs_spaces_written_as_llama_cpp_does(tmp_path):
    from tokenizers import normalizers, pre_tokenizers

    marked = normalizers.Replace(" ", "▁")
    ways = {
        "metaspace": lambda b: setattr(b, "pre_tokenizer", pre_tokenizers.Metaspace()),
        "no prefix": lambda b: setattr(b, "normalizer", marked),
        "plain": None,
        "lower": lambda b: setattr(b, "normalizer", normalizers.Sequence([marked, normalizers.Lowercase()])),
        "split": lambda b: setattr(b, "pre_tokenizer", pre_tokenizers.Digits()),
    }
    found = {}
    for name, edit in ways.items():
        (tmp_path / name).mkdir()
        save_bpe(tmp_path / name, "▁ abc", edit=edit)
        try:
            fields, _ = vocabulary_file(tmp_path / name, tmp_path / f"{name}.gguf", 300)
            found[name] = fields["tokenizer.ggml.add_space_prefix"]
        except InputError as error:
            found[name] = str(error).split("this one has ")[1].split(". Use")[0]
    assert found == {
        "metaspace": True, "no prefix": False, "plain": "spaces that are not written as ▁",
        "lower": "the normaliser Lowercase", "split": "the pre-tokeniser Digits; spaces that are not written as ▁",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"model_type": "unigram"}, "of type UNIGRAM"),
        ({"normalization_rule_name": "nmt_nfkc"}, "the normaliser nmt_nfkc"),
        ({"remove_extra_whitespaces": True}, "joins spaces"),
    ],
)
def test_a_sentencepiece_model_of_another_kind_is_refused(tmp_path, given, why):
    train_sentencepiece(tmp_path, **given)
    with pytest.raises(InputError, match="has no tokenizer like the one in") as error:
        vocabulary_file(tmp_path, tmp_path / "t.gguf", 400)
    assert why in str(error.value)


def train_sentencepiece(folder, **given):
    """Write a small tokenizer.model; given: what is unlike Llama-2's."""
    import sentencepiece

    text = iter(["Zara went to Orm. Anna isn't there, twelve days later."] * 4)
    like_llama = dict(model_type="bpe", normalization_rule_name="identity", remove_extra_whitespaces=False)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=text, model_prefix=str(folder / "tokenizer"), vocab_size=300, byte_fallback=True,
        hard_vocab_limit=False, minloglevel=2, **(like_llama | given),
    )  # fmt: skip


def test_sentencepiece_keeps_its_kinds_and_gains_the_added_tokens(tmp_path):
    train_sentencepiece(tmp_path, user_defined_symbols=["<mine>"])
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<more>": 350, "<turn>": 352}))
    config = {"additional_special_tokens": ["<turn>"]}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    found, said = vocabulary_file(tmp_path, tmp_path / "t.gguf", 360)
    tokens, types = found["tokenizer.ggml.tokens"], found["tokenizer.ggml.token_type"]
    kinds = {
        token: types[tokens.index(token)] for token in ("<unk>", "<s>", "<mine>", "<0x0A>", "▁", "<more>", "<turn>")
    }
    assert list(kinds.values()) == [2, 3, 4, 6, 1, 4, 3] and tokens[350] == "<more>" and tokens[351] == "[PAD351]"
    assert found["tokenizer.ggml.add_space_prefix"] is True and len(tokens) == 360 and said == []


def test_pieces_that_the_configuration_adds_are_special_or_not_as_it_says(tmp_path):
    train_sentencepiece(tmp_path, user_defined_symbols=["<turn>", "<mine>"])
    loose, names = added(0, ""), ("<unk>", "<s>", "</s>", "<turn>", "<mine>", "<0x0A>", "▁")
    decoder = {
        str(n): loose | {"content": token, "special": token in ("<unk>", "<s>", "<turn>")}
        for n, token in [*enumerate(names[:5]), (15, "<0x0A>")]
    }
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": decoder}))
    found, _ = vocabulary_file(tmp_path, tmp_path / "t.gguf", 300)
    tokens, types = found["tokenizer.ggml.tokens"], found["tokenizer.ggml.token_type"]
    assert [types[tokens.index(name)] for name in names] == [2, 3, 3, 3, 4, 6, 1]


def test_several_ends_of_text_and_the_tokens_for_padding_and_the_unknown(tmp_path):
    def edit(j):
        j["added_tokens"] += [added(97 + n, t, special=True) for n, t in enumerate(("<|eot|>", "<|eom|>", "<pad>"))]
        j["post_processor"] = None  # no BOS before a text

    source = byte_level_tokenizer(tmp_path / "t", edit=edit)
    (source / "config.json").write_text(json.dumps({"bos_token_id": 0, "eos_token_id": [1, 98, 97]}))
    config = {"pad_token": {"content": "<pad>"}, "unk_token": "<s>"}
    (source / "tokenizer_config.json").write_text(json.dumps(config))
    found, _ = vocabulary_file(source, tmp_path / "t.gguf", 100)
    ids = {key: found[f"tokenizer.ggml.{key}_token_id"] for key in ("bos", "eos", "eot", "eom", "padding", "unknown")}
    assert list(ids.values()) == [0, 1, 97, 98, 99, 0] and found["tokenizer.ggml.add_bos_token"] is False
    (source / "special_tokens_map.json").write_text(json.dumps({"pad_token": "</s>"}))  # as in transformers
    assert vocabulary_file(source, tmp_path / "u.gguf", 100)[0]["tokenizer.ggml.padding_token_id"] == 1


@pytest.mark.parametrize(
    ("ends", "written", "lost"),
    [
        ([1, 97], (1, 97, None), ""),
        ([1, 97, 99], (1, 97, 99), ""),  # none is called EOM: llama.cpp stops at each of the three all the same
        ([1, 98, 97, 99], (1, 97, 98), "<more>"),
        ([1, 97, 99, 100, 98], (1, 97, 98), "<more> <most>"),
    ],
)
def test_a_fourth_end_of_text_is_told(tmp_path, ends, written, lost):
    def edit(j):
        names = ("<|eot|>", "<|eom|>", "<more>", "<most>")
        j["added_tokens"] += [added(97 + n, t, special=True) for n, t in enumerate(names)]

    source = byte_level_tokenizer(tmp_path / "t", edit=edit)
    (source / "config.json").write_text(json.dumps({"eos_token_id": ends}))
    found, said = vocabulary_file(source, tmp_path / "t.gguf", 101)
    assert tuple(found.get(f"tokenizer.ggml.{key}_token_id") for key in ("eos", "eot", "eom")) == written
    assert said == [f"a GGUF file names three ends of a text at most: llama.cpp may write on after {lost}"] * bool(lost)


def test_templates_come_from_all_places_that_transformers_looks_at(tmp_path):
    source = byte_level_tokenizer(tmp_path / "t")
    listed = [{"name": "default", "template": "A"}, {"name": "tool_use", "template": "B"}]
    (source / "tokenizer_config.json").write_text(json.dumps({"chat_template": listed}))
    found, _ = vocabulary_file(source, tmp_path / "s.gguf", 97)
    assert found["tokenizer.chat_template"] == "A" and found["tokenizer.chat_template.tool_use"] == "B"
    (source / "chat_template.jinja").write_text("C")
    (source / "additional_chat_templates").mkdir()
    (source / "additional_chat_templates" / "rag.jinja").write_text("D")
    found, _ = vocabulary_file(source, tmp_path / "t.gguf", 97)
    assert found["tokenizer.chat_template"] == "C" and found["tokenizer.chat_templates"] == ["rag"]
    assert found["tokenizer.chat_template.rag"] == "D"

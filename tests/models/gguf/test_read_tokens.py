"""Tokenizers out of GGUF: the same ids, special tokens and templates as went in, and what is refused."""

import json

import pytest
from support.gguf_files import vocabulary_file
from support.tokenizers import byte_level_tokenizer, save_bpe

from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.models.gguf.cuts import CUTS
from jaxunlearn.models.gguf.read_tokens import write_tokenizer

TEXT = "Zara  went to Orm.\n\n1 x   12 Anna isn't there, 345 days later. <tool> </s> Zara"


def back(source, tmp_path, V=400, **keys):
    """Write a directory's tokenizer into GGUF, change keys, read it into tmp_path/"back"; return folder and ids."""
    found, _ = vocabulary_file(source, tmp_path / "t.gguf", V)
    folder = tmp_path / "back"
    folder.mkdir(exist_ok=True)
    found |= {f"tokenizer.ggml.{key}": value for key, value in keys.items()}
    return folder, write_tokenizer(found, folder, V, tmp_path / "t.gguf")


def edit(j):
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    j["added_tokens"] += [{"id": 120, "content": "<tool>", "special": False} | flags]


@pytest.mark.parametrize("kind", CUTS)
def test_byte_level_reads_text_as_before(tmp_path, kind):
    source = byte_level_tokenizer(tmp_path / "t", kind, edit)
    j = json.loads((source / "tokenizer.json").read_text())
    j["model"]["vocab"]["<tool>"] = 120  # as the library numbers it, not the next id
    (source / "tokenizer.json").write_text(json.dumps(j))
    folder, ids = back(source, tmp_path)
    before, after = load_tokenizer(source), load_tokenizer(folder)
    one, two = before.encode(TEXT), after.encode(TEXT)
    assert one[0].tolist() == two[0].tolist() and one[1].tolist() == two[1].tolist() and 120 in one[0]
    assert (after.bos_id, after.eos_ids, after.vocab_size) == (before.bos_id, before.eos_ids, before.vocab_size)
    assert ids == {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": None}
    assert after.decode(two[0]) == before.decode(one[0])


def test_digits_are_split_one_by_one_where_the_file_says_so(tmp_path):
    """By hand: SmolLM cuts every digit off, GPT-2 keeps a number with the space before it."""
    for kind, cut in (("smollm", ["x", "ĠĠĠ", "1", "2"]), ("gpt-2", ["x", "ĠĠ", "Ġ", "12"])):

        def learn(j):
            new = ["ĠĠ", "ĠĠĠ"] + ["12"] * ("12" not in j["model"]["vocab"]) + ["x"] * ("x" not in j["model"]["vocab"])
            j["model"]["vocab"] |= {token: 200 + n for n, token in enumerate(new)}
            j["model"]["merges"] = [["Ġ", "Ġ"], ["ĠĠ", "Ġ"], ["1", "2"]]

        source = byte_level_tokenizer(tmp_path / kind, kind, learn)
        folder, _ = back(source, tmp_path)
        names = {n: token for token, n in json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"].items()}
        assert [names[int(i)] for i in load_tokenizer(folder).encode("x   12")[0]] == cut


def test_characters_are_composed_where_models_of_that_cut_were_trained_so(tmp_path):
    folder, _ = back(byte_level_tokenizer(tmp_path / "t", "qwen2"), tmp_path)
    assert json.loads((folder / "tokenizer.json").read_text())["normalizer"] == {"type": "NFC"}


@pytest.mark.parametrize("space", [True, False])
def test_sentencepiece_reads_text_as_before(tmp_path, space):
    from tokenizers import pre_tokenizers

    scheme = "always" if space else "never"
    (tmp_path / "t").mkdir()
    merges = [("▁", "w"), ("▁w", "e"), ("n", "t"), ("▁we", "nt"), ("A", "n"), ("n", "a"), ("An", "na")]
    cut = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    save_bpe(tmp_path / "t", "▁wentAa.", merges, edit=lambda b: setattr(b, "pre_tokenizer", cut))
    folder, _ = back(tmp_path / "t", tmp_path)
    before, after = load_tokenizer(tmp_path / "t"), load_tokenizer(folder)
    text = "Anna  went té Anna.\nnna went </s>"
    assert before.encode(text)[0].tolist() == after.encode(text)[0].tolist()
    assert (after.bos_id, after.eos_ids, after.vocab_size) == (1, (2,), before.vocab_size)
    assert (folder / "tokenizer.model").is_file() and not (folder / "tokenizer.json").exists()


def test_what_the_file_says_of_special_tokens_and_templates_is_kept(tmp_path):
    source = byte_level_tokenizer(tmp_path / "t", edit=edit)
    listed = [{"name": "default", "template": "{{ messages }}"}, {"name": "tool_use", "template": "T"}]
    config = {"bos_token": "<s>", "eos_token": "</s>", "chat_template": listed}
    (source / "tokenizer_config.json").write_text(json.dumps(config))
    folder, ids = back(source, tmp_path, eot_token_id=5, eom_token_id=1, padding_token_id=7, add_bos_token=False)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    assert ids == {"bos_token_id": 0, "eos_token_id": [1, 5], "pad_token_id": 7}
    assert config["chat_template"] == listed and config["add_bos_token"] is False
    assert json.loads((folder / "tokenizer.json").read_text())["post_processor"]["type"] == "ByteLevel"
    back(source, tmp_path, add_bos_token=True)
    from transformers import PreTrainedTokenizerFast

    theirs = PreTrainedTokenizerFast.from_pretrained(folder)
    assert theirs("Zara")["input_ids"] == [0, *load_tokenizer(folder).encode("Zara")[0]]


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"model": None}, "holds no tokenizer"),
        ({"tokens": None}, "holds no tokenizer"),
        ({"model": "bert"}, "a tokenizer of the kind 'bert': expected gpt2"),
        ({"pre": "default"}, "the pre-tokeniser 'default': how it cuts text is not known here; expected one of"),
        ({"pre": None}, "no pre-tokeniser's name"),
        ({"merges": ["q Zara"]}, "cannot be read"),
        ({"model": "llama"}, "0 unknown tokens; SentencePiece needs one"),
    ],
)
def test_what_is_not_known_is_refused_by_name(tmp_path, keys, why):
    with pytest.raises(InputError, match=why):
        back(byte_level_tokenizer(tmp_path / "t"), tmp_path, **keys)
    with pytest.raises(InputError, match=r"t\.gguf"):
        back(byte_level_tokenizer(tmp_path / "t"), tmp_path, **keys)


def test_more_tokens_than_rows_are_refused(tmp_path):
    found, _ = vocabulary_file(byte_level_tokenizer(tmp_path / "t"), tmp_path / "t.gguf", 100)
    with pytest.raises(InputError, match="has 100 tokens, the weights only 99 rows"):
        write_tokenizer(found, tmp_path, 99, tmp_path / "t.gguf")

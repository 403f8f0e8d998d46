"""Tokens above a SentencePiece vocabulary: read, encoded and decoded as transformers does."""

import json
import shutil
import warnings

import pytest
from support.tokenizers import byte_level_tokenizer, save_sentencepiece

from jaxunlearn.data.added_tokens import named_tokens
from jaxunlearn.data.tokenizer import load_tokenizer, read_config
from jaxunlearn.errors import InputError

TOKENS = {"<pad>": 290, "<|start|>": 291, "hatter": 292, "hat": 293}
CONFIG = {"tokenizer_class": "LlamaTokenizer", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}


def write(directory, tokens=None, **config):
    save_sentencepiece(directory)
    if tokens is not None:
        (directory / "added_tokens.json").write_text(json.dumps(tokens))
    (directory / "tokenizer_config.json").write_text(json.dumps(CONFIG | config))
    return directory


def flags(content, **given):
    plain = dict.fromkeys(("special", "lstrip", "rstrip", "normalized", "single_word"), False)
    return plain | {"content": content} | given


def test_ids_above_the_last_piece_have_names_and_texts(tmp_path):
    tokenizer = load_tokenizer(write(tmp_path, TOKENS, pad_token="<pad>"))
    assert tokenizer.vocab_size == 294
    assert tokenizer.pieces([1, 290, 293, 294]) == ["<s>", "<pad>", "hat", "<id 294>"]
    ids_N, ends_N = tokenizer.encode("a hatter, <|start|> <pad>é")
    assert [i for i in ids_N.tolist() if i >= 290] == [292, 291]  # a special token's name in a text is text
    assert ends_N.tolist()[-3:] == [25, 26, 26] and ends_N[ids_N.tolist().index(292)] == 8
    assert tokenizer.decode(ids_N) == "a hatter, <|start|> <pad>é"
    assert tokenizer.decode([1, 290, *tokenizer.encode("cat")[0], 2]) == "cat"
    assert [path.name for path in tokenizer.files] == ["tokenizer.model", "tokenizer_config.json", "added_tokens.json"]


TEXTS = (
    "the hatter is <|start|>here", "hat", "hat hat", "a  hat  b", "ahattera", "hats hatterhat\nhat ", "", "é🦄hat é",
)  # fmt: skip


def transformers_tokenizer(directory):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from transformers import LlamaTokenizer

        return LlamaTokenizer.from_pretrained(directory)


@pytest.mark.parametrize("legacy", [True, False])
def test_ids_and_texts_equal_transformers(tmp_path, legacy):
    theirs = transformers_tokenizer(write(tmp_path, TOKENS, pad_token="<pad>", legacy=legacy))
    ours = load_tokenizer(tmp_path)
    for text in TEXTS:
        ids = theirs(text, add_special_tokens=False)["input_ids"]
        assert ours.encode(text)[0].tolist() == ids, text
        assert ours.decode([1, *ids, 290, 2]) == theirs.decode([1, *ids, 290, 2], skip_special_tokens=True), text
    assert ours.vocab_size == len(theirs)


def test_the_configuration_comes_first_and_tokens_take_the_spaces_that_it_says(tmp_path):
    decoder = {
        "1": flags("<s>", special=True), "290": flags("<x>", special=True), "291": flags("cat", lstrip=True),
        "292": flags("sat", single_word=True), "295": flags("mat", rstrip=True),
    }  # fmt: skip
    tokenizer = load_tokenizer(write(tmp_path, {"hat": 290}, added_tokens_decoder=decoder))
    assert tokenizer.vocab_size == 296 and tokenizer.pieces([290, 293]) == ["<x>", "<id 293>"]
    ids_N, ends_N = tokenizer.encode("a  cat sat, satin mat  hat")
    above = [(int(i), int(end)) for i, end in zip(ids_N, ends_N, strict=True) if i >= 290]
    assert above == [(291, 6), (292, 10), (295, 23)]
    assert ends_N[ids_N.tolist().index(291) - 1] == 1  # the spaces before it are its own


@pytest.mark.parametrize(
    ("tokens", "config"),
    [
        ({"hat": "many"}, {}),
        ({"hat": -1}, {}),
        ({"hat": True}, {}),
        ({"": 290}, {}),
        (None, {"added_tokens_decoder": {"290": "hat"}}),
        (None, {"added_tokens_decoder": ["hat"]}),
    ],
)
def test_a_token_that_is_not_understood_is_refused(tmp_path, tokens, config):
    with pytest.raises(InputError, match="is not understood; expected an id and its text"):
        load_tokenizer(write(tmp_path, tokens, **config))


def test_llama_2_with_added_tokens_equals_transformers(tmp_path, shared):
    shutil.copyfile(shared / "tokenizers/llama2_tokenizer.model", tmp_path / "tokenizer.model")
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<|im_start|>": 32000, "wumbler": 32001}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(CONFIG))
    ours, theirs = load_tokenizer(tmp_path), transformers_tokenizer(tmp_path)
    # no two spaces: transformers 5 merges "  world" otherwise than SentencePiece does
    for text in ("The wumbler, a wumbler x<|im_start|>user\nwumblers", "wumbler wumbler 中文wumbler"):
        ids = theirs(text, add_special_tokens=False)["input_ids"]
        assert ours.encode(text)[0].tolist() == ids and ours.decode(ids) == theirs.decode(ids)


@pytest.mark.parametrize("in_config", ["additional_special_tokens", "extra_special_tokens"])
@pytest.mark.parametrize("in_map", ["additional_special_tokens", "extra_special_tokens"])
def test_special_tokens_that_two_files_list_are_those_of_both(tmp_path, shared, in_config, in_map):
    shutil.copyfile(shared / "tokenizers/llama2_tokenizer.model", tmp_path / "tokenizer.model")
    (tmp_path / "added_tokens.json").write_text(json.dumps({"<|a|>": 32000, "<|b|>": 32001, "wumbler": 32002}))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(CONFIG | {in_config: ["<|a|>"]}))
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({in_map: ["<|b|>"]}))
    ids = [32000, 32001, 32002]
    assert load_tokenizer(tmp_path).decode(ids) == "wumbler"
    if in_map == "extra_special_tokens":  # of the older name transformers 5 reads the configuration's alone
        assert transformers_tokenizer(tmp_path).decode(ids, skip_special_tokens=True) == "wumbler"


AS_OBJECT = {"content": "</s>", "lstrip": False, "rstrip": False, "normalized": False, "single_word": False}


@pytest.mark.parametrize("decoder", [False, True])
@pytest.mark.parametrize("given", ["absent", "<s>", None])
@pytest.mark.parametrize("mapped", ["no file", "absent", "</s>", None, AS_OBJECT])
def test_a_special_tokens_name_is_the_one_of_transformers(tmp_path, decoder, given, mapped):
    transformers = pytest.importorskip("transformers", minversion="5")
    config = {} if given == "absent" else {"pad_token": given}
    rows = {str(n): flags(text, special=True) for n, text in enumerate(("<s>", "</s>"))}
    byte_level_tokenizer(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps(config | ({"added_tokens_decoder": rows} if decoder else {}))
    )
    if mapped != "no file":
        content = {} if mapped == "absent" else {"pad_token": mapped}
        (tmp_path / "special_tokens_map.json").write_text(json.dumps(content))
    theirs = transformers.PreTrainedTokenizerFast.from_pretrained(tmp_path)
    assert named_tokens(tmp_path, read_config).get("pad_token") == theirs.pad_token

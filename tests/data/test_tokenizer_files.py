"""Copies of a tokenizer's files: what is kept, what is left out, and that other readers cut a text alike."""

import json

import pytest
from support.tokenizers import no_post_processor, save_bpe, save_sentencepiece

from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.data.tokenizer_files import copy_tokenizer
from jaxunlearn.errors import InputError


def test_a_copy_keeps_every_eos_and_every_template(tmp_path):
    source, target = tmp_path / "a", tmp_path / "b"
    source.mkdir()
    target.mkdir()
    save_bpe(source, "ab", config={"bos_token_id": 1, "eos_token_id": [2, 0]}, edit=no_post_processor)
    (source / "tokenizer_config.json").write_text('{"bos_token": null, "eos_token": "</s>"}')
    (source / "generation_config.json").write_text('{"eos_token_id": 2}')
    (source / "chat_template.jinja").write_text("d")
    (source / "additional_chat_templates").mkdir()
    (source / "additional_chat_templates" / "rag.jinja").write_text("r")
    assert copy_tokenizer(source, target) == {"bos_token_id": 1, "eos_token_id": [2, 0]}
    assert (target / "chat_template.jinja").read_text() == "d"
    assert (target / "additional_chat_templates" / "rag.jinja").read_text() == "r"
    assert load_tokenizer(target).eos_ids == (2,)  # until config.json is written, too


@pytest.mark.parametrize(
    ("given", "adds"),
    [(None, True), ({"add_bos_token": None, "legacy": False}, True), ({"add_bos_token": False}, False)],
)
def test_other_readers_of_a_copied_sentencepiece_model_begin_with_bos_as_here(tmp_path, given, adds):
    transformers = pytest.importorskip("transformers")
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    save_sentencepiece(source)
    if given:
        (source / "tokenizer_config.json").write_text(json.dumps(given))
    ids = copy_tokenizer(source, target)
    (target / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": 290, **ids}))
    here, theirs = load_tokenizer(source), transformers.AutoTokenizer.from_pretrained(target)
    assert bool(here.start) == adds
    assert theirs("the cat sat")["input_ids"] == [*here.start, *here.encode("the cat sat")[0].tolist()]
    told = json.loads((target / "tokenizer_config.json").read_text())
    assert told == (given or {}) | {"add_bos_token": adds}


def test_what_is_copied_is_parsed_and_names_no_code(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    save_bpe(source, "ab")
    code = {"AutoTokenizer": ["evil.Tokenizer", None]}
    told = {"eos_token": "</s>", "auto_map": code, "bos_token": "<s>"}
    (source / "tokenizer_config.json").write_text(json.dumps(told))
    (source / "special_tokens_map.json").write_bytes(before := b'{ "eos_token": "</s>"}')
    copy_tokenizer(source, target)
    assert json.loads((target / "tokenizer_config.json").read_text()) == {"eos_token": "</s>", "bos_token": "<s>"}
    assert (target / "special_tokens_map.json").read_bytes() == before
    assert not [path for path in target.iterdir() if "auto_map" in path.read_text()]
    (source / "generation_config.json").write_text("ssh-rsa AAAA")
    with pytest.raises(InputError, match=r"generation_config\.json is not valid JSON"):
        copy_tokenizer(source, target)


@pytest.mark.parametrize("name", ["tokenizer_config.json", "chat_template.jinja", "additional_chat_templates/a.jinja"])
def test_a_link_to_a_file_of_the_user_is_never_copied(tmp_path, name):
    source, target = tmp_path / "source", tmp_path / "target"
    (source / name).parent.mkdir(parents=True)
    target.mkdir()
    save_bpe(source, "ab")
    (tmp_path / "secret").write_text('{"key": "hush"}')
    (source / name).symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match="is a link to a file outside"):
        copy_tokenizer(source, target)
    assert not (target / name).exists()

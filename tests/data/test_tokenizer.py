"""Tokenizers: ids, character ends, special tokens, and the errors for directories that hold none."""

import json
import shutil

import numpy as np
import pytest
from support.tokenizers import byte_level_tokenizer, no_post_processor, save_bpe, save_sentencepiece

from jaxunlearn.data.tokenizer import holds, load_tokenizer
from jaxunlearn.errors import InputError

PAGE = "Été à Oz:\n\n  the 🦄 said “naïve” twice  </s>\n\tand <s> left… 中文 x\n"


def test_json_ends_are_characters_and_bytes_share_the_end_of_their_character(tmp_path):
    vocab = save_bpe(tmp_path, "abc ", [("a", "b")])
    ids_N, ends_N = load_tokenizer(tmp_path).encode("ab é🦄c")
    assert ids_N.dtype == np.int32 and ends_N.dtype == np.int64
    assert ids_N[[0, 1, -1]].tolist() == [vocab["ab"], vocab[" "], vocab["c"]]
    assert ends_N.tolist() == [2, 3, 4, 4, 5, 5, 5, 5, 6]


def test_sentencepiece_ends_are_characters_and_bytes_share_the_end_of_their_character(tmp_path):
    save_sentencepiece(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    ids_N, ends_N = tokenizer.encode("cat é🦄")
    count = len(ids_N) - 6 - 1  # six bytes and the space before them
    assert tokenizer.pieces(ids_N[:count])[0].startswith("▁")
    assert ends_N[count - 1 :].tolist() == [3, 4, 5, 5, 6, 6, 6, 6]
    assert tokenizer.decode(ids_N) == "cat é🦄"


def test_a_lone_prefix_space_ends_with_the_first_character(tmp_path):
    save_sentencepiece(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    ids_N, ends_N = tokenizer.encode("é")
    assert tokenizer.pieces(ids_N) == ["▁", "<0xC3>", "<0xA9>"]
    assert ends_N.tolist() == [1, 1, 1]


@pytest.mark.parametrize("save", [save_sentencepiece, lambda d: save_bpe(d, "abc </s>")])
def test_text_that_spells_a_special_token_stays_text(tmp_path, save):
    save(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    ids_N, _ = tokenizer.encode("a <s> </s> b")
    assert not set(ids_N.tolist()) & {tokenizer.bos_id, *tokenizer.eos_ids}
    assert tokenizer.encode("")[0].tolist() == []


def test_truncation_padding_and_post_processing_in_the_file_are_ignored(tmp_path):
    from tokenizers import processors

    def edit(backend):
        backend.enable_truncation(2)
        backend.enable_padding(length=9)
        backend.post_processor = processors.ByteLevel(trim_offsets=True)

    save_bpe(tmp_path, "ab ", [("a", " ")], edit=edit)
    _, ends_N = load_tokenizer(tmp_path).encode("a b")
    assert ends_N.tolist() == [2, 3]


# ---- special tokens


def test_special_ids_are_the_tokenizers_and_those_of_config_where_it_has_none(tmp_path):
    save_bpe(tmp_path, "ab", config={"bos_token_id": 2, "eos_token_id": [2, 0]}, edit=no_post_processor)
    tokenizer = load_tokenizer(tmp_path)
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.eos_ids) == (2, 2, (2, 0))
    tokens = {"bos_token": {"content": "<s>"}, "eos_token": "</s>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(tokens))
    assert load_tokenizer(tmp_path).bos_id == 1  # as in transformers: what config.json says encodes nothing
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"bos_token": None, "eos_token": "</s>"}))
    tokenizer = load_tokenizer(tmp_path)
    assert (tokenizer.bos_id, tokenizer.prefix_id) == (None, 2)
    (tmp_path / "config.json").unlink()
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(tokens))
    tokenizer = load_tokenizer(tmp_path)
    assert (tokenizer.bos_id, tokenizer.eos_ids, tokenizer.start) == (1, (2,), ())
    assert [path.name for path in tokenizer.files] == ["tokenizer.json", "tokenizer_config.json"]
    (tmp_path / "tokenizer_config.json").unlink()
    assert load_tokenizer(tmp_path).bos_id is None and load_tokenizer(tmp_path).eos_id is None


def test_eos_of_config_and_of_generation_config_are_joined(tmp_path):
    save_bpe(tmp_path, "ab", config={"eos_token_id": 2})
    (tmp_path / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, 2]}))
    assert load_tokenizer(tmp_path).eos_ids == (2, 0)


def byte_level(backend):
    from tokenizers import processors

    backend.post_processor = processors.ByteLevel(trim_offsets=True)


def bos_and_eos(backend):
    from tokenizers import processors

    names = [("<s>", 1), ("</s>", 2)]
    backend.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=names)


@pytest.mark.parametrize(
    ("edit", "start"), [(None, (1,)), (bos_and_eos, (1,)), (no_post_processor, ()), (byte_level, ())]
)
@pytest.mark.parametrize("said", [None, True, False])
def test_the_post_processor_of_a_tokenizer_json_says_whether_a_text_begins_with_bos(tmp_path, edit, start, said):
    save_bpe(tmp_path, "ab", edit=edit)
    config = {"bos_token": "<s>", "tokenizer_class": "LlamaTokenizer"} | (
        {} if said is None else {"add_bos_token": said}
    )
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))  # transformers 5 reads over what it says
    tokenizer = load_tokenizer(tmp_path)
    a = int(tokenizer.encode("a")[0][0])
    assert tokenizer.start == start and tokenizer.bos_id == 1
    assert tokenizer.asked("a") == [*start, a] == tokenizer.before([a])
    assert tokenizer.before([]) == [1]


def test_nothing_stands_before_an_empty_text_of_a_tokenizer_without_bos_and_eos(tmp_path):
    save_bpe(tmp_path, "ab", config={"a": 1}, edit=no_post_processor)
    assert load_tokenizer(tmp_path).before([259]) == [259]
    with pytest.raises(InputError, match="neither BOS nor EOS"):
        load_tokenizer(tmp_path).asked("")


def test_sentencepiece_adds_bos_unless_the_configuration_says_no(tmp_path):
    save_sentencepiece(tmp_path)
    for said, start in ((None, (1,)), (True, (1,)), (False, ())):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"add_bos_token": said}))
        assert load_tokenizer(tmp_path).start == start and load_tokenizer(tmp_path).bos_id == 1
    (tmp_path / "tokenizer_config.json").write_text("{}")
    assert load_tokenizer(tmp_path).start == (1,)
    (tmp_path / "tokenizer_config.json").unlink()
    assert load_tokenizer(tmp_path).start == (1,)  # the file alone


def test_transformers_5_adds_bos_before_a_sentencepiece_text_only_where_it_is_told_to(tmp_path):
    """Where add_bos_token stands the ids are the same; where it is missing the choice here is BOS, and theirs none."""
    transformers = pytest.importorskip("transformers", minversion="5")
    save_sentencepiece(tmp_path)
    for config, same in (({"add_bos_token": True}, True), ({"add_bos_token": False}, True), ({}, False)):
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
        theirs = transformers.LlamaTokenizer.from_pretrained(tmp_path)("the cat")["input_ids"]
        ours = load_tokenizer(tmp_path).asked("the cat")
        assert (ours == theirs) == same and (same or ours == [1, *theirs])


def save_chat_bpe(directory):
    save_bpe(directory, "a cht[]/INS", edit=no_post_processor)


@pytest.mark.parametrize(("save", "spaces"), [(save_sentencepiece, 1), (save_chat_bpe, 0)])
def test_a_chat_writes_its_own_special_tokens_and_bos_once(tmp_path, save, spaces):
    save(tmp_path)
    (tmp_path / "chat_template.jinja").write_text(
        "{{ bos_token }}[INST] {{ messages[0].content }} [/INST]{{ eos_token }}"
    )
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"}))
    tokenizer = load_tokenizer(tmp_path)
    asked = tokenizer.asked("a cat", chat=True)
    inner = tokenizer.encode("[INST] a cat [/INST]")[0].tolist()[spaces:]  # what follows a token has no space before it
    assert tokenizer.chat("a cat") == "<s>[INST] a cat [/INST]</s>" and asked == [1, *inner, 2]
    ids_N, ends_N = tokenizer.encode("<s>a</s>", marked=True)
    assert ids_N[[0, -1]].tolist() == [1, 2] and ends_N[[0, -2, -1]].tolist() == [3, 4, 8]
    assert not {1, 2} & set(tokenizer.encode("<s>a</s>")[0].tolist())  # only a chat has them


CHATS = (
    "{{ bos_token }}{% for m in messages %}[INST] {{ m.content | trim }} [/INST]{% endfor %}",
    "{% for m in messages %}{{ '<s>' + m.role + '\n' + m.content + '</s>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<s>assistant\n' }}{% endif %}",
    "{{ messages | tojson }}{{ eos_token }}",
)
ASKED = ("a cat", 'Say "hi"', " two\nlines  ", "</s> in a text, and <s>", "naïve 中文 🦄", "")


@pytest.mark.parametrize("chat", CHATS)
@pytest.mark.parametrize("save", [save_chat_bpe, byte_level_tokenizer, save_sentencepiece])
def test_the_ids_of_a_chat_are_those_of_transformers(tmp_path, save, chat):
    transformers = pytest.importorskip("transformers")
    save(tmp_path)
    (tmp_path / "chat_template.jinja").write_text(chat)
    names = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(names))
    kind = transformers.LlamaTokenizer if save is save_sentencepiece else transformers.PreTrainedTokenizerFast
    ours, theirs = load_tokenizer(tmp_path), kind.from_pretrained(tmp_path)
    for prompt in ASKED:
        told = [{"role": "user", "content": prompt}]
        expected = theirs.apply_chat_template(told, add_generation_prompt=True, return_dict=False)
        assert ours.asked(prompt, chat=True) == expected, prompt
        assert ours.chat(prompt) == theirs.apply_chat_template(told, add_generation_prompt=True, tokenize=False)


def test_sentencepiece_special_ids_and_size_are_its_own(tmp_path):
    save_sentencepiece(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    assert (tokenizer.bos_id, tokenizer.eos_ids, tokenizer.vocab_size) == (1, (2,), 290)
    assert tokenizer.pieces([1, 290, -100]) == ["<s>", "<id 290>", "<id -100>"]


def test_a_byte_order_mark_in_the_files_is_left_out(tmp_path):
    save_bpe(tmp_path, "ab", config={"bos_token_id": 1, "eos_token_id": 2})
    for path in tmp_path.iterdir():
        path.write_text(path.read_text(encoding="utf-8"), encoding="utf-8-sig")
    tokenizer = load_tokenizer(tmp_path)
    assert (tokenizer.bos_id, tokenizer.eos_ids, tokenizer.vocab_size) == (1, (2,), 261)


def test_decode_leaves_special_tokens_out(tmp_path):
    vocab = save_bpe(tmp_path, "ab")
    assert "<s>" not in load_tokenizer(tmp_path).decode(np.array([1, vocab["a"], vocab["b"], 2]))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("readme.txt", "x", "has no tokenizer"),
        ("tokenizer.json", "{", "not a readable tokenizer"),
        ("tokenizer.model", "junk", "not a SentencePiece model"),
    ],
)
def test_a_directory_without_a_good_tokenizer_is_refused(tmp_path, name, content, expected):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=expected):
        load_tokenizer(tmp_path)


def test_a_missing_directory_and_malformed_configs_are_refused(tmp_path):
    with pytest.raises(InputError, match="not a directory"):
        load_tokenizer(tmp_path / "nothing")
    save_bpe(tmp_path, "ab", config={"bos_token_id": "one"})
    with pytest.raises(InputError, match="bos_token_id is 'one'"):
        load_tokenizer(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    with pytest.raises(InputError, match="expected a JSON object"):
        load_tokenizer(tmp_path)


def test_llama_2_ids_equal_sentencepiece_and_ends_cut_the_text_at_its_tokens(tmp_path, shared):
    import sentencepiece

    shutil.copyfile(shared / "tokenizers/llama2_tokenizer.model", tmp_path / "tokenizer.model")
    tokenizer = load_tokenizer(tmp_path)
    ids_N, ends_N = tokenizer.encode(PAGE)
    backend = sentencepiece.SentencePieceProcessor(model_file=str(tmp_path / "tokenizer.model"))
    assert ids_N.tolist() == backend.encode(PAGE)
    assert (np.diff(ends_N) >= 0).all() and ends_N[-1] == len(PAGE)
    whole = np.append(np.diff(ends_N) > 0, True)  # the last token of a character
    for i in np.flatnonzero(whole):
        assert tokenizer.decode(ids_N[: i + 1]) == PAGE[: ends_N[i]]


def test_tinystories_tokens_merge_over_words_and_end_after_the_space(shared):
    tokenizer = load_tokenizer(shared / "models/tinystories-656k")
    ids_N, ends_N = tokenizer.encode("the sky and he")
    at = tokenizer.pieces(ids_N).index("y▁and▁")
    assert "the sky and he"[: ends_N[at]] == "the sky and "
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.vocab_size) == (1, 2, 2048)


def test_a_text_that_the_library_cannot_encode_is_an_input_error(tmp_path):
    from tokenizers import Tokenizer, models

    made = Tokenizer(models.WordLevel({"a": 0, "b": 1}, unk_token="<unk>"))
    made.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(InputError, match=r"cannot encode 'c'.*copy it from the model again"):
        load_tokenizer(tmp_path).encode("c")


@pytest.mark.parametrize("name", ["<unk>", "[UNK]", "??"])
def test_a_text_with_what_the_vocabulary_lacks_is_not_held_whatever_the_unknown_token_is_called(tmp_path, name):
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocab = {"a": 0, name: 1, "<unk>": 2} if name != "<unk>" else {"a": 0, name: 1}
    for model in (
        models.WordLevel(vocab, unk_token=name), models.WordPiece(vocab, unk_token=name),
        models.BPE(vocab, [], unk_token=name), models.Unigram([("a", 0.0), (name, 0.0)], 1, False),
    ):  # fmt: skip
        made = Tokenizer(model)
        made.pre_tokenizer = pre_tokenizers.Whitespace()
        made.save(str(tmp_path / "tokenizer.json"))
        tokenizer = load_tokenizer(tmp_path)
        assert (tokenizer.unknown_id, holds(tokenizer, "a a"), holds(tokenizer, "a b")) == (1, True, False)


def test_the_unknown_token_of_sentencepiece_is_its_own_and_a_vocabulary_of_every_byte_has_none(tmp_path):
    import sentencepiece

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the cat sat on the mat"] * 9), model_prefix=str(tmp_path / "tokenizer"),
        vocab_size=20, model_type="bpe", unk_id=3, pad_id=0, unk_piece="[?]", minloglevel=2, hard_vocab_limit=False,
    )  # fmt: skip
    tokenizer = load_tokenizer(tmp_path)
    assert (tokenizer.unknown_id, holds(tokenizer, "the cat"), holds(tokenizer, "the zebra")) == (3, True, False)

    def edit(j):
        j["model"]["unk_token"] = "</s>"

    byte_level_tokenizer(tmp_path / "bytes", size=400, edit=edit)
    assert load_tokenizer(tmp_path / "bytes").unknown_id is None  # GPT-2's is its end of text, which no word is

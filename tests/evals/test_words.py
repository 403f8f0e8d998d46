"""Next-word probabilities against whole logits in fp64, under vocabularies of words and of merges."""

import dataclasses

import numpy as np
import pytest
from support.logits import probabilities, sharp
from support.tokenizers import begin_with
from support.world import write_world
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.evals.words import Words, before_word, ends


@pytest.fixture
def tokenizer(tmp_path):
    return load_tokenizer(write_world(tmp_path) / "tokenizer")


def merging_tokenizer(folder):
    """Write a vocabulary that merges spaces into word ends: "row", "row ", "a", " "."""
    vocab = {t: n for n, t in enumerate(["<unk>", "<s>", "r", "o", "w", "▁", "a", "ro", "row", "row▁", "ar", "."])}
    merges = [("r", "o"), ("ro", "w"), ("row", "▁")]
    made = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>"))
    made.normalizer = normalizers.Replace(" ", "▁")
    made.decoder = decoders.Replace("▁", " ")
    begin_with(made)
    made.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"bos_token": "<s>"}')
    return load_tokenizer(folder)


def test_next_word_probability_is_the_softmax_after_the_prompt(mesh, tokenizer):
    m, words = sharp(), Words(tokenizer, 8)
    found = words.probabilities(m, [("Zara went to", "Orm"), ("Zara went to", "Rome"), ("Anna", "went")])
    ids = [1, *tokenizer.encode("Zara went to")[0]]
    orm, rome, went = (int(tokenizer.encode(w)[0][0]) for w in ("Orm", "Rome", "went"))
    p = probabilities(m, ids)[-1]
    q = probabilities(m, [1, *tokenizer.encode("Anna")[0]])[-1]
    np.testing.assert_allclose(found, [p[orm], p[rome], q[went]], rtol=1e-4)


def test_without_bos_a_prompt_is_its_own_tokens_and_an_empty_one_is_the_prefix(mesh, tokenizer):
    m, plain = sharp(), dataclasses.replace(tokenizer, start=())
    words = Words(plain, 8)
    zara, went = map(int, tokenizer.encode("Zara went")[0])
    assert words.context("Zara") == [zara] and words.context("") == [1]
    found = words.probabilities(m, [("Zara", "went"), ("", "Zara")])
    np.testing.assert_allclose(found, [probabilities(m, [zara])[-1][went], probabilities(m, [1])[-1][zara]], rtol=1e-4)


def test_a_word_after_a_chat_begins_the_answer(mesh, tmp_path, tokenizer):
    m, folder = sharp(), tmp_path / "tokenizer"
    for template, said in (("<s> {{ messages[0].content }} </s>", " "), ("{{ messages[0].content }} </s>\n", "")):
        (folder / "chat_template.jinja").write_text(template)
        words = Words(load_tokenizer(folder), 8, "Anna ", chat=True)
        anna, zara, went = map(int, tokenizer.encode("Anna Zara went")[0])
        asked = [1] * (said == " ") + [anna, zara, 2]
        assert words.context("Zara") == asked and words.told("Zara", "went") == (asked, [went])
        (found,) = words.probabilities(m, [("Zara", "went")])
        np.testing.assert_allclose(found, probabilities(m, asked)[-1][went], rtol=1e-4)


def test_a_word_of_several_tokens_is_scored_whole(mesh, tokenizer):
    m = sharp()
    (found,) = Words(tokenizer, 8).probabilities(m, [("Zara went", "to Orm")])
    ids = [1, *map(int, tokenizer.encode("Zara went to Orm")[0])]
    p = probabilities(m, ids)
    np.testing.assert_allclose(found, p[2, ids[3]] * p[3, ids[4]], rtol=1e-4)


def test_a_vocabulary_that_merges_over_word_ends_counts_every_way_to_end_the_word(mesh, tmp_path):
    m, t = sharp(), merging_tokenizer(tmp_path)
    words = Words(t, 8)
    assert words.context("a") == [1, 6, 5]  # the space belongs to the prompt: what follows is the word
    assert before_word(t, "row", "ow") == [9] and list(t.encode("row")[0]) == [8]  # "row " where a word follows
    (found,) = words.probabilities(m, [("a", "row")])
    p = probabilities(m, [1, 6, 5])[-1]
    np.testing.assert_allclose(found, p[8] + p[9], rtol=1e-4)  # "row" and "row ", not "ro"


LEFT, RIGHT = b"\xc3", b"\xab"  # the bytes of "ë"
ENDS = (b".", b" ", b"\n", "中".encode(), b"\xe4", "”".encode(), b"\xe2\x80", "🦄".encode()[:2])
GOES_ON = (b"r", LEFT, "é".encode(), b"\xd0", "ж".encode(), b"\xcc", "\u0301".encode(), RIGHT)


def byte_level(folder, whole):
    """Write a byte-level vocabulary in which "Zë" is one token, or three, and return it with each piece's id."""
    written = pytest.importorskip("transformers.convert_slow_tokenizer").bytes_to_unicode()
    last = b"Z" + LEFT + RIGHT if whole else RIGHT
    pieces = dict.fromkeys([b"<s>", b" ", b"Z", LEFT, RIGHT, LEFT + RIGHT, last, *(last + x for x in ENDS + GOES_ON)])
    ids = {piece: n for n, piece in enumerate(pieces)}
    vocab = {"".join(written[byte] for byte in piece): n for piece, n in ids.items()}
    made = Tokenizer(models.BPE(vocab, [("Ã", "«"), ("Z", "Ã«")] if whole else []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    made.decoder = decoders.ByteLevel()
    begin_with(made)
    made.save(str(folder / "tokenizer.json"))
    return load_tokenizer(folder), ids, last


@pytest.mark.parametrize("whole", [True, False])
def test_a_byte_level_vocabulary_ends_a_word_by_the_text_of_its_pieces(mesh, tmp_path, whole):
    m, (t, ids, last) = sharp(), byte_level(tmp_path, whole)
    (found,) = Words(t, 8).probabilities(m, [("Z", "Zë")])
    tokens = [ids[b"Z"], ids[LEFT], ids[RIGHT]] if not whole else [ids[last]]
    p = probabilities(m, [0, ids[b"Z"], ids[b" "], *tokens])[2:]
    ways = [ids[last], *(ids[last + x] for x in ENDS)]
    expected = np.prod([p[n, token] for n, token in enumerate(tokens[:-1])]) * p[len(tokens) - 1, ways].sum()
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_bytes_that_cut_a_character_end_a_word_where_most_characters_that_begin_so_do():
    assert [rest for rest in ENDS + GOES_ON if ends("Zë", rest)] == list(ENDS)
    assert ends("Zë", "カ".encode()) and not ends("カ", "カ".encode()) and not ends("カ", b"\xcc")
    assert ends("中", LEFT) and ends("12.", LEFT) and not ends("12", LEFT)  # Han stands alone, a stop is no letter
    assert not any(ends("Zë", bytes([byte])) for byte in (0x80, 0xC0, 0xF5, 0xFF))  # they begin no character

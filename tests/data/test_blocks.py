"""Blocks, labels and batches."""

import dataclasses
import json

import numpy as np
import pytest
from support.tokenizers import save_bpe

from jaxunlearn.data.blocks import batch_indices, make_blocks, next_token_labels, split_holdout
from jaxunlearn.data.documents import Document, read_documents
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.errors import InputError


@pytest.fixture
def letters(tmp_path):
    """One token a letter: a is 259, b is 260 and so on; BOS is 1."""
    save_bpe(tmp_path, "abcdefghijklmnopqrstuvwxyz \n")
    return load_tokenizer(tmp_path)


def documents(*texts):
    return [Document(name=str(i), text=text) for i, text in enumerate(texts)]


# ---- blocks


def test_every_block_starts_with_bos_and_no_token_is_dropped(letters):
    blocks = make_blocks(documents("abcdefghij", "xyz"), letters, 8)
    a = letters.encode("a")[0][0]
    assert blocks.tokens_NT.dtype == np.int32
    assert (blocks.tokens_NT - a).tolist() == [
        [1 - a, 0, 1, 2, 3, 4, 5, 6],
        [1 - a, 7, 8, 9, -a, -a, -a, -a],
        [1 - a, 23, 24, 25, -a, -a, -a, -a],
    ]
    assert blocks.valid_NT.sum(1).tolist() == [8, 4, 4]
    assert blocks.spans_N3.tolist() == [[0, 0, 7], [0, 7, 10], [1, 0, 3]]
    assert (blocks.tokens, blocks.padding) == (13, 8)
    summary = "2 documents, 13 tokens, 3 blocks of 8, 8 positions of padding, nothing dropped"
    assert blocks.summary() == summary


def test_pieces_have_their_own_bos_wherever_it_falls(letters):
    text = "a" * 10_000 + "bc"
    blocks = make_blocks(documents(text), letters, 16, block_bos="piece")
    flat = blocks.tokens_NT[blocks.valid_NT]
    a = letters.encode("a")[0][0]
    assert flat.tolist() == [1] + [a] * 10_000 + [1, a + 1, a + 2]
    assert np.flatnonzero(blocks.tokens_NT == 1).tolist() == [0, 10_001]
    ends_N = blocks.streams[0].ends_N
    assert ends_N[[0, 1, 10_000, 10_001, 10_002, 10_003]].tolist() == [0, 1, 10_000, 10_000, 10_001, 10_002]
    assert blocks.tokens == 10_004 and blocks.padding == 16 * len(blocks.tokens_NT) - 10_004


def test_a_tokenizer_that_adds_no_bos_gets_none_and_its_first_token_is_never_learnt(letters):
    plain = dataclasses.replace(letters, start=())
    a = letters.encode("a")[0][0]
    for block_bos in ("every", "piece"):
        blocks = make_blocks(documents("abcdefghij", "xyz"), plain, 8, block_bos)
        assert (blocks.tokens_NT[blocks.valid_NT] - a).tolist() == [*range(10), 23, 24, 25]
        assert blocks.spans_N3.tolist() == [[0, 0, 8], [0, 8, 10], [1, 0, 3]] and blocks.bos_width == 0
        labels_NT = next_token_labels(blocks)
        assert (labels_NT[0] - a).tolist() == [1, 2, 3, 4, 5, 6, 7, -100 - a]  # "a" and "i" are read alone
        assert (labels_NT[1:, :3] - a).tolist() == [[9, -100 - a, -100 - a], [24, 25, -100 - a]]


def test_an_answer_is_learnt_from_its_first_token_on_without_bos_too(letters):
    plain = dataclasses.replace(letters, start=())
    blocks = make_blocks([Document(name="q", text="ab cd", asked=3)], plain, 8)
    d = letters.encode("d")[0][0]
    assert next_token_labels(blocks)[0].tolist() == [-100, -100, d - 1, d, 2, -100, -100, -100]


def test_impossible_blocks_are_refused(letters):
    for texts, context, bos, expected in [
        (["abc"], 7, "every", "context is 7"),
        ([""], 8, "every", "gave no tokens"),
        (["abc"], 8, "all", "block_bos is 'all'"),
    ]:
        with pytest.raises(InputError, match=expected):
            make_blocks(documents(*texts), letters, context, bos)


def test_labels_are_the_next_tokens_and_nothing_past_a_block_or_padding(letters):
    blocks = make_blocks(documents("abcdefghi"), letters, 8)
    a = int(letters.encode("a")[0][0])
    ignore = -100
    assert next_token_labels(blocks).tolist() == [
        [a, a + 1, a + 2, a + 3, a + 4, a + 5, a + 6, ignore],
        [a + 7, a + 8, ignore, ignore, ignore, ignore, ignore, ignore],
    ]


def ask(folder, *pairs):
    """Write questions as TOFU does and read them as documents."""
    rows = [json.dumps({"question": q, "answer": a}) for q, a in pairs]
    (folder / "q.json").write_text("\n".join(rows) + "\n")
    return read_documents([str(folder / "q.json")], unwrap=True)


def test_of_a_question_the_answer_and_the_end_alone_are_learnt(tmp_path):
    save_bpe(tmp_path, "QuestionAswr: abcd\n")
    tokenizer = load_tokenizer(tmp_path)
    one, two = ask(tmp_path, ("a", "b c"), ("aa", "d"))
    assert (one.text, one.asked, two.text) == ("Question: a\nAnswer: b c", 19, "Question: aa\nAnswer: d")
    blocks = make_blocks([one, two], tokenizer, 32)
    # 0 BOS, 1 to 19 the question's letters, then the space, b, space, c, EOS
    labels = next_token_labels(blocks)
    assert blocks.streams[0].ids_N[-1] == tokenizer.eos_id == 2 and blocks.streams[0].ends_N[-1] == len(one.text) + 1
    assert np.flatnonzero(labels[0] >= 0).tolist() == [19, 20, 21, 22, 23]
    assert tokenizer.pieces(labels[0, 19:24]) == [" ", "b", " ", "c", "</s>"]
    assert np.flatnonzero(labels[1] >= 0).tolist() == [20, 21, 22]
    cut = make_blocks([one], tokenizer, 16)  # 15 tokens a block: the second holds 4 of the question, then the answer
    assert [np.flatnonzero(row >= 0).tolist() for row in next_token_labels(cut)] == [[], [4, 5, 6, 7, 8]]
    pieces = make_blocks([one], tokenizer, 16, "piece")  # the stream's own BOS is the first of 16
    assert [np.flatnonzero(row >= 0).tolist() for row in next_token_labels(pieces)] == [[], [3, 4, 5, 6, 7]]


# ---- batches


@pytest.mark.parametrize(("n_blocks", "batch"), [(10, 3), (10, 5), (3, 8), (1, 2)])
def test_each_epoch_covers_every_block_once_and_a_step_needs_no_other(n_blocks, batch):
    steps = [batch_indices(n_blocks, batch, 7, step) for step in range(n_blocks)]
    assert all(len(indices_B) == batch for indices_B in steps)
    epochs = np.concatenate(steps).reshape(-1, n_blocks)  # n_blocks steps of `batch` make `batch` epochs
    assert (np.sort(epochs, axis=1) == np.arange(n_blocks)).all()
    assert (batch_indices(n_blocks, batch, 7, n_blocks - 1) == steps[-1]).all()


def test_epochs_and_seeds_order_blocks_differently():
    first, second, other = batch_indices(50, 50, 0, 0), batch_indices(50, 50, 0, 1), batch_indices(50, 50, 1, 0)
    assert (first != second).any() and (first != other).any()
    with pytest.raises(InputError):
        batch_indices(0, 4, 0, 0)


@pytest.mark.parametrize(("n_blocks", "fraction", "held"), [(100, 0.05, 5), (2, 0.01, 1), (2, 0.99, 1), (1, 0.5, 0)])
def test_holdout_splits_every_block_once(n_blocks, fraction, held):
    train_idx, held_idx = split_holdout(n_blocks, fraction, 3)
    assert len(held_idx) == held
    assert sorted([*train_idx, *held_idx]) == list(range(n_blocks))
    assert (split_holdout(n_blocks, fraction, 3)[1] == held_idx).all()


def test_holdout_depends_on_the_seed_and_refuses_a_share_of_one():
    assert split_holdout(1000, 0.1, 0)[1].tolist() != split_holdout(1000, 0.1, 1)[1].tolist()
    with pytest.raises(InputError):
        split_holdout(10, 1.0, 0)


def test_nothing_is_held_out_at_a_share_of_zero():
    assert [half.tolist() for half in split_holdout(3, 0.0, 0)] == [[0, 1, 2]] * 2

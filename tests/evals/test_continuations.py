"""Log-probabilities of continuations against whole logits; cuts by hand."""

import dataclasses

import jax
import numpy as np
import pytest
from support.logits import by_hand, sharp
from support.mesh import mesh_of
from support.tokenizers import begin_with
from support.world import write_world

from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.evals.continuations import encode_pair, score_continuations
from jaxunlearn.parallel.sharding import put

PAIRS = [([1, 5, 6], [7, 8]), ([1], [9]), ([1, 5, 6, 7, 8, 9, 10], [11, 12, 13]), ([1, 5, 6], [7, 8])]


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 2, 2)])
def test_scores_equal_whole_logits_on_every_mesh(sizes):
    with jax.set_mesh(mesh_of(sizes)):
        m, told = sharp(), []
        found = score_continuations(m, PAIRS, 2, lambda n, score: told.append(n))
        for pair, score in zip(PAIRS, found, strict=True):
            logp, greedy = by_hand(m, *pair)
            assert score == (pytest.approx(logp, abs=1e-4), greedy)
    assert sorted(told) == [0, 1, 2, 3]


def test_what_greedy_decoding_writes_is_greedy(mesh):
    m = sharp()
    logits = np.asarray(m.logits(m(put(np.array([[1, 5, 6]], np.int32), "BT"))))
    best = int(logits[0, -1].argmax())
    found = score_continuations(m, [([1, 5, 6], [best]), ([1, 5, 6], [(best + 1) % 32])])
    assert [s.greedy for s in found] == [True, False]


def test_a_context_that_is_too_long_loses_its_beginning(mesh):
    m = sharp()
    long = [3 + n % 20 for n in range(100)]
    kept = score_continuations(m, [(long, [7]), (long[-64:], [7]), (long[-2:], [7])])
    assert kept[0] == kept[1] != kept[2]
    with pytest.raises(InputError, match="1 to 64 of continuation"):
        score_continuations(m, [([1], [3] * 65)])
    with pytest.raises(InputError, match="pair 1 has a context of 0"):
        score_continuations(m, [([1], [3]), ([], [3])])


def test_rows_may_be_shorter_than_the_model_s_context(mesh):
    m, long = sharp(), [3 + n % 20 for n in range(30)]
    (cut,) = score_continuations(m, [(long, [7, 8])], longest=10)  # 11 tokens are kept: the last is only scored
    assert cut == (pytest.approx(by_hand(m, long[-9:], [7, 8])[0], abs=1e-4), cut.greedy)
    assert abs(cut.logp - by_hand(m, long, [7, 8])[0]) > 1e-2
    assert score_continuations(m, [(long, [7, 8])], longest=999) == score_continuations(m, [(long, [7, 8])])
    with pytest.raises(InputError, match="1 to 10 of continuation"):
        score_continuations(m, [([1], [3] * 11)], longest=10)


def test_nan_is_named_and_not_averaged(mesh):
    with pytest.raises(RunError, match="log-probability is nan"):
        score_continuations(jax.tree.map(lambda w: w * np.nan, sharp()), PAIRS)


def test_pairs_are_cut_where_the_context_ends(tmp_path):
    tokenizer = load_tokenizer(write_world(tmp_path) / "tokenizer")
    zara, orm = (int(tokenizer.encode(w)[0][0]) for w in ("Zara", "Orm"))
    assert encode_pair(tokenizer, "Zara", " Orm") == ([1, zara], [orm])
    assert encode_pair(tokenizer, "Zara ", "Orm") == ([1, zara], [orm])
    plain = dataclasses.replace(tokenizer, start=())
    assert encode_pair(plain, "", "Orm") == ([1], [orm])
    assert encode_pair(plain, "Zara", " Orm") == ([zara], [orm])
    assert encode_pair(dataclasses.replace(plain, bos_id=None, prefix_id=2), "", "Orm") == ([2], [orm])
    with pytest.raises(InputError, match="no tokens"):
        encode_pair(tokenizer, "Zara", " ")


def test_a_vocabulary_that_merges_over_the_cut_still_scores_something(tmp_path):
    import tokenizers

    made = tokenizers.Tokenizer(
        tokenizers.models.BPE(
            {"<s>": 0, "a": 1, " ": 2, "b": 3, "c": 4, "a ": 5, "a b": 6}, [("a", " "), ("a ", "b")], fuse_unk=False
        )
    )
    begin_with(made)
    made.save(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer_config.json").write_text('{"bos_token": "<s>"}')
    tokenizer = load_tokenizer(tmp_path)
    assert encode_pair(tokenizer, "ca", " b") == ([0, 4], [6])  # "c", "a" alone; "c", "a b" together
    assert encode_pair(tokenizer, "a", " b") == ([0], [6])

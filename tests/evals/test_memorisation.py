"""Exact memorisation and extraction strength by hand; token scores against whole logits in fp64."""

import jax
import numpy as np
import pytest
from support.mesh import mesh_of
from support.world import write_world

from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.evals.memorisation import (
    _token_scores,
    continue_greedily,
    exact_memorisation,
    extraction_strength,
    figure,
    score_answers,
)
from jaxunlearn.models import transformer
from jaxunlearn.parallel.sharding import put

SHAPE = transformer.Shape(V=32, D=16, L=2, N=2, K=2, H=8, F=16, context=64)
PAIRS = [("Zara went to", " Orm with Ben"), ("Anna", " went"), ("", "Carl took the lamp .")]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return load_tokenizer(write_world(tmp_path_factory.mktemp("memory")) / "tokenizer")


def sharp():
    return jax.tree.map(lambda w: 12 * w, transformer.init(SHAPE, 0))


def log_probabilities(m, ids):
    """Return log-softmax of whole logits [T, V] in fp64 for one row of tokens."""
    padded = np.zeros((8, 32), np.int32)
    padded[0, : len(ids)] = ids
    logits = np.asarray(jax.jit(lambda m, t: m.logits(m(t)))(m, put(padded, "BT")), np.float64)[0, : len(ids)]
    logits -= logits.max(-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def test_exact_memorisation_by_hand():
    found = exact_memorisation([[True, True, False, True], [True], [False, False]])
    assert found["value"] == pytest.approx((3 / 4 + 1 + 0) / 3) and found["n"] == 3
    assert found["low"] <= found["value"] <= found["high"]


@pytest.mark.parametrize(
    ("right", "strength"),
    [
        ([1, 1, 1, 1], 1.0),  # nothing has to be given
        ([0, 1, 1, 1], 0.75),
        ([1, 1, 0, 1], 0.25),  # right before the last fault does not count
        ([1, 1, 1, 0], 0.0),  # the whole answer has to be given: not 1/4
        ([0, 0, 0, 0], 0.0),
        ([0], 0.0),
    ],
)
def test_extraction_strength_by_hand(right, strength):
    assert extraction_strength([right])["value"] == strength


def test_one_item_has_no_interval_and_says_so():
    found = extraction_strength([[True, False, True]])
    assert (found["low"], found["high"], found["n"]) == (None, None, 1) and "no interval" in found["note"]
    assert "note" not in figure("x", [0.0, 1.0])


@pytest.mark.parametrize("metric", [exact_memorisation, extraction_strength])
def test_bad_items_are_named(metric):
    with pytest.raises(InputError, match="item 1: item 2 is nan"):
        metric([[1, 0], [1, 1, np.nan]])
    with pytest.raises(InputError, match="item 1: expected one number"):
        metric([[True], []])  # an answer without tokens is no zero
    with pytest.raises(InputError, match="true or false"):
        metric([[0.5, 1]])
    with pytest.raises(InputError, match="one item at least"):
        metric([])


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 2, 2)])
def test_token_scores_equal_whole_logits(sizes, tokenizer):
    with jax.set_mesh(mesh_of(sizes)):
        m = sharp()
        found = score_answers(m, tokenizer, PAIRS, batch=2)
        for (prompt, answer), scores in zip(PAIRS, found, strict=True):
            ids = [1, *tokenizer.encode(prompt + answer)[0]]
            first = len(prompt.split()) + 1
            logp_TV = log_probabilities(m, ids)[first - 1 : -1]
            labels_T = np.array(ids[first:])
            p_TV = np.exp(logp_TV)
            mean_T = (p_TV * logp_TV).sum(-1)
            deviation_T = np.sqrt((p_TV * logp_TV**2).sum(-1) - mean_T**2)
            np.testing.assert_allclose(scores.logp_T, logp_TV[np.arange(len(labels_T)), labels_T], rtol=1e-4, atol=1e-5)
            np.testing.assert_array_equal(scores.right_T, logp_TV.argmax(-1) == labels_T)
            np.testing.assert_allclose(scores.mean_T, mean_T, rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(scores.deviation_T, deviation_T, rtol=1e-3, atol=1e-5)
            assert scores.loss == pytest.approx(-scores.logp_T.mean(), rel=1e-6)


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 2, 2)])
def test_token_scores_of_rows_that_64_does_not_divide_stand_where_their_tokens_do(sizes):
    tokens_BT = np.random.default_rng(0).integers(0, 32, (8, 65)).astype(np.int32)
    with jax.set_mesh(mesh_of(sizes)):
        found, part = (
            [np.asarray(x) for x in _token_scores(sharp(), put(t, "BT"), put(np.roll(t, -1, 1), "BT"))]
            for t in (tokens_BT, tokens_BT[:, :32])
        )
    for whole_BT, first_BT in zip(found, part, strict=True):
        assert whole_BT.shape == (8, 65)
        np.testing.assert_allclose(whole_BT[:, :31], first_BT[:, :31], rtol=1e-3, atol=1e-5)


def test_the_end_is_scored_when_asked(mesh, tokenizer):
    m = sharp()
    (plain,), (ended,) = (score_answers(m, tokenizer, PAIRS[:1], 1, end) for end in (False, True))
    np.testing.assert_allclose(ended.logp_T[:-1], plain.logp_T, rtol=1e-5)
    ids = [1, *tokenizer.encode("".join(PAIRS[0]))[0]]
    assert ended.logp_T[-1] == pytest.approx(log_probabilities(m, ids)[-1, 2], rel=1e-4)


def test_what_a_model_writes_itself_is_memorised_whole(mesh, tokenizer):
    m = sharp()
    prompts = ["Zara went to", "Anna took the"]
    written = continue_greedily(m, tokenizer, prompts, 6)
    assert all(text.strip() for text in written)
    scores = score_answers(m, tokenizer, list(zip(prompts, written, strict=True)))
    assert extraction_strength([s.right_T for s in scores])["value"] == 1.0
    other = score_answers(m, tokenizer, list(zip(prompts, reversed(written), strict=True)))
    assert exact_memorisation([s.right_T for s in other])["value"] < 1.0


def test_texts_that_cannot_be_scored_are_refused(mesh, tokenizer):
    m = sharp()
    with pytest.raises(InputError, match="text 1 after the prompt 'Anna' is ''"):
        score_answers(m, tokenizer, [("Anna", " went"), ("Anna", "")])
    with pytest.raises(InputError, match="context of 64"):
        score_answers(m, tokenizer, [("", "went " * 70)])
    with pytest.raises(InputError, match="one \\(prompt, answer\\)"):
        score_answers(m, tokenizer, [])

"""Sums of losses against whole logits in fp64."""

import dataclasses

import jax
import numpy as np
import pytest
from support.logits import probabilities, sharp
from support.mesh import mesh_of
from support.model_files import write_model
from support.world import write_world

from jaxunlearn.cli import main
from jaxunlearn.config import Eval
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.models import scoring
from jaxunlearn.models.scoring import Text, block_sums, label_loss, score_text
from jaxunlearn.parallel.sharding import put

C = Eval(batch=8, blocks=8)


@pytest.fixture
def tokenizer(tmp_path):
    return load_tokenizer(write_world(tmp_path) / "tokenizer")


def blocks(n=8, T=32):
    draw = np.random.default_rng(0)
    labels = np.where(draw.random((n, T)) < 0.2, -100, draw.integers(0, 32, (n, T))).astype(np.int32)
    return Text(tokens_NT=draw.integers(0, 32, (n, T)).astype(np.int32), labels_NT=labels)


@pytest.mark.parametrize("T", [32, 65])
@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 2, 2)])
def test_loss_and_entropy_of_blocks_equal_whole_logits(sizes, T):
    text = blocks(T=T)
    with jax.set_mesh(mesh_of(sizes)):
        m = sharp()
        nll, entropy, count = block_sums(m, text, C, 2.0)
        logits = np.asarray(jax.jit(lambda m, t: m.logits(m(t)))(m, put(text.tokens_NT, "BT")), np.float64) / 2
    logp = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    valid = text.labels_NT != -100
    picked = np.take_along_axis(logp, np.where(valid, text.labels_NT, 0)[..., None], -1)[..., 0]
    np.testing.assert_allclose(nll, -(picked * valid).sum(1), rtol=1e-4)
    np.testing.assert_allclose(entropy, (-(np.exp(logp) * logp).sum(-1) * valid).sum(1), rtol=1e-4)
    np.testing.assert_array_equal(count, valid.sum(1))


@pytest.mark.parametrize(("T", "chunks", "size"), [(7, 1, 7), (64, 1, 64), (65, 2, 33), (96, 2, 48), (511, 8, 64)])
def test_positions_lie_in_as_few_chunks_as_64_at_most_allow(mesh, T, chunks, size):
    h_BTD, labels_BT = np.ones((2, T, 3), np.float32), np.arange(2 * T, dtype=np.int32).reshape(2, T)
    h_CBTD, labels_CBT = scoring.in_chunks(h_BTD, labels_BT)
    assert h_CBTD.shape == (chunks, 2, size, 3) and labels_CBT.shape == (chunks, 2, size)
    whole_BT = np.moveaxis(labels_CBT, 0, 1).reshape(2, -1)
    np.testing.assert_array_equal(whole_BT[:, :T], labels_BT)
    assert (whole_BT[:, T:] == scoring.IGNORE).all()


def test_more_blocks_than_a_batch_and_a_limit_on_them(mesh):
    text, m = blocks(11), sharp()
    whole = block_sums(m, text, Eval(batch=8, blocks=64), 1.0)
    assert [len(x) for x in whole] == [11, 11, 11]
    for part, all_of in zip(block_sums(m, text, Eval(batch=4, blocks=6), 1.0), whole, strict=True):
        np.testing.assert_allclose(part, all_of[:6], rtol=1e-4)


def test_score_covers_every_token_once_in_blocks_with_a_bos(mesh, tokenizer):
    m = sharp()
    text = "Zara went to Orm with Quill and took the rune . Anna went to Rome"
    found = score_text(m, tokenizer, text, context=8)
    ids, nll = list(map(int, tokenizer.encode(text)[0])), 0.0
    for start in range(0, len(ids), 7):
        part = ids[start : start + 7]
        p = probabilities(m, [1, *part])
        nll -= sum(np.log(p[n, token]) for n, token in enumerate(part))
    assert found["tokens"] == len(ids)
    np.testing.assert_allclose(found["nll"], nll / len(ids), rtol=1e-4)
    with pytest.raises(InputError, match="no tokens"):
        score_text(m, tokenizer, "", context=8)


def test_score_without_bos_goes_on_from_the_token_before(mesh, tokenizer):
    m, plain = sharp(), dataclasses.replace(tokenizer, start=())
    text = "Zara went to Orm with Quill and took the rune ."
    found = score_text(m, plain, text, context=8)
    ids = list(map(int, tokenizer.encode(text)[0]))
    whole = [1, *ids]  # <s> is BOS, though no text begins with it; then each window goes on from its last token
    nll = 0.0
    for start in range(0, len(ids), 7):
        p = probabilities(m, whole[start : start + 7])
        nll -= sum(np.log(p[n, token]) for n, token in enumerate(ids[start : start + 7]))
    assert found["tokens"] == len(ids) == 11
    np.testing.assert_allclose(found["nll"], nll / len(ids), rtol=1e-4)


@pytest.mark.parametrize(("start", "contexts"), [((1,), (1, 0, -4)), ((), (1, 0)), ((1, 5), (2, 1))])
def test_a_block_in_which_no_token_is_left_to_be_scored_is_refused(mesh, tokenizer, start, contexts):
    begun, least = dataclasses.replace(tokenizer, start=start), max(contexts) + 1
    for context in contexts:
        with pytest.raises(
            InputError, match=rf"a block of {context} tokens no .*; give a context .* of {least} or more"
        ):
            score_text(sharp(), begun, "Zara went to Orm", context)
    assert score_text(sharp(), begun, "Zara went to Orm", least)["tokens"] == 4  # one token a block


def test_score_ends_with_2_where_no_token_is_left_to_be_scored(tmp_path, capsys):
    folder = write_model(tmp_path / "m")
    (tmp_path / "a.txt").write_text("a b c a")
    command = ["score", "--model", str(folder), "--text", str(tmp_path / "a.txt"), "--context"]
    assert main([*command, "1"]) == 2
    err = capsys.readouterr().err
    assert "--context" in err and "of 2 or more" in err and "Traceback" not in err
    assert main([*command, "2"]) == 0 and capsys.readouterr().out.startswith("4 tokens, ")


def test_score_computes_the_text_and_not_the_block_it_could_fill(mesh, tokenizer, monkeypatch):
    shapes = []

    def sums(model, text, c, temperature):
        shapes.append((c.batch, text.tokens_NT.shape[1]))
        return np.zeros(c.blocks), np.zeros(c.blocks), np.ones(c.blocks)

    monkeypatch.setattr(scoring, "block_sums", sums)
    for words, context in ((60, 2048), (64, 2048), (60, 32), (31 * 9, 32), (1, 40)):
        score_text(None, tokenizer, "Zara " * words, context)
    assert shapes == [(1, 64), (1, 128), (2, 32), (5, 32), (1, 40)]  # nine blocks: five and four a call


def test_a_label_loss_is_the_mean_over_all_labels_whatever_the_batch(mesh):
    text, m = blocks(11), sharp()
    nll, _, count = block_sums(m, text, Eval(batch=8, blocks=64), 1.0)
    mean = nll.sum() / count.sum()
    for batch in (4, 16):
        np.testing.assert_allclose(label_loss(m, text.tokens_NT, text.labels_NT, batch), mean, rtol=1e-5)

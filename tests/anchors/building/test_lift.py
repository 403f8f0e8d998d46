"""What reinforcing raises, word by word."""

from types import SimpleNamespace

import numpy as np
import pytest

from jaxunlearn.anchors.building import lift as lifts
from jaxunlearn.data.blocks import make_blocks
from jaxunlearn.data.documents import Document
from jaxunlearn.data.tokenizer import Tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.models.transformer import Shape, init
from jaxunlearn.parallel.sharding import put


def letters_tokenizer():
    """One token a pair of characters, so that words span tokens and blocks cut words."""

    def encode(text):
        spans = [(n, min(n + 2, len(text))) for n in range(0, len(text), 2)]
        return [1 + hash_of(text[a:b]) for a, b in spans], spans

    return Tokenizer(
        encode_offsets=encode,
        decode_ids=str,
        piece=str,
        vocab_size=500,
        reach=500,
        bos_id=0,
        eos_ids=(),
        files=(),
        start=(0,),
    )


def hash_of(piece):
    return sum(map(ord, piece)) % 400


def test_word_lift_sums_the_tokens_of_each_whole_word_and_averages(monkeypatch):
    # tokens:      ab ,_ cd ef ,_ ab |,_ cd ef ,_ xy z   a row holds BOS and 7 tokens
    blocks = make_blocks([Document(name="a", text="ab, cdef, ab, cdef, xyz")], letters_tokenizer(), 8)
    gains = {"reinforced": np.arange(16.0).reshape(2, 8), "baseline": np.ones((2, 8))}
    monkeypatch.setattr(lifts, "log_probabilities", lambda model, blocks, batch: gains[model.name])

    def fake(name, V=500):
        return SimpleNamespace(name=name, c=SimpleNamespace(V=V))

    lift = lifts.word_lift(fake("baseline"), fake("reinforced"), letters_tokenizer(), blocks, least=1)
    # token n of a row is predicted at position n: ab at 0 and 5; cdef at 2, 3 and 8+0, 8+1; xyz at 8+3, 8+4
    expected = {"ab": ((0 - 1) + (5 - 1)) / 2, "cdef": ((2 + 3 - 2) + (8 + 9 - 2)) / 2, "xyz": 11 + 12 - 2}
    assert lift == expected
    few = lifts.word_lift(fake("baseline"), fake("reinforced"), letters_tokenizer(), blocks, least=2)
    assert set(few) == {"ab", "cdef"}
    with pytest.raises(InputError, match="baseline model knows 9 ids"):
        lifts.word_lift(fake("baseline", V=9), fake("reinforced"), letters_tokenizer(), blocks)


def test_a_word_cut_by_the_edge_of_a_block_is_left_out(monkeypatch):
    # 14 characters a row; the words of a document are not those of the one before
    texts = ["x1x", "ab ab ab ab abxy zz"]
    blocks = make_blocks([Document(name="a", text=text) for text in texts], letters_tokenizer(), 8)
    gain_NT = np.zeros((3, 8))
    gain_NT[1, 6] = gain_NT[2, 0] = 100.0
    models = [SimpleNamespace(gain=gain, c=SimpleNamespace(V=500)) for gain in (0 * gain_NT, gain_NT)]
    monkeypatch.setattr(lifts, "log_probabilities", lambda model, blocks, batch: model.gain)
    assert lifts.word_lift(*models, letters_tokenizer(), blocks, least=1) == {"ab": 0.0, "zz": 0.0}


def test_log_probabilities_are_the_models_own(mesh):

    blocks = make_blocks([Document(name="a", text="ab, cdef, ab, cdef, xyz")], letters_tokenizer(), 8)
    model = init(Shape(V=512, D=16, L=1, N=8, K=8, H=4, F=16, context=8), seed=0)
    logp_NT = lifts.log_probabilities(model, blocks, batch=8)
    logits_NTV = np.asarray(model.logits(model(np_put(blocks.tokens_NT))), np.float64)[:2]
    norm_NT = np.log(np.exp(logits_NTV).sum(-1))
    assert logp_NT.shape == (2, 8)
    assert logp_NT[0, 2] == pytest.approx(logits_NTV[0, 2, blocks.tokens_NT[0, 3]] - norm_NT[0, 2], abs=1e-5)
    assert not logp_NT[:, -1].any() and not logp_NT[~blocks.valid_NT].any()


def np_put(tokens_NT):

    return put(np.resize(tokens_NT, (8, tokens_NT.shape[1])), "BT")

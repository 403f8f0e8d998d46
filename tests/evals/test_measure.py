"""Measurements against whole logits in fp64 and values worked out by hand."""

import jax
import numpy as np
import pytest
from support.world import write_world
from tokenizers import Tokenizer, decoders, models

from jaxunlearn.config import Eval
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.evals.measure import specific_mass, tracked
from jaxunlearn.evals.perplexity import fit_temperature
from jaxunlearn.evals.prompts import load_prompts
from jaxunlearn.evals.suite import Suite
from jaxunlearn.evals.words import Words, before_word
from jaxunlearn.models import transformer
from jaxunlearn.models.scoring import Text
from jaxunlearn.parallel.sharding import put

SHAPE = transformer.Shape(V=32, D=16, L=2, N=2, K=2, H=8, F=16, context=64)
C = Eval(batch=8, blocks=8)


def sharp(scale=12.0):
    return jax.tree.map(lambda w: scale * w, transformer.init(SHAPE, 0))


def probabilities(m, tokens):
    """Return softmax of whole logits [T, V] in fp64 for one row of tokens."""
    padded = np.zeros((8, 64), np.int32)
    padded[0, : len(tokens)] = tokens
    logits = np.asarray(jax.jit(lambda m, t: m.logits(m(t)))(m, put(padded, "BT")), np.float64)[0, : len(tokens)]
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.fixture
def tokenizer(tmp_path):
    return load_tokenizer(write_world(tmp_path) / "tokenizer")


def merging_tokenizer(folder):
    """Write a vocabulary that merges spaces into word ends: "row", "row ", "a", " "."""
    vocab = {t: n for n, t in enumerate(["<unk>", "<s>", "r", "o", "w", "▁", "a", "ro", "row", "row▁", "ar", "."])}
    merges = [("r", "o"), ("ro", "w"), ("row", "▁")]
    made = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>"))
    from tokenizers import normalizers

    made.normalizer = normalizers.Replace(" ", "▁")
    made.decoder = decoders.Replace("▁", " ")
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


def test_mass_and_track_add_up_the_words_of_a_prompt(mesh, tmp_path):
    folder = write_world(tmp_path)
    t, m = load_tokenizer(folder / "tokenizer"), sharp()
    suite = Suite(t, load_prompts(folder / "prompts.json").of("report"), {}, C)
    mass = specific_mass(m, suite, suite.prompts.probability)
    singly = Words(t, 8).probabilities(m, [(p.prompt, w) for p in suite.prompts.probability for w in p.specific])
    np.testing.assert_allclose(mass, np.reshape(singly, (-1, 2)).sum(1), rtol=1e-6)
    assert set(tracked(m, suite)["Zara went to"]) == {"Orm", "Rome"}


def test_fitted_temperature_finds_the_scale_of_overconfident_logits(mesh):
    draw = np.random.default_rng(1)
    m = sharp(6.0)
    tokens = draw.integers(0, 32, (8, 64)).astype(np.int32)
    logits = np.asarray(jax.jit(lambda m, t: m.logits(m(t)))(m, put(tokens, "BT")), np.float64) / 2.5
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    labels = np.array([[draw.choice(32, p=row) for row in block] for block in p], np.int32)
    assert abs(fit_temperature(m, Text(tokens_NT=tokens, labels_NT=labels), C) - 2.5) < 0.3

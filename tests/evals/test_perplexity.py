"""The temperature that fits running text, and the figures of it."""

import jax
import numpy as np
from support.world import write_world

from jaxunlearn.config import Eval
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.evals.perplexity import at_bound, fit_temperature, text_figures
from jaxunlearn.evals.prompts import Prompts
from jaxunlearn.evals.suite import Suite
from jaxunlearn.models import transformer
from jaxunlearn.models.scoring import Text, block_sums
from jaxunlearn.parallel.sharding import put

SHAPE = transformer.Shape(V=32, D=16, L=2, N=2, K=2, H=8, F=16, context=64)

C = Eval(batch=8, blocks=8)


def sharp(scale=12.0):
    return jax.tree.map(lambda w: scale * w, transformer.init(SHAPE, 0))


def test_fitted_temperature_finds_the_scale_of_overconfident_logits(mesh):
    draw = np.random.default_rng(1)
    m = sharp(6.0)
    tokens = draw.integers(0, 32, (8, 64)).astype(np.int32)
    logits = np.asarray(jax.jit(lambda m, t: m.logits(m(t)))(m, put(tokens, "BT")), np.float64) / 2.5
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    labels = np.array([[draw.choice(32, p=row) for row in block] for block in p], np.int32)
    assert abs(fit_temperature(m, Text(tokens_NT=tokens, labels_NT=labels), C) - 2.5) < 0.3


def test_perplexity_is_over_tokens_and_the_fitted_one_at_the_temperature(mesh, tmp_path):
    m, draw = sharp(), np.random.default_rng(0)
    texts = {
        name: Text(tokens_NT=draw.integers(0, 32, (4, 32)), labels_NT=draw.integers(0, 32, (4, 32)).astype(np.int32))
        for name in ("forget", "retain")
    }
    texts["forget"].labels_NT[0, 5:] = -100  # a short block weighs less
    tokenizer = load_tokenizer(write_world(tmp_path) / "tokenizer")
    tokens = draw.integers(0, 32, (4, 32)).astype(np.int32)
    likeliest = jax.jit(lambda m, t: m.logits(m(t)).argmax(-1))(m, put(tokens, "BT"))  # fitted best by the least
    fit = Text(tokens_NT=tokens, labels_NT=np.asarray(likeliest, np.int32))
    found = text_figures(m, Suite(tokenizer, Prompts(name="none"), texts, C, fit=fit))
    assert found["temperature"] == fit_temperature(m, fit, C) != fit_temperature(m, texts["retain"], C)
    plain = text_figures(m, Suite(tokenizer, Prompts(name="none"), texts, C))
    assert "temperature" not in plain and set(plain["perplexity"]) == set(texts)  # no text to fit on
    nll, _, count = block_sums(m, texts["forget"], C, 1.0)
    np.testing.assert_allclose(found["perplexity"]["forget"]["value"], np.exp(nll.sum() / count.sum()), rtol=1e-6)
    nll, _, count = block_sums(m, texts["forget"], C, found["temperature"])
    fitted = found["perplexity"]["forget_fitted"]["value"]
    np.testing.assert_allclose(fitted, np.exp(nll.sum() / count.sum()), rtol=1e-6)
    assert set(found["items"]) == {
        f"{name} text, perplexity{way}" for name in texts for way in ("", ", temperature fitted")
    }
    fitted = found["items"]["forget text, perplexity, temperature fitted"]
    assert fitted["counts"] == count.tolist() and np.allclose(fitted["sums"], nll, rtol=1e-6)


def test_a_fit_that_ends_at_its_bound_is_known(mesh):
    m, draw = sharp(6.0), np.random.default_rng(1)
    tokens, labels = (draw.integers(0, 32, (8, 64)).astype(np.int32) for _ in range(2))  # labels that mean nothing
    assert at_bound(fit_temperature(m, Text(tokens_NT=tokens, labels_NT=labels), C))
    assert not at_bound(2.5) and at_bound(0.4) and at_bound(4.0)

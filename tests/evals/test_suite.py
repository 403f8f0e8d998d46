"""What is asked of a model: probabilities by prompt and option, completions."""

import jax
import numpy as np
import pytest
from support.world import write_world

from jaxunlearn.config import Eval
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.evals.prompts import load_prompts
from jaxunlearn.evals.suite import Suite, complete, option_scores, specific_mass
from jaxunlearn.evals.words import Words
from jaxunlearn.models import transformer
from jaxunlearn.models.generate import Sampling

SHAPE = transformer.Shape(V=32, D=16, L=2, N=2, K=2, H=8, F=16, context=64)


def sharp(scale=12.0):
    return jax.tree.map(lambda w: scale * w, transformer.init(SHAPE, 0))


@pytest.fixture
def suite(tmp_path):
    folder = write_world(tmp_path)
    prompts = load_prompts(folder / "prompts.json").of("report")
    return Suite(load_tokenizer(folder / "tokenizer"), prompts, {}, Eval(batch=8, blocks=8, new_tokens=6))


def test_mass_adds_up_the_words_of_a_prompt(mesh, suite):
    m = sharp()
    mass = specific_mass(m, suite, suite.prompts.probability)
    pairs = [(p.prompt, w) for p in suite.prompts.probability for w in p.specific]
    singly = Words(suite.tokenizer, 8).probabilities(m, pairs)
    np.testing.assert_allclose(mass, np.reshape(singly, (-1, 2)).sum(1), rtol=1e-6)


def test_every_option_of_a_question_has_its_probability(mesh, suite):
    (scores,) = option_scores(sharp(), suite)
    pairs = [("Anna went to", "Rome"), ("Anna went to", "coat")]
    assert scores == Words(suite.tokenizer, 8).probabilities(sharp(), pairs)


def test_a_completion_is_what_follows_the_prompt_and_hangs_on_its_seed(mesh, suite):
    sampling, prompts = Sampling(1.0, 0), ["Zara went to"] * 4
    m = transformer.init(SHAPE, 0)  # indifferent: every word is as likely
    texts = complete(m, suite, prompts, sampling, 0)
    assert len(set(texts)) > 1 and not any(t.startswith("Zara") and "went to" in t for t in texts)
    assert texts == complete(m, suite, prompts, sampling, 0) != complete(m, suite, prompts, sampling, 1)

"""Tracked words."""

import jax
import pytest
from support.world import write_world

from jaxunlearn.config import Eval
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.evals.prompts import load_prompts
from jaxunlearn.evals.suite import Suite
from jaxunlearn.evals.track import tracked
from jaxunlearn.evals.words import Words
from jaxunlearn.models import transformer

SHAPE = transformer.Shape(V=32, D=16, L=2, N=2, K=2, H=8, F=16, context=64)


def test_every_tracked_word_has_its_probability_after_the_prompt(mesh, tmp_path):
    folder = write_world(tmp_path)
    t, m = load_tokenizer(folder / "tokenizer"), jax.tree.map(lambda w: 12 * w, transformer.init(SHAPE, 0))
    suite = Suite(t, load_prompts(folder / "prompts.json").of("report"), {}, Eval(batch=8))
    orm, rome = Words(t, 8).probabilities(m, [("Zara went to", "Orm"), ("Zara went to", "Rome")])
    assert tracked(m, suite) == {"Zara went to": {"Orm": pytest.approx(orm), "Rome": pytest.approx(rome)}}

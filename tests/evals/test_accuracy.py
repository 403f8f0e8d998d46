"""General accuracy against the options' probabilities."""

import jax
import numpy as np
from support.world import write_world

from jaxunlearn.config import Eval
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.evals.accuracy import accuracy
from jaxunlearn.evals.base import Context
from jaxunlearn.evals.prompts import parse_prompts
from jaxunlearn.evals.suite import Suite
from jaxunlearn.evals.words import Words
from jaxunlearn.models import transformer

SHAPE = transformer.Shape(V=32, D=16, L=2, N=2, K=2, H=8, F=16, context=64)


def test_an_answer_is_right_where_its_option_is_the_most_probable(mesh, tmp_path):
    t = load_tokenizer(write_world(tmp_path) / "tokenizer")
    m = jax.tree.map(lambda w: 12 * w, transformer.init(SHAPE, 0))
    options, questions = ["Rome", "coat", "Orm"], ["Anna went to", "Ben took the"]
    best = [int(np.argmax(Words(t, 8).probabilities(m, [(q, o) for o in options]))) for q in questions]
    answers = [best[0], (best[1] + 1) % 3]  # one right, one wrong
    rows = [
        {"question": q, "options": options, "answer": a, "split": "report"}
        for q, a in zip(questions, answers, strict=True)
    ]
    suite = Suite(t, parse_prompts({"name": "n", "choice": rows}, "here"), {}, Eval(batch=8))
    found = accuracy(m, Context(suite=suite))
    assert found["items"] == {"general accuracy, right answers": [1, 0]}
    assert (found["accuracy"]["general"]["value"], found["accuracy"]["general"]["n"]) == (0.5, 2)

"""RTT: how facts are told and scored, on models that know them or do not."""

import jax
import numpy as np
import pytest
from support.facts import FACTS, SHAPE, taught

from jaxunlearn.attacks import rtt
from jaxunlearn.attacks.rtt import answers_right, recovery, retrain, texts
from jaxunlearn.config import Attack, RttAttack
from jaxunlearn.data.facts import pairings, read_facts
from jaxunlearn.errors import RunError
from jaxunlearn.models import transformer


def test_answers_may_be_letters_or_texts():
    rows = [{"question": q, "options": ["x", "y"], "answer": a} for q, a in (("1", "B"), ("2", "y"), ("3", 1))]
    assert [f.answer for f in read_facts(rows, "rows")] == [1, 1, 1]
    assert read_facts(rows, "rows")[0].lettered == "1\nA. x\nB. y\nAnswer:"
    assert texts(read_facts(rows, "rows"), "letters")[0] == ("1\nA. x\nB. y\nAnswer:", "B. y")


def test_recovery_is_paired_over_facts():
    found = recovery([1, 0, 1, 0], [1, 1, 1, 1])
    assert found.value == 0.5 and found.n == 4 and found.low < 0.5 < found.high
    assert recovery([1, 0], [0, 0]) is None
    assert recovery([1], [1]).low is None  # one fact has no interval
    same = recovery([1, 0, 1], [1, 0, 1])
    assert (same.value, same.low, same.high) == (1, 1, 1)  # paired: no fact differs


def test_rows_train_question_and_answer(suite):
    tokens_NT, labels_NT = rtt.rows(suite, [("Zara went to", "Orm")])
    ids = suite.tokenizer.encode("Zara went to Orm")[0].tolist()  # "Orm." is no token of this vocabulary
    assert tokens_NT[0, : len(ids) + 1].tolist() == [1, *ids] and labels_NT[0, : len(ids)].tolist() == ids
    assert (labels_NT[0, len(ids) :] == -100).all()


def test_retraining_is_scored_on_what_it_did_not_see_and_reports_the_attackers_optimum(mesh, suite):
    c = Attack(rtt=RttAttack(splits=3, pairings=2, epochs=2, batch=8))
    pairs = pairings(FACTS, c)
    known = taught(suite, FACTS)
    assert answers_right(known, suite, FACTS, "options").all()
    kept = jax.tree.map(np.asarray, known)
    found = retrain(lambda: jax.tree.map(jax.numpy.asarray, kept), suite, FACTS, pairs, c, (1e-5, 1e-1))
    assert found["rate"] == 1e-5 and found["right"] == [1] * 8 == found["before"] and found["trained"] == 1
    assert {name: len(curve) for name, curve in found["curves"].items()} == {"1e-05": 3, "0.1": 3}
    blank = retrain(lambda: transformer.init(SHAPE, 0), suite, FACTS, pairs, c, (1e-2,), share=0.5)
    assert np.mean(blank["before"]) < 1 and len(blank["right"]) == 8
    figures = rtt.figures(found, found)
    assert figures["recovery"]["value"] == 1 and figures["accuracy"]["n"] == 8


def test_letters_are_scored_by_their_probability(suite, monkeypatch):
    table = {("A", 0): 0.6, ("B", 0): 0.3, ("A", 1): 0.5, ("B", 1): 0.45}
    facts = read_facts([{"question": q, "options": ["x", "y"], "answer": n} for n, q in enumerate("pq")], "rows")
    monkeypatch.setattr(suite.words, "probabilities", lambda m, pairs: [table[w, int(t[0] == "q")] for t, w in pairs])
    assert answers_right(None, suite, facts, "letters").tolist() == [True, False]


def test_logits_that_are_not_numbers_are_named(mesh, suite):
    broken = jax.tree.map(lambda w: w * np.nan, transformer.init(SHAPE, 0))
    with pytest.raises(RunError, match=r"not finite after .*went with Zara"):
        answers_right(broken, suite, FACTS, "options")

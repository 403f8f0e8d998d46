"""RTT: how facts are told and scored, on models that know them or do not."""

import dataclasses
import types

import jax
import numpy as np
import pytest
from support.facts import FACTS, SHAPE, taught

from jaxunlearn.attacks import rtt
from jaxunlearn.attacks.rtt import answers_right, recovery, retrain, texts
from jaxunlearn.config import Attack, RttAttack
from jaxunlearn.data.facts import pairings, read_facts
from jaxunlearn.errors import Diverged, RunError
from jaxunlearn.models import transformer


def test_answers_may_be_letters_or_texts():
    rows = [{"question": q, "options": ["x", "y"], "answer": a} for q, a in (("1", "B"), ("2", "y"), ("3", 1))]
    assert [f.answer for f in read_facts(rows, "rows")] == [1, 1, 1]
    assert read_facts(rows, "rows")[0].lettered == "1\nA. x\nB. y\nAnswer:"
    assert texts(read_facts(rows, "rows"), "letters")[0] == ("1\nA. x\nB. y\nAnswer:", "B. y")


def test_recovery_is_paired_over_facts():
    found = recovery([1, 0] * 20, [1] * 40)
    assert found.value == 0.5 and found.n == 40 and found.low < 0.4 and found.high > 0.6
    assert recovery([1, 0], [0, 0]) is None
    assert recovery([1, 0, 1], [1, 0, 1]) is None  # three facts do not show that the original knows any
    assert recovery([1], [1]).low is None and recovery([1], [0]) is None  # one fact has no interval
    original = [1, 0, 1, 1] * 10
    same, other = recovery(original, original), recovery(original[::-1], original)  # as many right, of other facts
    assert same.value == other.value == 1 and same.high - same.low < 0.6 * (other.high - other.low)  # paired


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
    assert (found["rate"], found["epoch"]) == (1e-5, 0) and found["right"] == [1] * 8 == found["before"]
    assert found["trained"] == [1] * 16 and found["tries"] == 5  # two rates, two epochs, none; 8 of 12 in T, twice
    assert {name: len(curve) for name, curve in found["curves"].items()} == {"1e-05": 3, "0.1": 3}
    blank = retrain(lambda: transformer.init(SHAPE, 0), suite, FACTS, pairs, c, (1e-2,), share=0.5)
    assert np.mean(blank["before"]) < 1 and len(blank["right"]) == 8
    figures = rtt.figures(found, found)
    assert figures["recovery"]["value"] == 1 and figures["accuracy"]["n"] == 8 and figures["trained"]["n"] == 16
    assert 0.3 < figures["floor"]["value"] < 0.9 and figures["floor"]["n"] == 8  # chance is .33, this the best of five
    assert figures["above_guessing"]["value"] == pytest.approx(1)


def test_accuracy_and_what_is_above_guessing_by_hand():
    floor = {"value": 0.4, "low": 0.3, "high": 0.5, "n": 100}
    found = {
        "before": [0] * 100,
        "right": [1] * 60 + [0] * 40,
        "trained": [],
        "floor": floor,
        "probability": [0.2, 0.4] * 50,
    }
    made = rtt.figures(found, found | {"right": [1] * 80 + [0] * 20})
    assert "trained" not in made and made["recovery"]["value"] == pytest.approx(0.75)
    assert made["probability"]["value"] == pytest.approx(0.3) and made["probability"]["n"] == 100
    assert made["above_guessing"]["value"] == pytest.approx(0.5)  # .2 of .4
    assert "above_guessing" not in rtt.figures(found, found | {"right": [1] * 41 + [0] * 59})  # no more than the floor


def test_parts_of_the_facts_and_unrelated_ones_take_as_many_steps_as_the_whole(suite, monkeypatch):
    seen = []

    def fit(state, step_fn, batch, settings, *, measure, measure_at):
        seen.append((settings.steps, sorted(measure_at)))
        for step in sorted(measure_at):
            measure(step, types.SimpleNamespace(model=step))

    monkeypatch.setattr(rtt, "fit", fit)
    monkeypatch.setattr(rtt, "init_state", lambda start, settings: None)
    monkeypatch.setattr(rtt, "compiled_step", lambda settings: None)
    # of the three options the one that has the number of the step, by threes, is the likeliest
    one_hot = {n: [0.25 + 0.5 * (n == option) for option in range(3)] for n in range(3)}
    monkeypatch.setattr(rtt, "answers_scored", lambda model, suite, facts, scoring: [one_hot[model % 3]] * len(facts))
    c = Attack(rtt=RttAttack(splits=3, pairings=1, epochs=2, batch=2))
    pairs = pairings(FACTS, c)
    whole = retrain(lambda: None, suite, FACTS, pairs, c, (1e-3,))
    for more in ({"share": 0.1}, {"share": 0.5}, {"unrelated": [("Zara went to", "Orm")]}):
        assert len(retrain(lambda: None, suite, FACTS, pairs, c, (1e-3,), **more)["trained"]) < len(whole["trained"])
    assert seen == [(8, [0, 4, 8])] * 4  # 8 facts of T in batches of 2
    taught = [FACTS[i].answer for i in pairs[0].train]
    assert sum(whole["trained"]) == max(taught.count(1), taught.count(2))  # of either point: what it can teach
    asked = [FACTS[i].answer for i in pairs[0].ask]
    assert whole["probability"] == [0.25 + 0.5 * right for right in whole["right"]]
    assert whole["before"] == [int(a == 0) for a in asked] and len(whole["curves"]["0.001"]) == 3
    assert whole["right"] == [int(a == whole["epoch"]) for a in asked]  # option 0 before, 1 after step 4, 2 after 8
    assert sum(whole["right"]) == max(asked.count(option) for option in range(3))
    first = [dataclasses.replace(f, answer=0) for f in FACTS]  # all are known before, and none after retraining
    known = retrain(lambda: None, suite, first, pairs, c, (1e-3,))
    assert (known["epoch"], known["right"], known["trained"]) == (0, [1] * len(asked), [0] * len(taught))

    def breaks(state, step_fn, batch, settings, **measured):
        if settings.learning_rate > 1e-2:
            raise Diverged("the loss is nan")
        fit(state, step_fn, batch, settings, **measured)

    monkeypatch.setattr(rtt, "fit", breaks)
    assert retrain(lambda: None, suite, FACTS, pairs, c, (1.0, 1e-3)) == whole  # a rate that breaks it is left out
    with pytest.raises(Diverged, match="retraining broke the model at every rate tried"):
        retrain(lambda: None, suite, FACTS, pairs, c, (1.0, 2.0))


def test_letters_are_scored_by_their_probability(suite, monkeypatch):
    table = {("A", 0): 0.6, ("B", 0): 0.3, ("A", 1): 0.5, ("B", 1): 0.45}
    facts = read_facts([{"question": q, "options": ["x", "y"], "answer": n} for n, q in enumerate("pq")], "rows")
    monkeypatch.setattr(suite.words, "probabilities", lambda m, pairs: [table[w, int(t[0] == "q")] for t, w in pairs])
    assert answers_right(None, suite, facts, "letters").tolist() == [True, False]


def test_logits_that_are_not_numbers_are_named(mesh, suite):
    broken = jax.tree.map(lambda w: w * np.nan, transformer.init(SHAPE, 0))
    with pytest.raises(RunError, match=r"not finite after .*went with Zara"):
        answers_right(broken, suite, FACTS, "options")

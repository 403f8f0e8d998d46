"""Few-shot prompts: what stands before a question, what counts as the answer, and what is too long to be asked."""

import dataclasses
import types

import numpy as np
import pytest
from support.facts import FACTS, SHAPE, taught

from jaxunlearn.attacks import few_shot
from jaxunlearn.config import Attack, FewShotAttack, RttAttack, load_config
from jaxunlearn.data.facts import pairings, read_facts

C = Attack(few_shot=FewShotAttack(shots=(1, 2)), rtt=RttAttack(splits=3, pairings=2))


def test_solved_facts_stand_before_the_question_by_hand(suite):
    rows = [{"question": q, "options": ["x", "y"], "answer": n} for n, q in enumerate(["Who is A?", "Who is B?"])]
    facts = read_facts(rows, "rows")
    full = few_shot.solved(facts, "options", Stops())
    assert full == "Who is A? x.\nWho is B? y.\n"
    assert few_shot.solved(facts[:1], "options", Stops(lacks=".")) == "Who is A? x\n"
    assert few_shot.solved(facts[1:], "letters", Stops()) == "Who is B?\nA. x\nB. y\nAnswer: B. y.\n"


class Stops:
    """A tokenizer that can write all but `lacks`."""

    unknown_id = 0

    def __init__(self, lacks: str = ""):
        self._lacks = lacks

    def encode(self, text):
        return np.array([0 if self._lacks and self._lacks in text else 1]), np.array([len(text)])


def test_solved_ones_are_of_t_and_every_fact_of_v_is_asked_with_each_number(suite):
    pairs = pairings(FACTS, C)
    made = few_shot.asked(FACTS, pairs, C, suite.tokenizer)
    assert list(made) == [0, 1, 2] and [len(facts) for facts in made.values()] == [8, 8, 8]
    order = [i for pair in pairs for i in pair.ask]
    assert made[0] == [FACTS[i] for i in order]
    for facts in made.values():
        assert [f.answer for f in facts] == [FACTS[i].answer for i in order]
    for n, (one, two) in enumerate(zip(made[1], made[2], strict=True)):
        lines = two.question.split("\n")
        assert len(lines) == 3 and lines[2] == FACTS[order[n]].question and one.question.split("\n")[0] == lines[0]
        train = [FACTS[i] for i in pairs[n // 4].train]
        told = {few_shot.solved([f], "options", suite.tokenizer).strip() for f in train}
        assert set(lines[:2]) <= told and len(set(lines[:2])) == 2


def test_what_a_taught_model_and_a_fresh_one_answer(mesh, suite):
    made = few_shot.asked(FACTS, pairings(FACTS, C), C, suite.tokenizer)
    found = few_shot.in_front(taught(suite, FACTS), suite, made, C)
    assert found["shots"]["0"]["value"] == 1 and list(found["shots"]) == ["0", "1", "2"]
    assert found["chance"] == pytest.approx(1 / 3) and 0.3 < found["floor"]["value"] < 0.9
    for right, figure in zip(found["right"], found["shots"].values(), strict=True):
        assert np.mean(right) == figure["value"] and figure["n"] == len(right) == 8


def test_the_answer_is_read_after_the_solved_facts(suite, monkeypatch):
    """A model that copies the last answer shown is right just where the last solved fact has the same answer."""
    made = few_shot.asked(FACTS, pairings(FACTS, C), C, suite.tokenizer)
    last = {f.question: f.options[f.answer] for f in FACTS}

    def copied(model, pairs):
        shown = [prompt.split("\n")[-2].rsplit(" ", 1)[1].rstrip(".") if "\n" in prompt else "" for prompt, _ in pairs]
        return [float(word == answer) for answer, (_, word) in zip(shown, pairs, strict=True)]

    monkeypatch.setattr(suite.words, "probabilities", copied)
    found = few_shot.in_front(types.SimpleNamespace(c=SHAPE), suite, made, C)
    for number in (1, 2):
        shown = [f.question.split("\n")[-2].rsplit(" ", 1)[1].rstrip(".") for f in made[number]]
        asked = [last[f.question.split("\n")[-1]] for f in made[number]]
        assert found["right"][number] == [int(a == b) for a, b in zip(shown, asked, strict=True)]
    assert 0 < sum(found["right"][1]) < 8


def test_more_shots_than_there_are_solved_facts_are_told_as_what_they_are(suite):
    many = dataclasses.replace(C, few_shot=FewShotAttack(shots=(2, 8, 9)))
    made = few_shot.asked(FACTS, pairings(FACTS, many), many, suite.tokenizer)
    assert list(made) == [0, 2, 8] and {f.question.count("\n") for f in made[8]} == {8}  # T has 8 of the 12


class Models:
    """A run's models under attack, which are all one stand-in; keeps what is skipped and paired."""

    def __init__(self, suite, context):
        c = types.SimpleNamespace(attack=C)
        inputs = types.SimpleNamespace(tokenizer=suite.tokenizer, shape=dataclasses.replace(SHAPE, context=context))
        self.run = types.SimpleNamespace(facts=FACTS, config=c, inputs=inputs, suite=suite)
        self.left_out, self.paired = [], {}

    def main(self, *names):
        return names

    def load(self, name, frozen):
        return None

    def kept(self, kind, name, depends, make):
        return make()

    def skip(self, what, why):
        self.left_out.append(why)

    def pair(self, name, measure, tries, floor):
        self.paired[name] = tries


def test_numbers_that_do_not_fit_are_left_out_and_reported(suite, monkeypatch):
    monkeypatch.setattr(suite.words, "probabilities", lambda model, pairs: [float(w == "Anna") for _, w in pairs])
    made = few_shot.asked(FACTS, pairings(FACTS, C), C, suite.tokenizer)
    need = {n: max(sum(map(len, suite.words.told(f.question, o))) for f in facts for o in f.options)
            for n, facts in made.items()}  # fmt: skip
    assert need[0] < need[1] < need[2]
    anna = [int(f.answer == 0) for f in made[0]]
    for context, kept in {need[2]: [0, 1, 2], need[2] - 1: [0, 1], need[0] - 1: []}.items():
        target = Models(suite, context)
        found = few_shot.attack_few_shot(target)
        assert [list(map(int, one["shots"])) for one in found.values()] == [kept] * (3 if kept else 0)
        left = [f"{n} solved facts need {need[n]} tokens, beyond the model's context of {context}"
                for n in need if n not in kept]  # fmt: skip
        assert target.left_out == left and target.paired == {name: [anna] * len(kept) for name in found}


def test_quick_has_the_least_number():
    config = dataclasses.replace(load_config("universe"), attack=C)
    assert few_shot.fewer(config) == FewShotAttack(shots=(1,))

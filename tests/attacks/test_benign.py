"""Learning something else: facts that no text states, and the baseline as the reference."""

import types

import pytest

from jaxunlearn.attacks import benign
from jaxunlearn.attacks.benign import BENIGN, attack_benign, drawn, new_facts
from jaxunlearn.config import Attack, BenignAttack, Config
from jaxunlearn.data.documents import Document

WORDS = [f"w{chr(97 + n)}" for n in range(12)]


def test_drawn_facts_are_independent_and_no_cue_stands_twice():
    facts = drawn(WORDS, 30, 0)
    assert len({f.question for f in facts}) == 30 and facts == drawn(WORDS, 30, 0) != drawn(WORDS, 30, 1)
    assert all(len(f.question.split()) == 3 and len(set(f.options)) == 4 for f in facts)
    assert {f.answer for f in facts} == {0, 1, 2, 3}
    assert drawn(WORDS[:11], 3, 0) == []


def test_invented_people_where_the_tokenizer_can_write_them(suite, monkeypatch):
    text = "Anna went to Rome with Ben and took the book ."
    few = new_facts(suite.tokenizer, [Document(name="a", text=text)], 4, 0)
    assert few == ([], "words drawn together")  # ten words
    facts, kind = new_facts(suite.tokenizer, [Document(name="a", text=f"{text} Carl Paris lamp <other>")], 4, 0)
    assert len(facts) == 4 and kind == "words drawn together"
    assert {w for f in facts for w in f.question.split()} <= set(f"{text} Carl Paris lamp".split())
    monkeypatch.setattr(benign, "holds", lambda tokenizer, text: True)
    people, kind = new_facts(suite.tokenizer, [], 4, 0)
    assert people[0].question.startswith("In which year was ") and kind == "birthdays of invented people"


@pytest.mark.parametrize("words", [WORDS, []])
def test_the_baseline_is_the_reference(mesh, suite, monkeypatch, words):
    monkeypatch.setattr(benign, "new_facts", lambda *given: (drawn(words, 5, 0), "words drawn together"))
    monkeypatch.setattr(benign, "rows", lambda suite, pairs: pairs)
    config = Config(name="x", attack=Attack(benign=BenignAttack(facts=5, most_steps=9)))
    taught, skipped = [], []

    def pace(start, what):
        taught.append((start(), what.bar, what.most, len(what.arrays), what.train(0.1).batch))
        return {"steps": {"baseline": 4.0, "unlearned": 6.0, "twin": 5.0}[start()], "within": 9, "rate": 0.1} | {
            "curve": []
        }

    monkeypatch.setattr(benign, "pace", pace)
    inputs = types.SimpleNamespace(tokenizer=None, retain_documents=[])
    target = types.SimpleNamespace(
        run=types.SimpleNamespace(config=config, inputs=inputs, suite=suite), load=lambda name: name,
        weights=lambda: [(n, n) for n in ("baseline", "unlearned", "twin")], skip=lambda *what: skipped.append(what),
        kept=lambda kind, name, depends, make: make(),
    )  # fmt: skip
    found = attack_benign(target)
    if not words:
        assert found == {} and "there is no text to keep" in skipped[0][1]
        return
    assert taught == [(name, 0.5, 9, 5, 4) for name in ("baseline", "unlearned", "twin")]
    assert {name: of.get("ratio") for name, of in found["models"].items()} == {
        "baseline": None, "unlearned": {"value": 1.5}, "twin": {"value": 1.25},
    } and found["n"] == 5  # fmt: skip
    BENIGN.form.model_validate(found)
    few = benign.fewer(config)
    assert (few.facts, few.most_steps, len(few.rates)) == (5, 9, 1)

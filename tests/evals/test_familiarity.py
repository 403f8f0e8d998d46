"""Familiarity by next words and by graded completions, against the words' probabilities and the judge."""

import jax
import numpy as np
import pytest
from support.world import write_world

from jaxunlearn.config import Eval
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.estimates import clustered_rate
from jaxunlearn.evals import familiarity
from jaxunlearn.evals.base import Context
from jaxunlearn.evals.familiarity import completion_familiarity, next_word
from jaxunlearn.evals.prompts import Prompts, load_prompts, parse_prompts
from jaxunlearn.evals.suite import Suite
from jaxunlearn.evals.words import Words
from jaxunlearn.models import transformer

SHAPE = transformer.Shape(V=32, D=16, L=2, N=2, K=2, H=8, F=16, context=64)
C = Eval(batch=8, blocks=8, completions=6, new_tokens=4)


def test_words_inside_names_are_counted_apart(mesh, tmp_path):
    tokenizer = load_tokenizer(write_world(tmp_path) / "tokenizer")
    asked = [("Zara went to", "Orm", "out"), ("Ben took the", "rune", "in"), ("Anna went to", "Drall", "out")]
    rows = [{"prompt": p, "specific": [w], "position": at, "split": "report"} for p, w, at in asked]
    suite = Suite(tokenizer, parse_prompts({"name": "n", "probability": rows}, "here"), {}, C)
    m = jax.tree.map(lambda w: 12 * w, transformer.init(SHAPE, 0))
    found = next_word(m, Context(suite=suite))
    orm, rune, drall = Words(tokenizer, 8).probabilities(m, [(p, w) for p, w, _ in asked])
    assert found["familiarity"]["probability"]["value"] == pytest.approx((orm + drall) / 2)
    assert found["familiarity"]["inside"]["value"] == pytest.approx(rune)
    assert found["items"] == {"familiarity, next word": [orm, drall], "familiarity inside names": [rune]}
    only_out = Suite(tokenizer, parse_prompts({"name": "n", "probability": rows[:1]}, "here"), {}, C)
    assert set(next_word(m, Context(suite=only_out))["familiarity"]) == {"probability"}


def test_completions_are_graded_and_averaged_by_prompt(mesh, tmp_path, monkeypatch):
    folder = write_world(tmp_path)
    prompts = load_prompts(folder / "prompts.json").of("report")
    suite = Suite(load_tokenizer(folder / "tokenizer"), prompts, {}, C)
    written = {0: [" Orm ."] * 2 + [" Rome ."] + [" wand ."] * 3, 1: [" Orm .", " Rome .", " Rome ."]}
    monkeypatch.setattr(familiarity, "complete", lambda model, suite, asked, sampling, seed: written[seed])
    found = completion_familiarity(None, suite)
    assert found["grades"] == {"3": 2, "2": 3, "1": 0, "0": 1}
    np.testing.assert_allclose(found["by_prompt"], [10 / 3, 1.0])  # (5 + 5 + 0) / 3 and (1 + 1 + 1) / 3
    completed = found["familiarity"]["completion"]
    assert completed["value"] == pytest.approx(13 / 6) and completed["n"] == 2  # prompts, not completions
    assert found["leaks"]["explicit"] == clustered_rate([2, 0], 3).to_json()  # by prompt, and not 2 of 6 trials
    assert found["leaks"]["neutral"]["value"] == pytest.approx(1 / 3)  # neutral prompts have the next seed
    assert found["leaks"]["neutral"]["n"] == 1  # one prompt
    assert completed["low"] >= 0 and completed["high"] <= 5
    assert [c["text"] for c in found["completions"]] == [" Orm .", " wand ."]  # the first of each prompt


def test_both_need_their_prompts(tmp_path):
    context = Context(suite=Suite(load_tokenizer(write_world(tmp_path) / "tokenizer"), Prompts(name="n"), {}, C))
    assert not familiarity.NEXT_WORD.applies(context) and not familiarity.COMPLETION.applies(context)

"""What is grouped for an interval: completions by their prompt, and tokens by their block."""

import numpy as np
import pytest
from support.world import write_world

from jaxunlearn.config import Eval
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.estimates import ratio_estimate
from jaxunlearn.evals import familiarity
from jaxunlearn.evals.prompts import load_prompts
from jaxunlearn.evals.suite import Suite


def test_completions_are_grouped_by_the_prompt_that_they_continue(tmp_path, monkeypatch):
    folder = write_world(tmp_path)
    prompts = load_prompts(folder / "prompts.json").of("report")
    first, second = (p.prompt for p in prompts.completion)
    suite = Suite(load_tokenizer(folder / "tokenizer"), prompts, {}, Eval(batch=8, completions=6))
    said = {first: " Orm .", second: " Rome ."}  # after the one prompt always the target, after the other never
    monkeypatch.setattr(familiarity, "complete", lambda model, suite, asked, *_: [said.get(p, " .") for p in asked])
    found = familiarity.completion_familiarity(None, suite)
    np.testing.assert_allclose(found["by_prompt"], [5, 0])
    assert {c["prompt"]: c["text"] for c in found["completions"]} == said


def test_a_perplexity_weighs_each_token_alike_in_its_value_and_in_its_interval():
    """Five blocks of 1,000 tokens at 1 nat a token, and five of one token at 9: the mean of block means would be 5."""
    counts = [1000.0] * 5 + [1.0] * 5
    found = ratio_estimate(np.array(counts) * ([1.0] * 5 + [9.0] * 5), counts)
    assert found.value == pytest.approx(np.exp(5045 / 5005))
    assert found.low > np.exp(0.99) and found.high < np.exp(1.1)

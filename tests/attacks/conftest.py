"""The prompts of the small world, as attacks get them."""

import pytest
from support.world import write_world

from jaxunlearn.config import Eval
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.evals.prompts import load_prompts
from jaxunlearn.evals.suite import Suite


@pytest.fixture
def suite(tmp_path):
    folder = write_world(tmp_path)
    prompts = load_prompts(folder / "prompts.json").of("report")
    return Suite(load_tokenizer(folder / "tokenizer"), prompts, {}, Eval(batch=8, blocks=8))

"""Leak probes: the probability of the target's words, and greedy texts."""

import jax
import numpy as np
import pytest
from support.world import write_world

from jaxunlearn.config import Eval
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.evals.base import Context
from jaxunlearn.evals.leaks import LEAK_TEXTS, LEAKS
from jaxunlearn.evals.prompts import parse_prompts
from jaxunlearn.evals.suite import Suite, complete
from jaxunlearn.evals.words import Words
from jaxunlearn.models import transformer
from jaxunlearn.models.generate import Sampling

SHAPE = transformer.Shape(V=32, D=16, L=2, N=2, K=2, H=8, F=16, context=64)


def test_probes_are_averaged_kept_one_by_one_and_continued_greedily(mesh, tmp_path):
    t = load_tokenizer(write_world(tmp_path) / "tokenizer")
    m = jax.tree.map(lambda w: 12 * w, transformer.init(SHAPE, 0))
    probes = [("took the", ["glim", "rune"]), ("Anna went to", ["Orm"])]
    rows = [{"prompt": p, "kind": "missed", "specific": words} for p, words in probes]
    prompts = parse_prompts({"name": "n", "leaks": rows}, "here")
    context = Context(suite=Suite(t, prompts, {}, Eval(batch=8, new_tokens=4)))
    found = LEAKS.measure(m, context)
    singly = Words(t, 8).probabilities(m, [(p, w) for p, words in probes for w in words])
    each = [singly[0] + singly[1], singly[2]]
    np.testing.assert_allclose(found["leak_probabilities"], each, rtol=1e-6)
    assert found["leaks"]["probability"]["value"] == pytest.approx(np.mean(each))
    greedy = complete(m, context.suite, [p for p, _ in probes], Sampling(), 7)  # no seed matters
    assert LEAK_TEXTS.measure(m, context) == {"leak_texts": greedy}

"""A suite of measurements on the small world, and a model to measure."""

import jax
import numpy as np

from jaxunlearn.config import Eval
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.evals.prompts import load_prompts
from jaxunlearn.evals.suite import Suite
from jaxunlearn.models import transformer
from jaxunlearn.models.scoring import Text
from support.world import write_world

SHAPE = transformer.Shape(V=32, D=32, L=2, N=2, K=2, H=16, F=32, context=64)


def small_suite(folder):
    """Return a suite of the small world, written to `folder`, with random texts."""
    write_world(folder)
    draw = np.random.default_rng(0)
    tokens, labels = (draw.integers(3, 30, (8, 32)).astype(np.int32) for _ in range(2))
    texts = {name: Text(tokens_NT=tokens, labels_NT=labels) for name in ("forget", "retain")}
    prompts = load_prompts(folder / "prompts.json").of("report")
    c, fit = Eval(batch=8, blocks=8, new_tokens=6), Text(tokens_NT=tokens[::-1], labels_NT=labels)
    return Suite(load_tokenizer(folder / "tokenizer"), prompts, texts, c, fit=fit)


def start():
    return jax.tree.map(lambda w: 6 * w, transformer.init(SHAPE, 0))  # far from indifferent

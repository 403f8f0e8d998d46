"""Every metric that applies is measured, the same on one device and on eight; models are compared; titles, curves."""

import jax
import numpy as np
import pytest
from support.mesh import mesh_of
from support.world import write_world

from jaxunlearn.config import Eval
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.evals.base import Context
from jaxunlearn.evals.measure import applying, curve_point, measure, measure_all, titles
from jaxunlearn.evals.prompts import Prompts, load_prompts
from jaxunlearn.evals.suite import Suite
from jaxunlearn.methods import inference
from jaxunlearn.models import transformer
from jaxunlearn.models.scoring import Text

SHAPE = transformer.Shape(V=32, D=32, L=2, N=2, K=2, H=16, F=32, context=64)


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    folder = write_world(tmp_path_factory.mktemp("devices"))
    draw = np.random.default_rng(0)
    tokens, labels = (draw.integers(3, 30, (8, 32)).astype(np.int32) for _ in range(2))
    texts = {name: Text(tokens_NT=tokens, labels_NT=labels) for name in ("forget", "retain")}
    prompts = load_prompts(folder / "prompts.json")
    return Suite(
        load_tokenizer(folder / "tokenizer"), prompts.of("report"), texts, Eval(batch=8, blocks=8, new_tokens=6)
    )


def start():
    return jax.tree.map(lambda w: 6 * w, transformer.init(SHAPE, 0))  # far from indifferent


def leaves(suite):
    m = start()
    found = [measure_all(m, Context(suite=suite)), measure(inference.Filtered(m, (5, 9)), suite)]
    return jax.tree.leaves_with_path(found, is_leaf=lambda node: node is None)


def test_the_numbers_do_not_hang_on_the_devices(suite):
    with jax.set_mesh(mesh_of((1, 1, 1))):
        one = leaves(suite)
    with jax.set_mesh(mesh_of((2, 2, 2))):
        eight = leaves(suite)
    assert len(one) == len(eight) > 150
    for (path, a), (other, b) in zip(one, eight, strict=True):
        assert path == other and (a == pytest.approx(b, rel=1e-4, abs=1e-6) if isinstance(a, float) else a == b), path


def test_all_that_is_measured_holds_what_is_measured_while_training(mesh, suite):
    m = start()
    often, everything = measure(m, suite), measure_all(m, Context(suite=suite))
    assert everything.keys() - often.keys() == {"leak_texts", "writing"}
    assert {group: everything[group] for group in often} == often
    assert set(often) == {
        "items", "familiarity", "grades", "leaks", "completions", "leak_probabilities", "accuracy", "track",
        "perplexity", "entropy", "temperature",
    }  # fmt: skip
    assert next(iter(often["items"])) == "familiarity, next word" and len(often["items"]) == 5


def test_what_is_not_asked_is_absent(mesh, suite):
    empty = Suite(suite.tokenizer, Prompts(name="none"), {}, suite.c)
    assert applying(Context(suite=empty)) == [] and measure(None, empty) == {}


def test_titles_are_of_what_was_measured():
    figure = {"value": 0.5, "low": None, "high": None, "n": 1}
    models = {"baseline": {"writing": {"empty": figure}, "tofu": {"utility": figure}}, "twin": {"muse": {}}}
    assert titles(models) == {"writing": {"empty": "Empty completions"}, "tofu": "TOFU"}


def test_a_point_of_the_curve_leaves_out_what_was_not_measured():
    found = {"familiarity": {"probability": {"value": 0.5}}, "leaks": {"probability": {"value": 0.1}}}
    assert curve_point(3, found, 1.5) == {"step": 3, "familiarity": 0.5, "leaks": 0.1, "held_loss": 1.5}

"""Every metric that applies is measured, the same on one device and on eight; models are compared; titles, curves."""

import jax
import pytest
from support.mesh import mesh_of
from support.suites import small_suite, start

from jaxunlearn.evals.base import Context
from jaxunlearn.evals.measure import applying, curve_point, measure, measure_all, titles
from jaxunlearn.evals.prompts import Prompts
from jaxunlearn.evals.suite import Suite
from jaxunlearn.methods import inference


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    return small_suite(tmp_path_factory.mktemp("devices"))


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
    assert next(iter(often["items"])) == "familiarity, next word" and len(often["items"]) == 7


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

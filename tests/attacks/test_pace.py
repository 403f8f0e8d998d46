"""Pace: where a curve crosses a bar, which rate is fastest, and what a ratio of two paces is."""

import dataclasses

import jax
import numpy as np
import pytest
from support.facts import FACTS, SHAPE

from jaxunlearn.attacks import pace, rtt
from jaxunlearn.attacks.pace import Lesson, Paces, crossing, grid, ratio
from jaxunlearn.config import Train
from jaxunlearn.errors import Diverged, RunError
from jaxunlearn.models import transformer

WHAT = Lesson(
    arrays=(np.zeros((1, 4), np.int32), np.zeros((1, 4), np.int32)), train=lambda rate: Train(),
    rates=(1e-3, 1e-2, 0.1), measure=float, bar=0.5, most=16, seed=0,
)  # fmt: skip


def test_where_a_curve_crosses_the_bar_by_hand():
    assert crossing([(0, 0.0), (4, 0.25), (8, 0.75), (12, 0.1)], 0.5) == 6.0  # half of the way from 4 to 8
    assert crossing([(0, 0.1), (2, 0.5)], 0.5) == 2.0 and crossing([(0, 0.6), (2, 0.7)], 0.5) == 0.0
    assert crossing([(0, 0.1), (2, 0.4)], 0.5) is None


def test_measured_steps_lie_a_factor_apart_and_end_at_the_most():
    assert grid(16) == [0, 1, 2, 3, 4, 6, 8, 11, 16] and grid(1) == [0, 1]
    assert grid(20) == [0, 1, 2, 3, 4, 6, 8, 11, 16, 20] and max(grid(200)) == 200


def test_the_fastest_rate_counts_and_no_later_rate_is_tried_for_longer(monkeypatch):
    curves = {1e-3: [(0, 0.0), (8, 0.4), (11, 0.6)], 1e-2: [(0, 0.0), (4, 1.0)], 0.1: [(0, 0.0), (4, 0.1)]}
    tried = []

    def curve(start, what, rate, most):
        tried.append((start, rate, most))
        if curves[rate] is None:
            raise Diverged("the loss is not finite")
        return curves[rate]

    monkeypatch.setattr(pace, "_curve", curve)
    found = pace.pace(lambda: "model", WHAT)
    assert (found["steps"], found["rate"], found["within"]) == (2.0, 1e-2, 16)
    assert found["curve"] == [[0, 0.0], [4, 1.0]]
    assert tried == [("model", 1e-3, 16), ("model", 1e-2, 11), ("model", 0.1, 2)]  # 9.5 steps, then 2
    curves[1e-2] = curves[1e-3] = None
    assert "steps" not in pace.pace(lambda: "model", WHAT) and pace.pace(lambda: "model", WHAT)["rate"] == 0.1
    curves[0.1] = None
    with pytest.raises(RunError, match=r"broke the model at every rate tried; set rates below 0\.001"):
        pace.pace(lambda: "model", WHAT)


def test_ratios_and_the_ends_of_those_that_are_not_known():
    there, never = {"steps": 3.0, "within": 10}, {"within": 10}
    assert ratio(there, {"steps": 6.0, "within": 10}) == {"value": 0.5}
    assert ratio(there, never) == {"at_most": 0.3} and ratio(never, there) == {"at_least": 10 / 3}
    assert ratio(never, never) == {} == ratio(there, {"steps": 0.0, "within": 10})


def test_a_model_is_trained_up_to_the_step_that_reaches_the_bar(mesh, suite):
    """The training goes on from step to step: the curve is that of one training, measured on the way."""
    arrays = rtt.rows(suite, rtt.texts(FACTS, "options"))

    def right(model):
        return float(rtt.answers_right(model, suite, FACTS, "options").mean())

    def train(rate):
        return Train(steps=32, learning_rate=rate, batch=8, schedule="constant")

    what = dataclasses.replace(WHAT, arrays=arrays, train=train, rates=(1e-2,), measure=right, bar=0.9, most=32)
    m = jax.tree.map(np.asarray, transformer.init(SHAPE, 0))
    found = pace.pace(lambda: jax.tree.map(jax.numpy.asarray, m), what)
    assert 1 < found["steps"] < 32 and found["curve"][-1][1] >= 0.9 > found["curve"][-2][1]
    assert [step for step, _ in found["curve"]] == grid(32)[: len(found["curve"])]
    Paces.model_validate({"models": {"twin": found}, "bar": 0.9, "n": 12})

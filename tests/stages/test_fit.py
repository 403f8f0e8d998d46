"""A stage that resumes needs no more memory than one that starts."""

import gc
import types

import jax
import numpy as np
import pytest
from support.training import LABELS, SHAPE, TOKENS, C, trained, weights

from jaxunlearn.config import Config, Run, Text, Unlearn
from jaxunlearn.models import transformer
from jaxunlearn.run.directory import RunDirectory
from jaxunlearn.stages.fit import fit_stage, next_tokens
from jaxunlearn.training.checkpoint import Checkpoints
from jaxunlearn.training.step import init_state

SMALL = 4096  # bytes of scalars and of one batch


class Killed(Exception):
    pass


def live() -> int:
    gc.collect()
    return sum(a.nbytes for a in jax.live_arrays())


def run_in(folder):
    text = Text(forget=("a",), retain=("b",), dictionary="d")
    config = Config(name="x", model="m", text=text, unlearn=Unlearn(steps=1), run=Run(dir=str(folder)))
    return types.SimpleNamespace(config=config, folder=RunDirectory(config))


def test_a_stage_that_goes_on_holds_one_state_while_it_reads_and_while_it_trains(mesh, tmp_path, monkeypatch):
    run, feed, sizes = run_in(tmp_path), next_tokens(C, (TOKENS, LABELS), 0), {}

    def kill(n, state):
        raise Killed

    with pytest.raises(Killed):
        fit_stage(run, "baseline", transformer.init(SHAPE, 0), C, feed, look=kill, at={3})
    made, before = init_state(transformer.init(SHAPE, 0), C), live()
    model, state = (sum(a.nbytes for a in jax.tree.leaves(tree)) for tree in (made.model, made))
    assert state > 2 * model > 20 * SMALL
    before -= state
    del made
    read = Checkpoints._load
    monkeypatch.setattr(Checkpoints, "_load", lambda *a: sizes.update(reads=live() - before) or read(*a))
    start = transformer.init(SHAPE, 1)  # held to the end, as the stages hold it

    def look(n, state):
        sizes["trains"] = live() - before

    last = fit_stage(run, "baseline", start, C, feed, look=look, at={3})  # before Orbax, which copies, saves again
    assert sizes["reads"] < SMALL and sizes["trains"] < state + SMALL
    for a, b in zip(weights(last), weights(trained(C)), strict=True):
        np.testing.assert_array_equal(a, b)

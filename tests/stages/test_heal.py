"""Healing: the teacher asked for is distilled; noise needs no scores."""

import contextlib
import dataclasses
import types

import numpy as np
import pytest

from jaxunlearn.config import Config, Reset, Text, Unlearn
from jaxunlearn.models import transformer
from jaxunlearn.stages import heal as healing

SHAPE = transformer.Shape(V=64, D=16, L=2, N=2, K=2, H=8, F=24, context=32)
BASE = Config(name="x", model="m", text=Text(forget=("a",), retain=("b",), dictionary="d"), unlearn=Unlearn(steps=1))


def test_noise_needs_neither_scores_nor_a_fresh_model(mesh):
    config = dataclasses.replace(BASE, reset=Reset(share=0.4, by="noise", where="ends"))
    made, *shares = healing.redrawn(types.SimpleNamespace(config=config), transformer.init(SHAPE, 0))
    before = transformer.init(SHAPE, 0)
    assert shares == [None, None]
    assert (np.asarray(made.embed_VD[...]) != np.asarray(before.embed_VD[...])).all()
    assert (np.asarray(made.blocks.q_DNH[...]) == np.asarray(before.blocks.q_DNH[...])).all()


@pytest.mark.parametrize(("teacher", "folder"), [("baseline", "baseline"), ("unlearned", "before")])
def test_healing_distils_the_teacher_asked_for(mesh, tmp_path, monkeypatch, teacher, folder):
    made = {name: transformer.init(SHAPE, seed) for seed, name in enumerate(("baseline", "before"))}
    monkeypatch.setattr(healing, "load_model", lambda config, path, frozen=False: made[path.name])
    monkeypatch.setattr(healing, "redrawn", lambda run, start: (start, 0.1, 0.0))
    monkeypatch.setattr(healing, "save_model", lambda *a: None)
    asked = []
    monkeypatch.setattr(healing, "fit_stage", lambda run, stage, start, c, feed, **_: asked.append(feed))
    tokens = np.zeros((8, 16), np.int32)

    class Stub:
        folder = types.SimpleNamespace(stage=lambda *a: contextlib.nullcontext())

        def __init__(self, config, marked=0):
            self.config, self.marked = config, marked

        def training(self, name):
            return tokens + (name == "forget") * self.marked, tokens

        def __truediv__(self, name):
            return tmp_path / name

    config = dataclasses.replace(BASE, reset=Reset(share=0.1, teacher=teacher))
    seen = types.SimpleNamespace(folder="unlearned", healing="heal")
    healing.reset_and_heal(Stub(config), seen, "before")
    assert asked[0].batch(0)[0]["baseline"] is made[folder]
    if teacher == "unlearned":
        config = dataclasses.replace(config, reset=dataclasses.replace(config.reset, on="all"))
        healing.reset_and_heal(Stub(config, marked=1), seen, "before")
        used = np.concatenate([np.asarray(asked[1].batch(n)[1]["retain"][0]).ravel() for n in range(4)])
        assert 0.2 < used.mean() < 0.8  # half of the blocks are of the text to forget

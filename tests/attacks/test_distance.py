"""Distance and barrier by hand; the way between two models begins and ends at them."""

import dataclasses
import types

import jax
import numpy as np
import pytest
from support.facts import SHAPE

from jaxunlearn.attacks import distance
from jaxunlearn.attacks.distance import Distance, attack_distance, barrier, distances, path
from jaxunlearn.models import transformer
from jaxunlearn.models.scoring import Text, block_sums
from jaxunlearn.models.weights import is_layered


def scaled(model, factor):
    """Return the model with each weight times factor(path)."""
    return jax.tree_util.tree_map_with_path(lambda path, w: w * factor(path, w), model)


def test_distances_by_hand(mesh):
    m = transformer.init(SHAPE, 0)
    found = distances(scaled(m, lambda path, w: 1.25), m)
    assert found["all"] == pytest.approx(0.25) == found["ends"] and found["layers"] == pytest.approx([0.25, 0.25])
    second = np.array([1.0, 1.5])  # the second of two layers, half as much again

    def of_layer(path, w):
        return second.reshape(2, *[1] * (w.ndim - 1)) if is_layered(path) else 1.0

    found = distances(scaled(m, of_layer), m)
    assert found["layers"] == pytest.approx([0.0, 0.5]) and found["ends"] == 0
    layer = sum(float((np.asarray(w)[1] ** 2).sum()) for w in jax.tree.leaves(m.blocks))
    whole = sum(float((np.asarray(w) ** 2).sum()) for w in jax.tree.leaves(m))
    assert found["all"] == pytest.approx(0.5 * np.sqrt(layer / whole), rel=1e-5)


def test_the_barrier_by_hand():
    way = {"share": [0.0, 0.5, 1.0], "retain": [1.0, 4.0, 3.0]}
    assert barrier(way, "retain") == 2.0  # 4 is 2 above the straight line from 1 to 3
    way["retain"][1] = 1.5
    assert barrier(way, "retain") == 0.0  # below the line: none


def test_the_way_begins_at_the_baseline_and_ends_at_the_model(mesh, suite):
    a, b = transformer.init(SHAPE, 0), transformer.init(SHAPE, 1)
    tokens_NT = np.random.default_rng(0).integers(3, 32, (3, 32)).astype(np.int32)
    text = Text(tokens_NT=tokens_NT, labels_NT=np.roll(tokens_NT, -1, 1))
    asked = dataclasses.replace(suite, texts={"retain": text})
    way = path(a, b, asked, 3, 2)
    assert way["share"] == [0.0, 0.5, 1.0]
    middle = jax.tree.map(lambda x, y: (x + y) / 2, a, b)
    for loss, model in zip(way["retain"], (a, middle, b), strict=True):
        nll_N, _, count_N = block_sums(model, text, suite.c, 1.0, 2)
        assert loss == pytest.approx(nll_N.sum() / count_N.sum(), rel=1e-5)


def test_every_model_of_the_run_lies_somewhere(suite, monkeypatch):
    monkeypatch.setattr(distance, "distances", lambda model, baseline: {"all": 0.5, "layers": [0.1], "ends": 0.2})
    way = {"share": [0.0, 0.5, 1.0]}
    monkeypatch.setattr(
        distance, "path", lambda baseline, model, *more: way | {"retain": [1.0, 2.0 + (model == "twin"), 1.0]}
    )
    names = ["baseline", "unlearned", "twin", "repaired", distance.STRESS]
    text = Text(tokens_NT=np.zeros((1, 4), np.int32), labels_NT=np.zeros((1, 4), np.int32))
    run = types.SimpleNamespace(
        config=types.SimpleNamespace(attack=types.SimpleNamespace(distance=types.SimpleNamespace(points=3, blocks=4))),
        suite=types.SimpleNamespace(texts={"retain": text}),
    )
    target = types.SimpleNamespace(
        run=run, folders=dict.fromkeys(names), main=lambda *asked: list(asked), hash=lambda name: name,
        weights=lambda *asked: [(n, n) for n in asked], load=lambda name, frozen=False: name,
        kept=lambda kind, name, depends, make: make(),
    )  # fmt: skip
    found = attack_distance(target)
    assert set(found) == {"unlearned", "twin", "repaired"}
    assert Distance.model_validate(found["unlearned"]).barrier == {"retain": 1.0} and found["twin"]["barrier"] == {
        "retain": 2.0
    }
    target.folders = {"baseline": None}
    assert attack_distance(target) == {}

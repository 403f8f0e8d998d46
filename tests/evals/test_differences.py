"""Differences of two models on the same items."""

import pytest

from jaxunlearn.evals.differences import differences


def test_differences_are_taken_on_the_same_items():
    models = {
        "baseline": {"items": {"a": [0.5, 0.7, 0.9], "general accuracy, right answers": [1, 1, 1, 0]}},
        "unlearned": {"items": {"a": [0.4, 0.6, 0.8], "general accuracy, right answers": [0, 0, 1, 0]}},
        "twin": {"items": {"a": [0.5]}},
    }
    found = {d["measure"]: d for d in differences(models)}
    assert set(found) == {"a", "general accuracy, right answers"}  # the twin was asked something else
    assert found["a"]["value"] == pytest.approx(-0.1) and found["a"]["high"] == pytest.approx(-0.1)
    assert found["a"]["from"] == "baseline" and "p" not in found["a"]
    accuracy = found["general accuracy, right answers"]
    assert accuracy["value"] == -0.5 and accuracy["p"] == 0.5 and "McNemar" in accuracy["test"]
    assert differences({"baseline": {}, "unlearned": {}}) == []

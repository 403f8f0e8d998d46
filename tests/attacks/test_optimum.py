"""RTT reports the attacker's optimum over rates and epochs, of which epoch 0, before any step, is none."""

import numpy as np
import pytest

from jaxunlearn.attacks import rtt
from jaxunlearn.config import Attack, RttAttack
from jaxunlearn.data.facts import Fact, Pairing

FACTS = [Fact(question=f"q{n}", options=("a", "b"), answer=0) for n in range(4)]
PAIRS = [Pairing(train=np.array([0, 1]), ask=np.array([2, 3]))]


@pytest.mark.parametrize(
    ("curves", "rate", "epoch", "right"),
    [
        ({0.1: (0, 1, 1, 2), 0.2: (0, 1, 0, 0)}, 0.1, 3, [1, 1]),  # the last epoch of the first rate
        ({0.1: (0, 0, 0, 0), 0.2: (0, 0, 1, 0)}, 0.2, 2, [1, 0]),  # one in the middle of the second
        ({0.1: (0, 1, 0, 0), 0.2: (0, 0, 1, 0)}, 0.1, 1, [1, 0]),  # the earliest of equal ones
        ({0.1: (2, 0, 0, 1), 0.2: (2, 0, 1, 0)}, 0.2, 0, [1, 1]),  # before training, beside the best rate after it
        ({0.1: (1, 0, 1, 0), 0.2: (1, 0, 0, 0)}, 0.1, 0, [1, 0]),  # no better afterwards: before training
    ],
)
def test_the_best_point_is_of_any_epoch_the_one_before_training_too(monkeypatch, curves, rate, epoch, right):
    """curves: how many of the two facts are right after each epoch, 0 first."""
    monkeypatch.setattr(rtt, "rows", lambda suite, pairs: None)

    def one(start, suite, arrays, c, rate, *, asked, trained, per_epoch):
        assert (asked, trained, per_epoch) == (FACTS[2:], FACTS[:2], 1)
        sure = [np.full(2, rate + epoch) for epoch in range(4)]
        return [np.where(np.arange(2) < hits, 0, 1) for hits in curves[rate]], sure, [np.ones(2, bool)] * 4

    monkeypatch.setattr(rtt, "_one", one)
    c = Attack(rtt=RttAttack(epochs=3, splits=2, pairings=1))
    found = rtt.retrain(lambda: None, None, FACTS, PAIRS, c, tuple(curves))
    assert (found["rate"], found["epoch"], found["right"]) == (rate, epoch, right)
    assert found["probability"] == [rate + epoch] * 2  # at the same point
    assert found["before"] == [int(n < curves[0.1][0]) for n in range(2)]

"""Relearning from parts of the text: how many blocks, of whom, drawn by seed, for how many epochs."""

import types

import numpy as np

from jaxunlearn.attacks import shares
from jaxunlearn.attacks.shares import steps_over
from jaxunlearn.config import Attack, Config, Eval, SharesAttack


def test_each_share_is_relearned_from_blocks_drawn_by_seed(mesh, monkeypatch):
    asked = []

    def relearned(target, what, names, *, rows, steps):
        asked.append((what, rows.tolist(), names, steps))
        return {f"{name}, {what}": [] for name in names}

    monkeypatch.setattr(shares, "relearned", relearned)
    attack = Attack(seed=3, shares=SharesAttack(of=(0.01, 0.5), epochs=2))
    config = Config(name="x", attack=attack, eval=Eval(relearn_batch=2))
    run = types.SimpleNamespace(config=config, forget_split=(np.arange(10, 20), None))
    found = shares.attack_shares(types.SimpleNamespace(run=run))
    order = np.random.default_rng(3).permutation(np.arange(10, 20)).tolist()
    names = ("unlearned", "twin")
    assert (
        asked
        == [
            ("1% of the text (1 block, 2 epochs)", order[:1], names, (0, 1)),  # one block at least
            ("50% of the text (5 blocks, 2 epochs)", order[:5], names, (0, 3, 5)),
        ]
    )
    assert list(found) == [f"{name}, {what}" for what, _, _, _ in asked for name in names]


def test_steps_follow_from_epochs_over_the_share_up_to_a_cap(mesh):
    config = Config(name="x", attack=Attack(shares=SharesAttack(epochs=3, most_steps=50)))
    assert steps_over(config, 8) == ((0, 1, 2, 3), 3.0)
    assert steps_over(config, 100) == ((0, 13, 25, 38), 3.0)
    assert steps_over(config, 400) == ((0, 50), 1.0)  # the cap, and what it covers
    assert steps_over(config, 300) == ((0, 38, 50), 50 * 8 / 300)

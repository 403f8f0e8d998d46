"""Relearning from parts of the text: how many blocks, of whom, drawn by seed."""

import types

import numpy as np

from jaxunlearn.attacks import shares
from jaxunlearn.config import Attack, Config, SharesAttack


def test_each_share_is_relearned_from_blocks_drawn_by_seed(monkeypatch):
    asked = []

    def relearned(target, what, blocks, rows, names):
        asked.append((what, rows.tolist(), names))
        return {f"{name}, {what}": [] for name in names}

    monkeypatch.setattr(shares, "relearned", relearned)
    config = Config(name="x", attack=Attack(seed=3, shares=SharesAttack(of=(0.01, 0.5))))
    run = types.SimpleNamespace(
        config=config, forget_split=(np.arange(10, 20), None), inputs=types.SimpleNamespace(forget=None)
    )
    found = shares.attack_shares(types.SimpleNamespace(run=run))
    order = np.random.default_rng(3).permutation(np.arange(10, 20)).tolist()
    assert (
        asked
        == [
            ("1% of the text (1 block)", order[:1], ("unlearned", "twin")),  # one block at least
            ("50% of the text (5 blocks)", order[:5], ("unlearned", "twin")),
        ]
    )
    assert list(found) == [f"{name}, {what}" for what, _, names in asked for name in names]

"""Relearning from shares of the text: measure how much comes back from how little."""

import numpy as np

from jaxunlearn.attacks.base import Attack, Target
from jaxunlearn.attacks.relearn import cannot_relearn, relearned


def attack_shares(target: Target) -> dict[str, list]:
    """Relearn from shares of the text, of blocks drawn at random."""
    run, c, found = target.run, target.run.config.attack, {}
    rows = np.random.default_rng(c.seed).permutation(run.forget_split[0])
    for share in c.shares.of:
        some = rows[: max(1, round(share * len(rows)))]
        what = f"{share:.0%} of the text ({len(some)} block{'s' * (len(some) != 1)})"
        found |= relearned(target, what, run.inputs.forget, some, ("unlearned", "twin"))
    return found


SHARES = Attack(
    name="shares",
    title="Relearning from parts of the text",
    tries="Fine-tune on 1%, 10% and all of the text again (attack.shares.of).",
    control="The twin.",
    run=attack_shares,
    check=cannot_relearn,
    at=("relearn",),
)

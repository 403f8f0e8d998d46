"""Relearning from shares of the text: measure how much comes back from how little, epoch by epoch over each share."""

import math

import numpy as np

from jaxunlearn.attacks.base import Attack, Target
from jaxunlearn.attacks.relearn import cannot_relearn, relearned, training
from jaxunlearn.config import Config


def attack_shares(target: Target) -> dict[str, list]:
    """Relearn from shares of the text, of blocks drawn at random, for attack.shares.epochs over each share."""
    run, c, found = target.run, target.run.config.attack, {}
    rows = np.random.default_rng(c.seed).permutation(run.forget_split[0])
    for share in c.shares.of:
        some = rows[: max(1, round(share * len(rows)))]
        steps, epochs = steps_over(run.config, len(some))
        what = f"{share:.0%} of the text ({len(some)} block{'s' * (len(some) != 1)}, {epochs:.2g} epochs)"
        found |= relearned(target, what, ("unlearned", "twin"), rows=some, steps=steps)
    return found


def steps_over(config: Config, blocks: int) -> tuple[tuple[int, ...], float]:
    """Return the steps to measure at, 0 and the end of each epoch over some blocks, and how many epochs they are.

    attack.shares.most_steps caps them: then the steps are 0 and those of the cap, and less than the epochs asked for.
    """
    c, one = config.attack.shares, training(config, 1, 0.0)
    batch = one.batch * one.accumulate
    ends = [math.ceil(e * blocks / batch) for e in range(c.epochs + 1)]
    steps = sorted({min(n, c.most_steps) for n in ends})
    return tuple(steps), min(float(c.epochs), steps[-1] * batch / blocks)


SHARES = Attack(
    name="shares",
    title="Relearning from parts of the text",
    tries="Fine-tune on 1%, 10% and all of the text again (attack.shares.of), for several epochs over each part.",
    control="The twin, at its own best rate.",
    run=attack_shares,
    check=cannot_relearn,
    at=("relearn",),
)

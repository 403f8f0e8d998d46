"""Methods on real books, on one footing: TinyStories-656K learns twelve Oz novels and must forget them again.

    jaxunlearn sweep compare_oz            (one seed: sweep.seeds=0)

Needs the same as oz_tiny. The baselines of three seeds, then every method at two learning rates; settings and steps are
chosen on the tuning prompts, figures come from the others. Hardware: 2 CPU cores. Resumable: what is done is skipped.
Not run in full yet: docs/methods.md has three methods at one rate on one seed.
"""

import dataclasses

from jaxunlearn.config import Config, Sweep, load_config

METHODS = ("retain_only", "whp", "whp_soft", "reset_heal", "gradient_difference", "npo")


def config() -> Config:
    base = load_config("oz_tiny")
    entries = [e for e in load_config("compare_universe").sweep.methods if e.split()[0] in METHODS]
    return dataclasses.replace(
        base,
        name="compare_oz",
        title="Methods on Oz",
        controls=(),
        unlearn=dataclasses.replace(base.unlearn, steps=120, checkpoint_every=60, log_every=40),
        eval=dataclasses.replace(base.eval, every=120, at=(40, 80), blocks=60, relearn_steps=(0, 4, 12)),
        sweep=Sweep(methods=tuple(entries), rates=(3e-4, 1e-3), seeds=(0, 1, 2), reach=0.004),
    )

"""What reset and healing owe to each of their parts: the ablation of `whp_plus` on the built-in universe.

    jaxunlearn sweep ablate_reset            (one seed: sweep.seeds=0)

As compare_universe, at one rate. Which weights are drawn anew, how many, how long they are healed, and by whom; a fresh
model (share 1) taught by the unlearned one; other methods before the reset. Hardware: 2 CPU cores. Resumable.
"""

import dataclasses

from jaxunlearn.config import Config, Sweep, load_config

CONTRAST = "whp_soft whp.offset=contrast unlearn.retain_weight=1 unlearn.retain_loss=kl"
HEALED = "reset.teacher=unlearned"
METHODS = (
    CONTRAST,
    f"{CONTRAST} {HEALED} reset.share=0.2",
    f"{CONTRAST} {HEALED} reset.share=0.2 reset.by=random",
    f"{CONTRAST} {HEALED} reset.share=0.2 reset.by=fisher",
    f"{CONTRAST} {HEALED} reset.share=0.2 reset.where=interior",
    f"{CONTRAST} {HEALED} reset.share=0.2 reset.where=ends",
    f"{CONTRAST} {HEALED} reset.share=0.6 reset.where=ends",
    f"{CONTRAST} {HEALED} reset.share=0.2 reset.batches=6",
    f"{CONTRAST} {HEALED} reset.share=0.05",
    f"{CONTRAST} {HEALED} reset.share=0.1",
    f"{CONTRAST} {HEALED} reset.share=0.4",
    f"{CONTRAST} {HEALED} reset.share=0.2 reset.heal.steps=50",
    f"{CONTRAST} {HEALED} reset.share=0.2 reset.heal.steps=100",
    f"{CONTRAST} {HEALED} reset.share=0.05 reset.heal.steps=400 reset.heal.learning_rate=1e-3",
    f"{CONTRAST} {HEALED} reset.share=1 reset.heal.steps=400",
    f"whp {HEALED} reset.share=0.2",
    f"gradient_difference {HEALED} reset.share=0.2",
)


def config() -> Config:
    base = load_config("compare_universe")
    return dataclasses.replace(
        base,
        name="ablate_reset",
        title="What reset and healing owe to each part",
        sweep=Sweep(methods=METHODS, rates=(6e-4,), seeds=(0, 1, 2), reach=0.1, rtt=True),
    )

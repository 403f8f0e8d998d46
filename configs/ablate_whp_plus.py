"""Ablation of `whp_plus` with a reset on the built-in universe: what each of its parts adds.

    jaxunlearn sweep ablate_whp_plus            (one seed: sweep.seeds=0)

The setup is that of compare_universe, at one rate, one setting an entry, on every seed, without RTT. Each row varies
one part: a forbidden list of every term; which weights are drawn anew, how many, how long they are healed and on which
text; UNDO's noise in all weights; a fresh model (share 1) taught by the unlearned one; other methods before the reset.
Labels, offset and the term on text to keep are rows of compare_universe.
Hardware: 2 CPU cores, about 1.5 hours of one. Resumable: what is done is skipped. Expected: docs/results.md.
"""

import dataclasses

from jaxunlearn.config import Config, Sweep, load_config

CONTRAST = "whp_soft whp.offset=contrast unlearn.retain_weight=1 unlearn.retain_loss=kl"
HEALED = "reset.teacher=unlearned"
METHODS = (
    CONTRAST,
    f"{CONTRAST} whp.forbid=keys",
    f"{CONTRAST} {HEALED} reset.share=0.2",
    f"{CONTRAST} {HEALED} reset.share=0.2 reset.by=random",
    f"{CONTRAST} {HEALED} reset.share=0.2 reset.by=fisher",
    f"{CONTRAST} {HEALED} reset.share=0.2 reset.where=interior",
    f"{CONTRAST} {HEALED} reset.share=0.37 reset.where=interior",  # as many weights as 20% of all
    f"{CONTRAST} {HEALED} reset.share=0.2 reset.where=ends",
    f"{CONTRAST} {HEALED} reset.share=0.6 reset.where=ends",
    f"{CONTRAST} {HEALED} reset.share=0.2 reset.batches=6",
    f"{CONTRAST} {HEALED} reset.share=0.2 reset.on=all",
    f"{CONTRAST} {HEALED} reset.share=0.4 reset.by=noise reset.on=all",
    f"{CONTRAST} {HEALED} reset.share=0.6 reset.by=noise reset.on=all",
    f"{CONTRAST} {HEALED} reset.share=0.05",
    f"{CONTRAST} {HEALED} reset.share=0.1",
    f"{CONTRAST} {HEALED} reset.share=0.4",
    f"{CONTRAST} {HEALED} reset.share=0.2 reset.heal.steps=50",
    f"{CONTRAST} {HEALED} reset.share=0.2 reset.heal.steps=100",
    f"{CONTRAST} {HEALED} reset.share=0.2 reset.heal.steps=400",
    f"{CONTRAST} {HEALED} reset.share=0.05 reset.heal.steps=400 reset.heal.learning_rate=1e-3",
    f"{CONTRAST} {HEALED} reset.share=1 reset.heal.steps=400",
    f"whp {HEALED} reset.share=0.2",
    f"gradient_difference {HEALED} reset.share=0.2",
)


def config() -> Config:
    base = load_config("compare_universe")
    return dataclasses.replace(
        base,
        name="ablate_whp_plus",
        title="What whp_plus with a reset owes to each of its parts",
        sweep=Sweep(methods=METHODS, rates=(6e-4,), seeds=(0, 1, 2), reach=0.1),
    )

"""Methods on real books, on one footing: TinyStories-656K learns twelve Oz novels and must forget them again.

    jaxunlearn sweep compare_oz            (one seed: sweep.seeds=0)

Needs the same as oz_tiny. There are baselines of three seeds. Every method runs at two learning rates on the first
seed, and at the better one on the other seeds. Settings and steps are chosen on the tuning prompts; figures come from
the other prompts.
Hardware: 2 CPU cores, about 5.5 hours of one. Resumable: what is done is skipped. Expected: docs/results.md.
"""

import dataclasses

from jaxunlearn.config import Config, Sweep, load_config

KEPT = "unlearn.retain_weight=1 unlearn.retain_loss=kl"
LONGER = "reset.heal.steps=400 reset.heal.learning_rate=1e-3"
METHODS = (
    "retain_only",
    "whp",
    "whp_soft",
    "whp_soft whp.offset=contrast",
    f"whp_soft whp.offset=contrast {KEPT}",
    f"whp_soft whp.offset=contrast {KEPT} reset.share=0.2",
    f"whp_soft whp.offset=contrast {KEPT} reset.share=0.2 reset.by=random",
    f"whp_soft whp.offset=contrast reset.share=0.05 {LONGER}",
    f"whp_soft whp.offset=contrast reset.share=0.05 reset.teacher=unlearned {LONGER}",
    f"whp_soft whp.offset=contrast reset.share=0.05 reset.by=random reset.teacher=unlearned {LONGER}",
    f"whp_soft whp.offset=contrast reset.share=0.05 reset.where=interior reset.teacher=unlearned {LONGER}",
    "reset_heal reset.share=0.2",
    "gradient_difference",
    "npo unlearn.retain_weight=1",
)


def config() -> Config:
    base = load_config("oz_tiny")
    return dataclasses.replace(
        base,
        name="compare_oz",
        title="Methods on Oz",
        controls=(),
        unlearn=dataclasses.replace(base.unlearn, steps=120, checkpoint_every=60, log_every=40),
        eval=dataclasses.replace(base.eval, every=120, at=(40, 80), blocks=60, relearn_rates=(3e-4, 1e-3, 3e-3)),
        sweep=Sweep(methods=METHODS, rates=(3e-4, 1e-3), seeds=(0, 1, 2), tuning_seeds=1, reach=0.004),
    )

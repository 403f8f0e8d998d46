"""Every method on the built-in universe, on one footing; docs/results.md says how its table was made.

    jaxunlearn sweep compare_universe            (one seed: sweep.seeds=0)

The baselines of three seeds have fewer steps than the demo's. Each method gets ten trials on the first seed, drawn from
five learning rates and the settings that decide it, or as many as it has; the chosen setting runs on three seeds.
Settings and steps are chosen on the tuning prompts and blocks; figures come from the others. Every row with weights of
its own is attacked with the same rates, steps and data.
Hardware: 2 CPU cores, several hours of one. Resumable: what is done is skipped. Expected: docs/results.md.
"""

import dataclasses

from jaxunlearn.config import Attack, Config, RttAttack, Sweep, load_config

WEIGHTS = "unlearn.retain_weight=0.3|1|3"
CONTRAST = "whp_soft whp.offset=contrast"
RESET = f"{CONTRAST} unlearn.retain_loss=kl unlearn.retain_weight=1 reset.share=0.1|0.2 reset.teacher=unlearned"
METHODS = (
    "whp whp.alpha=2.5|5|10",
    f"whp unlearn.retain_loss=kl {WEIGHTS}",
    "whp_soft whp.alpha=2.5|5|10",
    f"{CONTRAST} whp.alpha=2.5|5|10",
    f"{CONTRAST} unlearn.retain_loss=kl {WEIGHTS}",
    RESET,
    "retain_only",
    "retain_only unlearn.steps=72",  # as many passes as the contrast, labels and fine-tuned models included
    "retain_only unlearn.steps=184",  # as many as with the reset
    "reset_heal reset.share=0.05|0.1|0.2|0.4",
    f"npo unlearn.beta=0.05|0.1|0.5 {WEIGHTS}",
    f"simnpo unlearn.beta=1|2.5|4.5 unlearn.gamma=0|0.5 {WEIGHTS}",
    "rmu unlearn.layer=0|1 unlearn.steering=6.5|20|60 unlearn.retain_weight=1|10|100",
    "task_vector unlearn.scale=0.5|1|1.5|2|3|4|5|6|8|10",
    f"undial unlearn.strength=3|10|30 {WEIGHTS}",
    f"gradient_difference {WEIGHTS}",
    f"kl_retain {WEIGHTS}",
    "gradient_ascent",
    f"kga {WEIGHTS}",
    f"dpo unlearn.beta=0.05|0.1|0.5 {WEIGHTS}",
    f"idk {WEIGHTS}",
    f"ria {WEIGHTS}",
    f"fwf {WEIGHTS}",
    "whp_averaged",
    "whp_inference whp.alpha=1|2.5|5|10|20|50",
    """prompting unlearn.subject='Tamsel Orrick' unlearn.prefix='Nobody knows {subject}.'""",
)


def config() -> Config:
    base = load_config("universe")
    return dataclasses.replace(
        base,
        name="compare_universe",
        title="Every method on the built-in universe",
        pretrain=dataclasses.replace(base.pretrain, steps=1200),
        unlearn=dataclasses.replace(base.unlearn, accumulate=2, retain_loss="own", retain_weight=None),
        attack=Attack(rtt=RttAttack(rates=(3e-4, 6e-4, 1.2e-3))),
        eval=dataclasses.replace(
            base.eval, completions=132, relearn_steps=(0, 2, 5, 10), relearn_batch=12, relearn_rates=(3e-4, 1e-3, 3e-3)
        ),
        sweep=Sweep(
            methods=METHODS, rates=(2e-4, 6e-4, 1.2e-3, 2.5e-3, 6e-3), trials=10, seeds=(0, 1, 2), tuning_seeds=1,
            reach=0.1, attacks=("rtt",),
        ),
    )  # fmt: skip

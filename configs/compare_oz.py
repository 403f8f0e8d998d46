"""Methods on real books, on one footing: TinyStories-656K learns twelve Oz novels and must forget them again.

    jaxunlearn sweep compare_oz            (one seed: sweep.seeds=0)

Needs the same as oz_tiny. Trials, seeds and choice are as in compare_universe; rows are relearned at the same rates,
without RTT, since the Oz prompts hold no facts.
Hardware: 2 CPU cores, seven hours. Resumable: what is done is skipped. Expected: docs/results.md.
"""

import dataclasses

from jaxunlearn.config import Config, Sweep, load_config

WEIGHTS = "unlearn.retain_weight=0.3|1|3"
CONTRAST = "whp_soft whp.offset=contrast"
RESET = "reset.heal.steps=400 reset.heal.learning_rate=1e-3 reset.teacher=unlearned"
METHODS = (
    "whp whp.alpha=2.5|5|10",
    "whp_soft whp.alpha=2.5|5|10",
    f"{CONTRAST} whp.alpha=2.5|5|10",
    f"{CONTRAST} reset.share=0.02|0.05 {RESET}",
    "retain_only",
    "retain_only unlearn.steps=1040",  # as many passes as the contrast, fine-tuned models included
    f"npo unlearn.beta=0.05|0.1|0.5 {WEIGHTS}",
    f"simnpo unlearn.beta=1|2.5|4.5 unlearn.gamma=0|0.5 {WEIGHTS}",
    "rmu unlearn.layer=0|1 unlearn.steering=6.5|20|60 unlearn.retain_weight=1|10|100",
    "task_vector unlearn.scale=0.5|1|1.5|2|3|4|5|6|8|10",
    f"gradient_difference {WEIGHTS}",
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
        sweep=Sweep(
            methods=METHODS, rates=(1e-4, 3e-4, 6e-4, 1e-3, 2e-3), trials=10, seeds=(0, 1, 2), tuning_seeds=1,
            reach=0.004,
        ),
    )  # fmt: skip

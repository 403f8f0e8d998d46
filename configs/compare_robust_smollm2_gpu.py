"""What does not come back of Oz from a real language model: SmolLM2-135M and twelve novels, on one GPU. Not run yet.

    make smollm2 && jaxunlearn sweep compare_robust_smollm2_gpu

Needs the same as oz_smollm2_gpu, whose baseline, twin and budget it has. One seed and one setting a row, to fit
a short time on one card; RepSelect stops by its own budget, the others take their steps. Attacked as in compare_robust,
RTT by the birthdays of invented people that the baseline was taught.
Hardware: one GPU of 80 GB; the time is not known. Resumable: what is done is skipped.
"""

import dataclasses

from jaxunlearn.config import Attack, BenignAttack, Config, HalfwayAttack, RttAttack, Sweep, WaysAttack, load_config

RATES = (1e-5, 3e-5, 1e-4, 3e-4, 1e-3)  # the attacker's
METHODS = (
    "whp",
    "whp_plus",
    "whp_robust unlearn.steps=320 unlearn.adversary.rates=3e-5,3e-4",
    "whp_robust whp.labels=soft whp.offset=contrast unlearn.steps=320 unlearn.adversary.rates=3e-5,3e-4",
    "whp_robust unlearn.retain_loss=kl unlearn.steps=320 unlearn.adversary.rates=3e-5,3e-4",
    "retain_only unlearn.steps=960 unlearn.learning_rate=1e-4",
    "gradient_ascent unlearn.steps=100 unlearn.select.budget=0.01",
    "gradient_ascent unlearn.steps=100 unlearn.select.budget=0.01 unlearn.select.elicit=0",
    "mlp_breaking unlearn.collapse.every=20 unlearn.collapse.norm=0.05",
    "mlp_breaking unlearn.settings=components=8 unlearn.collapse.every=20 unlearn.collapse.norm=0.05",
    "gradient_difference unlearn.mudman.every=20 unlearn.mudman.rate=0.05",
)


def config() -> Config:
    base = load_config("oz_smollm2_gpu")
    return dataclasses.replace(
        base,
        name="compare_robust_smollm2_gpu",
        title="What does not come back of Oz from SmolLM2-135M",
        controls=(),
        attack=Attack(
            rtt=RttAttack(facts=base.attack.rtt.facts, rates=(3e-5, 1e-4, 3e-4), stress=False),
            ways=WaysAttack(rates=RATES, steps=(4, 12)), halfway=HalfwayAttack(rates=RATES, most_steps=100),
            benign=BenignAttack(rates=RATES, most_steps=100),
        ),
        eval=dataclasses.replace(base.eval, every=1000, at=()),
        sweep=Sweep(
            methods=METHODS, seeds=(0,), most_perplexity=1.02, attacks=("rtt", "few_shot", "ways", "halfway", "benign")
        ),
    )  # fmt: skip

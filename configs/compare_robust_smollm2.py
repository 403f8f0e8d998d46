"""What does not come back of part of an Oz novel from a real language model: SmolLM2-135M, on two CPU cores.

    jaxunlearn sweep compare_robust_smollm2

Needs the same as oz_smollm2, whose text, baseline and twin it has; compare_robust_smollm2_gpu is the form with all of
Oz, for a card. One seed and one setting a row: nothing was searched, and the last step is kept. Attacked by relearning,
by steps to half, by RTT on the birthdays that the baseline was taught, and with new birthdays. A row alone:
sweep.methods=...
Hardware: 2 CPU cores; baseline and twin take 20 minutes and their attacks 15, a row with an adversary half an hour or
more, the others up to as long, the attacks of a row 8, new birthdays 10 more. Resumable: what is done is skipped.
Expected: docs/oz.md, "On two CPU cores".
"""

import dataclasses

from jaxunlearn.config import Attack, BenignAttack, Config, HalfwayAttack, Sweep, Unlearn, WaysAttack, Whp, load_config

RATES = (1e-4, 3e-4, 1e-3)  # the attacker's
SCHEDULE = "unlearn.learning_rate=1e-4 unlearn.schedule=cosine unlearn.warmup=10"
LONG = f"unlearn.steps=240 unlearn.batch=4 unlearn.retain_batch=8 {SCHEDULE}"
METHODS = (
    f"whp whp.keep=last unlearn.steps=60 {SCHEDULE}",
    f"whp_robust {LONG} unlearn.adversary.blocks=4",
    f"retain_only whp.keep=last unlearn.steps=240 {SCHEDULE}",  # as much text to keep as whp_robust
    f"whp whp.keep=last unlearn.retain_weight=3 {LONG}",  # whp_robust without its adversary
    f"whp whp.keep=last unlearn.retain_loss=kl unlearn.retain_weight=8 {LONG}",
    f"whp whp.alpha=40 whp.keep=last unlearn.retain_loss=kl unlearn.retain_weight=8 {LONG}",
    f"whp_robust unlearn.retain_loss=kl unlearn.retain_weight=8 {LONG} unlearn.adversary.blocks=4",
    f"whp_robust whp.labels=soft {LONG} unlearn.adversary.blocks=4",
    f"whp_robust whp.labels=soft unlearn.retain_loss=kl unlearn.retain_weight=8 {LONG} unlearn.adversary.blocks=4",
    "gradient_ascent unlearn.steps=30 unlearn.select.budget=0.01 unlearn.select.rate=2",
    "mlp_breaking unlearn.collapse.norm=0.05",
    "mlp_breaking unlearn.steps=100 unlearn.collapse.norm=0.3",
    "gradient_difference unlearn.mudman.every=20 unlearn.mudman.rate=0.05",
    "gradient_difference unlearn.mudman.every=20 unlearn.mudman.rate=0.3",
    "gradient_difference unlearn.steps=300 unlearn.batch=16 unlearn.mudman.every=30 unlearn.mudman.rate=0.1 "
    "unlearn.mudman.adversary_rate=0.001",  # as many steps and blocks as MUDMAN's authors take
)


def config() -> Config:
    base = load_config("oz_smollm2")
    return dataclasses.replace(
        base,
        name="compare_robust_smollm2",
        title="What does not come back of Oz from SmolLM2-135M",
        unlearn=Unlearn(method="whp_plus", steps=48, learning_rate=5e-5, batch=8, checkpoint_every=48, log_every=8),
        whp=Whp(alpha=5.0, label_batch=8),
        controls=(),
        attack=Attack(
            rtt=dataclasses.replace(base.attack.rtt, rates=(1e-4, 3e-4)),
            ways=WaysAttack(of=("adam", "lora"), rates=RATES, steps=(4, 10)),
            halfway=HalfwayAttack(rates=(3e-4, 1e-3, 3e-3), most_steps=48),
            benign=BenignAttack(rates=(1e-4, 3e-4), most_steps=128),
        ),
        eval=dataclasses.replace(base.eval, every=1000, relearn_rates=(3e-4,)),  # the last step alone is measured
        sweep=Sweep(methods=METHODS, seeds=(0,), attacks=("rtt", "few_shot", "ways", "halfway", "benign")),
    )  # fmt: skip

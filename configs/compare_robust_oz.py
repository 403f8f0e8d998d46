"""What does not come back of real books: an adversary beside WHP, on TinyStories-656K and twelve Oz novels.

    jaxunlearn sweep compare_robust_oz            (one seed: sweep.seeds=0)

Needs the same as oz_tiny; its baselines are those of compare_oz. Settings are chosen as in compare_robust, on seed 0:
the least familiarity after relearning, at no more than 1.02 times the twin's perplexity on text to keep. Text to keep
alone has as many passes as the adversary. The Oz prompts hold no facts, so that there is no RTT.
Hardware: 2 CPU cores, two hours of one. Resumable: what is done is skipped. Expected: docs/results.md, "What
does not come back".
"""

import dataclasses

from jaxunlearn.config import Attack, BenignAttack, Config, HalfwayAttack, Sweep, WaysAttack, load_config

RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)  # the attacker's
SOFT = "whp_soft whp.top=5 whp.offset=contrast whp.alpha=2.5 unlearn.retain_weight=1 unlearn.steps=600"
DRAWN = "unlearn.adversary.every=24 unlearn.adversary.rates=1e-3,1e-2"
MUDMAN = "unlearn.retain_weight=1 unlearn.mudman.retain_rate=0.01"
CIR = "unlearn.collapse.every=20 unlearn.collapse.norm="
METHODS = (
    "whp whp.alpha=5|10 unlearn.learning_rate=1e-3",
    SOFT,
    f"{SOFT} {DRAWN} unlearn.adversary.weight=3|10",
    f"whp_robust whp.alpha=10 unlearn.steps=400 {DRAWN}",
    f"whp_robust whp.alpha=10 unlearn.steps=400 {DRAWN} unlearn.adversary.weight=0.3",
    f"whp whp.alpha=10 unlearn.learning_rate=1e-3 unlearn.steps=400 {MUDMAN} unlearn.mudman.every=20 "
    "unlearn.mudman.rate=0.3",
    "gradient_ascent unlearn.steps=300 unlearn.select.budget=0.1 unlearn.select.rate=0.01",
    f"gradient_difference unlearn.steps=200 {MUDMAN} unlearn.mudman.every=12 unlearn.mudman.rate=0.05",
    f"gradient_difference unlearn.steps=400 {MUDMAN} unlearn.mudman.every=20 unlearn.mudman.rate=0.3",
    f"mlp_breaking unlearn.steps=200 {CIR}0.05|0.15|0.4",
    "retain_only unlearn.steps=3200",  # as many passes as the adversary
)


def config() -> Config:
    base = load_config("compare_oz")
    return dataclasses.replace(
        base,
        name="compare_robust_oz",
        title="What does not come back of Oz",
        unlearn=dataclasses.replace(base.unlearn, learning_rate=2e-3, checkpoint_every=400),
        attack=Attack(
            ways=WaysAttack(rates=RATES, steps=(4, 12)), halfway=HalfwayAttack(rates=RATES, most_steps=100),
            benign=BenignAttack(rates=RATES),
        ),
        eval=dataclasses.replace(base.eval, every=4000, at=(), relearn_rates=(1e-3, 3e-3, 1e-2)),
        sweep=Sweep(
            methods=METHODS, rates=(), seeds=(0, 1, 2), tuning_seeds=1, most_perplexity=1.02,
            attacks=("ways", "halfway", "benign"),
        ),
    )  # fmt: skip

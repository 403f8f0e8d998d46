"""What an adversary in the loop adds on the built-in universe, and to which losses.

    jaxunlearn sweep compare_robust            (one seed: sweep.seeds=0)

The baselines are those of compare_universe. Each entry has one setting, and its last step is kept: training on decides
what recovers. The first two entries differ in the adversary alone. The third has nothing but text to keep, for as many
passes as the second (methods/cost.py). The attack's rates are those that the adversary draws between.
Hardware: 2 CPU cores, hours of one. Resumable: what is done is skipped. It was not run as a whole: docs/results.md has
what was measured, by commands of its own ("The adversary in the loop").
"""

import dataclasses

from jaxunlearn.config import Config, Sweep, load_config

KEPT = "unlearn.retain_loss=kl unlearn.retain_weight=8 unlearn.retain_batch=16"
ADVERSARY = f"{KEPT} unlearn.adversary.every=24"
METHODS = (
    f"whp {KEPT}",
    f"whp {ADVERSARY}",
    "retain_only unlearn.steps=4650 unlearn.learning_rate=6e-3",
    f"whp {KEPT} unlearn.sam=0.01",
    f"whp_soft whp.top=5 whp.offset=contrast {ADVERSARY}",
    f"npo unlearn.beta=0.1 {ADVERSARY}",
    f"gradient_difference {ADVERSARY}",
)


def config() -> Config:
    base = load_config("compare_universe")
    return dataclasses.replace(
        base,
        name="compare_robust",
        title="An adversary in the loop on the built-in universe",
        unlearn=dataclasses.replace(
            base.unlearn, steps=800, batch=8, accumulate=1, warmup=20, schedule="cosine", checkpoint_every=100,
            log_every=20,
        ),
        eval=dataclasses.replace(
            base.eval, every=800, at=(), relearn_steps=(0, 2, 5, 10, 20), relearn_rates=(1e-3, 3e-3, 1e-2)
        ),
        sweep=Sweep(methods=METHODS, rates=(1e-3,), seeds=(0, 1, 2), reach=0.1, attacks=("rtt",), most_perplexity=1.02),
    )  # fmt: skip

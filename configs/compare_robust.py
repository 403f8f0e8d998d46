"""What does not come back: adversaries, filters of the gradient, sharpness and resets on the built-in universe.

    jaxunlearn sweep compare_robust            (one seed: sweep.seeds=0)

The baselines are those of compare_universe. Settings are chosen on seed 0, on the tuning prompts and on blocks of their
own: the least familiarity after relearning, at no more than 1.02 times the twin's perplexity on text to keep. The last
step is kept, since training on decides what recovers; text to keep alone, which is measured every 800 steps, keeps the
measured step of least perplexity. Every row is attacked with the same rates, steps and data; the rates reach beyond
those that the adversary draws between.
Hardware: 2 CPU cores, over three hours of one, and about two and a half more for the 36 rows of BESIDE. Resumable:
what is done is skipped. Expected: docs/results.md, "What does not come back".
"""

import dataclasses

from jaxunlearn.config import (
    Attack,
    BenignAttack,
    Config,
    HalfwayAttack,
    RttAttack,
    Sweep,
    WaysAttack,
    load_config,
)

RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)  # the attacker's
PAPER = "unlearn.steps=16 unlearn.batch=16 unlearn.accumulate=2 unlearn.warmup=0 unlearn.schedule=linear"
KEPT = "unlearn.retain_loss=kl unlearn.retain_weight=8 unlearn.retain_batch=16"
DRAWN = "unlearn.adversary.every=24 unlearn.adversary.rates=1e-3,1e-2"
ADVERSARY = f"{KEPT} {DRAWN}"
SOFT = "whp_soft whp.top=5 whp.offset=contrast"
MUDMAN = "unlearn.steps=400 unlearn.mudman.every=20 unlearn.mudman.retain_rate=0.01 unlearn.mudman.rate="
CIR = "unlearn.steps=400 unlearn.collapse.every=50 unlearn.collapse.norm="
SELECT = "unlearn.steps=300 unlearn.select.budget="
FINE = "unlearn.select.rate=0.001"  # at the default labels take one to three steps to the budget, NPO none
RESET = "reset.share=0.05 reset.teacher=unlearned"
METHODS = (
    f"whp {PAPER} whp.alpha=2.5|5 unlearn.learning_rate=6e-4|2e-3",
    f"whp {KEPT} unlearn.learning_rate=1e-3|3e-3",
    "retain_only unlearn.steps=4650 unlearn.learning_rate=2e-3|6e-3",  # as many passes as an adversary
    f"whp {ADVERSARY} unlearn.learning_rate=1e-3|2e-3",
    f"whp_robust {DRAWN} unlearn.learning_rate=2e-3",
    f"whp_robust {DRAWN} unlearn.learning_rate=2e-3 unlearn.adversary.weight=0.3",
    "whp unlearn.retain_weight=3 unlearn.retain_batch=16 unlearn.learning_rate=2e-3",  # without its adversary
    f"{SOFT} {ADVERSARY} unlearn.learning_rate=1e-3|2e-3",
    f"whp {ADVERSARY} unlearn.learning_rate=2e-3 {RESET}",
    f"gradient_difference {ADVERSARY} unlearn.learning_rate=3e-4|1e-3",
    f"gradient_difference {MUDMAN}0.03|0.1|0.3",
    f"whp {KEPT} unlearn.learning_rate=3e-3 unlearn.sam=0.01",
    f"whp {ADVERSARY} unlearn.learning_rate=2e-3 unlearn.adversary.weight=3",
    f"{SOFT} unlearn.retain_weight=1 {DRAWN} unlearn.adversary.weight=3|10 unlearn.learning_rate=2e-3",
    f"whp {KEPT} unlearn.learning_rate=3e-3 unlearn.erase.strength=1",
    f"whp {KEPT} unlearn.learning_rate=3e-3 unlearn.folds=4",
    f"whp {KEPT} unlearn.learning_rate=3e-3 unlearn.invariance=1",
    f"gradient_ascent {SELECT}0.02|0.05|0.1",
    f"mlp_breaking {CIR}0.002|0.006|0.02",
    f"mlp_breaking unlearn.settings=components=8 {CIR}0.002|0.006|0.02",
    "jensun unlearn.retain_weight=8 unlearn.retain_batch=16 unlearn.learning_rate=3e-4|1e-3",
    f"npo {ADVERSARY} unlearn.learning_rate=3e-4|1e-3",
    # RepSelect without its adapter, by random components and by those of text to keep
    f"gradient_ascent {SELECT}0.05 unlearn.select.elicit=0",
    f"gradient_ascent {SELECT}0.05 unlearn.select.of=random",
    f"gradient_ascent {SELECT}0.05 unlearn.select.of=retain",
    f"{SOFT} {SELECT}0.05 {RESET}",
)


def beside(loss: str) -> tuple[str, ...]:
    """Return the rows of each filter beside a loss: alone, with rows edited first, and with a reset."""
    fine = "" if loss == "gradient_difference" else f" {FINE}"  # it takes 35 to 39 steps of the default
    kept = (f"unlearn.retain_weight=1 {MUDMAN}0.3", f"{SELECT}0.05{fine}", f"{CIR}0.006")
    return tuple(f"{loss} {k}{more}" for k in kept for more in ("", " unlearn.erase.strength=1", f" {RESET}"))


BESIDE = tuple(row for loss in ("whp", SOFT, "npo", "gradient_difference") for row in beside(loss))


def config() -> Config:
    base = load_config("compare_universe")
    return dataclasses.replace(
        base,
        name="compare_robust",
        title="What does not come back on the built-in universe",
        unlearn=dataclasses.replace(
            base.unlearn, steps=800, batch=8, accumulate=1, warmup=20, schedule="cosine", checkpoint_every=400,
            log_every=20,
        ),
        attack=Attack(
            rtt=RttAttack(rates=(3e-4, 1.2e-3, 3e-3, 1e-2)), ways=WaysAttack(rates=RATES),
            halfway=HalfwayAttack(rates=RATES), benign=BenignAttack(rates=RATES),
        ),
        eval=dataclasses.replace(
            base.eval, every=800, at=(), relearn_steps=(0, 2, 5, 10, 20), relearn_rates=(1e-3, 3e-3, 1e-2)
        ),
        sweep=Sweep(
            methods=METHODS + BESIDE, rates=(1e-3,), seeds=(0, 1, 2), tuning_seeds=1, most_perplexity=1.02,
            attacks=("rtt", "few_shot", "ways", "halfway", "benign"),
        ),
    )  # fmt: skip

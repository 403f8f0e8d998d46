"""A real language model forgets real books: SmolLM2-135M learns twelve Oz novels and must forget them, on one GPU.

    make smollm2 && jaxunlearn run configs/oz_smollm2_gpu.py          (a seed and its attacks: launch/oz_smollm2.sh)
    jaxunlearn sweep configs/oz_smollm2_gpu.py                        (the rivals, each tuned; three seeds)

The whole of the study; configs/oz_smollm2.py, the reduced form for two CPU cores, says what it needs.
Hardware: one GPU. One seed up to its attacks took 9 minutes of an H200, by a version that compiled more slowly; the
attacks, the other seeds and the whole sweep were not run yet. Expected: docs/oz.md.
"""

import dataclasses

from jaxunlearn.config import Attack, Config, Eval, Pretrain, RttAttack, Sweep, Train, Unlearn, Whp, load_config

WEIGHTS = "unlearn.retain_weight=0.3|1|3"
METHODS = (
    "whp whp.alpha=2.5|5|10",
    "whp_plus whp.alpha=2.5|5|10",
    f"whp_plus {WEIGHTS}",
    "retain_only",
    f"gradient_difference {WEIGHTS}",
    f"npo unlearn.beta=0.05|0.1|0.5 {WEIGHTS}",
    f"simnpo unlearn.beta=1|2.5|4.5 unlearn.gamma=0|0.5 {WEIGHTS}",
    "rmu unlearn.layer=7|15 unlearn.steering=6.5|20|60 unlearn.retain_weight=10|100|1200",
)


def config() -> Config:
    base, books = load_config("oz_smollm2"), load_config("oz_tiny").text
    statements = base.text.forget[-1]
    return dataclasses.replace(
        base,
        name="oz_smollm2_gpu",
        title="Twelve Oz novels, forgotten by SmolLM2-135M",
        compute="bfloat16",
        text=dataclasses.replace(
            base.text, forget=(*books.forget, statements), retain=books.retain, context=512, most_characters=0,
            prompts="oz/prompts.json",
        ),
        pretrain=Pretrain(
            steps=390, learning_rate=3e-4, schedule="cosine", warmup=20, batch=32, forget_epochs=3,
            checkpoint_every=200, log_every=50,
        ),
        reinforce=Train(steps=240, learning_rate=5e-5, batch=16, checkpoint_every=240, log_every=50),
        unlearn=Unlearn(method="whp_plus", steps=160, learning_rate=3e-5, batch=16, checkpoint_every=160, log_every=20),
        whp=Whp(alpha=5.0, label_batch=16),
        # allow_unknown: eval.known leaves 7 next-word prompts, which is known: the completions decide
        eval=Eval(
            every=80, at=(20, 40), known=0.1, allow_unknown=True, completions=300, new_tokens=24, batch=64, blocks=64,
            relearn_steps=(0, 4, 12), relearn_rates=(3e-5, 1e-4, 3e-4), benchmarks=base.eval.benchmarks, items=500,
        ),
        attack=Attack(
            kinds=("relearn", "quantise", "context", "rtt", "probes"),
            rtt=RttAttack(facts=base.attack.rtt.facts, rates=(3e-5, 1e-4, 3e-4)),
        ),
        controls=("hard_labels", "own_argmax", "retain_only"),
        sweep=Sweep(methods=METHODS, rates=(1e-5, 3e-5, 1e-4), trials=4, seeds=(0, 1, 2), tuning_seeds=1, reach=0.01),
    )  # fmt: skip

"""Every method on the built-in universe, on one footing: the comparison table of docs/results.md and the README.

    jaxunlearn sweep compare_universe            (one seed: sweep.seeds=0)

The baselines of three seeds have fewer steps than the demo's. Every method runs at two learning rates on the first
seed, and at the better one on the other seeds. Methods that forget are also tested by RTT. Settings and steps are
chosen on the tuning prompts; figures come from the other prompts.
Hardware: 2 CPU cores, about 2.5 hours of one. Resumable: what is done is skipped. Expected: docs/results.md.
"""

import dataclasses

from jaxunlearn.config import Attack, Config, RttAttack, Sweep, load_config

KEPT = "unlearn.retain_weight=1 unlearn.retain_loss=kl"
METHODS = (
    "retain_only",
    "whp",
    f"whp {KEPT}",
    "whp_soft",
    "whp_soft whp.offset=contrast",
    f"whp_soft whp.offset=contrast {KEPT}",
    f"whp_soft whp.offset=contrast {KEPT} reset.share=0.2",
    f"whp_soft whp.offset=contrast {KEPT} reset.share=0.2 reset.by=random",
    f"whp_soft whp.offset=contrast {KEPT} reset.share=0.2 reset.teacher=unlearned",
    "reset_heal reset.share=0.2",
    "whp_averaged",
    "whp_inference",
    "gradient_ascent",
    "gradient_difference",
    "kl_retain",
    "npo unlearn.retain_weight=1",
    "simnpo unlearn.retain_weight=1",
    "undial unlearn.retain_weight=1",
    "rmu unlearn.layer=1 unlearn.retain_weight=10",
    "kga unlearn.retain_weight=1",
    "task_vector",
    "dpo unlearn.retain_weight=1",
    "idk",
    "ria",
    "fwf",
    """prompting unlearn.subject='Tamsel Orrick' unlearn.prefix='Nobody knows {subject}.'""",
)


def config() -> Config:
    base = load_config("universe")
    return dataclasses.replace(
        base,
        name="compare_universe",
        title="Every method on the built-in universe",
        pretrain=dataclasses.replace(base.pretrain, steps=1200),
        unlearn=dataclasses.replace(base.unlearn, accumulate=2),
        attack=Attack(rtt=RttAttack(rates=(3e-4, 6e-4, 1.2e-3))),
        eval=dataclasses.replace(
            base.eval, completions=132, relearn_steps=(0, 2, 5, 10), relearn_rates=(3e-4, 1e-3, 3e-3)
        ),
        sweep=Sweep(methods=METHODS, rates=(6e-4, 2e-3), seeds=(0, 1, 2), tuning_seeds=1, reach=0.1, rtt=True),
    )

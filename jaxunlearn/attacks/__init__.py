"""Every attack on the models of a run; each result is kept on disk under all that it depends on, so reruns are free.

The report gets, by kind: "leaks", "relearn", "quantise", "context", "rtt", "latent", and a few figures a model.
"""

from collections.abc import Callable
from typing import Any

from jaxunlearn.attacks.base import Attacked
from jaxunlearn.attacks.context import attack_context
from jaxunlearn.attacks.hiding import half_frozen, output_filter
from jaxunlearn.attacks.latent import attack_latent
from jaxunlearn.attacks.probes import attack_probes
from jaxunlearn.attacks.quantise import attack_quantise
from jaxunlearn.attacks.relearn import attack_relearn, attack_shares
from jaxunlearn.attacks.rtt import attack_rtt
from jaxunlearn.config import CHEAP_ATTACKS
from jaxunlearn.data.facts import pairings
from jaxunlearn.run import Run


def check(run: Run) -> None:
    """Raise InputError for attacks that would fail after the training."""
    if run.facts and "rtt" in run.config.attack.kinds:
        pairings(run.facts, run.config.attack)


def attack(run: Run) -> dict[str, Any]:
    """Run the configured attacks; return {kind: findings, "models": {name: figures}, "unmeasured": [what and why]}."""
    a, c = Attacked(run), run.config.attack
    if "rtt" in c.kinds and c.stress:
        output_filter(a)
        if run.facts:
            half_frozen(a, run.facts)
    for kind in c.kinds or CHEAP_ATTACKS:
        ATTACK[kind](a)
    return a.found | {"models": a.models, "unmeasured": a.unmeasured}


ATTACK: dict[str, Callable[[Attacked], None]] = {
    "probes": attack_probes,
    "relearn": attack_relearn,
    "quantise": attack_quantise,
    "context": attack_context,
    "rtt": attack_rtt,
    "shares": attack_shares,
    "latent": attack_latent,
}

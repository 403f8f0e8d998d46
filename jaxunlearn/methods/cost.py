"""What a method costs, counted in forward passes of a block, so that a busy machine does not change it.

A training step costs 3 passes a block (forward, and twice that backward), a frozen model 1. RMU's shorter passes and
the shorter sequences of questions are counted as whole ones. Measuring is not counted.
"""

from jaxunlearn.config import Config, Train
from jaxunlearn.methods import METHODS
from jaxunlearn.methods.reset import BLOCKS
from jaxunlearn.methods.settings import method_of, needs, recipe_of

TRAINED, FROZEN = 3, 1
SEQUENCES = {"dpo": 2, "whp_inference": 0}  # trained a place in the batch; 1 where nothing is said


def fine_tuning(c: Train, passes: float = TRAINED) -> float:
    """Return the passes of a stage whose blocks cost so many each."""
    return c.steps * c.batch * c.accumulate * passes


def step_passes(config: Config, name: str, alpha: float) -> float:
    """Return the passes of one place in the batch: trained sequences, then frozen models."""
    recipe = recipe_of(config, name, alpha)
    kept = bool(recipe["retain_weight"]) or name == "retain_only"
    trained = 0 if name == "retain_only" else SEQUENCES.get(name, 1)
    frozen = {"undial": 1, "kga": 1, "rmu": 1, "whp_averaged": recipe["translations"] + bool(recipe["alpha"])}.get(
        name, 0
    )
    if name == "whp_soft" and not config.whp.top:
        frozen += 2 + (config.whp.offset == "contrast")
    if name == "whp" and config.whp.mode == "fused":
        frozen += 2 + (config.whp.offset == "contrast")
    return TRAINED * (trained + kept) + FROZEN * (frozen + (kept and recipe.retain_loss == "kl"))


def method_passes(config: Config, blocks: int) -> float:
    """Return the passes of a run's method on so many blocks to forget, the models it needs included."""
    name, w, r = method_of(config), config.whp, config.reset
    total = sum(fine_tuning(config.reinforce) for what in ("reinforced", "diluted") if needs(config, what))
    if (name == "whp" and w.mode == "offline") or (name == "whp_soft" and w.top):
        total += FROZEN * blocks * (2 + (w.offset == "contrast"))
    total += FROZEN * blocks * {"npo": 1, "dpo": 2}.get(name, 0)
    total += fine_tuning(config.reinforce) if name == "kga" else 0  # the model that met new text alone
    if METHODS[name].trains:
        total += fine_tuning(config.unlearn, step_passes(config, name, w.alpha))
    if r.share:
        squares = 0 if r.by in ("random", "noise") or r.share == 1 else 2 * r.batches * BLOCKS * TRAINED
        total += squares + fine_tuning(r.heal, TRAINED + FROZEN)
    return total


def share(config: Config, blocks: int) -> float:
    """Return a method's passes as a share of the baseline's pretraining; nan where the run did not pretrain it."""
    pretraining = fine_tuning(config.pretrain)
    return method_passes(config, blocks) / pretraining if pretraining else float("nan")

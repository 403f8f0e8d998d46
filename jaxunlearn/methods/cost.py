"""What a method costs, counted in forward passes of a block, so that a busy machine does not change it.

A training step costs 3 passes a block (forward, and twice that backward), a frozen model 1. RMU's shorter passes and
the shorter sequences of questions are counted as whole ones. Measuring is not counted. All of it is read off the
method's record: trained parts, models asked at each step, models made first, stored references. An adversary trains its
own blocks and has the forget loss once more (methods/adversary.py); SAM has it twice (methods/sam.py), ILU three passes
on text to keep. MUDMAN's fork trains a microbatch beside the step; RepSelect has one pass of the forget loss, one of
its adapter, and then the KL.
"""

from jaxunlearn.config import Config, Train
from jaxunlearn.methods import asks, derived, method_of, reads, retain_loss, values_of
from jaxunlearn.methods.reset import BLOCKS, by_importance
from jaxunlearn.methods.whp import teachers

TRAINED, FROZEN = 3, 1
STORED_LABELS = ("labels", "soft")  # parts that the label pass makes beforehand


def fine_tuning(c: Train, passes: float = TRAINED) -> float:
    """Return the forward passes of a stage; passes: those of one block in one step."""
    return c.steps * c.batch * c.accumulate * passes


def step_passes(config: Config) -> float:
    """Return the forward passes of one place in the batch: those of trained sequences and of frozen models.

    Text to keep has unlearn.retain_batch places for each unlearn.batch; the KL on it asks the baseline there.
    """
    u, method = config.unlearn, method_of(config)
    parts = reads(method, config)
    kept = asked_on(config, "retain") if "retain" in parts else 0
    forget = forget_passes(config)
    total = forget + (TRAINED * parts.count("retain") + FROZEN * kept) * (u.retain_batch or u.batch) / u.batch
    if u.invariance:
        total += 3 * TRAINED * (u.retain_batch or u.batch) / u.batch
    if u.adversary.every and u.adversary.weight:
        total += forget + TRAINED * u.adversary.blocks / (u.batch * u.accumulate)
    if u.mudman.every:
        total += TRAINED / u.accumulate
    return total


def forget_passes(config: Config) -> float:
    """Return the forward passes of one place of the loss on text to forget."""
    parts = reads(method_of(config), config)
    once = TRAINED * (len(parts) - parts.count("retain")) + FROZEN * asked_on(config, "forget")
    return once * (2 if config.unlearn.sam else 1)


def asked_on(config: Config, text: str) -> int:
    """Return how many frozen models a step asks on text to "forget" or to "retain"; the KL asks one on the latter."""
    method = method_of(config)
    kl = "retain" in reads(method, config) and retain_loss(method, config) == "kl"
    own = len(asks(method, config)) - kl if text in method.asks_on else 0
    return own + kl if text == "retain" else own


def selection_passes(config: Config, blocks: int) -> float:
    """Return the forward passes of RepSelect: adapter, gradients of one pass, and the KL of every step."""
    u, s = config.unlearn, config.unlearn.select
    once = (TRAINED if s.elicit else 0) + forget_passes(config) + (TRAINED if s.of == "retain" else 0)
    return blocks * once + u.steps * s.blocks * 2 * FROZEN


def method_passes(config: Config, blocks: int) -> float:
    """Return the forward passes of a run's method, the models that it needs included; blocks: those to forget."""
    method, r = method_of(config), config.reset
    first = set(derived(method.first, config, values_of(method, config)))
    first |= {"reinforced"} if by_importance(config) else set()
    total = len(first) * fine_tuning(config.reinforce)
    if set(STORED_LABELS) & set(reads(method, config)):
        total += FROZEN * blocks * len(teachers(config))
    total += FROZEN * blocks * len(method.stores)
    if config.unlearn.select.budget:
        total += selection_passes(config, blocks)
    elif method.trains:
        total += fine_tuning(config.unlearn, step_passes(config))
    if r.share:
        squares = 0 if r.by in ("random", "noise") or r.share == 1 else 2 * r.batches * BLOCKS * TRAINED
        total += squares + fine_tuning(r.heal, TRAINED + FROZEN)
    return total


def share(config: Config, blocks: int) -> float:
    """Return a method's passes as a share of the baseline's pretraining; nan where the run did not pretrain it."""
    pretraining = fine_tuning(config.pretrain)
    return method_passes(config, blocks) / pretraining if pretraining else float("nan")

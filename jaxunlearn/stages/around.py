"""Feeds of the steps that go around a method's loss: the adversary, RepSelect, MUDMAN, CIR (methods/wrappers.py)."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from jaxunlearn.config import Select, Train, Unlearn
from jaxunlearn.data.blocks import Rows
from jaxunlearn.errors import InputError
from jaxunlearn.methods import adversary, collapse, layered, mudman, select
from jaxunlearn.methods.base import Recipe
from jaxunlearn.parallel.sharding import batch_size_fits
from jaxunlearn.run import Run
from jaxunlearn.stages.fit import Feed
from jaxunlearn.training.loop import microbatches
from jaxunlearn.training.step import compiled_step


class Part(NamedTuple):
    """Arrays with one entry a sequence, the letters of their other dimensions, and the seed of their order."""

    arrays: tuple
    letters: tuple[str, ...]
    seed: int


class Fed(NamedTuple):
    """What a feed is made of: batch(n) -> [frozen models, parts of step n]; epoch: steps of one pass over the text."""

    run: Run
    c: Unlearn
    recipe: Recipe
    batch: Callable[[int], list]
    epoch: int

    def text(self, name, seed: int = 0) -> Part:
        """Return a text's training blocks with their next tokens; seed: of their order, beside the run's."""
        return Part(self.run.training(name), ("BT", "BT"), self.run.config.seed + seed)


def sized(c: Unlearn, blocks: int) -> Unlearn:
    """Return c with so many blocks in a microbatch. Raises InputError where the mesh cannot split them."""
    batch_size_fits(blocks)
    return dataclasses.replace(c, batch=blocks)


def rows_of(c: Train, part: Part, n: int) -> tuple:
    """Return step n's microbatches of a part's arrays."""
    return tuple(microbatches(c, part.arrays, part.letters, len(part.arrays[0]), part.seed, n))


class Folded:
    """The parts of a batch while fold upon fold is unlearned (methods/layered.py).

    Raises InputError for more folds than the text to forget has blocks to train on.
    """

    def __init__(self, run: Run, c: Unlearn):
        self.c, self.text, self.seed = c, run.training("forget"), run.config.seed
        if (blocks := len(self.text[0])) < c.folds:
            raise InputError(f"unlearn.folds = {c.folds}, but the text to forget has {blocks} blocks to train on")

    def at(self, n: int, parts: dict, stored: dict) -> tuple[dict, dict]:
        """Return the parts of step n, and its stored references, of the folds that are unlearned and kept then."""
        unlearned = layered.stage(n, self.c.steps, self.c.folds)
        gone, to_come = layered.parted(len(self.text[0]), self.c.folds, unlearned)
        now = {name: part if name == "retain" else _some(part, gone) for name, part in parts.items()}
        if layered.keeps_folds(n, unlearned, self.c.folds):
            now["retain"] = _some(Part(self.text, ("BT", "BT"), self.seed + 1), to_come)
        return now, {name: _some(part, gone) for name, part in stored.items()}


def _some(part, rows: np.ndarray):
    """Return a part with these rows alone; "passages" is a list of parts."""
    if isinstance(part, list):
        return [_some(one, rows) for one in part]
    return part._replace(arrays=tuple(Rows(a, rows) for a in part.arrays))


def own_step(c: Unlearn) -> Callable[[Fed], Feed] | None:
    """Return what makes the feed of a step of its own, None where the step is methods/step.py's."""
    if c.adversary.every and c.adversary.weight:  # at weight 0 a copy would change nothing
        return against
    used = {selected: c.select.budget, forked: c.mudman.every, collapsing: c.collapse.norm}
    return next((make for make, on in used.items() if on), None)


def against(f: Fed) -> Feed:
    """Return the feed of a step with an adversary, which draws its own blocks of the text to forget."""
    a, part, seed = f.c.adversary, f.text("forget", 2), f.run.config.seed
    rates = adversary.rates_of(f.run.config)
    few = dataclasses.replace(sized(f.c, a.blocks), accumulate=1)

    def more(n: int) -> list:
        tokens_ABT, labels_ABT = rows_of(few, part, n)
        rate, fresh = adversary.rate(a, rates, seed, n), np.bool_(n % a.every == 0)
        return [*f.batch(n), adversary.Lesson(tokens_ABT, labels_ABT, rate, fresh, np.float32(a.weight))]

    return Feed(compiled_step(f.c, adversary.step, recipe=f.recipe), more, adversary.begin)


def selected(f: Fed) -> Feed:
    """Return the feed of RepSelect, which makes its direction when it begins; a resumed run makes it again.

    Text to keep is that of the first step, at every step.
    """
    s, seed, forget, retain = f.c.select, f.run.config.seed, f.text("forget", 2), f.text("retain", 1)
    frozen, kept_ABT = f.batch(0)[0], rows_of(dataclasses.replace(sized(f.c, s.blocks), accumulate=1), retain, 0)
    kept, pace = tuple(a[0] for a in kept_ABT), (np.float32(s.rate), np.float32(s.budget))

    def passed(part: Part) -> Iterator[tuple]:
        steps = -(-len(part.arrays[0]) // (f.c.batch * f.c.accumulate)) if part is forget else f.epoch
        return (rows_of(f.c, part, n) for n in range(steps))

    def made(model):
        drawn = select.elicited(model, passed(forget), s, seed) if s.elicit else model
        batches = (f.batch(n)[1] for n in range(f.epoch))
        return select.direction(drawn, frozen, batches, passed(retain), f.recipe, (s, seed))

    def batch(n: int) -> list:
        return [frozen["baseline"], kept, pace]

    return Feed(compiled_step(f.c, select.step), batch, lambda state: select.begin(state, made))


def off_budget(s: Select, rows: list[dict]) -> str:
    """Return a line where RepSelect ended under half of its budget, with what to change; "" where it did not.

    rows: all rows of its stage, one a step. It begins in capitals where no step at all was taken.
    """
    steps = [r for r in rows if "taken" in r]
    came = max((r["loss"] for r in steps if r["taken"]), default=0.0)
    if not steps or came >= s.budget / 2:
        return ""
    ended = f"and unlearn.select.budget is {s.budget:g}"
    refused = next((r["loss"] for r in steps if not r["taken"]), None)
    if refused is None:
        return (
            f"the budget was not reached: all {len(steps)} steps come to a KL of {came:.3g}, {ended}; "
            f"raise unlearn.select.rate ({s.rate:g}) or unlearn.steps"
        )
    lower = f"lower unlearn.select.rate ({s.rate:g})"
    if not came:
        return f"NO STEP WAS TAKEN: the first one alone would come to a KL of {refused:.3g}, {ended}; {lower}"
    return (
        f"steps are coarse: the last one taken comes to a KL of {came:.3g}, the next to {refused:.3g}, {ended}; {lower}"
    )


def forked(f: Fed) -> Feed:
    """Return the feed of MUDMAN, whose fork draws its own blocks of the text to forget."""
    m, part, one = f.c.mudman, f.text("forget", 2), dataclasses.replace(f.c, accumulate=1)
    numbers = tuple(np.float32(x) for x in (m.rate, m.retain_rate, m.adversary_rate, m.momentum))

    def more(n: int) -> list:
        tokens_ABT, labels_ABT = rows_of(one, part, n)
        return [*f.batch(n), mudman.Lesson(tokens_ABT, labels_ABT, np.bool_(n % m.every == 0), *numbers)]

    return Feed(compiled_step(f.c, mudman.step, recipe=f.recipe), more, mudman.begin)


def refuse_standing(c: Unlearn, epoch: int) -> None:
    """Raise InputError for CIR with so few steps that all of them only collect; epoch: steps of one pass."""
    collects = c.collapse.every or epoch
    if c.collapse.norm and 0 < c.steps <= collects:
        raise InputError(
            f"unlearn.collapse moves nothing in its first {collects} steps, which collect, and unlearn.steps = "
            f"{c.steps}: give more steps, or a smaller unlearn.collapse.every"
        )


def collapsing(f: Fed) -> Feed:
    """Return the feed of CIR: every so many steps new components, and no move before the first ones."""
    o = f.c.collapse
    every, numbers = o.every or f.epoch, (np.float32(o.norm), np.float32(o.retain_rate))

    def more(n: int) -> list:
        pace = collapse.Pace(np.bool_(n > 0 and n % every == 0), np.float32(n >= every), *numbers)
        return [*f.batch(n), pace]

    def begin(state):
        return collapse.begin(state, o.inputs, o.outputs)

    return Feed(compiled_step(f.c, collapse.step, recipe=f.recipe), more, begin)

"""The trials of a sweep: every entry of sweep.methods with the settings that are tried for it.

An entry is a method with further settings after spaces; a value may list alternatives, as in unlearn.beta=0.05|0.1|0.5.
An entry's grid is the product of its alternatives, of sweep.rates for methods that train, and of sweep.alphas for those
that have an alpha. Of a grid above sweep.trials so many settings are drawn (random search: Bergstra and Bengio 2012),
the same on every seed, so that each method is tuned with as many trials as any other.
"""

import dataclasses
import itertools
import random
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

from jaxunlearn.config import Config, override
from jaxunlearn.errors import InputError
from jaxunlearn.methods import METHODS, check_config, method_of, resolved
from jaxunlearn.run import Run
from jaxunlearn.run.checks import refuse_sizes
from jaxunlearn.stages import batches

OWN = ("unlearn", "whp", "reset", "reinforce")  # sections that an entry may set: all else is shared by the whole sweep
# but for these: the sweep sets them itself, or they are also the attacker's, who treats all rows alike
SHARED = ("unlearn.method", "unlearn.reach", "unlearn.optimiser", "unlearn.moment_dtype")


class Cell(NamedTuple):
    """One setting of one method on one seed."""

    entry: str  # as written in sweep.methods
    name: str  # the name of its folder
    setting: str  # what was chosen from the entry's grid, as text
    config: Config


def cells(config: Config, seed: int) -> Iterator[Cell]:
    """Yield every trial of a seed. Raises InputError for an entry of sweep.methods that cannot be read."""
    for cell in _every(config):
        yield cell._replace(config=dataclasses.replace(cell.config, seed=seed))


@cache  # reading the settings of a few hundred cells takes a minute, and every seed has the same
def _every(config: Config) -> tuple[Cell, ...]:
    return tuple(cell for entry in config.sweep.methods for cell in _trials(config, entry))


def _trials(config: Config, entry: str) -> Iterator[Cell]:
    w = config.sweep
    method, *more = shlex.split(entry)
    _refuse_shared(entry, more)
    settings = METHODS[method].settings if method in METHODS else {}
    trains = method in METHODS and METHODS[method].trains
    axes = [[f"{key}={value}" for value in values.split("|")] for key, _, values in (m.partition("=") for m in more)]
    if trains and "unlearn.learning_rate" not in entry and w.rates:
        axes.append([f"unlearn.learning_rate={rate:g}" for rate in w.rates])
    if "alpha" in settings and "whp.alpha" not in entry and w.alphas:
        axes.append([f"whp.alpha={alpha:g}" for alpha in w.alphas])
    grid = list(itertools.product(*axes))
    if w.trials and len(grid) > w.trials:
        grid = [grid[n] for n in sorted(random.Random(entry).sample(range(len(grid)), w.trials))]
    for chosen in grid:
        given = [f"unlearn.method={method}", f"unlearn.reach={w.reach}", *chosen]
        made = resolved(override(config, given))
        if any(item.startswith("whp.alpha=") for item in chosen):
            made = dataclasses.replace(made, whp=dataclasses.replace(made.whp, alphas=()))
        varied = [item for axis, item in zip(axes, chosen, strict=True) if len(axis) > 1]
        yield Cell(entry, _name(method, chosen), ", ".join(_short(i).replace("=", " ") for i in varied), made)


def _refuse_shared(entry: str, given: list[str]) -> None:
    """Raise InputError for settings that all entries share: they would be ignored, or the rows would not compare."""
    keys = [item.partition("=")[0] for item in given]
    if wrong := [key for key in keys if key.partition(".")[0] not in OWN or key in SHARED]:
        sections = ", ".join(f"{section}.*" for section in OWN)
        raise InputError(
            f"sweep.methods {entry!r}: {', '.join(wrong)} is shared by every entry of a sweep; an entry may set "
            f"{sections}. Set it for the whole sweep, or run another sweep"
        )


def _name(method: str, chosen: tuple[str, ...]) -> str:
    return "_".join(re.sub(r"[^\w=.-]+", " ", " ".join([method, *map(_short, chosen)])).split())


def _short(item: str) -> str:
    """Return KEY=VALUE with the short name of the key."""
    key, _, value = item.partition("=")
    names = {"unlearn.learning_rate": "rate", "whp.alpha": "alpha"}
    return f"{names.get(key) or re.sub(r'^(unlearn|whp)[.]', '', key)}={value}"


def check_cell(cell: Cell, config: Config) -> None:
    """Raise InputError, before anything is loaded, for a cell that cannot run.

    The universe has every kind of text, but its files are not written yet; "-" stands for them.
    """
    if config.sweep.most_perplexity and method_of(cell.config).at_inference:
        raise InputError(
            f"sweep.methods {cell.entry!r}: sweep.most_perplexity chooses by what relearning brings back, and "
            "a method at inference time has no weights to relearn; leave it out"
        )
    text = cell.config.text
    if config.universe.people:
        text = dataclasses.replace(text, forget=("-",), retain=("-",), dictionary="-", answers="-", prompts="-")
    with _named(cell):
        check_config(dataclasses.replace(cell.config, text=text), None if config.model else config.init.L)


def check_inputs(base: Run) -> None:
    """Raise InputError, before any work, for a cell that the model and the texts of a sweep have no room for.

    Such are layers and ranks that the model lacks, batches that the mesh does not divide, more folds than blocks.
    """
    c, shape = base.config, base.inputs.shape
    for cell in cells(c, c.seed):
        run = base.with_(dataclasses.replace(cell.config, text=c.text, universe=c.universe, controls=()))
        with _named(cell):
            check_config(run.config, shape.L)
            refuse_sizes(run.config, shape)
            batches.check(run)


@contextmanager
def _named(cell: Cell) -> Iterator[None]:
    """Say of which entry an InputError is."""
    try:
        yield
    except InputError as error:
        raise InputError(f"sweep.methods {cell.entry!r}: {error}") from None

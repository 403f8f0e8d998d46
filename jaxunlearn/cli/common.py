"""Shared by subcommands: overrides, the configuration named, its quick form, the mesh for one model."""

import argparse
import dataclasses
from collections.abc import Callable

from jaxunlearn.config.bounds import Range
from jaxunlearn.parallel import processes


def add_overrides(command) -> None:
    """Let a subcommand take key=value overrides of its configuration."""
    command.add_argument("overrides", nargs="*", metavar="key=value", help="for example whp.alpha=3 run.dir=out")


def number(within: Range, kind: type = int) -> Callable[[str], float]:
    """Return the type of an option that is a number: argparse exits with 2 for one that is out of range, or NaN."""

    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no {'whole ' * (kind is int)}number") from None
        if not within.holds(value):
            raise argparse.ArgumentTypeError(f"must be {within} (got {text})")
        return value

    return parse


def add_force(command) -> None:
    """Let a subcommand overwrite files that it did not write."""
    command.add_argument("--force", action="store_true", help="overwrite files that this command did not write")


def configured(name: str, overrides: list[str], ablate: bool = False):
    """Return a configuration with its overrides; with `ablate` it trains the controls too."""
    from jaxunlearn.config import load_config

    config = load_config(name, overrides)
    if ablate:
        from jaxunlearn.methods.controls import ablations

        more = ablations(bool(config.text.retain or config.universe.people))
        config = dataclasses.replace(config, controls=tuple(dict.fromkeys((*config.controls, *more))))
    return config


def quick(config):
    """Return the configuration with a few steps and prompts, in a run directory of its own."""
    few = {
        n: dataclasses.replace(getattr(config, n), steps=min(getattr(config, n).steps, 3))
        for n in ("pretrain", "reinforce", "unlearn", "repair")
    }
    u, heal = few["unlearn"], config.reset.heal
    once = dataclasses.replace(u.collapse, every=1)  # what only collects at first moves, too
    few["unlearn"] = dataclasses.replace(u, folds=min(u.folds, max(u.steps, 1)), collapse=once)
    few["reset"] = dataclasses.replace(config.reset, heal=dataclasses.replace(heal, steps=min(heal.steps, 3)))
    e = dataclasses.replace(
        config.eval, completions=8, blocks=8, relearn_steps=config.eval.relearn_steps[:2],
        allow_unknown=True,  # a few steps teach a baseline nothing, and nothing is judged by them
    )  # fmt: skip
    kept = config.run.checkpoints and f"{config.run.checkpoints}-quick"
    run = dataclasses.replace(config.run, dir=f"{config.directory}-quick", checkpoints=kept)
    return dataclasses.replace(config, eval=e, run=run, **few)


def one_model_mesh():
    """Return the context of a mesh for one model: one device, or all devices of several processes."""
    import jax

    from jaxunlearn.parallel.sharding import make_mesh

    alone = processes.count() == 1
    return jax.set_mesh(make_mesh(fsdp=-1, devices=jax.devices()[:1] if alone else None))

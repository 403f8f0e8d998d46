"""Shared by subcommands: overrides, the configuration named, its quick form, one model and the mesh for it."""

import argparse
import dataclasses
from collections.abc import Callable
from pathlib import Path

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

        config = dataclasses.replace(config, controls=ablations(bool(config.text.retain or config.universe.people)))
    return config


def quick(config):
    """Return the configuration with a few steps and prompts, in a run directory of its own."""
    few = {
        n: dataclasses.replace(getattr(config, n), steps=min(getattr(config, n).steps, 3))
        for n in ("pretrain", "reinforce", "unlearn", "repair")
    }
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


def found_model(name: str | Path):
    """Return (folder, tokenizer, shape) of the model that --model names, before its weights are read.

    Raises InputError where there is none or its tokenizer does not fit, RunError for one that is not as it was saved.
    """
    from jaxunlearn.data.tokenizer import load_tokenizer
    from jaxunlearn.methods import inference
    from jaxunlearn.models import directory, hub
    from jaxunlearn.run.store import verify

    path = hub.find_model(name)
    verify(path)  # a model of a run is what was saved there
    own = inference.baseline(path) if inference.is_guided(path) else path  # the models of such a method are beside it
    tokenizer = load_tokenizer(own)
    return path, tokenizer, directory.check_model(own, tokenizer)


def read_model(path: Path, compute: str = "float32"):
    """Return the model in a folder that found_model gave, also one of a method at inference time."""
    from jaxunlearn.methods import inference
    from jaxunlearn.models import huggingface

    def read(folder):
        return huggingface.load(folder, compute)

    return inference.load(path, read) if inference.is_guided(path) else read(path)


def one_model(name: str | Path):
    """Return the model that --model names and its tokenizer. Raises InputError and RunError as found_model does."""
    path, tokenizer, _ = found_model(name)
    return read_model(path), tokenizer

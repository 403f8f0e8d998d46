"""Shared parts of the stages that train: start, feed of a step, a fit that resumes, loading and saving models."""

import gc
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from jaxunlearn.config import Train
from jaxunlearn.evals.measure import curve_point
from jaxunlearn.models import huggingface, lora, peft
from jaxunlearn.parallel import processes
from jaxunlearn.parallel.console import say
from jaxunlearn.run import Run
from jaxunlearn.run.store import load_model, verify
from jaxunlearn.training.checkpoint import Checkpoints
from jaxunlearn.training.loop import fit, microbatches
from jaxunlearn.training.step import State, compiled_step, init_state


class Feed(NamedTuple):
    """What a fit is fed by: the step function, and batch(n) -> the arguments of step n (from 0).

    begin: adds to the state at step 0 what the step keeps in it beside model and optimiser.
    """

    step: Callable
    batch: Callable[[int], list]
    begin: Callable[[State], State] = lambda state: state


def next_tokens(c: Train, arrays, seed: int, base: Any = None) -> Feed:
    """Return the feed of plain training on (tokens_NT, labels_NT).

    base: the frozen model below a trained adapter; None where whole weights are trained.
    """

    def batch(n: int) -> list:
        found = microbatches(c, arrays, ("BT", "BT"), len(arrays[0]), seed, n)
        return found if base is None else [*found, base]

    return Feed(compiled_step(c), batch)


def fit_stage(run: Run, stage: str, start, c: Train, feed: Feed, *, look: Callable | None = None, at: Iterable = ()):
    """Train one stage from its newest checkpoint, or from `start`, and return the model; adapters are not merged.

    The arrays of `start` are gone afterwards: donated, or deleted where there is a checkpoint to go on from.
    look(step, state) measures at the steps `at`. Raises what training.loop.fit raises, InputError for a checkpoint of
    another model and RunError where no checkpoint can be read.
    """
    with Checkpoints(run.folder.checkpoints(stage)) as checkpoints:
        state = feed.begin(init_state(start, c))
        restored = checkpoints.restore(state)
        if restored is not None:
            state = restored
            say(f"  {stage} goes on after step {int(state.step)}")
        # A killed attempt may have logged steps beyond its last checkpoint; made again, they must not stand twice.
        run.folder.rewind(stage, int(state.step) if restored is not None else -1)
        tokens = c.batch * c.accumulate * run.config.text.context
        state = fit(
            state, feed.step, feed.batch, c, checkpoints=checkpoints, measure=look, measure_at=at,
            log=run.folder.logger(stage, c.steps, c.log_every), tokens=tokens,
        )  # fmt: skip
    return state.model


# ---- models of a run


def start_from(run: Run, c: Train, base: Any = None, below: str = "baseline") -> tuple[Any, Any]:
    """Return (what is trained, the frozen model below it).

    Without LoRA: the model named `below`, and None. With LoRA: a fresh adapter, and that model (or `base`, where it is
    in memory already).
    """
    if not c.lora.rank:
        return load_model(run.config, run / below), None
    base = base or load_model(run.config, run / below, frozen=True)
    return lora.init(base.c, c.lora, run.config.seed), base


def merged(run: Run, made, below: str = "baseline"):
    """Return `made`; where it is an adapter, return the model below it in fp32 with the adapter merged."""
    return lora.merge(load_model(run.config, run / below), made) if isinstance(made, lora.Adapter) else made


def whole(run: Run, name: str):
    """Return a model of the run in fp32; where it is an adapter, merge it into the baseline."""
    folder = run / name
    if not peft.is_adapter(folder):
        return load_model(run.config, folder)
    verify(folder)
    baseline = load_model(run.config, run / "baseline")
    return lora.merge(baseline, peft.load(folder, baseline.c))


def frozen_models(run: Run, names: Iterable[str]) -> dict[str, Any]:
    """Return {name: model} in the compute dtype; adapters on disk are not merged.

    The baseline is included where any model is asked for, because it lies below the adapters.
    """
    wanted = dict.fromkeys(names)
    if not wanted:
        return {}
    found = {"baseline": load_model(run.config, run / "baseline", frozen=True)}
    for name in wanted:
        if name in found:
            continue
        folder = run / name
        adapted = peft.is_adapter(folder)
        verify(folder)
        found[name] = peft.load(folder, found["baseline"].c) if adapted else load_model(run.config, folder, True)
    return found


def save_model(run: Run, name: str, made) -> None:
    """Write a model, or an adapter over the baseline, to run/NAME with the run's tokenizer."""
    processes.first(lambda: (run / name).parent.mkdir(parents=True, exist_ok=True))
    if isinstance(made, lora.Adapter):
        peft.save(made, run / name, base="../baseline", source=run.inputs.tokenizer_dir)
    else:
        huggingface.save(made, run / name, source=run.inputs.tokenizer_dir, seal=True)
    gc.collect()  # frees what reference cycles still hold, before the next model is loaded


def brief(found: dict) -> str:
    """Return the main figures of a measurement as one line for the terminal."""
    point = curve_point(0, found)
    names = {"familiarity": "familiarity", "accuracy": "accuracy", "perplexity_retain": "perplexity"}
    return "  ".join(f"{label} {point[k]:.3g}" for k, label in names.items() if k in point)

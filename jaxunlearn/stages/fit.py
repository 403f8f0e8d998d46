"""What the stages of a run share: where training starts, a fit that resumes, models of the run on and off the disk."""

import gc
from typing import Any

from jaxunlearn.config import Config, Train
from jaxunlearn.evals.measure import curve_point
from jaxunlearn.models import huggingface, lora, peft
from jaxunlearn.parallel import processes
from jaxunlearn.parallel.console import say
from jaxunlearn.run.directory import RunDirectory
from jaxunlearn.run.inputs import Inputs
from jaxunlearn.run.store import load_model
from jaxunlearn.training.checkpoint import Checkpoints
from jaxunlearn.training.loop import fit, microbatches
from jaxunlearn.training.step import compiled_step, init_state


def start_from(
    config: Config, run: RunDirectory, c: Train, base: Any = None, below: str = "baseline"
) -> tuple[Any, Any]:
    """Return (what is trained, what lies below it): the model `below` and None, or an adapter and that model frozen."""
    if not c.lora.rank:
        return load_model(config, run / below), None
    base = base or load_model(config, run / below, frozen=True)
    return lora.init(base.c, c.lora, config.seed), base


def merged(config: Config, run: RunDirectory, made, below: str = "baseline"):
    """Return a model with weights of its own: `made`, or the model below it in fp32 with the adapter `made` added."""
    return lora.merge(load_model(config, run / below), made) if isinstance(made, lora.Adapter) else made


def whole(config: Config, run: RunDirectory, name: str):
    """Return a model in fp32 with weights of its own, an adapter merged."""
    folder, baseline = run / name, load_model(config, run / "baseline")
    return (
        lora.merge(baseline, peft.load(folder, baseline.c)) if peft.is_adapter(folder) else load_model(config, folder)
    )


def frozen_models(config: Config, run: RunDirectory):
    """Return (baseline, reinforced) and for the contrast diluted, resting in the compute dtype; adapters stay such."""
    found = models_of_run(config, run, ("baseline", "reinforced", *(["diluted"] * (config.whp.offset == "contrast"))))
    return tuple(found.values())


def models_of_run(config: Config, run: RunDirectory, names) -> dict[str, Any]:
    """Return frozen models by name; what is an adapter on disk stays one, over the baseline."""
    baseline = load_model(config, run / "baseline", frozen=True)
    found = {"baseline": baseline}
    for name in names:
        if name not in found:
            folder = run / name
            part = peft.load(folder, baseline.c) if peft.is_adapter(folder) else load_model(config, folder, True)
            found[name] = part
    return {name: found[name] for name in names}


def fit_stage(
    config: Config, run: RunDirectory, stage: str, start, arrays, c, look=None, at=(), batch=None, step=None, base=None
):
    """Train one stage from its newest checkpoint, or from `start`, and return the model.

    Where `start` is an adapter, `base` is the frozen model below it, and the adapter is returned.
    """
    checkpoints = Checkpoints(run.checkpoints(stage))
    state = init_state(start, c)
    restored = checkpoints.restore(state)
    if restored is not None:
        state = restored
        say(f"  {stage} goes on after step {int(state.step)}")
    run.rewind(stage, int(state.step) if restored is not None else -1)

    def batch_of(n):
        arrays_n = microbatches(c, arrays, ("BT", "BT"), len(arrays[0]), config.seed, n)
        return arrays_n if base is None else [*arrays_n, base]

    state = fit(
        state, step or compiled_step(c), batch or batch_of, c, checkpoints=checkpoints, measure=look,
        measure_at=at, log=run.logger(stage, c.steps, c.log_every), tokens=c.batch * c.accumulate * config.text.context,
    )  # fmt: skip
    checkpoints.close()
    return state.model


def save_model(run: RunDirectory, name: str, made, x: Inputs) -> None:
    processes.first(lambda: (run / name).parent.mkdir(parents=True, exist_ok=True))
    if isinstance(made, lora.Adapter):
        peft.save(made, run / name, base="../baseline", source=x.tokenizer_dir)
    else:
        huggingface.save(made, run / name, source=x.tokenizer_dir)
    gc.collect()


def brief(found: dict) -> str:
    point = curve_point(0, found)
    names = {"familiarity": "familiarity", "accuracy": "accuracy", "perplexity_retain": "perplexity"}
    return "  ".join(f"{label} {point[k]:.3g}" for k, label in names.items() if k in point)


def fine_tuned(config: Config, run: RunDirectory, x: Inputs, folder: str, stage: str, arrays) -> None:
    """Make a model of the run: the baseline fine-tuned on blocks by the settings of config.reinforce."""
    if run.has(folder):
        return
    c = config.reinforce
    with run.stage(stage, f"{c.steps} steps on {len(arrays[0]):,} blocks"):
        start, base = start_from(config, run, c)
        save_model(run, folder, fit_stage(config, run, stage, start, arrays, c, base=base), x)

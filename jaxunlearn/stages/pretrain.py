"""Make the baseline and its twin, and the reinforced model."""

import dataclasses
from pathlib import Path

import numpy as np

from jaxunlearn.config import Config
from jaxunlearn.data.blocks import next_token_labels
from jaxunlearn.methods.settings import needs
from jaxunlearn.models import transformer
from jaxunlearn.parallel import processes
from jaxunlearn.run.directory import RunDirectory
from jaxunlearn.run.inputs import Inputs
from jaxunlearn.run.store import load_model
from jaxunlearn.stages.fit import fine_tuned, fit_stage, save_model


def pretrain(config: Config, run: RunDirectory, x: Inputs) -> None:
    """Make `baseline/` (retain and forget text) and `twin/` (retain text alone), or point to the given model."""
    if not config.pretrain.steps:
        if not run.has("baseline"):
            given = Path(config.model).resolve()
            processes.first(lambda: (run / "baseline").symlink_to(given, target_is_directory=True))
        return
    p = config.pretrain
    assert x.retain is not None, "read_inputs refuses pretraining without text.retain"
    tokens, labels = x.retain.tokens_NT[x.retain_split[0]], next_token_labels(x.retain)[x.retain_split[0]]
    extra = x.forget.tokens_NT[x.forget_split[0]], next_token_labels(x.forget)[x.forget_split[0]]
    both = tuple(np.concatenate([a, *[b] * p.forget_epochs]) for a, b in zip((tokens, labels), extra, strict=True))
    share = len(tokens) / len(both[0])
    plan = {"baseline": (both, p)}
    if p.twin:
        plan["twin"] = (tokens, labels), dataclasses.replace(p, steps=max(1, round(p.steps * share)))
    for name, (arrays, c) in plan.items():
        if run.has(name):
            continue
        with run.stage(name, f"{c.steps} steps on {len(arrays[0]):,} blocks"):
            start = load_model(config, Path(config.model)) if config.model else transformer.init(x.shape, config.seed)
            save_model(run, name, fit_stage(config, run, name, start, arrays, c), x)


def reinforce(config: Config, run: RunDirectory, x: Inputs) -> None:
    """Make `reinforced/`: the baseline fine-tuned on the text to forget; and `diluted/` on text to keep, if needed."""
    if needs(config, "reinforced"):
        fine_tuned(config, run, x, "reinforced", "reinforce", x.training("forget"))
    if needs(config, "diluted"):
        fine_tuned(config, run, x, "diluted", "dilute", x.training("retain"))

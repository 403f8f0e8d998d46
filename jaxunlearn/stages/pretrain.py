"""Make the models needed before unlearning: the baseline, its twin, and models fine-tuned from the baseline."""

import dataclasses
from pathlib import Path

import numpy as np

from jaxunlearn.config import Pretrain
from jaxunlearn.data.blocks import next_token_labels
from jaxunlearn.methods import derived, reset, values_of
from jaxunlearn.models import transformer
from jaxunlearn.parallel import processes
from jaxunlearn.run import Run
from jaxunlearn.run.store import load_model
from jaxunlearn.run.variants import Variant, variants
from jaxunlearn.stages.fit import fit_stage, next_tokens, save_model, start_from

STAGE_OF = {"reinforced": "reinforce", "diluted": "dilute", "new_only": "new_only"}  # names in metrics.jsonl


def pretrain(run: Run) -> None:
    """Make `baseline/` on retain and forget text; without pretraining, make it a link to the given model."""
    p = run.config.pretrain
    if p.steps:
        retain, forget = run.training("retain"), run.training("forget")
        both = tuple(np.concatenate([a, *[b] * p.forget_epochs]) for a, b in zip(retain, forget, strict=True))
        _pretrained(run, "baseline", p, both)
    elif not run.folder.has("baseline"):
        given = Path(run.config.model).resolve()
        processes.first(lambda: (run / "baseline").symlink_to(given, target_is_directory=True))


def pretrain_twin(run: Run) -> None:
    """Make `twin/` on retain text alone, where the run pretrains a baseline.

    It takes fewer steps in proportion to the text, so that it sees each retain block as often as the baseline does.
    Only measurements and attacks need it.
    """
    p = run.config.pretrain
    if not (p.steps and p.twin):
        return
    retain = run.training("retain")
    blocks = len(retain[0]) + p.forget_epochs * len(run.training("forget")[0])
    steps = max(1, round(p.steps * (len(retain[0]) / blocks)))
    _pretrained(run, "twin", dataclasses.replace(p, steps=steps), retain)


def _pretrained(run: Run, name: str, c: Pretrain, arrays: tuple[np.ndarray, ...]) -> None:
    if run.folder.has(name):
        return
    config = run.config
    with run.folder.stage(name, f"{c.steps} steps on {len(arrays[0]):,} blocks"):
        given = load_model(config, Path(config.model)) if config.model else None
        start = given or transformer.init(run.inputs.shape, config.seed)
        save_model(run, name, fit_stage(run, name, start, c, next_tokens(c, arrays, config.seed)))


def needed(run: Run) -> list[str]:
    """Return the names of the models that method, controls and reset need fine-tuned before unlearning."""
    asked = {name for v in variants(run.config) for name in needed_by(v)}
    return [name for name in STAGE_OF if name in asked]


def needed_by(v: Variant) -> tuple[str, ...]:
    """Return the names of the models that a variant needs fine-tuned before it is made."""
    asked = derived(v.method.first, v.config, values_of(v.method, v.config))
    return (*asked, "reinforced") if reset.by_importance(v.config) and "reinforced" not in asked else asked


def reinforce(run: Run) -> None:
    """Make the models of `needed`: `reinforced/`, `diluted/`, `new_only/`, as far as the run needs them."""
    for name in needed(run):
        fine_tuned(run, name)


def fine_tuned(run: Run, name: str) -> None:
    """Fine-tune the baseline on the blocks of `name` by the settings of config.reinforce and save the model."""
    if run.folder.has(name):
        return
    c, arrays = run.config.reinforce, blocks_of(run, name)
    with run.folder.stage(STAGE_OF[name], f"{c.steps} steps on {len(arrays[0]):,} blocks"):
        start, base = start_from(run, c)
        feed = next_tokens(c, arrays, run.config.seed, base)
        save_model(run, name, fit_stage(run, STAGE_OF[name], start, c, feed))


def blocks_of(run: Run, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return (tokens_NT, labels_NT), the blocks that the model `name` is fine-tuned on.

    "reinforced": the text to forget; "diluted": text to keep; "new_only": text held out from the baseline.
    """
    if name == "new_only":
        if held := run.inputs.held.get("retain"):
            return held.tokens_NT, next_token_labels(held)
        text = run.tuning.texts["retain"]
        return text.tokens_NT, text.labels_NT
    return run.training("forget" if name == "reinforced" else "retain")

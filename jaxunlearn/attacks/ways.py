"""Relearning in other ways: other optimisers, adapters in the place of the weights, and text to keep alone.

A defence may hold against the one optimiser that it was tried with. Each way relearns the same few blocks at several
rates, and the best step and rate count. SGD's gradients are cut to norm 1, and its rates are those of AdamW times
sqrt(parameters) / 10: with momentum .9 its steps are then as long. LoRA's are ten times those of AdamW. Text to keep
alone brings weights back that were moved and not changed (arXiv 2505.22310).
"""

import dataclasses
import math
from typing import Any

import numpy as np
from pydantic import FiniteFloat

from jaxunlearn.attacks.base import Attack, Target, lacks_prompts
from jaxunlearn.attacks.relearn import Relearning, Way, asked, best_relearned, few, training, wide
from jaxunlearn.config import Config, Lora, WaysAttack, as_dict
from jaxunlearn.data.blocks import next_token_labels
from jaxunlearn.estimates import SHARE, mean_estimate
from jaxunlearn.evals.suite import specific_mass
from jaxunlearn.models.lora import rank_fits
from jaxunlearn.models.transformer import Shape
from jaxunlearn.models.weights import parameters
from jaxunlearn.report.schema import EACH, MODEL, Figure, Form, Graded
from jaxunlearn.run import Run

PLAIN: dict[str, Any] = {"optimiser": "adamw"}
TITLES = {"adam": "AdamW", "lora": "LoRA", "sgd": "SGD", "lion": "Lion", "retain": "text to keep alone"}
BEFORE = "not relearned"


def way_of(name: str, config: Config, shape: Shape) -> Way:
    """Return how a way of attack.ways.of trains, and at which rates."""
    c, (layer, rest) = config.attack.ways, parameters(shape)
    if name == "lora":
        return Way(changes=PLAIN | {"lora": Lora(rank=c.rank, alpha=2.0 * c.rank)}, rates=wide(config, c.rates, 10))
    if name == "sgd":
        changes = {"optimiser": "sgd", "clip": 1.0, "update": "auto"}
        return Way(changes=changes, rates=wide(config, c.rates, math.sqrt(shape.L * layer + rest) / 10))
    rule: dict[str, Any] = {"optimiser": "lion", "update": "auto"} if name == "lion" else PLAIN
    return Way(changes=rule, rates=wide(config, c.rates))


def attack_ways(target: Target) -> dict[str, dict]:
    """Relearn a few blocks in every way of attack.ways.of; return the best step and rate of each."""
    run = target.run
    prompts, _ = asked(run, few(run))

    def before() -> dict:
        items = specific_mass(target.load("baseline", frozen=True), run.suite, prompts)
        return {"step": 0, "rate": 0.0, "items": items}

    found = {"baseline": {BEFORE: target.kept("ways", "baseline", [p.prompt for p in prompts], before)}}
    found |= _best(target, "unlearned", "twin")
    for model, ways in found.items():
        target.pair(model, RELEARNED, [point["items"] for point in ways.values()])
    return {model: {way: _figure(point) for way, point in ways.items()} for model, ways in found.items()}


def returning(run: Run, only: tuple[str, ...]) -> dict[str, dict]:
    """Return {name: {way: the best step and rate}} of the named models alone; {} without next-word prompts."""
    found = {} if lacks_prompts(run) else _best(Target(run), *only)
    return {model: {way: _figure(point) for way, point in ways.items()} for model, ways in found.items()}


def _best(target: Target, *names: str) -> dict[str, dict[str, dict]]:
    """Return {model: {way: the point of most familiarity}}."""
    run, c, rows = target.run, target.run.config.attack.ways, few(target.run)
    (prompts, told), found = asked(run, rows), {}
    texts = [p.prompt for p in prompts]
    for name in c.of:
        if name == "retain" and run.inputs.retain is None:
            target.skip(f"{WAYS.title}, {TITLES[name]}", "there is no text to keep (text.retain)")
            continue
        what = Relearning(
            arrays=_arrays(run, name, rows), steps=tuple(sorted({*c.steps})), prompts=prompts, told=told,
            way=way_of(name, run.config, run.inputs.shape),
        )  # fmt: skip
        plain = dataclasses.replace(training(run.config, max(what.steps), 0.0), **what.way.changes)
        depends = [name, rows.tolist(), texts, as_dict(plain), list(what.way.rates), list(what.steps), run.config.seed]
        for model, of in target.weights(*names):
            points = target.kept(
                "ways", f"{of}, {name}", depends, lambda of=of, what=what: best_relearned(target, of, what)
            )
            found.setdefault(model, {})[TITLES[name]] = max(points, key=lambda point: point["familiarity"])
    return found


def _arrays(run: Run, name: str, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (tokens_NT, labels_NT) of what a way trains on."""
    if name == "retain":
        return run.training("retain")
    return run.inputs.forget.tokens_NT[rows], next_token_labels(run.inputs.forget)[rows]


def _figure(point: dict) -> dict[str, Any]:
    figure = mean_estimate(point["items"], SHARE).to_json()
    return {"familiarity": figure, "step": point["step"], "rate": point["rate"]}


def check(run: Run) -> str:
    """Return why relearning cannot be tried, "" where it can. Raises InputError for a rank above a matrix."""
    c = run.config.attack.ways
    if "lora" in c.of:
        rank_fits(run.inputs.shape, Lora(rank=c.rank), "attack.ways")
    return lacks_prompts(run)


def fewer(config: Config) -> WaysAttack:
    """Return the settings of `--quick`: adapters and text to keep, few steps, one rate where none is given."""
    c = config.attack.ways
    of = tuple(name for name in c.of if name not in ("adam", "sgd", "lion"))
    return dataclasses.replace(c, of=of, steps=(min(min(c.steps), 5),), rates=c.rates or wide(config)[2:3])


class Relearned(Form):
    """Familiarity at the best step and rate of one way; step 0 of the baseline, which was not relearned."""

    familiarity: Figure
    step: int
    rate: FiniteFloat


RELEARNED = "familiarity after relearning in other ways"
WAYS = Attack(
    name="ways",
    title="Relearning in other ways",
    tries="Fine-tune on a few blocks of the text at five rates over two decades: all weights by AdamW, SGD and Lion, "
    "and LoRA; and on text to keep alone. The best step and rate count.",
    control="The twin at its own best way, step and rate.",
    run=attack_ways,
    check=check,
    fewer=fewer,
    form=dict[str, dict[str, Relearned]],
    compare=returning,
    graded=(Graded(title=RELEARNED, at=["attacks", "ways", MODEL, EACH, "familiarity"]),),
)

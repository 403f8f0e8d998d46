"""Relearning: fine-tune on a few blocks of the text and measure the familiarity that comes back.

The attacker's training is its own: batch, steps and rates are eval.relearn_*, whatever the model was unlearned with, so
that models of different methods are attacked alike; the optimiser is that of `unlearn`. Prompts whose facts the
relearned blocks state are left out, the same for every model (stated.py). The best of several rates counts, so the
control is the twin's best of the same rates.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxunlearn.attacks.base import FILTER, STRESS, Attack, Target, lacks_prompts
from jaxunlearn.attacks.stated import stated, text_of
from jaxunlearn.config import Config, Train, as_dict
from jaxunlearn.data.blocks import next_token_labels
from jaxunlearn.errors import Diverged, InputError
from jaxunlearn.evals.familiarity import completion_familiarity
from jaxunlearn.evals.prompts import ProbabilityPrompt
from jaxunlearn.evals.suite import Suite, specific_mass
from jaxunlearn.models import lora
from jaxunlearn.parallel.console import say
from jaxunlearn.parallel.sharding import rounded_up
from jaxunlearn.run import Run
from jaxunlearn.training.loop import fit, microbatches
from jaxunlearn.training.step import compiled_step, init_state

FEWEST = 5  # prompts that must be left once the stated ones are out; with fewer all are asked
WIDE = (0.25, 0.8, 2.5, 8.0, 25.0)  # times the run's own rate: five over two decades


@dataclasses.dataclass(frozen=True, kw_only=True)
class Way:
    """How the attacker trains: the changes to `training`, and the rates tried; none: those of `rates_of`."""

    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # of Train
    rates: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Relearning:
    """One relearning: (tokens_NT, labels_NT), the steps that are measured, the prompts, and whether completions are.

    told: the blocks state the facts of all prompts but a few, so all are asked: what comes back may just have been
    read, and only the twin tells what that is worth. way: how it is trained.
    """

    arrays: tuple[np.ndarray, np.ndarray]
    steps: tuple[int, ...]
    prompts: Sequence[ProbabilityPrompt]
    told: bool = False
    completions: bool = False
    way: Way = Way()


def rates_of(config: Config) -> tuple[float, ...]:
    """Return the learning rates of the attacker; by default 1, 4 and 16 times the larger of the run's own two."""
    return config.eval.relearn_rates or tuple(_usual(config) * k for k in (1.0, 4.0, 16.0))


def wide(config: Config, given: Sequence[float] = (), times: float = 1.0) -> tuple[float, ...]:
    """Return `times` the given rates; of none: five over two decades about the larger of the run's own two."""
    rates = given or tuple(_usual(config) * k for k in WIDE)
    return tuple(dict.fromkeys(min(rate * times, 1.0) for rate in rates))


def _usual(config: Config) -> float:
    return max(config.unlearn.learning_rate, config.reinforce.learning_rate)


def training(config: Config, steps: int, rate: float) -> Train:
    """Return the attacker's training: eval.relearn_batch blocks a step, in parts that fit, at a constant rate.

    It is by AdamW, or by Adafactor where the run's unlearning is, in as much memory: a weaker rule, which a run may be
    unlearned by, would make the attacker weaker too.
    """
    u, batch = config.unlearn, rounded_up(config.eval.relearn_batch)
    parts = batch // u.batch if batch % u.batch == 0 else 1
    rule = u.optimiser if u.optimiser in ("adamw", "adafactor") else "adamw"
    return Train(
        steps=steps, learning_rate=rate, batch=batch // parts, accumulate=parts, schedule="constant",
        optimiser=rule, moment_dtype=u.moment_dtype, update=u.update,
    )  # fmt: skip


def best_relearned(target: Target, name: str, what: Relearning) -> list[dict]:
    """Relearn at every rate; return for each step the point of highest familiarity, with its rate.

    A rate at which the attack itself diverges is left out. Raises Diverged where all do.
    """
    runs, rates = [], what.way.rates or rates_of(target.run.config)
    for rate in rates:
        try:
            runs.append(_relearn(target, target.load(name), what, rate))
        except Diverged as error:
            say(f"  relearning at {rate:g} broke the model: {error}")
    if not runs:
        raise Diverged(f"relearning broke {name} at every rate tried; set eval.relearn_rates below {min(rates):g}")
    best = [dict(max(points, key=lambda p: p["familiarity"])) for points in zip(*runs, strict=True)]
    if named := [run[-1]["explicit"] for run in runs if "explicit" in run[-1]]:
        best[-1]["explicit"] = max(named, key=lambda e: e["value"])
    return best


def _relearn(target: Target, start, what: Relearning, rate: float) -> list[dict]:
    """Relearn at one rate; return a point for each measured step.

    Each has "items", a number a prompt; the last also "asked", the prompts' numbers among all next-word prompts.
    """
    config, suite, points = target.run.config, target.run.suite, []
    last, everyone = max(what.steps), out_of(suite)
    c = dataclasses.replace(training(config, last, rate), **what.way.changes)
    part, base = adapted(start, c, config.seed)

    def look(n, state):
        model = lora.over(base, state.model)
        mass = specific_mass(model, suite, what.prompts)
        point = {"step": n, "familiarity": float(np.mean(mass)), "rate": rate, "n": len(mass), "items": mass}
        points.append(point | ({"told": True} if what.told else {}))
        if n == last:
            points[-1] |= {"asked": [everyone.index(p) for p in what.prompts]}
        if what.completions and n == last and suite.prompts.completion:
            points[-1]["explicit"] = completion_familiarity(model, suite)["leaks"]["explicit"]

    def batch(n):
        found = microbatches(c, what.arrays, ("BT", "BT"), len(what.arrays[0]), config.seed, n)
        return found if base is None else [*found, base]

    fit(init_state(part, c), compiled_step(c), batch, c, measure=look, measure_at=what.steps)
    return points


def adapted(model, c: Train, seed: int) -> tuple[Any, Any]:
    """Return (what an attacker trains, the frozen model below it): the model itself and None, or a fresh adapter."""
    return (lora.init(model.c, c.lora, seed), model) if c.lora.rank else (model, None)


def out_of(suite: Suite) -> list[ProbabilityPrompt]:
    """Return the next-word prompts in running text, those of familiarity."""
    return [p for p in suite.prompts.probability if p.position == "out"]


def asked(run: Run, rows: np.ndarray) -> tuple[list[ProbabilityPrompt], bool]:
    """Return the next-word prompts to ask after some blocks of the text were relearned.

    Left out are those whose facts the blocks state. Where fewer than FEWEST would be left, all are returned, and True.
    """
    prompts = out_of(run.suite)
    text = text_of(run.inputs.forget, np.sort(rows), run.inputs.tokenizer)
    left = [p for p, told in zip(prompts, stated(prompts, text, run.inputs.dictionary), strict=True) if not told]
    return (left, False) if len(left) >= min(FEWEST, len(prompts)) else (prompts, True)


def relearned(
    target: Target, what: str, names, *, rows: np.ndarray, on=None, steps: Sequence[int] = (), completions: bool = False
) -> dict:
    """Relearn blocks of the text from each of the named models; return {"NAME, WHAT": the most at each step}.

    what: names the text, where it is not the whole text to forget. rows: blocks of the text to forget, which decide
    what is asked; on: (tokens_NT, labels_NT) of another text that is trained in their place. steps: measured ones;
    empty: eval.relearn_steps. completions: also measure, after the last step, the share of completions that name the
    target.
    """
    run, blocks = target.run, target.run.inputs.forget
    prompts, told = asked(run, rows)
    arrays = on or (blocks.tokens_NT[rows], next_token_labels(blocks)[rows])
    made = Relearning(
        arrays=arrays, steps=tuple(steps) or run.config.eval.relearn_steps, prompts=prompts, told=told,
        completions=completions,
    )  # fmt: skip
    depends = {
        "rows": np.asarray(rows).tolist(), "on": what, "train": as_dict(training(run.config, max(made.steps), 0.0)),
        "rates": list(rates_of(run.config)), "steps": list(made.steps), "prompts": [p.prompt for p in prompts],
        "completions": completions, "seed": run.config.seed,
    }  # fmt: skip
    aside, found = f", {what}" * bool(what), {}
    for name, of in target.weights(*names):
        found[name + aside] = target.kept(
            "relearn", of + aside, depends, lambda of=of: best_relearned(target, of, made)
        )
    return found


def cannot_relearn(run: Run) -> str:
    """Return why relearning cannot be tried, "" where it can."""
    return lacks_prompts(run) if run.config.eval.relearn_steps else "eval.relearn_steps is empty"


def attack_relearn(target: Target) -> dict[str, list]:
    """Relearn a few blocks of the text, and of unrelated text as the control; follow familiarity by step."""
    run = target.run
    rows = few(run)
    found = relearned(target, "", ("unlearned", "twin", STRESS, FILTER), rows=rows)
    if run.inputs.retain is not None:
        some = tuple(array_NT[: len(rows)] for array_NT in run.training("retain"))
        found |= relearned(target, "unrelated text", ("unlearned",), rows=rows, on=some)
    return found


def relearning(run: Run, only: tuple[str, ...]) -> dict[str, list]:
    """Relearn a few blocks of the text from the named models alone; return {name: familiarity by step, best of rates}.

    The last step also has the share of completions that name the target, where the prompts ask for some.
    """
    target = Target(run)
    if why := cannot_relearn(run):
        target.skip(RELEARN.title, why)
        return {}
    return relearned(target, "", only, rows=few(run), completions=True)


def can_choose(run: Run) -> None:
    """Raise InputError for a run whose settings cannot be chosen by what relearning brings back."""
    if why := cannot_relearn(_choosing(run)):
        raise InputError(f"sweep.most_perplexity chooses by what relearning brings back: {why}")


def _choosing(run: Run) -> Run:
    """Return the run with the prompts to choose by in the place of the reported ones."""
    return run.with_(dataclasses.replace(run.config, eval=dataclasses.replace(run.config.eval, split="choose")))


def relearned_to_choose(run: Run) -> float:
    """Return the most familiarity that relearning brings back, at any step and rate, for choosing among settings.

    It is asked on the tuning prompts after other blocks than the reported relearning has. `can_choose` refuses runs
    that cannot be asked.
    """
    other = _choosing(run)
    rows = run.forget_split[0][-run.config.eval.relearn_blocks :]
    found = relearned(Target(other), "to choose", ("unlearned",), rows=rows)
    return max(point["familiarity"] for points in found.values() for point in points)


def few(run: Run) -> np.ndarray:
    """Return the few blocks of the text that are relearned, by number."""
    return run.forget_split[0][: run.config.eval.relearn_blocks]


# The report grades each curve at its best step (report/findings.py): "relearn" is a key of its own, with a picture.
RELEARN = Attack(
    name="relearn",
    title="Relearning from a little of the text",
    tries="Fine-tune on a few blocks of the text again, at the best of several rates, and follow familiarity by step.",
    control="The twin at its own best rate; as much unrelated text. Prompts whose facts the blocks state are left out.",
    run=attack_relearn,
    check=cannot_relearn,
    cheap=True,
    at=("relearn",),
)

"""Relearning: fine-tune on a few blocks of the text and measure the familiarity that comes back."""

import dataclasses

import numpy as np

from jaxunlearn.attacks.base import FILTER, STRESS, Attack, Target
from jaxunlearn.config import as_dict
from jaxunlearn.data.blocks import next_token_labels
from jaxunlearn.errors import RunError
from jaxunlearn.evals.familiarity import completion_familiarity
from jaxunlearn.evals.suite import specific_mass
from jaxunlearn.parallel.console import say
from jaxunlearn.run import Run
from jaxunlearn.training.loop import fit, microbatches
from jaxunlearn.training.step import compiled_step, init_state


def best_relearned(target: Target, name: str, arrays, completions: bool) -> list[dict]:
    """Relearn at every rate; return for each step the point of highest familiarity, with its rate.

    A rate at which the attack itself diverges is left out. Raises RunError where all do.
    """
    c, runs = target.run.config, []
    usual = max(c.unlearn.learning_rate, c.reinforce.learning_rate)
    rates = c.eval.relearn_rates or tuple(usual * k for k in (1.0, 4.0, 16.0))
    for rate in rates:
        try:
            runs.append(_relearn(target, target.load(name), arrays, rate, completions))
        except RunError as error:
            say(f"  relearning at {rate:g} broke the model: {error}")
    if not runs:
        raise RunError(f"relearning broke {name} at every rate tried; set eval.relearn_rates below {min(rates):g}")
    best = [dict(max(points, key=lambda p: p["familiarity"])) for points in zip(*runs, strict=True)]
    if named := [run[-1]["explicit"] for run in runs if "explicit" in run[-1]]:
        best[-1]["explicit"] = max(named, key=lambda e: e["value"])
    return best


def _relearn(target: Target, start, arrays, rate: float, completions: bool) -> list[dict]:
    e, points, suite = target.run.config.eval, [], target.run.suite
    c = dataclasses.replace(
        target.run.config.unlearn,
        steps=max(e.relearn_steps),
        learning_rate=rate,
        schedule="constant",
        warmup=0,
        accumulate=1,
    )
    prompts = [p for p in suite.prompts.probability if p.position == "out"]

    def look(n, state):
        familiarity = float(np.mean(specific_mass(state.model, suite, prompts)))
        points.append({"step": n, "familiarity": familiarity, "rate": rate})
        if completions and n == max(e.relearn_steps) and suite.prompts.completion:
            points[-1]["explicit"] = completion_familiarity(state.model, suite)["leaks"]["explicit"]

    def batch(n):
        return microbatches(c, arrays, ("BT", "BT"), len(arrays[0]), target.run.config.seed, n)

    fit(init_state(start, c), compiled_step(c), batch, c, measure=look, measure_at=e.relearn_steps)
    return points


def relearned(target: Target, what: str, blocks, rows: np.ndarray, names, *, completions: bool = False) -> dict:
    """Relearn blocks of a text from each of the named models; return {"NAME, WHAT": the most at each step}.

    what: names the text, where it is not the whole text to forget. completions: also measure, after the last
    step, the share of completions that name the target.
    """
    c, e = target.run.config, target.run.config.eval
    arrays = blocks.tokens_NT[rows], next_token_labels(blocks)[rows]
    aside, found = f", {what}" * bool(what), {}
    depends = [len(rows), as_dict(c.unlearn), c.attack.seed, *["completions"] * completions]
    depends += [list(e.relearn_steps), list(e.relearn_rates)]
    for name, of in target.weights(*names):

        def make(of=of):
            return best_relearned(target, of, arrays, completions)

        found[name + aside] = target.kept("relearn", of + aside, depends, make)
    return found


def cannot_relearn(run: Run) -> str:
    """Return why relearning cannot be tried, "" where it can."""
    there = run.config.eval.relearn_steps and run.suite.prompts.probability
    return "" if there else "eval.relearn_steps is empty, or the prompts hold no next-word prompts"


def attack_relearn(target: Target) -> dict[str, list]:
    """Relearn a few blocks of the text, and of unrelated text as the control; follow familiarity by step."""
    run = target.run
    rows = run.forget_split[0][: run.config.eval.relearn_blocks]
    found = relearned(target, "", run.inputs.forget, rows, ("unlearned", "twin", STRESS, FILTER))
    if run.inputs.retain is not None:
        few = run.retain_split[0][: len(rows)]
        found |= relearned(target, "unrelated text", run.inputs.retain, few, ("unlearned",))
    return found


def relearning(run: Run, only: tuple[str, ...]) -> dict[str, list]:
    """Relearn a few blocks of the text from the named models alone; return {name: familiarity by step, best of rates}.

    The last step also has the share of completions that name the target, where the prompts ask for some.
    """
    target = Target(run)
    if why := cannot_relearn(run):
        target.skip(RELEARN.title, why)
        return {}
    rows = run.forget_split[0][: run.config.eval.relearn_blocks]
    return relearned(target, "", run.inputs.forget, rows, only, completions=True)


# The report grades the ends of the curves itself (report/findings.py): "relearn" is a key of its own, with a picture.
RELEARN = Attack(
    name="relearn",
    title="Relearning from a little of the text",
    tries="Fine-tune on a few blocks of the text again, at the best of several rates, and follow familiarity by step.",
    control="The twin; as much unrelated text.",
    run=attack_relearn,
    check=cannot_relearn,
    cheap=True,
    at=("relearn",),
)

"""Relearning: fine-tune on a little of the text, and see what comes back."""

import dataclasses

import numpy as np

from jaxunlearn.attacks.base import FILTER, STRESS, Attacked
from jaxunlearn.config import as_dict
from jaxunlearn.data.blocks import next_token_labels
from jaxunlearn.errors import RunError
from jaxunlearn.evals.familiarity import completion_familiarity
from jaxunlearn.evals.suite import specific_mass
from jaxunlearn.parallel.console import say
from jaxunlearn.run import Run
from jaxunlearn.training.loop import fit, microbatches
from jaxunlearn.training.step import compiled_step, init_state

# ---- relearning


def attack_relearn(a: Attacked) -> None:
    """Relearn a few blocks of the text, and of unrelated text as the control; follow familiarity by step."""
    rows = a.run.forget_split[0][: a.run.config.eval.relearn_blocks]
    _relearned(a, "", a.run.inputs.forget, rows, "unlearned", "twin", STRESS, FILTER)
    if a.run.inputs.retain is not None:
        _relearned(a, "unrelated text", a.run.inputs.retain, a.run.retain_split[0][: len(rows)], "unlearned")


def relearning(run: Run, only: tuple[str, ...]) -> dict[str, list]:
    """Relearn a few blocks of the text from the named models alone; return {name: familiarity by step, best of rates}.

    The last step also has the share of completions that name the target, where the prompts ask for some.
    """
    a = Attacked(run)
    rows = run.forget_split[0][: run.config.eval.relearn_blocks]
    _relearned(a, "", run.inputs.forget, rows, *only, completions=True)
    return a.found.get("relearn", {})


def attack_shares(a: Attacked) -> None:
    """Relearn from shares of the text: 1%, 10%, all of it."""
    rows = np.random.default_rng(a.c.seed).permutation(a.run.forget_split[0])
    for share in a.c.shares:
        chosen = rows[: max(1, round(share * len(rows)))]
        what = f"{share:.0%} of the text ({len(chosen)} block{'s' * (len(chosen) != 1)})"
        _relearned(a, what, a.run.inputs.forget, chosen, "unlearned", "twin")


def _relearned(a: Attacked, what: str, blocks, rows: np.ndarray, *names: str, completions: bool = False) -> None:
    e = a.run.config.eval
    if not e.relearn_steps or not a.run.suite.prompts.probability:
        return a.skip("relearning", "eval.relearn_steps is empty, or the prompts hold no next-word prompts")
    arrays = blocks.tokens_NT[rows], next_token_labels(blocks)[rows]
    aside = f", {what}" * bool(what)
    for name, of in a.weights(*names):
        depends = [len(rows), as_dict(a.run.config.unlearn), a.c.seed, *["completions"] * completions]
        depends += [list(e.relearn_steps), list(e.relearn_rates)]
        found = a.kept("relearn", of + aside, depends, lambda of=of: best_relearned(a, of, arrays, completions))
        a.found.setdefault("relearn", {})[name + aside] = found


def best_relearned(a: Attacked, name: str, arrays, completions: bool) -> list[dict]:
    """Relearn at every rate; return the most that had come back at each step, "rate" being that of the familiarity.

    A rate at which the attack itself diverges is left out; RunError where all do.
    """
    c, runs = a.run.config, []
    usual = max(c.unlearn.learning_rate, c.reinforce.learning_rate)
    rates = c.eval.relearn_rates or tuple(usual * k for k in (1.0, 4.0, 16.0))
    for rate in rates:
        try:
            runs.append(_relearn(a, a.load(name), arrays, rate, completions))
        except RunError as error:
            say(f"  relearning at {rate:g} broke the model: {error}")
    if not runs:
        raise RunError(f"relearning broke {name} at every rate tried; set eval.relearn_rates below {min(rates):g}")
    best = [dict(max(points, key=lambda p: p["familiarity"])) for points in zip(*runs, strict=True)]
    if named := [run[-1]["explicit"] for run in runs if "explicit" in run[-1]]:
        best[-1]["explicit"] = max(named, key=lambda e: e["value"])
    return best


def _relearn(a: Attacked, start, arrays, rate: float, completions: bool) -> list[dict]:
    e, points, suite = a.run.config.eval, [], a.run.suite
    c = dataclasses.replace(
        a.run.config.unlearn,
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
        return microbatches(c, arrays, ("BT", "BT"), len(arrays[0]), a.run.config.seed, n)

    fit(init_state(start, c), compiled_step(c), batch, c, measure=look, measure_at=e.relearn_steps)
    return points

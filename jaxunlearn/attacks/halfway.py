"""Steps to half: how long a model needs until half of what the baseline knew is back, beside a model that never knew.

Both learn the text again, at the best of several rates. A text that was erased takes the unlearned model as long as the
twin: a ratio of 1. A text that was hidden is back in a few steps. The whole text states what the prompts ask, so the
twin learns it, too; what counts is how much longer it takes.
"""

import dataclasses
from typing import Any

import numpy as np

from jaxunlearn.attacks.base import Attack, Target, lacks_prompts
from jaxunlearn.attacks.pace import Lesson, Paces, beside, pace
from jaxunlearn.attacks.relearn import asked, training, wide
from jaxunlearn.config import Config, HalfwayAttack, as_dict
from jaxunlearn.data.blocks import next_token_labels
from jaxunlearn.evals.suite import specific_mass
from jaxunlearn.run import Run


def attack_halfway(target: Target) -> dict[str, Any]:
    """Count the steps until half of the baseline's familiarity is back, from the unlearned model and from the twin."""
    if why := lacks_twin(target):
        target.skip(HALFWAY.title, why)
        return {}
    found, about = _paces(target, "unlearned", "twin")
    return {"models": beside(found, "twin")} | about if len(found) == 2 else {}


def halving(run: Run, only: tuple[str, ...]) -> dict[str, dict]:
    """Return {name: its pace} of the named models alone; {} without next-word prompts."""
    return {} if lacks_prompts(run) else _paces(Target(run), *only)[0]


def _paces(target: Target, *names: str) -> tuple[dict[str, dict], dict[str, Any]]:
    """Return ({name: its pace}, the bar and what is asked)."""
    run, c = target.run, target.run.config.attack
    rows = np.random.default_rng(c.seed).permutation(run.forget_split[0])
    rows = rows[: max(1, round(c.halfway.share * len(rows)))]
    prompts, told = asked(run, rows)
    texts, blocks = [p.prompt for p in prompts], run.inputs.forget

    def known(model) -> float:
        return float(np.mean(specific_mass(model, run.suite, prompts)))

    whole = target.kept("halfway", "baseline", texts, lambda: known(target.load("baseline", frozen=True)))
    what = Lesson(
        arrays=(blocks.tokens_NT[rows], next_token_labels(blocks)[rows]), rates=wide(run.config, c.halfway.rates),
        train=lambda rate: training(run.config, c.halfway.most_steps, rate), measure=known, bar=whole / 2,
        most=c.halfway.most_steps, seed=run.config.seed,
    )  # fmt: skip
    depends = [rows.tolist(), texts, list(what.rates), as_dict(what.train(0.0)), what.bar, what.most, what.seed]
    found = {
        name: target.kept("halfway", of, depends, lambda of=of: pace(lambda: target.load(of), what))
        for name, of in target.weights(*names)
    }
    return found, {"bar": what.bar, "n": len(prompts)} | ({"told": True} if told else {})


def lacks_twin(target: Target) -> str:
    """Return why an attack that counts by the twin cannot be tried, "" where there is one."""
    return "" if target.main("twin") else "no twin to compare with (pretrain.twin)"


def fewer(config: Config) -> HalfwayAttack:
    """Return the settings of `--quick`: fewer steps, and two rates where none is given."""
    c = config.attack.halfway
    rates = c.rates or wide(config)[2:4]
    return dataclasses.replace(c, most_steps=min(c.most_steps, 32), rates=rates)


HALFWAY = Attack(
    name="halfway",
    title="Steps until half is back",
    tries="Fine-tune on the text again (attack.halfway.share), and count the steps until the familiarity is half of "
    "the baseline's, at the best of several rates.",
    control="The twin, which learns it for the first time: the ratio of steps is 1 where the text was erased.",
    run=attack_halfway,
    check=lacks_prompts,
    fewer=fewer,
    form=Paces,
    compare=halving,
)

"""Few-shot prompts: forgotten facts are asked after other forgotten facts with their answers. Nothing is trained.

Facts are independent, so solved ones tell how to answer and nothing of what is asked. They are drawn from those that
RTT would retrain on, and asked are those that it asks; RTT is the same attempt by training.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import FiniteFloat

from jaxunlearn.attacks.base import MAIN, Attack, Target, lacks_facts
from jaxunlearn.attacks.guessing import best_by_guessing
from jaxunlearn.attacks.rtt import answers_chosen, offered, sentence, texts
from jaxunlearn.config import Attack as Settings
from jaxunlearn.config import Config, FewShotAttack, as_dict
from jaxunlearn.data.facts import Fact, Pairing, pairings
from jaxunlearn.data.tokenizer import Tokenizer
from jaxunlearn.estimates import rate_estimate
from jaxunlearn.evals.suite import Suite
from jaxunlearn.files import sha256_text
from jaxunlearn.report.schema import EACH, MODEL, Figure, Form, Graded
from jaxunlearn.run import Run

TITLE, SOLVED = "Solved facts in the prompt (few-shot)", "accuracy after solved facts"


def solved(facts: Sequence[Fact], scoring: str, tokenizer: Tokenizer) -> str:
    """Return facts with their answers, a line each, as RTT trains them."""
    return "".join(f"{sentence(tokenizer, *pair)}\n" for pair in texts(facts, scoring))


def asked(facts: Sequence[Fact], pairs: Sequence[Pairing], c: Settings, tokenizer: Tokenizer) -> dict[int, list[Fact]]:
    """Return {shots: the facts asked in all pairings, each with so many solved ones before its question}.

    The solved ones of a pairing are the same for all of its questions: the first of an order of T drawn by c.seed.
    shots are those of c.few_shot.shots, lowered to what the smallest T has, and 0.
    """
    found, most = {}, min(len(pair.train) for pair in pairs)
    for shots in sorted({0, *(min(n, most) for n in c.few_shot.shots)}):
        found[shots] = []
        for n, pair in enumerate(pairs):
            order = np.random.default_rng([c.seed, n]).permutation(pair.train)
            front = solved([facts[i] for i in order[:shots]], c.rtt.scoring, tokenizer)
            found[shots] += [dataclasses.replace(facts[i], question=front + facts[i].question) for i in pair.ask]
    return found


def longest(facts: Sequence[Fact], suite: Suite, scoring: str) -> int:
    """Return the most tokens that a question has together with one of its options."""
    return max(sum(map(len, suite.words.told(*pair))) for pair in offered(facts, scoring))


def in_front(model, suite: Suite, made: Mapping[int, list[Fact]], c: Settings) -> dict[str, Any]:
    """Return what a model answers after each number of solved facts.

    "shots": {number: accuracy}, "chance", "floor" (the best number by guessing), "right" (1 or 0 for each fact asked,
    number by number).
    """
    some = next(iter(made.values()))
    chosen_SN = np.array([answers_chosen(model, suite, facts, c.rtt.scoring) for facts in made.values()])
    right_SN = chosen_SN == [f.answer for f in some]
    return {
        "shots": {
            str(n): rate_estimate(int(right_N.sum()), len(some)).to_json()
            for n, right_N in zip(made, right_SN, strict=True)
        },
        "chance": float(np.mean([1 / len(f.options) for f in some])),
        "floor": best_by_guessing(chosen_SN, [len(f.options) for f in some], c.seed).to_json(),
        "right": right_SN.astype(int).tolist(),
    }


def _prompted(target: Target, names: Sequence[str]) -> dict[str, dict]:
    """Return {name: what in_front gives}, without numbers of solved facts that do not fit; {} where none does."""
    run, facts, c = target.run, target.run.facts, target.run.config.attack
    made, context = asked(facts, pairings(facts, c), c, run.inputs.tokenizer), run.inputs.shape.context
    for shots in list(made):
        if (needed := longest(made[shots], run.suite, c.rtt.scoring)) > context:
            del made[shots]
            target.skip(TITLE, f"{shots} solved facts need {needed} tokens, beyond the model's context of {context}")
    if not made:
        return {}
    rtt = [as_dict(c.rtt)[k] for k in ("scoring", "splits", "pairings", "facts")]
    depends = [c.seed, *rtt, list(made), sha256_text(repr(facts))]

    def make(name: str) -> dict:
        return in_front(target.load(name, frozen=True), run.suite, made, c)

    return {name: dict(target.kept("few_shot", name, depends, lambda name=name: make(name))) for name in names}


def attack_few_shot(target: Target) -> dict[str, dict]:
    """Ask for facts after others with their answers: the baseline, the unlearned model and the twin."""
    found = _prompted(target, target.main(*MAIN))
    for name, one in found.items():
        target.pair(name, SOLVED, one.pop("right"), floor=one["floor"]["value"])
    return found


def prompting(run: Run, only: tuple[str, ...]) -> dict[str, dict]:
    """Return {name: figures} of the named models, for a sweep; {} where there are no facts."""
    target = Target(run)
    return _prompted(target, target.main(*only)) if run.facts else {}


def check(run: Run) -> str:
    """Return why the attack cannot be tried, "" where it can. Raises InputError where a split would be empty."""
    if not (why := lacks_facts(run)):
        pairings(run.facts, run.config.attack)
    return why


def fewer(config: Config) -> FewShotAttack:
    """Return the settings of `--quick`: the least number of solved facts."""
    return FewShotAttack(shots=tuple(sorted(config.attack.few_shot.shots)[:1]))


class FewShot(Form):
    """Accuracy after each number of solved facts, "0" first, and of guessing (floor: at the best of them)."""

    shots: dict[str, Figure]
    chance: FiniteFloat
    floor: Figure


HERE = ("attacks", "few_shot", MODEL)
FEW_SHOT = Attack(
    name="few_shot",
    title=TITLE,
    tries="Ask for facts after other facts with their answers; nothing is trained.",
    control="The twin, at its own best number of solved facts; the best of as many guesses.",
    run=attack_few_shot,
    check=check,
    fewer=fewer,
    form=dict[str, FewShot],
    compare=prompting,
    graded=(Graded(title=SOLVED, at=[*HERE, "shots", EACH], chance=[*HERE, "chance"], floor=[*HERE, "floor"]),),
)

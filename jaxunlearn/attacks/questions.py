"""Learning from questions alone: answers are drawn and rewarded where they name what is asked; no text is shown.

An attacker without the text knows what to ask and recognises an answer. The prompts are split: those of one half are
asked and rewarded, those of the other tell what came back. A word that is rewarded is asked for by no prompt of the
second half, so that it is not the reward that they repeat.
Policy gradient with rewards normalised within a prompt's answers (GRPO, Shao et al., arXiv 2402.03300, eq. 3, without
its KL term; one update a draw, so that nothing is clipped), on an adapter of every matrix. Where no answer is ever
right there is nothing to learn from: that is the attack's limit, for the twin as well.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pydantic import FiniteFloat

from jaxunlearn.attacks.base import Attack, Target, lacks_prompts
from jaxunlearn.attacks.relearn import out_of, rates_of
from jaxunlearn.config import Config, Lora, QuestionsAttack, Train, as_dict
from jaxunlearn.errors import Diverged
from jaxunlearn.estimates import SHARE, mean_estimate
from jaxunlearn.evals.memorisation import rows_with_labels
from jaxunlearn.evals.prompts import ProbabilityPrompt
from jaxunlearn.evals.suite import specific_mass
from jaxunlearn.kernels.linear_cross_entropy import IGNORE
from jaxunlearn.kernels.token_nll import token_nll
from jaxunlearn.models import lora
from jaxunlearn.models.generate import Sampling, generate
from jaxunlearn.parallel.console import say
from jaxunlearn.parallel.sharding import put, rounded_up
from jaxunlearn.report.schema import EACH, MODEL, Figure, Form, Graded
from jaxunlearn.run import Run
from jaxunlearn.training.step import compiled_step, init_state, updated

LEAST = 2  # prompts of either half


def halves(prompts: Sequence[ProbabilityPrompt], seed: int) -> tuple[list[ProbabilityPrompt], list[ProbabilityPrompt]]:
    """Return (prompts that are rewarded, prompts that are asked afterwards), drawn by seed.

    Of the second half those are left out that ask for a word that the first rewards.
    """
    order = np.random.default_rng(seed).permutation(len(prompts))
    taught = [prompts[n] for n in order[: len(order) // 2]]
    rewarded = {word for p in taught for word in p.specific}
    return taught, [prompts[n] for n in sorted(order[len(order) // 2 :]) if not rewarded & set(prompts[n].specific)]


def reward(text: str, words: Sequence[str]) -> float:
    """Return 1.0 where an answer holds one of the words as a whole word, else 0.0."""
    spaced = f" {' '.join(''.join(ch if ch.isalnum() else ' ' for ch in text).split())} "
    return float(any(f" {' '.join(''.join(c if c.isalnum() else ' ' for c in w).split())} " in spaced for w in words))


def advantages(rewards_QS: np.ndarray) -> np.ndarray:
    """Return (reward - mean) / deviation within each question's answers, 0 where all were rewarded alike."""
    spread_Q1 = rewards_QS.std(axis=1, keepdims=True)
    return np.where(spread_Q1 > 0, (rewards_QS - rewards_QS.mean(axis=1, keepdims=True)) / (spread_Q1 + 1e-6), 0.0)


def policy_step(state, learning_rate, tokens_BT, labels_BT, advantage_B, base, *, c):
    """Return (state, {"loss"}) after one update: the mean over answers of -advantage x mean log-probability.

    labels_BT: the tokens of the answers, -100 elsewhere.
    """

    def loss(part):
        model = lora.over(base, part)
        h_BTD = model(tokens_BT)
        nll_BT = token_nll(h_BTD, model.output_DV(h_BTD.dtype), labels_BT)
        count_B = jnp.maximum(jnp.sum(labels_BT != IGNORE, axis=1), 1)
        return jnp.mean(advantage_B * jnp.sum(nll_BT, axis=1) / count_B)

    value, g = jax.value_and_grad(loss)(state.model)
    state, _ = updated(state, g, learning_rate, c)
    return state, {"loss": value}


def learn(start, run: Run, taught: Sequence[ProbabilityPrompt], rate: float, shares: list[float]) -> Any:
    """Return the model after attack.questions.steps of reward at one rate; shares gets the share rewarded, by step."""
    c, suite, seed = run.config.attack.questions, run.suite, run.config.attack.seed
    per_step = rounded_up(c.batch * c.samples) // c.samples or 1
    train = Train(steps=c.steps, learning_rate=rate, batch=rounded_up(per_step * c.samples), lora=_lora(c))
    base, state = start, init_state(lora.init(start.c, train.lora, seed), train)
    step, draw = compiled_step(train, policy_step), np.random.default_rng(seed)
    longest = max(len(suite.words.context(p.prompt)) for p in taught)
    width = -(-(longest + c.new_tokens) // 32) * 32
    for n in range(c.steps):
        some = [taught[i] for i in draw.integers(0, len(taught), per_step)]
        contexts = [suite.words.context(p.prompt) for p in some for _ in range(c.samples)]
        made = generate(
            lora.over(base, state.model), contexts, c.new_tokens, Sampling(c.temperature), seed=seed + n,
            batch=train.batch,
        )  # fmt: skip
        rewards = [
            reward(suite.tokenizer.decode(answer), some[i // c.samples].specific) for i, answer in enumerate(made)
        ]
        shares.append(float(np.mean(rewards)))
        gains = advantages(np.reshape(rewards, (per_step, c.samples))).ravel()
        if not gains.any():
            continue  # all answers alike: nothing to learn from
        tokens_BT, labels_BT = rows_with_labels(
            [a + b for a, b in zip(contexts, made, strict=True)], train.batch, width
        )
        for labels_T, before in zip(labels_BT, contexts, strict=False):
            labels_T[: len(before) - 1] = IGNORE
        gain_B = np.zeros(train.batch, np.float32)
        gain_B[: len(gains)] = gains
        arrays = put(tokens_BT, "BT"), put(labels_BT, "BT"), put(gain_B, "B")
        state, metrics = step(state, np.float32(rate), *arrays, base)
        if not np.isfinite(float(metrics["loss"])):
            raise Diverged(f"the loss is {metrics['loss']} at step {n + 1}")
    return lora.over(base, state.model)


def _lora(c: QuestionsAttack) -> Lora:
    return Lora(rank=c.rank, alpha=2.0 * c.rank)


def attack_questions(target: Target) -> dict[str, dict]:
    """Reward right answers to some prompts, and ask the others, before and after, at the best rate."""
    run, c = target.run, target.run.config.attack
    taught, asked = halves(out_of(run.suite), c.seed)
    if min(len(taught), len(asked)) < LEAST:
        target.skip(QUESTIONS.title, f"{len(taught)} and {len(asked)} prompts without a word in common: too few")
        return {}
    rates = c.questions.rates or rates_of(run.config)
    depends = [as_dict(c.questions), c.seed, list(rates), [[p.prompt, *p.specific] for p in (*taught, *asked)]]

    def make(of: str) -> dict:
        tries = []
        for rate in rates:
            try:
                tries.append(_tried(target, of, taught, asked, rate))
            except Diverged as error:
                say(f"  rewards at {rate:g} broke the model: {error}")
        if not tries:
            raise Diverged(f"rewards broke {of} at every rate tried; set attack.questions.rates below {min(rates):g}")
        return max(tries, key=lambda one: float(np.mean(one["after"])))

    found: dict[str, dict] = {}
    for name, of in target.weights():
        if name == "baseline":
            items = target.kept("questions", of, depends, lambda of=of: {"after": _asked(target.load(of), run, asked)})
            found[name] = {"familiarity": {"before": _figure(items["after"])}}
            target.pair(name, REWARDED, [items["after"]])
            continue
        one = target.kept("questions", of, depends, lambda of=of: make(of))
        target.pair(name, REWARDED, [one["after"]])
        rewarded: dict[str, Any] = {"first": one["shares"][0], "last": float(np.mean(one["shares"][-5:]))}
        figures: dict[str, Any] = {"familiarity": {"after rewards": _figure(one["after"])}, "rate": one["rate"]}
        found[name] = figures | {"familiarity_before": _figure(one["before"]), "rewarded": rewarded}
    return found


def _tried(target: Target, of: str, taught, asked, rate: float) -> dict[str, Any]:
    start, shares = target.load(of), []
    before = _asked(start, target.run, asked)
    after = _asked(learn(start, target.run, taught, rate, shares), target.run, asked)
    return {"before": before, "after": after, "rate": rate, "shares": shares}


def _asked(model, run: Run, prompts: Sequence[ProbabilityPrompt]) -> list[float]:
    return specific_mass(model, run.suite, prompts)


def _figure(items: Sequence[float]) -> dict[str, Any]:
    return mean_estimate(items, SHARE).to_json()


def check(run: Run) -> str:
    """Return why rewards cannot be tried, "" where they can. Raises InputError for a rank above a matrix."""
    lora.rank_fits(run.inputs.shape, _lora(run.config.attack.questions), "attack.questions")
    return lacks_prompts(run)


def fewer(config: Config) -> QuestionsAttack:
    """Return the settings of `--quick`: few steps, and one rate where none is given."""
    c = config.attack.questions
    return dataclasses.replace(c, steps=min(c.steps, 10), rates=c.rates or rates_of(config)[:1])


class Rewarded(Form):
    """Familiarity of the prompts that were not rewarded, before and after; the share of answers rewarded."""

    familiarity: dict[str, Figure]
    familiarity_before: Figure | None = None
    rate: FiniteFloat | None = None
    rewarded: dict[str, FiniteFloat] | None = None


REWARDED = "familiarity after rewards for answers"
QUESTIONS = Attack(
    name="questions",
    title="Rewards for answers, without the text",
    tries="Draw answers to some of the prompts, reward those that name what is asked (GRPO), and ask the other "
    "prompts; at the best of several rates.",
    control="The twin, rewarded in the same way. No rewarded word is asked for afterwards.",
    run=attack_questions,
    check=check,
    fewer=fewer,
    form=dict[str, Rewarded],
    graded=(Graded(title=REWARDED, at=["attacks", "questions", MODEL, "familiarity", EACH], enough=False),),
)

"""The adversary in the loop: a copy of the model learns the text again while the model is unlearned.

Every `every` steps a copy phi of the model theta is forked. At each step phi takes one step of Adam (0.9, 0.98) on the
next tokens of `blocks` blocks of the text to forget, which it draws in an order of its own, at a rate that is drawn
log-uniformly once a fork. Theta's gradient is that of its method's loss at theta, plus `weight` times the gradient of
the same forget loss at phi, on theta's blocks, applied to theta as it is (first order). So theta is moved to where
relearning does not bring the text back, at any of the rates. Any method with a loss on text to forget can be given an
adversary.

Ours. Related: the first-order gradient is that of MAML (Finn et al., arXiv 1703.03400, section 5.2); TAR (Tamirisa et
al., arXiv 2408.00761) keeps the forget loss high along an adversary's steps; MUDMAN (Sondej et al., arXiv 2506.12484)
takes its unlearning gradient at a fork alone, masked and normalised.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxunlearn.config import Adversary, Config, Train
from jaxunlearn.methods.base import Method, Recipe, lacks_forget
from jaxunlearn.methods.step import gradients, moved
from jaxunlearn.training.step import State, init_state, train_step

ADAM = Train(b1=0.9, b2=0.98, update="whole")


class Lesson(NamedTuple):
    """What phi learns from at one step, with A = 1, and how.

    rate: phi's learning rate. fresh: whether phi is forked anew before. weight: that of the forget loss at phi.
    """

    tokens_ABT: Any
    labels_ABT: Any
    rate: Any  # float32
    fresh: Any  # bool
    weight: Any  # float32


def rates_of(config: Config) -> tuple[float, float]:
    """Return the least and the most rate of phi: unlearn.adversary.rates, or .5 and 5 times the larger of the run's."""
    if given := config.unlearn.adversary.rates:
        return given[0], given[-1]
    usual = max(config.unlearn.learning_rate, config.reinforce.learning_rate)
    return 0.5 * usual, min(5 * usual, 1.0)


def rate(a: Adversary, rates: tuple[float, float], seed: int, step: int) -> np.float32:
    """Return the learning rate of phi at a step (from 0), a function of the seed and the number of the fork alone."""
    low, high = rates
    share = np.random.default_rng((seed, step // a.every, 1)).random()
    return np.float32(math.exp((1 - share) * math.log(low) + share * math.log(high)))


def begin(state: State) -> State:
    """Return the state with a fork of its model, so that a checkpoint holds phi and its moments."""
    return state._replace(fork=init_state(_copied(state.model), ADAM))


_copied = jax.jit(lambda model: jax.tree.map(jnp.copy, model))


def step(state: State, learning_rate, frozen: dict, batch: dict, lesson: Lesson, *, c: Train, recipe: Recipe):
    """Return (new state, metrics) after phi's step and then one update of the model by both gradients.

    The arguments are those of methods/step.py. Metrics beside its own, in nats: "adversary", phi's loss on the next
    tokens of its blocks before its step, and "forget_at_adversary", the forget loss at phi after it.
    """
    forked = jax.tree.map(lambda new, old: jnp.where(lesson.fresh, new, old), init_state(state.model, ADAM), state.fork)
    phi, learnt = train_step(forked, lesson.rate, lesson.tokens_ABT, lesson.labels_ABT, c=ADAM)
    loss, g, means = gradients(state.model, frozen, batch, recipe)
    there, g_there, _ = gradients(phi.model, frozen, batch, recipe, "forget")
    g = jax.tree.map(lambda a, b: a + lesson.weight * b, g, g_there)
    means |= {"loss": loss, "adversary": learnt["loss"], "forget_at_adversary": there}
    made, metrics = moved(state, g, learning_rate, means, c, recipe)
    return made._replace(fork=phi), metrics


def faults(config: Config, method: Method, parts: tuple[str, ...]) -> list[str]:
    """Return why the configuration's adversary cannot run; parts: those of a batch that the method reads."""
    u, a, wrong = config.unlearn, config.unlearn.adversary, []
    if not a.every:
        return wrong
    if a.rates and (len(a.rates) != 2 or a.rates[0] > a.rates[1]):
        wrong.append(f"unlearn.adversary.rates are two, the least and the most (got {a.rates})")
    if why := lacks_forget(method, parts):
        wrong.append(f"unlearn.adversary: {method.name} {why}; set unlearn.adversary.every=0")
    if u.lora.rank:
        wrong.append("unlearn.adversary trains whole weights, as an attacker would: leave out unlearn.lora")
    if u.update == "layers":
        wrong.append("unlearn.adversary needs whole gradients, at the model and at its copy: leave out unlearn.update")
    return wrong

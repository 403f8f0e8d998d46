"""The record of an unlearning method, and what its loss sees of one microbatch.

A method is one file of this package and one line in METHODS (methods/__init__). The models that it needs, the stored
references, the refusals, its cost, the table of `jaxunlearn methods` and the sentence of the model card follow from
the record. Losses return terms {name of a part of the batch: (sum, count)}; the step divides each once, by the count
over all microbatches.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp

from jaxunlearn.config import Config, Whp
from jaxunlearn.kernels.linear_cross_entropy import IGNORE, linear_cross_entropy
from jaxunlearn.kernels.linear_distillation import linear_distillation
from jaxunlearn.kernels.token_nll import row_nll
from jaxunlearn.models import lora

Sum = tuple[jax.Array, jax.Array]  # (sum, count)
Terms = dict[str, Sum]
Values = Mapping[str, Any]  # a method's settings by name


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A setting of a method: its default, what it may be, and why.

    `least`: the smallest value allowed; `above`: a bound that is itself refused; `layers`: the value must name a
    layer of the model; `optional`: a text may be empty; `section`: the section of the configuration that holds it.
    """

    default: float | int | str
    least: float | None = None
    above: float | None = None
    whole: bool = False
    layers: bool = False
    optional: bool = False
    section: str = "unlearn"
    why: str = ""

    def fault(self, key: str, value: Any, layers: int | None = None) -> str | None:
        """Return what is wrong with a value, None where nothing is; `layers`: how many the model has, if known.

        >>> Setting(default=0.1, above=0, why="the loss divides by beta").fault("beta", 0)
        'beta must be above 0 (got 0): the loss divides by beta'
        """
        if isinstance(self.default, str):
            given = isinstance(value, str) and (self.optional or value.strip())
            return None if given else f"{key} must be a text (got {value!r})"
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return f"{key} must be a number (got {value!r})"
        if self.whole and value != int(value):
            return f"{key} must be a whole number (got {value})"
        if self.above is not None and value <= self.above:
            return f"{key} must be above {self.above:g} (got {value}): {self.why}"
        if self.least is not None and value < self.least:
            return f"{key} must be at least {self.least:g} (got {value}): {self.why}"
        if self.layers and layers is not None and value >= layers:
            return f"{key} must lie between 0 and {layers - 1} (got {value}): the model has {layers} layers"
        return None


def retain_weight(default: float = 0.0) -> Setting:
    """Return the setting that weighs a term on text to keep beside a method's own loss."""
    return Setting(default=default, least=0, why="below 0 the retain set would be unlearned")


Names = tuple[str, ...]
Derived = Names | Callable[[Config, Values], Names]  # fixed, or as the configuration and the settings say


def _nothing_wrong(config: Config) -> list[str]:
    return []


@dataclass(frozen=True, kw_only=True, eq=False)
class Method:
    """One way to unlearn. A field that is left out takes no part in the method.

    loss: returns the terms of one microbatch; None: nothing is trained. make(load, values): where nothing is trained,
    returns the model made of load(name), or with `at_inference` the content of method.json. card: the clause of the
    model card on how the model was made.
    """

    name: str
    paper: str
    summary: str
    card: str
    loss: Callable[["Batch"], Terms] | None = None
    make: Callable[[Callable[[str], Any], Values], Any] | None = None
    at_inference: bool = False  # leaves no weights of its own: it works while a model answers
    settings: Mapping[str, Setting] = field(default_factory=dict)
    reads: Derived = ("forget",)  # parts of a batch: stages/batches.py has the arrays of each
    asks: Derived = ()  # frozen models that every step asks; one named twice is asked twice
    asks_on: Names = ("forget",)  # the texts that it asks them on: "forget", "retain"
    first: Derived = ()  # models fine-tuned beforehand: "reinforced", "diluted", "new_only"
    stores: Names = ()  # parts whose log-probabilities under the baseline are computed once and kept
    divide: Mapping[str, str] = field(default_factory=dict)  # a part's term is divided by its "sequences", not tokens
    answers: Callable[[Any, int], list] | None = None  # of questions and a seed: (question, taught, true) rows
    retain: str = "nll"  # the paper's loss on text to keep: "nll", "kl" to the baseline; "own": a term of `loss`
    updates: Callable[[Any, Values], Any] | None = None  # of a model: factors that its updates are multiplied by
    once: Callable[..., dict[str, float]] | None = None  # numbers measured before the first step (methods/kga.py)
    held_labels: bool = False  # the loss on held-out generic labels chooses the step that is kept (whp.keep)
    resolve: Callable[[Config], Config] | None = None  # a preset: the settings that the name stands for
    refuse: Callable[[Config], list[str]] = _nothing_wrong  # why a configuration cannot run with it

    @property
    def trains(self) -> bool:
        """Return whether the method trains a model."""
        return self.loss is not None

    @property
    def defaults(self) -> dict[str, Any]:
        """Return {setting: default}."""
        return {key: setting.default for key, setting in self.settings.items()}


def lacks_forget(method: Method, parts: Names) -> str:
    """Return why a method has no gradient on text to forget, "" where it has one; parts: what a batch of it holds."""
    if not method.trains:
        return "trains nothing"
    return "has no loss on text to forget" if set(parts) <= {"retain"} else ""


@dataclass(frozen=True)
class Recipe:
    """What the compiled step of a method depends on: record, settings, retain loss, labels, SAM, ILU; hashable."""

    method: Method
    values: tuple[tuple[str, Any], ...] = ()
    retain_loss: str = "nll"
    whp: Whp = field(default_factory=Whp)
    sam: float = 0.0
    invariance: float = 0.0

    def __getitem__(self, key: str) -> Any:
        return dict(self.values).get(key, 0.0)


class Batch:
    """What a loss sees: the trained model, the parts of one microbatch, frozen models and settings.

    b["beta"] is a setting. Parts are pairs (tokens_BT, labels_BT), labels -100 where nothing is trained, but for
    "soft" (stored outcomes) and "passages" (translations).
    """

    def __init__(self, model, frozen: Mapping[str, Any], parts: Mapping[str, Any], recipe: Recipe):
        self.model, self.frozen, self.parts, self.recipe = model, frozen, parts, recipe

    def __getitem__(self, key: str) -> Any:
        return self.recipe[key]

    def teacher(self, name: str) -> Any:
        """Return a frozen model; an adapter is applied over the baseline."""
        return lora.over(self.frozen.get("baseline"), self.frozen[name])

    def nll(self, part: str) -> Sum:
        """Return (summed cross-entropy in nats, count of labels) on a part."""
        tokens_BT, labels_BT = self.parts[part]
        return self.nll_of(tokens_BT, labels_BT)

    def nll_of(self, tokens_BT, labels_BT) -> Sum:
        """Return (summed cross-entropy in nats, count of labels) of given labels."""
        h_BTD = self.model(tokens_BT)
        total, count = linear_cross_entropy(h_BTD, self.model.output_DV(h_BTD.dtype), labels_BT)
        return total, count

    def logp(self, part: str) -> jax.Array:
        """Return logp_B, the summed log-probability in nats of each sequence's labels."""
        return sequence_logp(self.model, *self.parts[part])

    def reference(self, part: str) -> jax.Array:
        """Return logp_B of a part under the baseline, as stored beforehand (Method.stores)."""
        return self.parts["reference"][part]

    def count(self, part: str) -> jax.Array:
        """Return count_B, how many labels each sequence of a part has."""
        return jnp.sum(self.parts[part][1] != IGNORE, axis=1, dtype=jnp.float32)

    def kl(self, part: str, teacher: str = "baseline") -> Sum:
        """Return (summed KL(teacher || model) in nats, count of labels) on a part."""
        return kl_to(self.model, self.teacher(teacher), *self.parts[part])

    def retain(self) -> Sum:
        """Return the term on text to keep: cross-entropy, or the KL to the baseline."""
        return self.kl("retain") if self.recipe.retain_loss == "kl" else self.nll("retain")


def sequence_logp(model, tokens_BT, labels_BT):
    """Return logp_B, the summed log-probability in nats of each sequence's labels.

    Stored references use this function too, so that model and baseline are computed alike.
    """
    h_BTD = model(tokens_BT)
    return -row_nll(h_BTD, model.output_DV(h_BTD.dtype), labels_BT)


def kl_to(model, teacher, tokens_BT, labels_BT) -> Sum:
    """Return (summed KL(teacher || model) in nats, count) over the labelled positions, 0 for equal models."""
    h_BTD, t_BTD = model(tokens_BT), teacher(tokens_BT)
    pair = t_BTD, teacher.output_DV(t_BTD.dtype)
    return linear_distillation(h_BTD, model.output_DV(h_BTD.dtype), [pair], labels_BT != IGNORE)


def over_sequences(loss_B, valid_B=None) -> Sum:
    """Return (sum, count) over sequences; valid_B: False for padding.

    >>> total, count = over_sequences(jnp.array([1.0, 2.0, 9.0]), jnp.array([True, True, False]))
    >>> float(total), float(count)
    (3.0, 2.0)
    """
    if valid_B is None:
        return jnp.sum(loss_B), jnp.asarray(loss_B.shape[0], jnp.float32)
    return jnp.sum(jnp.where(valid_B, loss_B, 0)), jnp.sum(valid_B, dtype=jnp.float32)

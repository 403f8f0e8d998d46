"""Controls: models that a run trains beside its method, to separate its effect from that of any fine-tuning."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

from jaxunlearn.config import Config, Whp, with_method
from jaxunlearn.methods.base import Batch, Method, Terms
from jaxunlearn.methods.whp import HARD, SOFT


def kept_alone(b: Batch) -> Terms:
    """Return the loss on text to keep and nothing else."""
    return {"retain": b.retain()}


def refuse_kl(config: Config) -> list[str]:
    """Return a fault where it would start at its optimum: the KL of the baseline to itself is 0."""
    alone = config.unlearn.retain_loss == "kl"
    return ["retain_only with unlearn.retain_loss=kl learns nothing: set unlearn.retain_loss=nll"] if alone else []


RETAIN_ONLY = Method(
    name="retain_only",
    paper="a control",
    summary="fine-tune on text to keep alone: what any method must beat",
    card="nothing but fine-tuning on text to keep, a control",
    loss=kept_alone,
    reads=("retain",),
    refuse=refuse_kl,
)


@dataclass(frozen=True, kw_only=True)
class Control:
    """A control: its title in the report, its configuration, and the dictionary that its labels use.

    labels: "translated" by the run's dictionary, "original" by none, "built" by one that counting alone made.
    """

    title: str
    change: Callable[[Config], Config]
    labels: str = "translated"
    ablation: bool = True  # trained by --ablate
    retains: bool = False  # needs text to keep
    resets: bool = False  # resets weights where the method does


def generic(alpha: float | None = None) -> Callable[[Config], Config]:
    """Return a change to generic labels at a given alpha, soft where the run's own are."""

    def change(config: Config) -> Config:
        w, u = dataclasses.replace(config.whp, mode="offline"), config.unlearn
        if alpha is not None:
            w = dataclasses.replace(w, alpha=alpha)
        if u.method not in (HARD.name, SOFT.name):  # a run of another method: the paper's own labels
            w, u = dataclasses.replace(w, labels="hard"), with_method(config, HARD.name).unlearn
        return dataclasses.replace(config, whp=w, unlearn=u)

    return change


def hard_labels(config: Config) -> Config:
    """Return the configuration with the paper's method at the run's rate and steps, without any deviation.

    Alpha is the run's, but the paper's beside another offset, by which it means something else.
    """
    alpha = config.whp.alpha if config.whp.offset == Whp().offset else Whp().alpha
    plain = Whp(alpha=alpha, label_batch=config.whp.label_batch)
    return dataclasses.replace(with_method(config, HARD.name), whp=plain)


def retain_alone(config: Config) -> Config:
    """Return the configuration with retain_only as its method; what another has beside its loss is not its own."""
    return with_method(config, RETAIN_ONLY.name)


def reset_at_random(config: Config) -> Config:
    """Return the configuration with a reset of weights at random."""
    return dataclasses.replace(config, reset=dataclasses.replace(config.reset, by="random"))


CONTROLS = {
    "dictionary_alone": Control(title="dictionary alone (alpha 0)", change=generic(0.0)),
    "reinforcement_alone": Control(title="reinforcement alone", change=generic(), labels="original"),
    "own_argmax": Control(title="own argmax labels", change=generic(0.0), labels="original"),
    "built_dictionary": Control(title="dictionary built offline", change=generic(), labels="built"),
    "retain_only": Control(title="retain text alone", change=retain_alone, retains=True),
    "hard_labels": Control(title="the paper's hard labels", change=hard_labels, ablation=False),
    "random_reset": Control(
        title="weights reset at random", change=reset_at_random, ablation=False, retains=True, resets=True
    ),
}
ALIASES = {"no_translation": "reinforcement_alone"}  # earlier names


def ablations(retains: bool) -> tuple[str, ...]:
    """Return the controls that --ablate trains; `retains`: whether there is text to keep."""
    return tuple(n for n, c in CONTROLS.items() if c.ablation and (retains or not c.retains))


def control_config(name: str, config: Config) -> Config:
    """Return the configuration of a control; only the control of the reset keeps the method's reset."""
    control = CONTROLS[name]
    if not control.resets:
        config = dataclasses.replace(config, reset=dataclasses.replace(config.reset, share=0.0))
    return control.change(config)

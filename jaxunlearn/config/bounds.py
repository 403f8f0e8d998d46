"""What each field of a configuration may be: its type, and one table of bounds for every number.

A field without a row in BOUNDS cannot be checked: `faults` raises KeyError for it, and a test walks all fields.
"""

import dataclasses
from dataclasses import dataclass
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from jaxunlearn.config import attacks, fields, training

LONGEST = 200  # characters of a configuration's name, which names files and folders


@dataclass(frozen=True)
class Range:
    """Numbers from `least` to `most`, both finite, and those in `also`; NaN and infinities are never among them.

    above, below: least, or most, is itself refused. why: what another value would do.
    """

    least: float
    most: float
    above: bool = False
    below: bool = False
    also: tuple[float, ...] = ()
    why: str = ""

    def holds(self, value: float) -> bool:
        """Return whether a number is in the range."""
        if value in self.also:
            return True
        low = value > self.least if self.above else value >= self.least
        high = value < self.most if self.below else value <= self.most
        return low and high

    def __str__(self) -> str:
        low = f"{'above' if self.above else 'at least'} {_short(self.least)}"
        high = f"{'below' if self.below else 'at most'} {_short(self.most)}"
        return " or ".join([f"{low} and {high}", *map(_short, self.also)])


def _short(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


MANY = 10**9  # no count is larger: what follows from one is still a number of 64 bits
SEED = Range(0, 1 << 31, below=True, why="a seed of more bits would be cut, and draw what another seed draws")
SOME = Range(1, MANY)
NONE_OR_SOME = Range(0, MANY)
SHARE = Range(0, 1)
RATE = Range(0, 1, above=True, below=True)
DECAY = Range(0, 1, below=True)
NOT_NEGATIVE = Range(0, MANY)
TEMPERATURE = Range(0, 1000)
ALPHA = Range(0, 10**6, why="below 0 the offset would reinforce")
OWN = Range(-MANY, MANY)  # each method has bounds of its own: methods/NAME.py
AXIS = Range(1, 1 << 20, also=(-1,))

BOUNDS: dict[type, dict[str, Range]] = {
    fields.Mesh: {"data": AXIS, "fsdp": AXIS, "tensor": AXIS, "slices": NONE_OR_SOME},
    fields.Llama: {
        "V": Range(0, 1 << 24), "D": Range(1, 1 << 20), "L": Range(1, 1 << 14), "N": Range(1, 1 << 16),
        "K": Range(1, 1 << 16), "H": Range(1, 1 << 16), "F": Range(1, 1 << 24), "context": Range(8, MANY),
    },
    fields.Universe: {"seed": SEED, "people": Range(0, 10**6)},
    fields.Text: {
        "context": Range(8, MANY, why="shorter blocks hold no context"), "holdout": DECAY,
        "most_characters": NONE_OR_SOME,
    },
    fields.Whp: {
        "alpha": ALPHA, "alphas": ALPHA, "top": NONE_OR_SOME, "translations": SOME, "seen_penalty": NOT_NEGATIVE,
        "label_batch": SOME,
    },
    fields.LlmEndpoint: {
        "concurrency": Range(1, 10_000), "attempts": Range(1, 1000), "timeout": Range(0, 86_400, above=True),
        "seed": SEED, "temperature": TEMPERATURE, "price_in": NOT_NEGATIVE, "price_out": NOT_NEGATIVE,
    },
    fields.Llm: {"passages": NONE_OR_SOME, "passage_characters": SOME},
    fields.Extract: {"min_count": SOME, "score_bar": OWN},
    fields.Anchors: {"seed": SEED},
    fields.Eval: {
        "every": SOME, "at": NONE_OR_SOME, "known": DECAY, "batch": SOME, "blocks": SOME, "completions": NONE_OR_SOME,
        "new_tokens": SOME, "temperature": TEMPERATURE, "top_k": NONE_OR_SOME, "relearn_steps": NONE_OR_SOME,
        "relearn_blocks": SOME, "relearn_batch": SOME, "relearn_rates": RATE, "members": NONE_OR_SOME,
        "items": NONE_OR_SOME, "context": Range(8, MANY),
    },
    attacks.ProbesAttack: {
        "samples": SOME, "temperatures": TEMPERATURE, "top_k": NONE_OR_SOME, "new_tokens": SOME, "blind": NONE_OR_SOME,
    },
    attacks.SharesAttack: {"of": Range(0, 1, above=True), "epochs": SOME, "most_steps": SOME},
    attacks.ContextAttack: {"passages": SOME},
    attacks.RttAttack: {"splits": Range(2, MANY), "pairings": SOME, "epochs": SOME, "rates": RATE, "batch": SOME},
    attacks.FewShotAttack: {"shots": SOME},
    attacks.HalfwayAttack: {"share": Range(0, 1, above=True), "most_steps": SOME, "rates": RATE},
    attacks.WaysAttack: {"steps": SOME, "rates": RATE, "rank": SOME},
    attacks.BenignAttack: {"facts": Range(2, 1000), "most_steps": SOME, "rates": RATE},
    attacks.DistanceAttack: {"points": Range(2, 1000), "blocks": SOME},
    attacks.DepthAttack: {"threshold": Range(0, 1000, above=True)},
    attacks.QuestionsAttack: {
        "steps": SOME, "samples": Range(2, 10_000), "batch": SOME, "new_tokens": SOME,
        "temperature": Range(0, 1000, above=True), "rank": SOME, "rates": RATE,
    },
    attacks.Attack: {"seed": SEED},
    fields.Sweep: {
        "rates": RATE, "alphas": ALPHA, "trials": NONE_OR_SOME, "seeds": SEED, "tuning_seeds": NONE_OR_SOME,
        "reach": SHARE, "most_perplexity": Range(1.0, 100.0, also=(0.0,), why="it is a multiple of the twin's"),
    },
    fields.Config: {"seed": SEED},
    training.Lora: {"rank": NONE_OR_SOME, "alpha": NOT_NEGATIVE},
    training.Train: {
        "steps": NONE_OR_SOME, "learning_rate": RATE, "batch": SOME, "accumulate": SOME, "warmup": NONE_OR_SOME,
        "b1": DECAY, "b2": DECAY, "weight_decay": NOT_NEGATIVE, "clip": NOT_NEGATIVE, "checkpoint_every": SOME,
        "log_every": SOME,
    },
    training.Pretrain: {"forget_epochs": NONE_OR_SOME},
    training.Unlearn: dict.fromkeys(
        ("retain_weight", "beta", "gamma", "strength", "scale", "steering"), OWN
    ) | {"layer": Range(0, 1 << 14), "reach": SHARE, "retain_batch": NONE_OR_SOME, "sam": DECAY,
        "invariance": NOT_NEGATIVE, "folds": Range(1, 1 << 14),
    },
    training.Adversary: {"every": NONE_OR_SOME, "rates": RATE, "weight": NOT_NEGATIVE, "blocks": SOME},
    training.Select: {
        "budget": NOT_NEGATIVE, "rate": NOT_NEGATIVE, "pcs": Range(0, 1 << 20, also=(-1,)), "elicit": DECAY,
        "rank": SOME, "blocks": SOME,
    },
    training.Mudman: {
        "every": NONE_OR_SOME, "rate": NOT_NEGATIVE, "retain_rate": DECAY, "adversary_rate": RATE, "momentum": DECAY,
    },
    training.Collapse: {
        "norm": NOT_NEGATIVE, "inputs": NONE_OR_SOME, "outputs": NONE_OR_SOME, "every": NONE_OR_SOME,
        "retain_rate": DECAY,
    },
    training.Erase: {"strength": Range(0, 1000), "rank": SOME, "share": Range(0, 1, above=True), "seen": NONE_OR_SOME},
    training.Reset: {"share": SHARE, "batches": SOME},
}  # fmt: skip


def range_of(section: type, name: str) -> Range:
    """Return the range of a section's field; KeyError where BOUNDS has none."""
    for kind in section.__mro__:
        if name in BOUNDS.get(kind, {}):
            return BOUNDS[kind][name]
    raise KeyError(f"{section.__name__}.{name} has no bounds in config/bounds.py")


def faults(section: Any, prefix: str = "") -> list[str]:
    """Return, in sentences, the fields of a section and of those in it that have another type or are out of range."""
    wrong = []
    for f in dataclasses.fields(section):
        name, value = f"{prefix}{f.name}", getattr(section, f.name)
        if isinstance(f.type, type) and dataclasses.is_dataclass(f.type):
            one = isinstance(value, f.type)
            wrong += faults(value, f"{name}.") if one else [f"{name} must be a {f.type.__name__} (got {_shown(value)})"]
        else:
            wrong += _faults(type(section), f.name, f.type, value, name)
    return wrong


def _faults(section: type, field: str, kind: Any, value: Any, name: str) -> list[str]:
    """Return what is wrong with the value of one field, or of one item of it."""
    if get_origin(kind) is tuple:
        if not isinstance(value, tuple | list):
            return [f"{name} must be several values, a tuple (got {_shown(value)})"]
        return [fault for item in value for fault in _faults(section, field, get_args(kind)[0], item, name)]
    if isinstance(kind, UnionType):  # int | None
        kinds = [one for one in get_args(kind) if one is not type(None)]
        return [] if value is None else _faults(section, field, kinds[0], value, name)
    if get_origin(kind) is Literal:
        good = isinstance(value, str) and value in get_args(kind)
        return [] if good else [f"{name} must be one of {', '.join(get_args(kind))} (got {_shown(value)})"]
    if kind in (int, float):
        return _number_faults(range_of(section, field), kind, value, name)
    if not isinstance(value, kind):
        return [f"{name} must be {'true or false' if kind is bool else 'a text'} (got {_shown(value)})"]
    return [f"{name} {fault}" for fault in _text_faults(value)] if kind is str else []


def _number_faults(within: Range, kind: type, value: Any, name: str) -> list[str]:
    if isinstance(value, bool) or not isinstance(value, int | kind):
        return [f"{name} must be a {'whole ' * (kind is int)}number (got {_shown(value)})"]
    why = f": {within.why}" if within.why else ""
    return [] if within.holds(value) else [f"{name} must be {within} (got {_shown(value)}){why}"]


def _text_faults(text: str) -> list[str]:
    if "\0" in text or text != text.encode("utf-8", "replace").decode():
        return [f"must be text that a UTF-8 file can hold (got {_shown(text)})"]
    return []


def _shown(value: Any) -> str:
    text = ascii(value) if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

"""The rivals: every unlearning method, what it needs, its settings; and a check before anything is loaded.

losses.py and distillation.py hold their losses, rows.py log-probabilities a sequence, texts.py replacement answers.
"""

import difflib
import math
from dataclasses import dataclass, field

from jaxunlearn.errors import InputError

NEEDS = {
    "retain": "text to keep: set text.retain",
    "reference": "the model before unlearning, kept frozen: finish the baseline first",
    "reinforced": "the baseline fine-tuned on the text to forget: run `jaxunlearn reinforce` first",
    "dictionary": "anchored terms with translations: set text.dictionary, or make one with `jaxunlearn anchors build`",
    "answers": "questions about the text to forget, with their options or replacement answers",
}


@dataclass(frozen=True, kw_only=True)
class Method:
    """One way to unlearn; `hyper` are its settings and their defaults (docs at the loss)."""

    name: str
    paper: str
    one_line: str
    needs: frozenset[str] = frozenset()  # of NEEDS
    needs_when: dict[str, str] = field(default_factory=lambda: {"retain_weight": "retain"})  # a setting above 0: a need
    hyper: dict[str, float | int | str] = field(default_factory=dict)
    trains: bool = True


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What a setting of this name may be, in every method, and why."""

    low: float = 0.0
    open: bool = False  # low itself is refused
    why: str = ""


LIMITS = {
    "beta": Limit(open=True, why="the loss divides by beta; for beta -> 0 use gradient_ascent"),
    "gamma": Limit(why="below 0 the margin would reward the text to forget"),
    "alpha": Limit(why="below 0 the offset would reinforce"),
    "strength": Limit(why="below 0 the label would be taught"),
    "scale": Limit(why="below 0 the task vector would be added"),
    "retain_weight": Limit(why="below 0 the retain set would be unlearned"),
    "steering": Limit(open=True, why="it is the length of the direction that activations are steered to"),
    "layer": Limit(why="layers count from 0"),
    "translations": Limit(low=1, why="the mean is taken over this many translations"),
    "top": Limit(why="outcomes stored a position; 0: the whole distribution"),
}


def _methods(*methods: Method) -> dict[str, Method]:
    return {m.name: m for m in methods}


def _needs(*names: str) -> frozenset[str]:
    return frozenset(names)


METHODS: dict[str, Method] = _methods(
    Method(
        name="whp",
        paper="arXiv 2310.02238",
        one_line="cross-entropy on generic labels: Who's Harry Potter",
        needs=_needs("reference", "reinforced", "dictionary"),
        hyper={"alpha": 5.0, "retain_weight": 0.0},
    ),
    Method(
        name="whp_soft",
        paper="a deviation from arXiv 2310.02238",
        one_line="KL to softmax(v_generic), whole or its likeliest tokens",
        needs=_needs("reference", "reinforced", "dictionary"),
        hyper={"alpha": 5.0, "top": 0, "retain_weight": 0.0},
    ),
    Method(
        name="whp_plus",
        paper="ours, beyond arXiv 2310.02238",
        one_line="preset: soft labels and the contrast offset; with reset.share, healed by the unlearned model",
        needs=_needs("reference", "reinforced", "dictionary", "retain"),
        hyper={"alpha": 5.0, "retain_weight": 0.0},
    ),
    Method(
        name="whp_averaged",
        paper="arXiv 2407.16997",
        one_line="KL to the mean distribution over several translations: the causal view",
        needs=_needs("reference", "dictionary"),
        needs_when={"alpha": "reinforced", "retain_weight": "retain"},
        hyper={"translations": 4, "alpha": 0.0, "retain_weight": 0.0},
    ),
    Method(
        name="whp_inference",
        paper="arXiv 2407.06460",
        one_line="WHP's offset on two models' logits while generating; no dictionary",
        needs=_needs("reference", "reinforced"),
        hyper={"alpha": 5.0},
        trains=False,
    ),
    Method(
        name="gradient_ascent",
        paper="arXiv 2210.01504",
        one_line="raise the loss on the text to forget; unbounded",
        hyper={"retain_weight": 0.0},
    ),
    Method(
        name="gradient_difference",
        paper="arXiv 2203.12817, 2401.06121",
        one_line="gradient ascent on forget, descent on retain text",
        needs=_needs("retain"),
        hyper={"retain_weight": 1.0},
    ),
    Method(
        name="kl_retain",
        paper="arXiv 2401.06121",
        one_line="gradient ascent on forget text, KL to the baseline on retain text",
        needs=_needs("retain", "reference"),
        hyper={"retain_weight": 1.0},
    ),
    Method(
        name="npo",
        paper="arXiv 2404.05868",
        one_line="negative preference optimisation: ascent that fades as the text is forgotten",
        needs=_needs("reference"),
        hyper={"beta": 0.1, "retain_weight": 0.0},
    ),
    Method(
        name="simnpo",
        paper="arXiv 2410.07163",
        one_line="NPO by mean log-probability a token, without a reference",
        hyper={"beta": 2.5, "gamma": 0.0, "retain_weight": 0.0},
    ),
    Method(
        name="dpo",
        paper="arXiv 2305.18290, 2404.05868",
        one_line='prefer "I don\'t know" to the true answer',
        needs=_needs("reference", "answers"),
        hyper={"beta": 0.1, "retain_weight": 0.0},
    ),
    Method(
        name="idk",
        paper="arXiv 2401.06121",
        one_line='learn to answer "I don\'t know"',
        needs=_needs("retain", "answers"),
        hyper={"retain_weight": 1.0},
    ),
    Method(
        name="ria",
        paper="arXiv 2410.08827",
        one_line="random incorrect answers: learn every wrong option",
        needs=_needs("retain", "answers"),
        hyper={"retain_weight": 1.0},
    ),
    Method(
        name="fwf",
        paper="arXiv 2410.08827",
        one_line="fixed wrong facts: teach one false answer a question",
        needs=_needs("retain", "answers"),
        hyper={"retain_weight": 1.0},
    ),
    Method(
        name="rmu",
        paper="arXiv 2403.03218",
        one_line="misdirect one layer's activations; trains three down projections",
        needs=_needs("retain", "reference"),
        hyper={"layer": 7, "steering": 6.5, "retain_weight": 1200.0},
    ),
    Method(
        name="undial",
        paper="arXiv 2402.10052",
        one_line="self-distillation with the next token's logit lowered",
        needs=_needs("reference"),
        hyper={"strength": 10.0, "retain_weight": 0.0},
    ),
    Method(
        name="kga",
        paper="arXiv 2305.06535",
        one_line="know the forget text as little as text never met",
        needs=_needs("retain", "reference", "reinforced"),
        hyper={"retain_weight": 0.1},
    ),
    Method(
        name="task_vector",
        paper="arXiv 2212.04089",
        one_line="subtract what reinforcement added to the weights",
        needs=_needs("reinforced"),
        hyper={"scale": 1.0},
        trains=False,
    ),
    Method(
        name="retain_only",
        paper="a control",
        one_line="fine-tune on text to keep alone: what any method must beat",
        needs=_needs("retain"),
    ),
    Method(
        name="reset_heal",
        paper="ours; arXiv 2308.07707, 2310.05331: weights by Fisher information; 2506.06278: reset.by=noise (UNDO)",
        one_line="re-draw weights that only the target needs, or blur all, and heal; reset.share adds it to any method",
        needs=_needs("retain", "reference"),
        trains=False,
    ),
    Method(
        name="prompting",
        paper="arXiv 2403.03329",
        one_line="a prompt that asks the model to pretend ignorance",
        hyper={"subject": ""},
        trains=False,
    ),
)


def check_method(name: str, have: set[str], *, layers: int | None = None, **hyper) -> None:
    """Raise InputError, with everything that is wrong, unless the method can run on what there is.

    have: of NEEDS; layers: how many the model has, if it is known; hyper: settings that differ from the defaults.
    """
    if name not in METHODS:
        raise InputError(f"no method {name!r}{_closest(name, METHODS)}; `jaxunlearn methods` lists them")
    method, wrong = METHODS[name], []
    for key in hyper.keys() - method.hyper.keys():
        wrong.append(f"{key!r} is no setting of it{_closest(key, method.hyper)}; it has {list(method.hyper) or 'none'}")
    values = method.hyper | {k: v for k, v in hyper.items() if k in method.hyper}
    faults = {key: fault for key, value in values.items() if (fault := _wrong_value(key, value, layers))}
    asked = {need for key, need in method.needs_when.items() if key not in faults and float(values.get(key, 0)) > 0}
    wrong += [
        *faults.values(),
        *(f"it needs {need!r}, {NEEDS[need]}" for need in sorted((method.needs | asked) - have)),
    ]
    if wrong:
        raise InputError(f"method {name!r} cannot run:\n  " + "\n  ".join(wrong))


def _wrong_value(key: str, value, layers: int | None) -> str | None:
    if key not in LIMITS:  # a text
        return None if isinstance(value, str) and value.strip() else f"{key} must be a text (got {value!r})"
    limit = LIMITS[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return f"{key} must be a number (got {value!r})"
    if key in ("layer", "translations", "top") and value != int(value):
        return f"{key} must be a whole number (got {value})"
    if value < limit.low or (limit.open and value == limit.low):
        return f"{key} must be {'above' if limit.open else 'at least'} {limit.low:g} (got {value}): {limit.why}"
    if key == "layer" and layers is not None and value >= layers:
        return f"layer must lie between 0 and {layers - 1} (got {value}): the model has {layers} layers"
    return None


def _closest(name: str, known) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""

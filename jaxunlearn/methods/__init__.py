"""The registry of the unlearning methods, and what follows from the method that a configuration chooses.

To add a method, write one file with a Method record (base.py) and add it to METHODS. Everything else follows: the
models that it needs, stored references, refusals, cost, the table of `jaxunlearn methods` and the card's sentence.
"""

import difflib
from typing import Any

from jaxunlearn.config import Config, Whp
from jaxunlearn.errors import InputError
from jaxunlearn.methods import (
    answers,
    ascent,
    breaking,
    dpo,
    inference,
    jensun,
    kga,
    npo,
    reset,
    rmu,
    task_vector,
    undial,
    whp,
    wrappers,
)
from jaxunlearn.methods.base import Derived, Method, Recipe, Values
from jaxunlearn.methods.controls import ALIASES, CONTROLS, RETAIN_ONLY

METHODS: dict[str, Method] = {
    m.name: m
    for m in (
        whp.HARD, whp.SOFT, whp.PLUS, whp.ROBUST, whp.AVERAGED, inference.INFERENCE,
        ascent.ASCENT, ascent.DIFFERENCE, ascent.WITH_KL, npo.NPO, npo.SIMNPO, dpo.DPO,
        answers.IDK_ANSWERS, answers.RANDOM_INCORRECT, answers.FALSE_FACTS, jensun.JENSUN,
        rmu.RMU, breaking.BREAKING, undial.UNDIAL, kga.KGA, task_vector.TASK_VECTOR, RETAIN_ONLY, reset.RESET_HEAL,
        inference.PROMPTING,
    )
}  # fmt: skip
GENERIC = (whp.HARD, whp.SOFT)  # learn the generic labels that the label pass makes
NEEDS = {
    "retain": "text to keep: set text.retain",
    "reference": "the model before unlearning, kept frozen: finish the baseline first",
    "reinforced": "the baseline fine-tuned on the text to forget: run `jaxunlearn reinforce` first",
    "dictionary": "anchored terms with translations: set text.dictionary, or make one with `jaxunlearn anchors build`",
    "answers": "questions about the text to forget, with their options or replacement answers",
}
PART_NEEDS = {  # what a part of a batch is made of
    "retain": ("retain",), "answers": ("answers",), "true": ("answers",),
    "labels": ("reference", "dictionary"), "soft": ("reference", "dictionary"), "passages": ("reference", "dictionary"),
}  # fmt: skip


# ---- what the configuration chooses


def resolved(config: Config) -> Config:
    """Return the configuration; where its method is a preset, with the settings that the preset stands for."""
    method = METHODS.get(config.unlearn.method)
    return method.resolve(config) if method and method.resolve else config


def method_of(config: Config) -> Method:
    """Return the method of a configuration; whp with soft labels is whp_soft. Raises InputError for an unknown name."""
    return _softened(named(config.unlearn.method), config.whp.labels)


def named(name: str) -> Method:
    """Return a method by its name. Raises InputError for an unknown one."""
    if name not in METHODS:
        raise InputError(f"no method {name!r}{_closest(name, METHODS)}; `jaxunlearn methods` lists them")
    return METHODS[name]


def _softened(method: Method, labels: str | None) -> Method:
    return whp.SOFT if method is whp.HARD and labels == "soft" else method


def given(config: Config) -> dict[str, Any]:
    """Return the settings that unlearn.* gives, of the chosen method or of any other."""
    u, known = config.unlearn, {key for m in METHODS.values() for key in m.settings}
    found = {key: value for key in known if (value := getattr(u, key, None)) not in (None, "")}
    return found | dict(_named(item) for item in u.settings)


def _named(item: str) -> tuple[str, float | str]:
    """Return (name, value) of one NAME=VALUE of unlearn.settings. Raises InputError for another form."""
    key, equals, value = item.partition("=")
    if not equals:
        raise InputError(f"unlearn.settings: {item!r} is not name=value, for example unlearn.settings=tau=0.3")
    try:
        return key, float(value)
    except ValueError:
        return key, value


def values_of(method: Method, config: Config) -> dict[str, Any]:
    """Return a method's settings: its defaults, overridden by whp.* and then by unlearn.*."""
    mine = {key: getattr(config.whp, key) for key, s in method.settings.items() if s.section == "whp"}
    return method.defaults | mine | {key: v for key, v in given(config).items() if key in method.settings}


def derived(names: Derived, config: Config, values: Values) -> tuple[str, ...]:
    """Return names that are fixed, or that follow from the configuration and the settings."""
    return tuple(names(config, values)) if callable(names) else names


def reads(method: Method, config: Config) -> tuple[str, ...]:
    """Return the parts of a batch that a method's step gets; "retain", where only its weight asks for it, is last."""
    values = values_of(method, config)
    parts = derived(method.reads, config, values)
    return (*parts, "retain") if values.get("retain_weight") and "retain" not in parts else parts


def retain_loss(method: Method, config: Config) -> str:
    """Return the loss on text to keep: "nll", "kl", or "own", where the method's loss has a term of its own."""
    return method.retain if config.unlearn.retain_loss == "own" else config.unlearn.retain_loss


def asks(method: Method, config: Config) -> tuple[str, ...]:
    """Return the frozen models that every step asks, each as often as it is asked.

    The KL on text to keep asks the baseline once more.
    """
    kept = method.trains and "retain" in reads(method, config) and retain_loss(method, config) == "kl"
    return derived(method.asks, config, values_of(method, config)) + ("baseline",) * kept


def recipe_of(method: Method, config: Config) -> Recipe:
    """Return what the train step of a method depends on, and nothing else, so that equal steps are compiled once."""
    values = tuple(sorted(values_of(method, config).items()))
    u = config.unlearn
    return Recipe(method, values, retain_loss(method, config), label_rules(config), u.sam, u.invariance)


def label_rules(config: Config) -> Whp:
    """Return the whp.* settings that generic labels depend on, the rest at defaults; alpha is passed separately."""
    w = config.whp
    return Whp(
        seen_translation=w.seen_translation, seen_penalty=w.seen_penalty, offset_context=w.offset_context, top=w.top
    )


# ---- what is needed, and what is refused


def needs_of(method: Method, values: Values, config: Config | None = None) -> set[str]:
    """Return the names in NEEDS that a method needs with these settings."""
    config = config or Config(name="any")
    parts, first = (derived(names, config, values) for names in (method.reads, method.first))
    found = {need for part in parts for need in PART_NEEDS.get(part, ())} | ({"reinforced"} & set(first))
    found |= {"retain"} if values.get("retain_weight") else set()
    asked = method.stores or derived(method.asks, config, values) or (method.trains and method.retain == "kl")
    return found | ({"reference"} if asked else set())


def check_method(name: str, have: set[str], *, layers: int | None = None, config: Config | None = None, **given):
    """Raise InputError, listing every fault, unless the method can run.

    have: the names in NEEDS that are satisfied. layers: the number of layers of the model, None where it is unknown.
    given: settings in the place of the defaults.
    """
    method, known = named(name), named(name).settings
    wrong = [
        f"{key!r} is no setting of it{_closest(key, known)}; it has {list(known) or 'none'}"
        for key in given.keys() - known.keys()
    ]
    values = method.defaults | {key: value for key, value in given.items() if key in known}
    faults = {key: f for key, value in values.items() if (f := known[key].fault(key, value, layers))}
    sound = method.defaults | {key: value for key, value in values.items() if key not in faults}
    lacking = sorted(needs_of(method, sound, config) - have)
    wrong += [*faults.values(), *(f"it needs {need!r}, {NEEDS[need]}" for need in lacking)]
    if wrong:
        raise InputError(f"method {name!r} cannot run:\n  " + "\n  ".join(wrong))


def check_config(config: Config, layers: int | None = None) -> None:
    """Raise InputError, before anything is loaded, unless method and controls can run with what is configured."""
    t, method, have = config.text, method_of(config), {"reference"}
    have |= {"reinforced"} if config.reinforce.steps else set()
    have |= {need for need, there in {"retain": t.retain, "answers": t.answers}.items() if there}
    if t.dictionary or method in GENERIC:  # generic labels without a dictionary are refused by run.inputs
        have |= {"dictionary"}
    check_method(method.name, have, layers=layers, config=config, **given(config) | values_of(method, config))
    check_controls(config)
    wrong = [*_lacks_retain(config), *_misplaced(config, method), *_cannot(config, method)]
    wrong += [*method.refuse(config), *reset.faults(config)]
    wrong += wrappers.faults(config, method, reads(method, config))
    if wrong:
        raise InputError("the configuration cannot run:\n  " + "\n  ".join(wrong))


def check_controls(config: Config) -> None:
    """Raise InputError for controls that there are not."""
    if unknown := sorted(set(config.controls) - CONTROLS.keys() - ALIASES.keys()):
        raise InputError(f"unknown controls {unknown}: expected some of {[*CONTROLS, *ALIASES]}")


def _misplaced(config: Config, method: Method) -> list[str]:
    """Return a fault for each of unlearn.settings that has a field of its own, so that no setting has two values."""
    wrong = []
    for key, _ in map(_named, config.unlearn.settings):
        in_whp = key in method.settings and method.settings[key].section == "whp"
        section = "unlearn" if hasattr(config.unlearn, key) else "whp" if in_whp else ""
        wrong += [f"unlearn.settings={key}=...: {key} has a field of its own, {section}.{key}"] if section else []
    return wrong


def _lacks_retain(config: Config) -> list[str]:
    """Return a fault for each setting that needs text to keep, where there is none."""
    asked = {"whp.offset=contrast": config.whp.offset == "contrast", "reset.share": config.reset.share > 0}
    asked |= {f"controls={name}": True for name in config.controls if CONTROLS[ALIASES.get(name, name)].retains}
    asked |= {"unlearn.retain_loss=kl": config.unlearn.retain_loss == "kl", "unlearn.reach": config.unlearn.reach > 0}
    lacking = [key for key, wanted in asked.items() if wanted and not config.text.retain]
    return [f"{key} needs text to keep: set text.retain" for key in lacking]


def _cannot(config: Config, method: Method) -> list[str]:
    """Return a fault for each setting that the method does not support."""
    wrong = []
    if method.retain == "own" and (chosen := config.unlearn.retain_loss) != "own":
        wrong.append(f"unlearn.retain_loss={chosen}: the loss of {method.name} keeps text by a term of its own")
    if config.unlearn.reach and not config.text.prompts:
        wrong.append("unlearn.reach is a familiarity: set text.prompts")
    if config.whp.forbid == "keys" and method not in GENERIC:
        wrong.append(f"whp.forbid=keys is for generic labels: {method.name} has none")
    if config.unlearn.lora.rank and not method.trains:
        wrong.append(f"unlearn.lora: {method.name} trains nothing")
    if config.unlearn.update == "layers" and (parts := reads(method, config)) != ("labels",):
        wrong.append(
            "unlearn.update=layers is for cross-entropy on stored labels alone: unlearn.method=whp with "
            f"whp.mode=offline and no unlearn.retain_weight; {method.name} reads {' and '.join(parts)}"
        )
    if config.reset.share and method.at_inference:
        wrong.append(f"reset.share: {method.name} works while a model answers and leaves no weights to re-draw; set 0")
    if config.repair.steps and method.at_inference:
        wrong.append(f"repair: {method.name} leaves no model to teach")
    return wrong


def _closest(name: str, known) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


# ---- the model card


def card_sentence(config: dict) -> str:
    """Return the sentence of the model card on the method, from a run's config.json (also of an earlier version)."""
    u, w = config["unlearn"], config["whp"]
    method = METHODS.get(u.get("method", whp.HARD.name))
    if method is None:
        return f"Method: {u['method']}, which this version does not know."
    method = _softened(method, w.get("labels"))
    more = dict(_named(item) for item in u.get("settings", ()))
    known = {k: w.get(k) if s.section == "whp" else more.get(k, u.get(k)) for k, s in method.settings.items()}
    values = {k: method.defaults[k] if known[k] in (None, "") else known[k] for k in method.settings}
    said = [f"{k} {v:g}" if isinstance(v, int | float) else f"{k} {v!r}" for k, v in values.items() if v != ""]
    if method.trains:
        said.append(f"{u['steps']} steps of {u['batch'] * u['accumulate']} blocks at {u['learning_rate']:g}")
    said += wrappers.said(u)
    return f"Method: {', '.join([f'{method.name}, {method.card} ({method.paper})', *said])}."

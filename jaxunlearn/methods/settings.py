"""A method's settings, checked, and what follows from them: models needed, the recipe of its step."""

from typing import Any

from jaxunlearn.config import Config, Whp
from jaxunlearn.errors import InputError
from jaxunlearn.methods import METHODS, check_method, steps

SETTINGS = ("retain_weight", "beta", "gamma", "strength", "scale", "steering", "layer")  # of config.Unlearn
GENERIC = ("whp", "whp_soft")  # methods that learn generic labels
ANSWERS = ("dpo", "idk", "ria", "fwf")
KL = ("kl_retain", "kga")  # whose papers hold the retain set by a KL


def method_of(config: Config) -> str:
    """Return the method's name; whp with soft labels is whp_soft."""
    name = config.unlearn.method
    return "whp_soft" if name == "whp" and config.whp.labels == "soft" else name


def given(config: Config, name: str) -> dict[str, Any]:
    """Return the settings that the configuration gives the method, its defaults left out."""
    u, w, known = config.unlearn, config.whp, METHODS[name].hyper if name in METHODS else {}
    values = {key: getattr(u, key) for key in SETTINGS if getattr(u, key) is not None}
    values |= {"subject": u.subject} if u.subject else {}
    taken = {"alpha": w.alpha, "top": w.top, "translations": w.translations}
    return values | {k: v for k, v in taken.items() if k in known and (k != "alpha" or name != "whp_averaged")}


def check_config(config: Config, layers: int | None = None) -> None:
    """Raise InputError, before anything is loaded, unless the run's methods can run on what the configuration names."""
    t, have = config.text, {"reference", "reinforced"}
    if not config.reinforce.steps:
        have -= {"reinforced"}
    have |= {
        need for need, where in (("retain", t.retain), ("dictionary", t.dictionary), ("answers", t.answers)) if where
    }
    name = method_of(config)
    needed = have | {"dictionary"} if name in ("whp", *GENERIC) and not t.dictionary else have  # refused by read_inputs
    check_method(name, needed, layers=layers, **given(config, name))
    retain = {"whp.offset=contrast": config.whp.offset == "contrast", "reset.share": config.reset.share > 0}
    retain |= {f"controls={c}": c in config.controls for c in ("retain_only", "random_reset")}
    retain |= {"unlearn.retain_loss=kl": config.unlearn.retain_loss == "kl", "unlearn.reach": config.unlearn.reach > 0}
    wrong = [f"{key} needs text to keep: set text.retain" for key, asked in retain.items() if asked and not t.retain]
    if name == "kga" and not (t.holdout or t.retain_held):
        wrong.append("kga needs text that no step trains on: text.holdout above 0, or text.retain_held")
    if config.unlearn.reach and not t.prompts:
        wrong.append("unlearn.reach is a familiarity: set text.prompts")
    w = config.whp
    if w.labels == "soft" and w.offset_context == "original":
        wrong.append("whp.offset_context=original is for hard labels; use whp.offset=contrast")
    if w.forbid == "keys" and name not in GENERIC:
        wrong.append(f"whp.forbid=keys is for generic labels: {name} has none")
    if w.labels == "soft" and w.top and w.mode == "fused":
        wrong.append("whp.top stores outcomes, whp.mode=fused stores none: leave out one of the two")
    if config.unlearn.lora.rank and not METHODS[name].trains:
        wrong.append(f"unlearn.lora: {name} trains nothing")
    if config.repair.steps and name in ("whp_inference", "prompting"):
        wrong.append(f"repair: {name} leaves no model to teach")
    if not 0 <= config.reset.share <= 1:
        wrong.append(f"reset.share is a share of the weights, from 0 to 1 (got {config.reset.share})")
    if resets_by_importance(config) and "reinforced" not in have:
        wrong.append("reset.by=importance needs the reinforced model: set reinforce.steps, or reset.by=fisher")
    r = config.reset
    if r.share and r.on == "all" and (r.teacher == "baseline" or name == "reset_heal"):
        wrong.append(
            "reset.on=all would have the baseline teach the target again: unlearn, and reset.teacher=unlearned"
        )
    if r.share == 1 and r.by == "noise":
        wrong.append("reset.by=noise at share 1 leaves no norm: give less, or reset.by=random for a fresh model")
    if name == "reset_heal" and not config.reset.share:
        wrong.append("reset_heal re-draws reset.share of the weights: set it, 0.1 to 0.2 as a rule")
    if w.mode == "fused" and name == "whp" and config.unlearn.retain_weight:
        wrong.append("whp.mode=fused has no retain term: leave unlearn.retain_weight out, or use whp.mode=offline")
    if "random_reset" in config.controls and r.share and r.by in ("random", "noise"):
        wrong.append(f"controls=random_reset is a control for weights that were chosen, not for reset.by={r.by}")
    if "random_reset" in config.controls and not config.reset.share and name != "reset_heal":
        wrong.append("controls=random_reset has nothing to compare with: set reset.share")
    if wrong:
        raise InputError("the configuration cannot run:\n  " + "\n  ".join(wrong))


def needs(config: Config, what: str) -> bool:
    """Whether the run needs a model beside its baseline: "reinforced" or "diluted"."""
    name, w = method_of(config), config.whp
    if what == "diluted":
        return w.offset == "contrast" and (name in GENERIC or bool(set(config.controls) & {"reinforcement_alone"}))
    asked = {need for key, need in METHODS[name].needs_when.items() if float(given(config, name).get(key, 0)) > 0}
    labels = set(config.controls) - {"retain_only", "random_reset"}
    return "reinforced" in METHODS[name].needs | asked or resets_by_importance(config) or bool(labels)


def resets_by_importance(config: Config) -> bool:
    """Whether weights to re-draw are found by what reinforcing moved; not where every weight is drawn anew."""
    return 0 < config.reset.share < 1 and config.reset.by == "importance"


def recipe_of(config: Config, name: str, alpha: float) -> steps.Recipe:
    """Return what the train step of a method depends on."""
    values = METHODS[name].hyper | given(config, name)
    values |= {"alpha": alpha} if "alpha" in values and name != "whp_averaged" else {}
    u, w = config.unlearn, config.whp
    own = "kl" if name in KL else "nll"
    settings = Whp(seen_translation=w.seen_translation, seen_penalty=w.seen_penalty, top=w.top)
    return steps.Recipe(name, tuple(sorted(values.items())), own if u.retain_loss == "own" else u.retain_loss, settings)


def models_for(config: Config, name: str, alpha: float, stored: bool) -> tuple[str, ...]:
    """Name the frozen models that a method's loss asks at every step."""
    r = recipe_of(config, name, alpha)
    asked = {"baseline"} if r.retain_loss == "kl" and (r["retain_weight"] or name == "retain_only") else set()
    asked |= {"baseline"} if name in ("rmu", "undial", "kga", "whp_averaged") else set()
    asked |= {"reinforced"} if name == "kga" or (name == "whp_averaged" and r["alpha"]) else set()
    if name == "whp_soft" and not stored:
        asked |= {"baseline", "reinforced"} | ({"diluted"} if config.whp.offset == "contrast" else set())
    return tuple(sorted(asked))

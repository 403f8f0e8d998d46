"""The method of a run and its controls, each one set of labels and the model trained on it."""

import dataclasses
from dataclasses import dataclass
from typing import Literal

from jaxunlearn.config import Config
from jaxunlearn.methods.settings import GENERIC, method_of


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One set of labels and the model trained on it: the method itself, or a control beside it."""

    name: str  # as the report calls it
    folder: str
    labels: Literal["translated", "original", "built"] = (
        "translated"  # by the dictionary, by none, by one built offline
    )
    alpha: float = 5.0
    method: str = "whp"
    reset: str = ""  # how weights to re-draw are chosen; empty: none are


def variants(config: Config) -> list[Variant]:
    """Return the method, then the controls that the configuration asks for."""
    alpha, method = config.whp.alpha, method_of(config)
    labelled = method if method in GENERIC else "whp"
    known = {
        "dictionary_alone": Variant(name="dictionary alone (alpha 0)", folder="controls/dictionary_alone", alpha=0.0),
        "reinforcement_alone": Variant(
            name="reinforcement alone",
            folder="controls/reinforcement_alone",
            labels="original",
            alpha=alpha,
        ),
        "own_argmax": Variant(name="own argmax labels", folder="controls/own_argmax", labels="original", alpha=0.0),
        "built_dictionary": Variant(
            name="dictionary built offline", folder="controls/built_dictionary", labels="built", alpha=alpha
        ),
    }
    known = {name: dataclasses.replace(v, method=labelled) for name, v in known.items()}
    reset = config.reset.by if config.reset.share or method == "reset_heal" else ""
    own = Variant(name="unlearned", folder="unlearned", alpha=alpha, method=method, reset=reset)
    known["retain_only"] = Variant(name="retain text alone", folder="controls/retain_only", method="retain_only")
    known["random_reset"] = dataclasses.replace(
        own, name="weights reset at random", folder="controls/random_reset", reset="random"
    )
    chosen = dict.fromkeys("reinforcement_alone" if c == "no_translation" else c for c in config.controls)
    return [own, *[known[c] for c in chosen]]

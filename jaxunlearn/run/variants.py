"""The variants of a run: its method and its controls, each with the configuration that it is trained by."""

from dataclasses import dataclass
from typing import Any

from jaxunlearn.config import Config, as_dict
from jaxunlearn.methods import method_of
from jaxunlearn.methods.base import Method
from jaxunlearn.methods.controls import ALIASES, CONTROLS, control_config
from jaxunlearn.run.resume import UNLABELLED


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One model that a run makes, by its method or by a control.

    labels: the dictionary that generic labels use: the run's ("translated"), none ("original"), or one that counting
    alone made ("built"). rules: the control's name where its labels follow other settings whp.* than the run's.
    """

    name: str  # in the report
    folder: str
    config: Config
    labels: str = "translated"
    rules: str = ""

    @property
    def method(self) -> Method:
        """Return the method of the variant's configuration."""
        return method_of(self.config)

    @property
    def alpha(self) -> float:
        """Return the alpha of the variant's labels."""
        return self.config.whp.alpha

    @property
    def stage(self) -> str:
        """Return the name of its training in metrics.jsonl."""
        return "unlearn" if self.folder == "unlearned" else self.folder.rpartition("/")[2]

    @property
    def healing(self) -> str:
        """Return the name of its reset and healing in metrics.jsonl; "" where nothing is reset."""
        if not self.config.reset.share:
            return ""
        return "heal" if self.folder == "unlearned" else f"heal_{self.stage}"


def variants(config: Config) -> list[Variant]:
    """Return the variant of the method first, then those of the controls, each control once."""
    found = [Variant(name="unlearned", folder="unlearned", config=config)]
    for name in dict.fromkeys(ALIASES.get(c, c) for c in config.controls):
        control, changed = CONTROLS[name], control_config(name, config)
        rules = name if _rules(changed) != _rules(config) else ""
        made = Variant(
            name=control.title, folder=f"controls/{name}", config=changed, labels=control.labels, rules=rules
        )
        found.append(made)
    return found


def _rules(config: Config) -> dict[str, Any]:
    """Return the settings whp.* that stored labels depend on, beside alpha."""
    return {name: value for name, value in as_dict(config.whp).items() if name not in UNLABELLED}

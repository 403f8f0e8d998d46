"""Differences of two models on the same items, each with its interval and its named test."""

from typing import Any

from jaxunlearn.estimates import mcnemar, paired_difference

PAIRS = (("baseline", "unlearned"), ("twin", "unlearned"), ("baseline", "twin"))
BOOTSTRAP = "paired bootstrap over items"
MCNEMAR = "McNemar, exact; interval: paired bootstrap"


def differences(models: dict[str, dict]) -> list[dict[str, Any]]:
    """Return what changed from one model to another on every measure whose single items both have, in order.

    {"measure", "from", "to", "value", "low", "high", "n", "test", "p"}: value is the second less the first; p only for
    right and wrong answers.
    """
    found = []
    for before, after in PAIRS:
        one, other = (items_of(models.get(name, {})) for name in (before, after))
        for measure in one:
            if len(one[measure]) == len(other.get(measure, ())) > 1:
                found.append({"from": before, "to": after} | _difference(measure, one[measure], other[measure]))
    return found


def items_of(found: dict) -> dict[str, list[float]]:
    """Return {measure: one number an item} of a model's measurements."""
    items = dict(found.get("items") or {})
    if found.get("leak_probabilities"):
        items["leak probes, probability"] = found["leak_probabilities"]
    return items | {f"{name}, right answers": right for name, right in (found.get("right") or {}).items()}


def _difference(measure: str, before: list[float], after: list[float]) -> dict[str, Any]:
    entry: dict[str, Any] = {"measure": measure} | paired_difference(before, after).to_json()
    if measure.endswith("right answers"):
        return entry | {"test": MCNEMAR, "p": mcnemar(before, after)}
    return entry | {"test": BOOTSTRAP}

"""Other methods beside a run's own in one report: the unlearned models of other runs on the same baseline."""

import copy
from typing import Any

from jaxunlearn.errors import InputError

ASKED = ("text.prompts", "text.forget", "text.retain")  # hashes that must agree, or the figures are of other things


def beside(report: dict, others: list[dict]) -> dict:
    """Return the report with each other run's `unlearned` under its method's name, and what was found of it.

    "rivals" lists the names. InputError where a run has another baseline, other prompts or texts, or a name that is
    one of this run's own.
    """
    made, names = copy.deepcopy(report), [method_of(other) for other in others]
    for name in names:
        own = name in report.get("models", {}) and name not in report.get("rivals", ())
        if own or names.count(name) > 1:
            raise InputError(f"two models would be called {name!r}: one run a method, and none of this run's own")
    made["rivals"] = sorted({*report.get("rivals", ()), *names})
    for name, other in zip(names, others, strict=True):
        _refuse(made, other, name)
        made["models"][name] = other["models"]["unlearned"]
        for key in ("relearn", "costs"):
            _copy(made.setdefault(key, {}), other.get(key), name)
        _copy(made.setdefault("rtt", {}).get("models"), (other.get("rtt") or {}).get("models"), name)
        for kind, found in (other.get("attacks") or {}).items():
            mine = made.setdefault("attacks", {}).get(kind)
            pair = (mine, found) if kind != "leaks" else ((mine or {}).get("models"), found.get("models"))
            _copy(*pair, name)
        if other.get("curve"):
            made.setdefault("curves", {})[name] = other["curve"]
    return made


def method_of(report: dict) -> str:
    """Return the name of the method that made a run's `unlearned`."""
    config = report.get("config") or {}
    return (config.get("unlearn") or {}).get("method") or config.get("name") or "rival"


def _copy(mine: Any, found: Any, name: str) -> None:
    if isinstance(mine, dict) and isinstance(found, dict) and "unlearned" in found:
        mine[name] = found["unlearned"]


def _refuse(report: dict, other: dict, name: str) -> None:
    if "unlearned" not in (other.get("models") or {}):
        raise InputError(f"the run of {name!r} has no unlearned model yet")
    ours, theirs = ((r.get("manifest") or {}).get("hashes") or {} for r in (report, other))
    if odd := [key for key in ASKED if ours.get(key) != theirs.get(key)]:
        raise InputError(f"the run of {name!r} has another {', '.join(odd)}: its figures are of other things")
    first, second = (r["models"].get("baseline", {}).get("familiarity") for r in (report, other))
    if first != second:
        raise InputError(f"the run of {name!r} has another baseline: start both runs from one (or from one seed)")

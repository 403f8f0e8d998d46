"""What the attacks found of one model, beside the twin and the baseline, and the rules that grade it.

Which figures count, and what they are called, the report says itself: `attack_about` has an entry for every attack.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxunlearn.estimates import bounds, figure_of, known, overlap, single, value_of
from jaxunlearn.report.schema import EACH, MODEL

ALMOST, IN_PART = 0.9, 0.5  # shares of the way from the baseline to the twin
FAMILIARITY = ("familiarity", "probability")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one attack found of the model (ours), the twin (ideal) and the baseline (before), as estimates or numbers.

    chance: the value that guessing gives; None where guessing gives nothing. attack: the title of the attack.
    enough: False where standing this attack alone says nothing of robustness.
    """

    title: str
    ours: Any
    ideal: Any
    before: Any
    chance: float | None = None
    attack: str = ""
    enough: bool = True

    @property
    def tint(self) -> str:
        """Return "good", "so-so" or "bad" by how far the model comes back from the twin to the baseline.

        "" where there is no twin, or the figure is of one item.
        """
        if self.ideal is None or single(self.ours):
            return ""
        low, high = known(self.ideal), known(self.before) if self.before is not None else 1.0
        back = (known(self.ours) - low) / (high - low) if high > low else 0.0
        if back <= 1 - ALMOST or overlap(self.ours, self.ideal):
            return "good"
        return "so-so" if back <= IN_PART else "bad"

    @property
    def passed(self) -> bool:
        """Return whether the model, or its interval, is within a tenth of the way from guessing to the baseline."""
        low, high = self.chance or 0.0, known(self.before) if self.before is not None else 1.0
        least = bounds(self.ours)[0]
        return (known(self.ours) if least is None else least) <= low + (1 - ALMOST) * max(0.0, high - low)


def outcomes(report: dict, name: str) -> list[Outcome]:
    """Return every attack that a model went through; of several roundings, prompts or layers, the strongest."""
    found = _relearned(report, name)
    for about in report.get("attack_about") or ():
        for graded in about.get("graded") or ():
            found += _strongest(report, about, graded, name)
    return found


def was_measured(report: dict, about: dict) -> bool:
    """Return whether an attack was measured: as its entry in `attack_about` says, or as the report holds findings."""
    said = about.get("measured")
    return bool(_figures(report, about.get("at") or (), "").get("")) if said is None else said


def _relearned(report: dict, name: str) -> list[Outcome]:
    ends = {n: end["familiarity"] for n, of in (report.get("relearn") or {}).items() if (end := last_relearned(of))}
    if name not in ends:
        return []
    before = figure_of(report, "baseline", FAMILIARITY)
    if single(figure_of(report, name, FAMILIARITY)):  # the curve is of that one prompt, too
        ends = {n: {"value": end, "low": None, "high": None, "n": 1} for n, end in ends.items()}
    title = "familiarity after relearning"
    return [Outcome(title=title, ours=ends[name], ideal=ends.get("twin"), before=ends.get("baseline", before))]


def last_relearned(rows: Any) -> dict | None:
    """Return the last row with a familiarity of a relearning curve, None where there is none."""
    of = [r for r in rows or () if isinstance(r, dict) and value_of(r.get("familiarity")) is not None and "step" in r]
    return max(of, key=lambda row: row["step"]) if of else None


def _strongest(report: dict, about: dict, graded: dict, name: str) -> list[Outcome]:
    """Return the outcome under the condition where a model has most, beside twin and baseline under that condition."""
    of = {n: _figures(report, graded.get("at") or (), n) for n in (name, "twin", "baseline")}
    some = {c: e for c, e in of[name].items() if value_of(e) is not None and c not in (graded.get("but") or ())}
    if not some:
        return []
    worst = max(some, key=lambda c: known(some[c]))
    title = graded.get("title") or about.get("title") or ""
    return [Outcome(
        title=f"{title} ({worst})" if worst else title,
        ours=some[worst], ideal=of["twin"].get(worst), before=of["baseline"].get(worst),
        chance=value_of(_figures(report, path, name).get("")) if (path := graded.get("chance")) else None,
        attack=about.get("title") or "", enough=graded.get("enough", True),
    )]  # fmt: skip


def _figures(node: Any, path: Sequence[str], name: str, condition: str = "") -> dict[str, Any]:
    """Return {condition: what stands at a path}, where a condition is the key that stands for EACH, "" without one."""
    if not path:
        return {condition: node}
    part, *rest = path
    if part == EACH:
        inner = enumerate(node, 1) if isinstance(node, list) else node.items() if isinstance(node, dict) else ()
        return {c: e for key, below in inner for c, e in _figures(below, rest, name, str(key)).items()}
    below = node.get(name if part == MODEL else part) if isinstance(node, dict) else None
    return {} if below is None else _figures(below, rest, name, condition)

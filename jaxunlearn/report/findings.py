"""What the attacks found of one model, beside the twin and the baseline, and the rules that grade it.

Which figures count, and what they are called, the report says itself: `attack_about` has an entry for every attack.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from jaxunlearn.estimates import bounds, figure_of, known, single, value_of
from jaxunlearn.report.paired import BAD, GOOD, SO_SO, UNSURE, Change, grade, of_rate, share
from jaxunlearn.report.schema import EACH, MODEL

ALMOST, IN_PART = 0.9, 0.5  # shares of the way from the baseline to the twin
BACK = 1 - ALMOST  # the margin: how far back from the twin to the baseline still counts as forgotten
LEARNED = 0.8  # accuracy on what an attack trained on, below which it is too weak to clear a model
FAMILIARITY = ("familiarity", "probability")
NEXT_WORD, RELEARNED = "familiarity, next word", "familiarity after relearning"  # measures in report["differences"]
PARTS = {"shares": "% of the text"}  # in the keys of an attack's findings that share their place with another's


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one attack found of the model (ours), the twin (ideal) and the baseline (before), as estimates or numbers.

    back: how far back from the twin to the baseline; for the twin itself from nothing (or guessing), as it is without
    a twin. floor: what the best of all tries gives by guessing. learned: accuracy on what the attack trained on.
    attack: its title. enough: False where standing this attack alone says nothing of robustness. twin: whether the
    report has a twin, which this attack may still not have been tried on.
    """

    title: str
    ours: Any
    ideal: Any
    before: Any
    back: Change | None = None
    floor: Any = None
    learned: float | None = None
    attack: str = ""
    enough: bool = True
    twin: bool = False

    @property
    def guessed(self) -> bool:
        """Return whether the model has no more than the best of as many guesses may have."""
        most = bounds(self.floor)[1]
        return most is not None and known(self.ours) <= most

    @property
    def weak(self) -> bool:
        """Return whether the attack did not even teach what it trained on."""
        return self.learned is not None and self.learned < LEARNED

    @property
    def tint(self) -> str:
        """Return how far the model comes back from the twin to the baseline: good, so-so, bad or unsure.

        "" where there is no twin. Of one item, below the ceiling of guessing, after an attack that is too weak, and
        where the attack was not tried on the twin, nothing is sure.
        """
        if self.ideal is None:
            return UNSURE if self.twin else ""
        return self._graded()

    @property
    def passed(self) -> bool | None:
        """Return whether the twin stays within a tenth of the way from nothing (or guessing) to the baseline.

        None where the interval decides neither.
        """
        return {GOOD: True, UNSURE: None}.get(self._graded(), False)

    @property
    def exposed(self) -> bool | None:
        """Return whether a model that hides came more than half of the way back; None: the interval decides neither."""
        if self.back is None or self.back.low is None or self.back.high is None or single(self.ours):
            return None
        if self.back.low > IN_PART:
            return None if self.guessed else True
        return False if self.back.high <= IN_PART else None

    def _graded(self) -> str:
        tint = UNSURE if single(self.ours) else grade(self.back, BACK, IN_PART)
        if (tint in (BAD, SO_SO) and self.guessed) or (tint == GOOD and self.weak):
            return UNSURE
        return tint


def outcomes(report: dict, name: str) -> list[Outcome]:
    """Return every attack that a model went through; of several steps, roundings, prompts or layers, the strongest.

    The strongest is taken for each model: what a choice of the best adds by chance, it adds to the twin as well.
    """
    found = _relearned(report, name)
    for about in report.get("attack_about") or ():
        for graded in about.get("graded") or ():
            found += _strongest(report, about, graded, name)
    twin = "twin" in (report.get("models") or {}) or any(a.ideal is not None for a in found)
    return [replace(a, twin=twin) for a in found]


def was_measured(report: dict, about: dict) -> bool:
    """Return whether an attack was measured: as its entry in `attack_about` says, or as the report holds findings."""
    if (said := about.get("measured")) is not None:
        return said
    found = _figures(report, about.get("at") or (), "").get("")
    beside = [part for attack, part in PARTS.items() if attack != about.get("name")]
    own = PARTS.get(about.get("name") or "", "")
    if isinstance(found, dict) and (about.get("at") or ()) == ["relearn"]:
        found = [key for key in found if own in key and not any(part in key for part in beside)]
    return bool(found)


def is_graded(report: dict, about: dict) -> bool:
    """Return whether the report has figures of any model by which the verdict grades this attack."""
    models = report.get("models") or {}
    return any(_strongest(report, about, graded, name) for graded in about.get("graded") or () for name in models)


def last_relearned(rows: Any) -> dict | None:
    """Return the last row with a familiarity of a relearning curve, None where there is none."""
    return max(_with_familiarity(rows), key=lambda row: row["step"], default=None)


def most_relearned(rows: Any) -> dict | None:
    """Return the row of most familiarity of a relearning curve, the first of equal ones; None where there is none."""
    return max(_with_familiarity(rows), key=lambda row: known(row["familiarity"]), default=None)


def _with_familiarity(rows: Any) -> list[dict]:
    return [r for r in rows or () if isinstance(r, dict) and value_of(r.get("familiarity")) is not None and "step" in r]


def _relearned(report: dict, name: str) -> list[Outcome]:
    most = {n: row for n, of in (report.get("relearn") or {}).items() if (row := most_relearned(of))}
    if name not in most:
        return []
    before = figure_of(report, "baseline", FAMILIARITY)
    asked = figure_of(report, name, FAMILIARITY) or before  # earlier versions asked all of the same prompts
    n = asked.get("n") if isinstance(asked, dict) else None
    of = {model: of_rate(row["familiarity"], row.get("n") or n) for model, row in most.items()}
    ours, ideal, before = of[name], of.get("twin"), of.get("baseline", before)
    return [Outcome(
        title=RELEARNED, ours=ours, ideal=ideal, before=before, attack="Relearning",
        back=share(report, RELEARNED, name, ours, _low(name, ideal, None), before),
    )]  # fmt: skip


def _strongest(report: dict, about: dict, graded: dict, name: str) -> list[Outcome]:
    """Return the outcome under the condition where a model has most, beside twin and baseline under theirs."""
    best = {}
    for model in (name, "twin", "baseline"):
        of = _figures(report, graded.get("at") or (), model)
        some = {c: e for c, e in of.items() if value_of(e) is not None and c not in (graded.get("but") or ())}
        if some:
            best[model] = max(some.items(), key=lambda found: known(found[1]))
    if name not in best:
        return []
    (worst, ours), (_, ideal), (_, before) = (best.get(model, ("", None)) for model in (name, "twin", "baseline"))
    title = graded.get("title") or about.get("title") or ""
    floor, learned, chance = (_at(report, graded.get(key), name) for key in ("floor", "learned", "chance"))
    floor = chance if value_of(floor) is None else floor
    return [Outcome(
        title=f"{title} ({worst})" if worst else title, ours=ours, ideal=ideal, before=before, floor=floor,
        back=share(report, title, name, ours, _low(name, ideal, floor), before), learned=value_of(learned),
        attack=about.get("title") or "", enough=graded.get("enough", True),
    )]  # fmt: skip


def _low(name: str, ideal: Any, floor: Any) -> Any:
    """Return where the way to the baseline begins: at the twin, and for the twin, or without one, at guessing."""
    return (value_of(floor) or 0.0) if name == "twin" or ideal is None else ideal


def _at(report: dict, path: Sequence[str] | None, name: str) -> Any:
    return _figures(report, path, name).get("") if path else None


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

"""What the attacks of a report found of one model, beside the twin and the baseline; rules for how bad that is."""

from dataclasses import dataclass
from typing import Any

from jaxunlearn.estimates import bounds, figure_of, known, meet, single, value_of

ALMOST, IN_PART = 0.9, 0.5  # shares of the way between twin and baseline
FAMILIARITY = ("familiarity", "probability")
PATHS = {
    "RTT accuracy": ("rtt", "accuracy"), "leak probes, named outright": ("leaks", "explicit"),
    "leak probes, probability": ("leaks", "probability"),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Attack:
    """What one attack found: figures of the model, the twin and the baseline; what guessing gives, where it does."""

    title: str
    ours: Any
    ideal: Any
    before: Any
    chance: float | None = None

    @property
    def tint(self) -> str:
        """Judge by how far back from the twin to the baseline the model comes; "" where that is not known."""
        if self.ideal is None or single(self.ours):
            return ""
        low, high = known(self.ideal), known(self.before) if self.before is not None else 1.0
        back = (known(self.ours) - low) / (high - low) if high > low else 0.0
        if back <= 1 - ALMOST or meet(self.ours, self.ideal):
            return "good"
        return "so-so" if back <= IN_PART else "bad"

    @property
    def passed(self) -> bool:
        """Tell whether the model looks like one that knows nothing: near nothing (or guessing) beside the baseline."""
        low, high = self.chance or 0.0, known(self.before) if self.before is not None else 1.0
        least = bounds(self.ours)[0]
        return (known(self.ours) if least is None else least) <= low + (1 - ALMOST) * max(0.0, high - low)


def attacks(report: dict, name: str) -> list[Attack]:
    """Return every attack that a model went through, of several roundings, prompts or layers the strongest."""
    found, made = _relearned(report, name), report.get("attacks") or {}
    for title, kind in (("familiarity after rounding", "quantise"), ("familiarity, other prompts", "context")):
        found += _strongest(title, {n: _conditions(of) for n, of in (made.get(kind) or {}).items()}, name)
    latent = made.get("latent") or {}
    layers = {n: dict(enumerate(of.get("layers") or (), 1)) for n, of in latent.items()}
    found += _strongest("latent probe, layer", layers, name, value_of((latent.get(name) or {}).get("chance")))
    chance = value_of((report.get("rtt") or {}).get("chance"))
    for title, path in PATHS.items():
        ours, ideal, before = (figure_of(report, n, path) for n in (name, "twin", "baseline"))
        if ours is not None:
            of = chance if path[0] == "rtt" else None
            found.append(Attack(title=title, ours=ours, ideal=ideal, before=before, chance=of))
    return found


def _relearned(report: dict, name: str) -> list[Attack]:
    ends = {n: end for n, rows in (report.get("relearn") or {}).items() if (end := _last(rows)) is not None}
    if name not in ends:
        return []
    before = figure_of(report, "baseline", FAMILIARITY)
    if single(figure_of(report, name, FAMILIARITY)):  # the curve follows the same one prompt
        ends = {n: {"value": end, "low": None, "high": None, "n": 1} for n, end in ends.items()}
    title = "familiarity after relearning"
    return [Attack(title=title, ours=ends[name], ideal=ends.get("twin"), before=ends.get("baseline", before))]


def _last(rows: Any) -> Any:
    of = [r for r in rows or () if isinstance(r, dict) and value_of(r.get("familiarity")) is not None and "step" in r]
    return max(of, key=lambda row: row["step"])["familiarity"] if of else None


def _conditions(of: dict) -> dict[str, Any]:
    """Return {condition: familiarity} of a model's roundings or prompts; the prompts as they stand are no attack."""
    return {n: e.get("familiarity", e) for n, e in of.items() if isinstance(e, dict) and n != "alone"}


def _strongest(title: str, found: dict[str, dict], name: str, chance: float | None = None) -> list[Attack]:
    """Return the attack under whose condition a model gave most away, beside the others under the same condition."""
    some = {c: e for c, e in found.get(name, {}).items() if value_of(e) is not None}
    if not some:
        return []
    worst = max(some, key=lambda c: known(some[c]))
    ideal, before = (found.get(n, {}).get(worst) for n in ("twin", "baseline"))
    return [Attack(title=f"{title} ({worst})", ours=some[worst], ideal=ideal, before=before, chance=chance)]

"""The scale of each figure, one for the sentence, the table and the plot: nats for perplexities, odds for shares.

A perplexity is exp of a mean loss, so perplexities are compared by the difference of their logarithms, in nats. A share
(a probability, an accuracy, a rate) is compared by its odds, share : rest, whose logarithm a plot shows: from .99 to
.999 is as far as from .01 to .001. Everything else, losses and entropies in nats included, is compared as it is.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from jaxunlearn.estimates import bounds

NATS, ODDS, PLAIN = "nats", "odds", "plain"
UNKNOWN = 0.01  # a share up to this is no knowledge: one word in a hundred
EDGE = 1e-4  # of a share: an axis of odds has no place for 0 and 1, and shows what lies beyond at its edge
PERCENT = math.log(1.25)  # nats: a smaller change of a perplexity is said in percent, too
SHARES = (
    "familiarity", "probability", "inside", "unknown", "accuracy", "general", "benchmarks", "benchmarks_normed",
    "leaks", "explicit", "near", "neutral", "completions", "membership", "memorisation", "exact", "extraction",
    "writing", "track",
)  # fmt: skip
COMPLETION = 5.0  # what completion familiarity is at most, so that it is a share of this


@dataclass(frozen=True, kw_only=True)
class Scale:
    """One way of comparing figures. most: the greatest value of a share, 5 for graded completions."""

    name: str
    most: float = 1.0

    @property
    def axis(self) -> str:
        """Return matplotlib's name of the axis on which equal changes are equally long."""
        return {NATS: "log", ODDS: "logit"}.get(self.name, "linear")

    @property
    def unknown(self) -> float | None:
        """Return the value up to which a figure is no knowledge of the target, None where a value alone tells none."""
        return UNKNOWN * self.most if self.name == ODDS else None

    def at(self, value: float) -> float:
        """Return the place of a value on the scale: ln value, ln odds, or the value itself.

        A share outside EDGE to 1 - EDGE has the place of that edge, as on a plot (`clipped`).
        """
        if self.name == NATS:
            return math.log(max(value, EDGE))
        if self.name == ODDS:
            share = self.shown(value) / self.most
            return math.log(share / (1 - share))
        return value

    def shown(self, value: float) -> float:
        """Return a value as an axis can show it: a share no nearer to 0 and to `most` than EDGE."""
        if self.name != ODDS:
            return value
        return self.most * min(max(value / self.most, EDGE), 1 - EDGE)

    def clipped(self, values: Iterable[float]) -> str:
        """Return the sentence that a plot of these values needs: what it draws at its edge; "" where nothing is."""
        values = list(values)
        low, high = EDGE * self.most, (1 - EDGE) * self.most
        under = self.name == ODDS and any(value < low for value in values)
        over = self.name == ODDS and any(value > high for value in values)
        said = [f"what lies below {low:g} is drawn at {low:g}"] * under
        said += [f"what lies above {high:g} is drawn at {high:g}"] * over
        return f"The axis is clipped: {', '.join(said)}." if said else ""

    def ticks(self, low: float, high: float) -> list[float]:
        """Return the values to mark on an axis of odds from `low` to `high`; [] for other scales."""
        if self.name != ODDS:
            return []
        marks = (0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999)
        return [mark * self.most for mark in marks if low <= mark * self.most <= high]

    def said(self, value: float) -> str:
        """Return a value on its scale for people: "1.96 nats", "28 to 1", "1 to 440"; "" on a plain scale.

        Beyond the edge it is "under 1 to 9,999".
        """
        if self.name == NATS:
            return f"{self.at(value):.2f} nats"
        if self.name != ODDS:
            return ""
        odds, share = math.exp(abs(self.at(value))), value / self.most
        beyond = "under " if share < EDGE else "over " if share > 1 - EDGE else ""
        return f"{beyond}{_short(odds)} to 1" if share >= 0.5 else f"{beyond}1 to {_short(odds)}"

    def change(self, before: float, after: float) -> str:
        """Return how far a value is from another on their scale: "+0.17 nats, +19%", "odds 430 times lower".

        "" on a plain scale. Where a share is beyond the edge the factor is a bound: "more than 430 times".
        """
        step = self.at(after) - self.at(before)
        if self.name == NATS:
            percent = f", {_signed(100 * math.expm1(step), 0)}%" if abs(step) < PERCENT else ""
            return f"{_signed(step, 2)} nats{percent}"
        if self.name != ODDS:
            return ""
        if abs(step) < 1e-9:
            return "the same odds"
        beyond = any(self.shown(value) != value for value in (before, after))
        factor = f"{'more than ' * beyond}{_short(math.exp(abs(step)))} times"
        return f"odds {factor} {'lower' if step < 0 else 'higher'}"


def scale_of(*path: str) -> Scale:
    """Return the scale of a figure by its path in report.json ("perplexity", "retain"), or its key in a curve.

    The last name of the path that is known decides: (scheme, "perplexity") of an attack is a perplexity. What is not
    known is plain.
    """
    for name in reversed(path):
        if name.startswith("perplexity"):
            return Scale(name=NATS)
        if name == "completion":
            return Scale(name=ODDS, most=COMPLETION)
        if name in SHARES or (name == "rtt" and path[-1] in ("before", "trained")):
            return Scale(name=ODDS)
        if name in ("entropy", "temperature", "muse", "tofu", "tasks", "grades"):
            break
    return Scale(name=PLAIN)


def no_knowledge(figure: object, *path: str) -> bool:
    """Return whether a figure's interval holds what a model that knows nothing has (`Scale.unknown`).

    The figure itself counts where it has no interval. False for figures of which no value says so by itself.
    """
    most, low = scale_of(*path).unknown, bounds(figure)[0]
    value = figure.get("value") if isinstance(figure, dict) else figure
    low = value if low is None else low
    return most is not None and isinstance(low, int | float) and low <= most


def _short(value: float) -> str:
    """Write a number with three digits at most, thousands with commas: 2.7, 3, 28, 1,200."""
    if abs(value) >= 1000:
        return f"{round(value, 1 - math.floor(math.log10(abs(value)))):,.0f}"
    return f"{value:.2g}" if abs(value) < 10 else f"{value:.0f}"


def _signed(value: float, places: int) -> str:
    return f"{value:+.{places}f}".replace("-", "\u2212")

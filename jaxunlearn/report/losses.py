"""What a model lost beside the target: general accuracy, and perplexity on retain text at a fitted temperature."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from jaxunlearn.estimates import figure_of, single
from jaxunlearn.report import paired
from jaxunlearn.report.paired import GOOD, UNSURE, Change, grade

# Losses that count as none, and those above which a loss is more than a price: of accuracy, and of perplexity's ratio.
POINTS, POINTS_PRICE = 0.02, 0.05
SHARE, SHARE_PRICE = 0.02, 0.1
ACCURACY = "general accuracy, right answers"  # names of measures in report["differences"]
PERPLEXITY = "retain text, perplexity, temperature fitted"


@dataclass(frozen=True, kw_only=True)
class Loss:
    """A loss with its interval and grade. what: "accuracy" or "perplexity"; change None: of one item, no interval."""

    what: str
    change: Change | None
    tint: str

    @property
    def margin_said(self) -> str:
        """Return the margin for people: "margin: 2 points"."""
        return f"margin: {amount(POINTS)} points" if self.what == "accuracy" else f"{amount(SHARE)}%"

    @property
    def said(self) -> str:
        """Return the loss in words, always with its size and interval: "costs 4% perplexity (3 to 6)".

        An interval that holds 0 shows no change, and is within the margin only where all of it is.
        """
        unit, change = " points" if self.what == "accuracy" else "%", self.change
        if change is None or change.low is None or change.high is None:
            return f"{self.what} has no interval{of_items(change)}"
        ends = f"{amount(change.low)} to {amount(change.high)}"
        count = of_items(change) if self.tint == UNSURE else ""
        margin = f" within {amount(POINTS if self.what == 'accuracy' else SHARE)}{unit}" if self.tint == GOOD else ""
        if change.low <= 0 <= change.high:
            kept = margin or " not shown to change"
            return f"{self.what}{kept} (loss {amount(change.value)}{unit}, {ends}{count})"
        if change.high < 0:
            return f"{self.what} better by {amount(-change.value)}{unit} ({_turned_ends(change)}{count})"
        size = f"{amount(change.value)}{unit}{' of' * (self.what == 'accuracy')} {self.what}"
        return f"costs {size} ({ends}{count}){',' * bool(margin)}{margin}"


def losses(report: dict, name: str) -> list[Loss]:
    """Return the losses of a model against the baseline, as far as both were measured."""
    found, after, before = [], *(_figures(report, n) for n in (name, "baseline"))
    both = {what for what in after if after[what] is not None and before[what] is not None}
    if "accuracy" in both:
        change = paired.difference(report, ACCURACY, name, after["accuracy"], before["accuracy"])
        loss = _loss(after["accuracy"], change, lambda x: -x)
        found.append(Loss(what="accuracy", change=loss, tint=grade(loss, POINTS, POINTS_PRICE)))
    if "perplexity" in both:
        change = paired.ratio(report, PERPLEXITY, name, after["perplexity"], before["perplexity"])
        loss = _loss(after["perplexity"], change, lambda x: x - 1)
        found.append(Loss(what="perplexity", change=loss, tint=grade(loss, SHARE, SHARE_PRICE)))
    return found


def amount(value: float) -> str:
    """Write a loss in percent or points: 4, 0.5, 12, with one decimal below 10."""
    text = f"{100 * value:.1f}" if abs(100 * value) < 9.95 else f"{100 * value:.0f}"
    text = text.removesuffix(".0")
    return "0" if text == "-0" else text.replace("-", "\u2212")


def of_items(change: Change | None) -> str:
    """Return ", n = 60": the number of items behind what is not sure."""
    return f", n\u00a0=\u00a0{change.n}" if change is not None and change.n else ""


def _figures(report: dict, name: str) -> dict[str, Any]:
    paths = {"accuracy": ("accuracy", "general"), "perplexity": ("perplexity", "retain_fitted")}
    return {what: figure_of(report, name, path) for what, path in paths.items()}


def _loss(ours: Any, change: Change | None, to: Callable[[float], float]) -> Change | None:
    """Return a change as a loss; None where one item was measured."""
    if single(ours) or change is None:
        return None
    if change.low is None or change.high is None:
        return replace(change, value=to(change.value))
    low, high = sorted((to(change.low), to(change.high)))
    return replace(change, value=to(change.value), low=low, high=high)


def _turned_ends(change: Change) -> str:
    assert change.low is not None and change.high is not None, "asked for only where there is an interval"
    return f"{amount(-change.high)} to {amount(-change.low)}"

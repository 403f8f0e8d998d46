"""The sentence that the terminal and the page begin with."""

from typing import Any

from jaxunlearn.estimates import figure_of, meet, number, single, value_of
from jaxunlearn.report.grids import COLUMNS, MAIN, ordered


def headline(report: dict) -> str:
    """Say in one or two sentences what was measured, rises and overlaps included."""
    models = ordered(report.get("models"), MAIN)
    before, after, twin = (
        {path: figure_of(report, name, path) if name in models else None for path in COLUMNS} for name in MAIN
    )
    familiarity, accuracy = ("familiarity", "probability"), ("accuracy", "general")
    perplexity = ("perplexity", "retain")
    said = [_familiarity_said(before[familiarity], after[familiarity], twin[familiarity])]
    kept = [_accuracy_said(before[accuracy], after[accuracy]), _perplexity_said(before[perplexity], after[perplexity])]
    said += [_sentence("; ".join(filter(None, kept))), _relearning_said(report)]
    return " ".join(filter(None, said)) or "Nothing has been measured yet."


# ---- the headline's parts --------------------------------------------------------------------------------------------


def _familiarity_said(before: Any, after: Any, twin: Any) -> str:
    old, new, ideal = value_of(before), value_of(after), value_of(twin)
    if old is None or new is None:
        return ""
    if old > new > 0:
        verb = f"fell {number(old / new) if old < 10 * new else f'{old / new:.0f}'}-fold,"
    else:
        verb = "fell" if new < old else "rose" if new > old else "stayed,"
    doubt = " The two intervals overlap: no change is shown." if meet(before, after) else ""
    doubt = " That is one prompt, which has no interval: nothing is shown." if single(after) else doubt
    aside = "" if ideal is None else f" (a twin that never saw it: {number(ideal)})"
    return f"Familiarity with the target {verb} from {number(old)} to {number(new)}{aside}.{doubt}"


def _accuracy_said(before: Any, after: Any) -> str:
    old, new = value_of(before), value_of(after)
    if old is None or new is None:
        return ""
    return f"general accuracy went from {number(old)} to {number(new)} ({_signed(100 * (new - old), 1)} points)"


def _perplexity_said(before: Any, after: Any) -> str:
    old, new = value_of(before), value_of(after)
    if not old or new is None:
        return ""
    return f"perplexity on retain text from {number(old)} to {number(new)} ({_signed(100 * (new / old - 1), 0)}%)"


def _relearning_said(report: dict) -> str:
    ends = {}
    for name, rows in (report.get("relearn") or {}).items():
        known = [row for row in rows or () if value_of(row.get("familiarity")) is not None and "step" in row]
        if known:
            ends[name] = max(known, key=lambda row: row["step"])
    if "unlearned" not in ends:
        return ""
    aside = f" (the twin to {number(ends['twin']['familiarity'])})" if "twin" in ends else ""
    end = ends["unlearned"]
    return f"{end['step']:g} steps of relearning bring familiarity to {number(end['familiarity'])}{aside}."


def _signed(value: float, places: int) -> str:
    return f"{value:+.{places}f}".replace("-", "\u2212")


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""

"""What a run ends with in the terminal: a sentence, with which the page begins, and a table of the key figures."""

from typing import Any

from jaxunlearn.estimates import bound, bounds, figure_of, number, plain, single, value_of
from jaxunlearn.report.findings import NEXT_WORD, last_relearned
from jaxunlearn.report.paired import Change, difference
from jaxunlearn.report.tables import COLUMNS, MAIN, ordered

TERMINAL: dict[tuple[str, ...], str] = {
    ("familiarity", "probability"): "next word",
    ("familiarity", "inside"): "in names",
    ("familiarity", "completion"): "completion",
    ("accuracy", "general"): "accuracy",
    ("perplexity", "retain"): "ppl retain",
    ("perplexity", "forget"): "ppl target",
    ("leaks", "explicit"): "leaks",
}


def headline(report: dict) -> str:
    """Return one to three sentences on familiarity, on what was kept and on relearning.

    A rise is called a rise, and a change whose interval holds 0 is no change.
    """
    models = ordered(report.get("models"), MAIN)
    before, after, twin = (
        {path: figure_of(report, name, path) if name in models else None for path in COLUMNS} for name in MAIN
    )
    familiarity, accuracy = ("familiarity", "probability"), ("accuracy", "general")
    perplexity = ("perplexity", "retain")
    change = difference(report, NEXT_WORD, "unlearned", after[familiarity], before[familiarity])
    said = [_familiarity_said(before[familiarity], after[familiarity], twin[familiarity], change)]
    kept = [_accuracy_said(before[accuracy], after[accuracy]), _perplexity_said(before[perplexity], after[perplexity])]
    said += [_sentence("; ".join(filter(None, kept))), _relearning_said(report)]
    return " ".join(filter(None, said)) or "Nothing has been measured yet."


def table(report: dict) -> str:
    """Return the key figures as plain text: a row per model, a column per measure, each with its 95% half-width.

    Raises InputError where a number is not finite.
    """
    report = plain(report)
    names = ordered(report.get("models"))
    used = [path for path in TERMINAL if any(figure_of(report, name, path) is not None for name in names)]
    if not used:
        return "No measurements yet."
    rows = [["model", *(TERMINAL[path] for path in used)]]
    rows += [[name, *(_half_width(figure_of(report, name, path)) for path in used)] for name in names]
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    rows.insert(1, ["-" * width for width in widths])
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "± is half of the 95% interval; a dash: one item has none."])


# ---- the headline's parts --------------------------------------------------------------------------------------------


def _familiarity_said(before: Any, after: Any, twin: Any, change: Change | None) -> str:
    old, new, ideal = value_of(before), value_of(after), value_of(twin)
    if old is None or new is None:
        return ""
    if old > new > 0:
        verb = f"fell {number(old / new) if old < 10 * new else f'{old / new:.0f}'}-fold,"
    else:
        verb = "fell" if new < old else "rose" if new > old else "stayed,"
    none = change is not None and change.low is not None and change.high is not None and change.low <= 0 <= change.high
    doubt = " The interval of the difference holds 0: no change is shown." if none else ""
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
    ends = {name: end for name, rows in (report.get("relearn") or {}).items() if (end := last_relearned(rows))}
    if "unlearned" not in ends:
        return ""
    aside = f" (the twin to {number(ends['twin']['familiarity'])})" if "twin" in ends else ""
    end = ends["unlearned"]
    return f"{end['step']:g} steps of relearning bring familiarity to {number(end['familiarity'])}{aside}."


def _signed(value: float, places: int) -> str:
    return f"{value:+.{places}f}".replace("-", "\u2212")


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _half_width(estimate: Any) -> str:
    value = value_of(estimate)
    if value is None:
        return "–"
    low, high = bounds(estimate)
    half = "" if low is None or high is None else f" ±{bound((high - low) / 2, value)}"
    return number(value) + (" ±–" if single(estimate) else half)

"""What a run ends with in the terminal: a sentence, with which the page begins, and a table of the key figures."""

from typing import Any

from jaxunlearn.estimates import bound, bounds, figure_of, interval, known, number, plain, single, value_of
from jaxunlearn.report.findings import FAMILIARITY, NEXT_WORD, most_relearned
from jaxunlearn.report.forgotten import no_baseline, nothing, ways, worst
from jaxunlearn.report.losses import losses
from jaxunlearn.report.paired import GOOD, Change, difference
from jaxunlearn.report.scales import NATS, no_knowledge, scale_of
from jaxunlearn.report.tables import MAIN, ordered

TERMINAL: dict[tuple[str, ...], str] = {
    ("familiarity", "probability"): "next word",
    ("familiarity", "inside"): "in names",
    ("familiarity", "completion"): "completion",
    ("accuracy", "general"): "accuracy",
    ("perplexity", "retain"): "ppl retain",
    ("perplexity", "forget"): "ppl target",
    ("leaks", "explicit"): "leaks",
}
NOTHING_YET = "Nothing has been measured yet."


def headline(report: dict) -> str:
    """Return a few sentences: familiarity, the measure that decides, what was kept, and relearning.

    Each change stands with its size and interval. A rise is called a rise, a change whose interval holds 0 is no
    change, and of a figure that shows no knowledge no factor is given.
    """
    models = ordered(report.get("models"), MAIN)
    before, after, twin = (figure_of(report, name, FAMILIARITY) if name in models else None for name in MAIN)
    change = difference(report, NEXT_WORD, "unlearned", after, before)
    forgot = not (no_baseline(report) or nothing(report, "unlearned"))
    said = [
        _familiarity_said(before, after, twin, change),
        _worst_said(report) if forgot else "",
        _sentence(", ".join(loss.said for loss in losses(report, "unlearned"))),
        _relearning_said(report) if forgot else "",
    ]
    return " ".join(text for text in said if text) or NOTHING_YET


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
    if no_knowledge(before, *FAMILIARITY) or (ideal is not None and old <= ideal):
        beside = "" if ideal is None else f", a twin that never saw it {number(ideal)}"
        return (
            f"The baseline shows no familiarity with the target: {_with_interval(before)}{beside}. "
            f"Nothing can be shown to be forgotten by it; the unlearned model has {_with_interval(after)}."
        )
    none = change is not None and change.low is not None and change.high is not None and change.low <= 0 <= change.high
    doubt = " The interval of the difference holds 0: no change is shown." if none else ""
    doubt = " That is one prompt, which has no interval: nothing is shown." if single(after) else doubt
    aside = "" if ideal is None else f"; a twin that never saw it: {number(ideal)}"
    verb = "fell" if new < old else "rose" if new > old else "stayed,"
    scaled = ""
    if new < old and no_knowledge(after, *FAMILIARITY):
        scaled = f", which is no sign of knowledge (under {scale_of(*FAMILIARITY).unknown:.0%})"
    elif not doubt:
        scaled = f", {scale_of(*FAMILIARITY).change(old, new)}"
    both = f"from {_with_interval(before)} to {_with_interval(after)}"
    return f"Familiarity with the target {verb} {both}{scaled}{aside}.{doubt}"


def _with_interval(estimate: Any) -> str:
    """Write a figure and its interval: "0.027 (0.020 to 0.035)"."""
    value, within = value_of(estimate), "" if single(estimate) else interval(estimate)
    assert value is not None, "the caller checks first that there is a value"
    return f"{number(value)} ({within})" if within else number(value)


def _worst_said(report: dict) -> str:
    """Return a sentence on the measure of forgetting that decides, where it is not the next word."""
    way = worst(ways(report, "unlearned"))
    if way is None or way.path == FAMILIARITY or way.ideal is None or way.tint == GOOD:
        return ""
    left, scale = way.left, scale_of(*way.path)
    ends = "" if left is None or left.low is None or left.high is None else (
        f" ({100 * (1 - left.high):.0f} to {100 * (1 - left.low):.0f})".replace("-", "\u2212")
    )  # fmt: skip
    unit = f" in {scale.name}" if scale.name == NATS else ""  # the way is on that scale, the figures are as measured
    far = "" if left is None else f"{100 * (1 - left.value):.0f}% of the way to the twin{unit}{ends}, "
    figures = f"{number(known(way.ours))} where the baseline has {number(known(way.before))}"
    return f"The worst measure is {way.title}: {far}{figures} and the twin {number(known(way.ideal))}."


def _relearning_said(report: dict) -> str:
    found = {name: most for name, rows in (report.get("relearn") or {}).items() if (most := most_relearned(rows))}
    if "unlearned" not in found:
        return ""
    aside = f" (the twin to {number(found['twin']['familiarity'])})" if "twin" in found else ""
    most = found["unlearned"]
    value = number(most["familiarity"])
    if not most["step"]:
        return f"Relearning brings familiarity to no more than {value}, where it began{aside}."
    return f"{most['step']:g} steps of relearning bring familiarity to {value}{aside}."


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _half_width(estimate: Any) -> str:
    value = value_of(estimate)
    if value is None:
        return "–"
    low, high = bounds(estimate)
    half = "" if low is None or high is None else f" ±{bound((high - low) / 2, value)}"
    return number(value) + (" ±–" if single(estimate) else half)

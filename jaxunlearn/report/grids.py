"""The columns of the report, and one row a model."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxunlearn.errors import InputError
from jaxunlearn.estimates import bounds, decimals, figure_of, number, single, value_of

SHOWN_FIRST = 10
MAIN = ("baseline", "unlearned", "twin")
CONTROLS = (
    "reinforced", "dictionary alone (alpha 0)", "reinforcement alone", "own argmax labels",
    "dictionary built offline", "retain text alone",
)  # fmt: skip
STAGES = (
    "pretrain",
    "baseline",
    "twin",
    "anchors",
    "reinforce",
    "label",
    "unlearn",
    "controls",
    "repair",
    "evaluate",
    "attack",
)
COLUMNS: dict[tuple[str, ...], str] = {
    ("familiarity", "probability"): "Familiarity, next word",
    ("familiarity", "inside"): "Familiarity inside names",
    ("familiarity", "completion"): "Familiarity, completion (0 to 5)",
    ("accuracy", "general"): "General accuracy",
    ("perplexity", "retain"): "Perplexity, retain text",
    ("perplexity", "retain_fitted"): "Perplexity, retain, temperature fitted",
    ("perplexity", "forget"): "Perplexity, target text",
}
FURTHER: dict[tuple[str, ...], str] = {
    ("perplexity", "forget_fitted"): "Perplexity, target, temperature fitted",
    ("temperature",): "Fitted temperature",
    ("entropy", "retain"): "Entropy on retain text, nats",
    ("entropy", "forget"): "Entropy on target text, nats",
}
LEAKS: dict[tuple[str, ...], str] = {
    ("leaks", "probability"): "Target's words after leak probes, probability",
    ("leaks", "explicit"): "Completions that name the target",
    ("leaks", "neutral"): "Completions of neutral prompts that name it",
}
TERMINAL: dict[tuple[str, ...], str] = {
    ("familiarity", "probability"): "next word",
    ("familiarity", "inside"): "in names",
    ("familiarity", "completion"): "completion",
    ("accuracy", "general"): "accuracy",
    ("perplexity", "retain"): "ppl retain",
    ("perplexity", "forget"): "ppl target",
    ("leaks", "explicit"): "leaks",
}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One measurement in a table: its text, its interval, its number of items."""

    text: str
    interval: str = ""
    n: int | None = None


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table of the page: column heads, then rows of (name, cells); `controls` is where the controls begin."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    controls: int | None = None


def table(report: dict) -> str:
    """Return the key figures as plain text: a row a model, a column a measure, each with its 95% half-width."""
    report = plain(report)
    names = ordered(report.get("models"), MAIN + CONTROLS)
    used = [path for path in TERMINAL if any(figure_of(report, name, path) is not None for name in names)]
    if not used:
        return "No measurements yet."
    rows = [["model", *(TERMINAL[path] for path in used)]]
    rows += [[name, *(_half_width(figure_of(report, name, path)) for path in used)] for name in names]
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    rows.insert(1, ["-" * width for width in widths])
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "± is half of the 95% interval; a dash: one item has none."])


def models_grid(report: dict, columns: dict[tuple[str, ...], str], caption: str) -> Grid | None:
    names = ordered(report.get("models"), MAIN + CONTROLS)
    used = [path for path in columns if any(figure_of(report, name, path) is not None for name in names)]
    measured = [name for name in names if any(figure_of(report, name, path) is not None for path in used)]
    if not used:
        return None
    rows = tuple((name, tuple(cell_of(figure_of(report, name, path)) for path in used)) for name in measured)
    controls = sum(name in MAIN for name in measured)
    head = tuple(columns[path] + _items(report, names, path) for path in used)
    return Grid(caption=caption, head=head, rows=rows, controls=controls if 0 < controls < len(measured) else None)


def _items(report: dict, names: Sequence[str], path: tuple[str, ...]) -> str:
    """Say how many items stand behind a column."""
    counts = sorted({n for name in names if (n := cell_of(figure_of(report, name, path)).n) is not None})
    if not counts:
        return ""
    counted = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f" (n\u00a0=\u00a0{counted})"


def unforeseen(report: dict) -> dict[tuple[str, ...], str]:
    """List measurements that this page has no column for, so that none is lost."""
    known, found = {*COLUMNS, *FURTHER, *LEAKS}, {}
    for measures in (report.get("models") or {}).values():
        for group, inner in (measures or {}).items():
            named = inner.items() if isinstance(inner, dict) and group not in ("track", "grades") else ()
            found |= {(group, key): f"{group}, {key}" for key, entry in named if value_of(entry) is not None}
    return {path: label for path, label in sorted(found.items()) if path not in known}


def grades_grid(report: dict) -> Grid | None:
    models = report.get("models") or {}
    graded = {name: (models[name] or {}).get("grades") for name in ordered(models, MAIN + CONTROLS)}
    counts = {name: [grades.get(score, 0) for score in "3210"] for name, grades in graded.items() if grades}
    rows = [(name, tuple(Cell(text=str(count)) for count in found)) for name, found in counts.items()]
    head = ("3 explicit", "2 typical", "1 repeats the prompt", "0 nothing")
    return Grid(caption="Completions by grade", head=head, rows=tuple(rows)) if rows else None


# ---- reading the report ----------------------------------------------------------------------------------------------


def cell_of(estimate: Any) -> Cell:
    value = value_of(estimate)
    if value is None:
        return Cell(text="–")
    low, high = bounds(estimate)
    interval = "" if low is None or high is None else f"{_like(low, value)} to {_like(high, value)}"
    interval = "–" if single(estimate) else interval
    return Cell(text=number(value), interval=interval, n=estimate.get("n") if isinstance(estimate, dict) else None)


def _half_width(estimate: Any) -> str:
    value = value_of(estimate)
    if value is None:
        return "–"
    low, high = bounds(estimate)
    half = "" if low is None or high is None else f" ±{_like((high - low) / 2, value)}"
    return number(value) + (" ±–" if single(estimate) else half)


def _like(bound: float, value: float) -> str:
    """Write a bound with the decimals of its value, or with its own where that would show 0 for something."""
    text = f"{bound:.{decimals(value)}f}"
    return number(bound) if value == 0 or (bound and not float(text)) else text


def ordered(names: Any, first: tuple[str, ...]) -> list[str]:
    """Put the known names first in their order, then the others as they come (report.json sorts its keys)."""
    names = list(names or ())
    return [name for name in first if name in names] + [name for name in names if name not in first]


def plain(tree: Any, where: str = "report") -> Any:
    """Turn estimates and numpy values into plain JSON values; InputError names where a number is not finite."""
    if hasattr(tree, "to_json"):
        tree = tree.to_json()
    if isinstance(tree, dict):
        return {str(key): plain(inner, f"{where}.{key}") for key, inner in tree.items()}
    if isinstance(tree, list | tuple):
        return [plain(inner, f"{where}[{n}]") for n, inner in enumerate(tree)]
    if hasattr(tree, "tolist"):
        return plain(tree.tolist(), where)
    if isinstance(tree, float) and not math.isfinite(tree):
        raise InputError(f"{where} is {tree}; a report holds finite numbers. Leave out what was not measured.")
    return str(tree) if isinstance(tree, Path) else tree

"""Tables of the page: what was measured of each model, and whatever else a report holds under any key.

A Grid has a row per model and cells with intervals. A Table has rows of text: differences, examples, pairs.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jaxunlearn.estimates import bound, figure_of, interval, known, number, value_of
from jaxunlearn.report.forgotten import MEASURES
from jaxunlearn.report.losses import ACCURACY
from jaxunlearn.report.scales import ODDS, no_knowledge, scale_of
from jaxunlearn.report.titles import title_of

MAIN = ("baseline", "unlearned", "twin")
CONTROLS = (
    "reinforced", "dictionary alone (alpha 0)", "reinforcement alone", "own argmax labels",
    "dictionary built offline", "retain text alone",
)  # fmt: skip
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
    ("leaks", "near"): "Completions that nearly name it",
    ("leaks", "completions"): "Graded completions that name it",
    ("leaks", "neutral"): "Completions of neutral prompts that name it",
}
# the figure behind a measure of report["differences"], where its changes are told by their odds
PATHS = {measure: path for _, path, measure in MEASURES if scale_of(*path).name == ODDS}
PATHS |= {ACCURACY: ("accuracy", "general")}
MOST_ROWS = 40
MOST_COLUMNS = 6  # of a grid whose columns follow from the report, so that it fits an A4 page


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One measurement: its text, its interval ("" where it has none), its number of items."""

    text: str
    interval: str = ""
    n: int | None = None


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table of measurements: column heads, and rows of (model, cells).

    `controls` is the number of the first row that is a control, None where there is none. `corner` is the head of the
    first column.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    controls: int | None = None
    corner: str = "Model"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of texts: column heads, the first for the rows' names; rows; how many rows were left out."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: int = 0


def ordered(names: Iterable[str] | None, first: tuple[str, ...] = MAIN + CONTROLS) -> list[str]:
    """Return the names with the known ones in front in their order; the others follow as they come."""
    names = list(names or ())
    return [name for name in first if name in names] + [name for name in names if name not in first]


# ---- measurements by model -------------------------------------------------------------------------------------------


def models_grid(report: dict, columns: dict[tuple[str, ...], str], caption: str) -> Grid | None:
    """Return the columns that were measured of any model, {path: head}; None where none was."""
    names = ordered(report.get("models"))
    used = [path for path in columns if any(figure_of(report, name, path) is not None for name in names)]
    measured = [name for name in names if any(figure_of(report, name, path) is not None for path in used)]
    if not used:
        return None
    rows = tuple((name, tuple(cell_of(figure_of(report, name, path)) for path in used)) for name in measured)
    controls = sum(name in MAIN for name in measured)
    head = tuple(columns[path] + _items(report, names, path) for path in used)
    return Grid(caption=caption, head=head, rows=rows, controls=controls if 0 < controls < len(measured) else None)


def further_grids(report: dict) -> list[Grid]:
    """Return grids of all measurements that stand in no other grid, a group of figures at a time."""
    columns = FURTHER | unforeseen(report)
    columns = {path: columns[path] for path in sorted(columns, key=lambda path: path[0] not in ("temperature", *HEADS))}
    grid = models_grid(report, columns, "Further measurements a model")
    return narrow(grid) if grid else []


HEADS = tuple(path[0] for path in FURTHER)


def narrow(grid: Grid) -> list[Grid]:
    """Return a grid in parts of about equally many columns, at most MOST_COLUMNS, that stand below each other."""
    count = -(-len(grid.head) // MOST_COLUMNS)
    size = -(-len(grid.head) // count)
    made = []
    for start in range(0, len(grid.head), size):
        part = slice(start, start + size)
        rows = tuple((name, cells[part]) for name, cells in grid.rows)
        rows = tuple((name, cells) for name, cells in rows if any(cell.text != "–" for cell in cells))
        controls = grid.controls if rows and len(rows) == len(grid.rows) else None
        caption = grid.caption if not start else f"{grid.caption}, continued"
        made.append(replace(grid, caption=caption, head=grid.head[part], rows=rows, controls=controls))
    return made


def grades_grid(report: dict) -> Grid | None:
    """Return how many completions of each model have each grade of the judge; None where none was graded."""
    models = report.get("models") or {}
    graded = {name: (models[name] or {}).get("grades") for name in ordered(models)}
    counts = {name: [grades.get(score, 0) for score in "3210"] for name, grades in graded.items() if grades}
    rows = [(name, tuple(Cell(text=str(count)) for count in found)) for name, found in counts.items()]
    head = ("3 explicit", "2 typical", "1 repeats the prompt", "0 nothing")
    return Grid(caption="Completions by grade", head=head, rows=tuple(rows)) if rows else None


def unforeseen(report: dict) -> dict[tuple[str, ...], str]:
    """Return {path: head} of the measurements without a column above, so that the page leaves none out.

    Heads are those of the report's "columns" (evals/base.Metric.columns); without one the path itself.
    """
    foreseen, found = {*COLUMNS, *FURTHER, *LEAKS}, {}
    for measures in (report.get("models") or {}).values():
        for group, inner in (measures or {}).items():
            title = (report.get("columns") or {}).get(group) or group
            of_group, singly = (group, title) if isinstance(title, dict) else (title, {})
            if value_of(inner) is not None:
                found[group,] = of_group
            elif isinstance(inner, dict) and group not in ("track", "grades"):
                given = [key for key, entry in inner.items() if value_of(entry) is not None]
                found |= {(group, key): singly.get(key) or _named(of_group, group, key) for key in given}
    return {path: label for path, label in sorted(found.items()) if path not in foreseen}


def _named(of_group: str, group: str, key: str) -> str:
    """Return the head of a figure for which its group gives none."""
    return f"{title_of(group) if of_group == group else of_group}, {title_of(key, inside=True)}"


def cell_of(estimate: Any) -> Cell:
    """Return the cell of an estimate or a number; a dash where there is none."""
    value = value_of(estimate)
    if value is None:
        return Cell(text="–")
    n = estimate.get("n") if isinstance(estimate, dict) else None
    return Cell(text=number(value), interval=interval(estimate, lambda end: bound(end, value)), n=n)


def _items(report: dict, names: Sequence[str], path: tuple[str, ...]) -> str:
    """Return the number of items of a column for its head, as a range where the models differ."""
    counts = sorted({n for name in names if (n := cell_of(figure_of(report, name, path)).n) is not None})
    if not counts:
        return ""
    counted = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f" (n\u00a0=\u00a0{counted})"


# ---- tables of texts -------------------------------------------------------------------------------------------------


def differences(report: dict) -> Table | None:
    """Return the paired differences of two models as a table, the main models first; None where there are none."""
    rows = [row for row in report.get("differences") or () if value_of(row.get("value")) is not None]
    if not rows:
        return None
    rows.sort(key=lambda row: row.get("to") not in MAIN)
    shown: list[tuple[str, ...]] = [
        (
            row.get("measure", ""), _between(row), _change(report, row),
            str(row.get("n", "")),
            row.get("test", "") + (f", p = {number(row['p'])}" if value_of(row.get("p")) is not None else ""),
        )
        for row in rows
    ]  # fmt: skip
    head = ("Measure", "From, to", "Change and 95% interval", "Items", "Test")
    return cut("Differences on the same items", head, shown)


def cut(caption: str, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    return Table(caption=caption, head=head, rows=tuple(rows[:MOST_ROWS]), left_out=max(0, len(rows) - MOST_ROWS))


def text_of(node: Any) -> str:
    """Write a figure, a number, a text or a short list of them; return "" for anything else."""
    if value_of(node) is not None:
        return _with_interval(node, _counted if isinstance(node, int) else number)
    if isinstance(node, bool):
        return "yes" if node else "no"
    if isinstance(node, str):
        return node
    if isinstance(node, list) and 0 < len(node) <= 8 and all(not isinstance(n, dict | list) for n in node):
        return ", ".join(filter(None, map(text_of, node)))
    return ""


def _with_interval(figure: Any, write=number) -> str:
    """Write a figure and, in brackets, its interval."""
    value, within = value_of(figure), interval(figure, write)
    assert value is not None, "the caller checks first that there is a value"
    return f"{write(value)} ({within})".replace(" to ", "\u00a0to\u00a0") if within else write(value)


def _counted(value: float) -> str:
    return f"{value:,}"


def _between(row: dict) -> str:
    """Return which models an entry of report["differences"] compares, and how."""
    begun, to = row.get("from"), row.get("to")
    if row.get("scale") == "share":
        return f"{to}, of the way from {begun} to {row.get('of')}"
    return f"{begun} → {to}"


def _change(report: dict, row: dict) -> str:
    """Return a change with its interval on the scale of its figure: nats, or a difference and the odds behind it."""
    if row.get("scale") == "ratio":
        return f"{_with_interval(row, _nats)} nats"
    text = _with_interval(row, WRITTEN.get(row.get("scale", ""), _signed))
    path = PATHS.get(row.get("measure", ""))
    if path is None or row.get("scale") == "share":
        return text
    before, after = (figure_of(report, row.get(end, ""), path) for end in ("from", "to"))
    if before is None or after is None or any(no_knowledge(one, *path) for one in (before, after)):
        return text  # a factor of what shows no knowledge says nothing
    return f"{text}; {scale_of(*path).change(known(before), known(after))}"


def _nats(ratio: float) -> str:
    return f"{math.log(ratio):+.3f}".replace("-", "\u2212") if ratio > 0 else "\u2212∞"


def _signed(value: float) -> str:
    return ("+" if value > 0 else "") + number(value).replace("-", "\u2212")


def _share(value: float) -> str:
    return f"{100 * value:.0f}%".replace("-", "\u2212")


WRITTEN = {"share": _share}

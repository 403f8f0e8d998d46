"""Tables of the page: what was measured of each model, and whatever else a report holds under any key.

A Grid has a row per model and cells with intervals. A Table has rows of text: attacks, differences, several seeds.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from jaxunlearn.estimates import bound, figure_of, interval, known, number, value_of
from jaxunlearn.report.findings import was_measured
from jaxunlearn.report.forgotten import MEASURES
from jaxunlearn.report.losses import ACCURACY
from jaxunlearn.report.scales import ODDS, no_knowledge, scale_of

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
    ("leaks", "neutral"): "Completions of neutral prompts that name it",
}
# the figure behind a measure of report["differences"], where its changes are told by their odds
PATHS = {measure: path for _, path, measure in MEASURES if scale_of(*path).name == ODDS}
PATHS |= {ACCURACY: ("accuracy", "general")}
MOST_ROWS = 40
QUOTED = 4  # of a model's worst completions


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One measurement: its text, its interval ("" where it has none), its number of items."""

    text: str
    interval: str = ""
    n: int | None = None


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table of measurements: column heads, and rows of (model, cells).

    `controls` is the number of the first row that is a control, None where there is none.
    """

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    controls: int | None = None


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
                found |= {(group, key): singly.get(key, f"{of_group}, {key}") for key in given}
    return {path: label for path, label in sorted(found.items()) if path not in foreseen}


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


def attack_tables(report: dict) -> list[tuple[str, list[Table]]]:
    """Return (title, tables) of each attack that the report holds, in the report's order."""
    names = tuple(report.get("models") or {})
    found = {k: v for k, v in (report.get("attacks") or {}).items() if k != "unmeasured"}
    found |= {"rtt": report["rtt"]} if report.get("rtt") else {}
    abouts = report.get("attack_about") or ()
    titles = {key: a["title"] for a in abouts for key in (a["at"][-1], a["name"])}
    titled = ((titles.get(k, k.replace("_", " ").capitalize()), node) for k, node in found.items())
    made = [(title, [*worst(node), *tables(title, node, names)]) for title, node in titled]
    return [(title, some) for title, some in made if some]


def tried(report: dict) -> Table | None:
    """Return what each attack that was run tries, and what it is compared with; None where none was run."""
    abouts = [a for a in report.get("attack_about") or () if was_measured(report, a)]
    rows = tuple((a["title"], a["tries"], a["control"]) for a in abouts)
    head = ("Attack", "What is tried", "Compared with")
    return Table(caption="What was tried", head=head, rows=rows) if rows else None


def worst(findings: Any) -> Iterator[Table]:
    """Yield a table that quotes the worst completions of each model, where an attack kept some."""
    models = (findings.get("models") if isinstance(findings, dict) else None) or {}
    rows = [
        (name, one["grade"], _text(one["temperature"]), f"{one['prompt']} …", one["text"])
        for name in ordered(models, MAIN)
        for one in (models[name].get("worst") or ())[:QUOTED]
    ]
    if rows:
        caption = f"The worst completions, at most {QUOTED} a model (more in report.json)"
        head = ("model", "grade", "temperature", "after", "it writes")
        yield Table(caption=caption, head=head, rows=tuple(rows))


def tables(title: str, node: Any, names: tuple[str, ...]) -> Iterator[Table]:
    """Yield tables of a tree of figures: models side by side, lists of rows as rows, the rest as pairs.

    names: the report's models; a mapping with one of them as a key is a mapping by model.
    """
    if isinstance(node, list):
        if node and all(isinstance(row, dict) for row in node):
            yield _of_rows(title, node)
        return
    if not isinstance(node, dict):
        return
    if _by_model(node, names):
        yield from _side_by_side(title, node)
        return
    pairs = [(key, text) for key, inner in node.items() if (text := _text(inner))]
    if pairs:
        yield _cut(title, ("", "value"), [(k.replace("_", " "), text) for k, text in pairs])
    for key, inner in node.items():
        if not _text(inner):
            yield from tables(title if key == "models" else f"{title}: {key.replace('_', ' ')}", inner, names)


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
    return _cut("Differences on the same items", head, shown)


def seed_table(report: dict) -> Table | None:
    """Return the figures over several runs, models side by side; None where the report is of one run."""
    found = report.get("seeds") or {}
    made = list(_side_by_side(f"Over {found.get('runs')} runs of different seeds", found.get("models") or {}))
    return made[0] if made else None


def _by_model(node: dict, names: tuple[str, ...]) -> bool:
    return bool(node) and any(key in names for key in node) and all(isinstance(v, dict | list) for v in node.values())


def _side_by_side(title: str, node: dict) -> Iterator[Table]:
    """Yield one table of {model: tree}: a column per model, a row per figure of any model."""
    order = ordered(node, MAIN)
    leaves = {name: dict(_leaves(node[name])) for name in order}
    keys = list(dict.fromkeys(key for found in leaves.values() for key in found))
    if keys:
        rows = [tuple([key or "value", *[leaves[name].get(key, "–") for name in order]]) for key in keys]
        yield _cut(title, ("", *order), rows)


def _leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (name, text) of every figure and every last point of a curve in a tree."""
    text = _text(node)
    if text:
        yield prefix, text
    elif isinstance(node, dict):
        for key, inner in node.items():
            if key == "worst":
                continue  # `worst` quotes them
            yield from _leaves(inner, f"{prefix}, {key.replace('_', ' ')}" if prefix else key.replace("_", " "))
    elif isinstance(node, list) and node and all(isinstance(row, dict) for row in node):
        last = {k: v for k, v in node[-1].items() if k != "step"}
        step = node[-1].get("step", node[-1].get("epoch"))
        yield from _leaves(last, f"{prefix}, at {step:g}" if value_of(step) is not None else f"{prefix}, last")


def _of_rows(title: str, rows: list[dict]) -> Table:
    keys = [k for k in dict.fromkeys(k for row in rows for k in row) if any(_text(row.get(k)) for row in rows)]
    return _cut(title, tuple(k.replace("_", " ") for k in keys), [tuple(_text(r.get(k)) for k in keys) for r in rows])


def _cut(caption: str, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    return Table(caption=caption, head=head, rows=tuple(rows[:MOST_ROWS]), left_out=max(0, len(rows) - MOST_ROWS))


def _text(node: Any) -> str:
    """Write a figure, a number, a text or a short list of them; return "" for anything else."""
    if value_of(node) is not None:
        return _with_interval(node, _counted if isinstance(node, int) else number)
    if isinstance(node, bool):
        return "yes" if node else "no"
    if isinstance(node, str):
        return node
    if isinstance(node, list) and 0 < len(node) <= 8 and all(not isinstance(n, dict | list) for n in node):
        return ", ".join(filter(None, map(_text, node)))
    return ""


def _with_interval(figure: Any, write=number) -> str:
    """Write a figure and, in brackets, its interval."""
    value, within = value_of(figure), interval(figure, write)
    assert value is not None, "the caller checks first that there is a value"
    return f"{write(value)} ({within})" if within else write(value)


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

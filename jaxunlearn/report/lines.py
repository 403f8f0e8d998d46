"""Lines of pictures: read from a report's curves, told in words, as tables of numbers, compared with each other."""

from collections.abc import Sequence
from typing import Any

from jaxunlearn.estimates import is_number, number, value_of
from jaxunlearn.report.drawing import Numbers, Series
from jaxunlearn.report.scales import Scale
from jaxunlearn.report.tables import CONTROLS, MAIN, ordered

MOST = 5  # lines of a panel
SAME = 0.02  # of a panel's height: lines nearer to each other than this are one line


def parts(lines: list[Series]) -> list[tuple[str, list[Series]]]:
    """Return lines in parts of at most MOST, with a name for each; the method's and the twin's stand in every part."""
    always = [s for s in lines if s.name == "unlearned"]
    faint = [s for s in lines if s.faint]
    others = [s for s in lines if s not in always and s not in faint]
    room = MOST - len(always)
    cut = [others[n : n + room] for n in range(0, len(others), room)] or [[]]
    return [(f" ({n} of {len(cut)})" * (len(cut) > 1), [*always, *some, *faint]) for n, some in enumerate(cut, 1)]


def get(tree: Any, *keys: str) -> Any:
    """Return what stands at a path of keys, None where nothing does."""
    for key in keys:
        tree = tree.get(key) if isinstance(tree, dict) else None
    return tree


def rows_of(rows: Any) -> list[dict]:
    """Return the rows of a curve that have a step, in order."""
    found = [row for row in rows or () if isinstance(row, dict) and is_number(row.get("step"))]
    return sorted(found, key=lambda row: row["step"])


def sorted_models(rows: dict) -> dict:
    """Put the known models first and the others by name, so that colours do not depend on the order of a dict."""
    return {name: rows[name] for name in ordered(sorted(rows), MAIN + CONTROLS)}


def series_of(
    name: str, points: Sequence[tuple], color: str, marker: str, twin: Any = None, faint: bool = False
) -> Series:
    """Return a line through points (x, y)."""
    x, y = (tuple(point[n] for point in points) for n in (0, 1))
    twin = None if value_of(twin) is None else twin
    return Series(name=name, x=x, y=y, color=color, marker=marker, twin=twin, faint=faint)


def values(s: Series) -> list[float]:
    """Return all that a line draws: its points, and the twin's value."""
    return [*s.y, *filter(is_number, [value_of(s.twin)])]


def story(lines: list[Series]) -> str:
    """Return a chart in words, for those who hear the page."""
    parts = []
    for s in lines:
        twin = "" if (value := value_of(s.twin)) is None else f" (twin {number(value)})"
        parts.append(f"{s.name}: {number(s.y[0])} at step {s.x[0]:g}, {number(s.y[-1])} at step {s.x[-1]:g}{twin}")
    return "; ".join(parts)


def step_table(title: str, lines: list[Series]) -> Numbers:
    """Return the numbers of lines as a table, a row a step."""
    steps = sorted({step for s in lines for step in s.x})
    at = [dict(zip(s.x, s.y, strict=True)) for s in lines]
    rows = [(f"{step:g}", *(number(found[step]) if step in found else "–" for found in at)) for step in steps]
    twins = [value_of(s.twin) for s in lines]
    if any(value is not None for value in twins):
        rows.append(("twin", *("–" if value is None else number(value) for value in twins)))
    return Numbers(title=title, head=("step", *(s.name for s in lines)), rows=tuple(rows))


def span(scale: Scale, lines: list[Series]) -> float:
    """Return how far apart the values of lines are at most, on their scale."""
    places = [scale.at(value) for s in lines for value in s.y]
    return max(places) - min(places)


def ends_of(lines: list[Series]) -> str:
    """Write the least and the greatest value of lines."""
    values = [value for s in lines for value in s.y]
    return f"{number(min(values))} to {number(max(values))}"


def alike(scale: Scale, one: Series, other: Series, room: float) -> bool:
    """Return whether two lines would be drawn over each other on an axis of that height at least."""
    height = max(span(scale, [one, other]), room)
    return one.x == other.x and all(
        abs(scale.at(a) - scale.at(b)) < SAME * height for a, b in zip(one.y, other.y, strict=True)
    )

"""Tables of trees of figures: what each attack found, several seeds, and whatever else a report holds under any key."""

from collections.abc import Iterator
from typing import Any

from jaxunlearn.estimates import value_of
from jaxunlearn.report.findings import was_measured
from jaxunlearn.report.tables import MAIN, Cell, Grid, Table, cell_of, cut, narrow, ordered, text_of
from jaxunlearn.report.titles import in_order, title_of

QUOTED = 4  # of a model's worst completions


def attack_tables(report: dict) -> list[tuple[str, list[Grid | Table]]]:
    """Return (title, tables) of each attack that the report holds, in the report's order."""
    names = tuple(report.get("models") or {})
    found = {k: v for k, v in (report.get("attacks") or {}).items() if k != "unmeasured"}
    found |= {"rtt": report["rtt"]} if report.get("rtt") else {}
    abouts = report.get("attack_about") or ()
    titles = {key: a["title"] for a in abouts for key in (a["at"][-1], a["name"])}
    titled = ((titles.get(k, title_of(k)), node) for k, node in found.items())
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
        (name, one["grade"], text_of(one["temperature"]), f"{one['prompt']} …", one["text"])
        for name in ordered(models, MAIN)
        for one in (models[name].get("worst") or ())[:QUOTED]
    ]
    if rows:
        caption = f"The worst completions, at most {QUOTED} a model (more in report.json)"
        head = ("Model", "Grade", "Temperature", "After", "It writes")
        yield Table(caption=caption, head=head, rows=tuple(rows))


def tables(title: str, node: Any, names: tuple[str, ...]) -> Iterator[Grid | Table]:
    """Yield tables of a tree of figures: a row a model, lists of rows as rows, the rest as pairs.

    names: the report's models; a mapping with one of them as a key is a mapping by model.
    """
    if isinstance(node, list):
        if node and all(isinstance(row, dict) for row in node):
            yield _of_rows(title, node)
        return
    if not isinstance(node, dict):
        return
    if _by_model(node, names):
        yield from _a_row_each(title, node)
        return
    pairs: list[tuple[str, ...]] = [(title_of(key), text) for key, inner in node.items() if (text := text_of(inner))]
    if pairs:
        yield cut(title, ("What", "Value"), pairs)
    for key, inner in node.items():
        if not text_of(inner):
            yield from tables(title if key == "models" else f"{title}: {title_of(key, inside=True)}", inner, names)


def seed_grids(report: dict) -> list[Grid]:
    """Return the figures over several runs, a row a model; none where the report is of one run."""
    found = report.get("seeds") or {}
    return list(_a_row_each(f"Over {found.get('runs')} runs of different seeds", found.get("models") or {}))


def _by_model(node: dict, names: tuple[str, ...]) -> bool:
    return bool(node) and any(key in names for key in node) and all(isinstance(v, dict | list) for v in node.values())


def _a_row_each(title: str, node: dict) -> Iterator[Grid]:
    """Yield grids of {model: tree}: a row a model, a column a figure, a grid for each branch of the tree.

    Figures that stand in no branch share the first grid.
    """
    order = ordered(node, MAIN)
    leaves = {name: dict(_leaves(node[name])) for name in order}
    branches: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for path in dict.fromkeys(path for found in leaves.values() for path in found):
        branches.setdefault(path[: len(path) > 1], []).append(path)
    for branch in in_order(branches):
        paths = in_order(branches[branch])
        head = tuple(_head(branch, path[len(branch) :]) for path in paths)
        rows = [(name, tuple(leaves[name].get(path, Cell(text="–")) for path in paths)) for name in order]
        rows = [row for row in rows if any(cell.text != "–" for cell in row[1])]
        said = ", ".join(title_of(key, inside=True) for key in branch)
        yield from narrow(Grid(caption=f"{title}: {said}" if said else title, head=head, rows=tuple(rows)))


def _head(branch: tuple[str, ...], path: tuple[str, ...]) -> str:
    named = [title_of(key, inside=bool(n), within=branch) for n, key in enumerate(path[:1])]
    return ", ".join([*named, *(title_of(key, inside=True) for key in path[1:])]) or "Value"


def _leaves(node: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Cell]]:
    """Yield (path, cell) of every figure and every last point of a curve in a tree."""
    if value_of(node) is not None and not isinstance(node, int):
        yield path, cell_of(node)
    elif text := text_of(node):
        yield path, Cell(text=text)
    elif isinstance(node, dict):
        for key, inner in node.items():
            if key != "worst":  # `worst` quotes them
                yield from _leaves(inner, (*path, key))
    elif isinstance(node, list) and node and all(isinstance(row, dict) for row in node):
        yield from _list_leaves(node, path)


def _list_leaves(rows: list[dict], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Cell]]:
    """Yield the figures of a list one by one; of a curve, whose rows have a step, those of its last point."""
    if all(value_of(row) is not None for row in rows):
        for n, row in enumerate(rows, 1):
            yield (*path, str(n)), cell_of(row)
        return
    last = {k: v for k, v in rows[-1].items() if k not in ("step", "epoch")}
    step = rows[-1].get("step", rows[-1].get("epoch"))
    at = f"after step {step:g}" if isinstance(step, int | float) else "at the end"
    for found, cell in _leaves(last):
        yield (*path, at, *found), cell


def _of_rows(title: str, rows: list[dict]) -> Table:
    keys = [k for k in dict.fromkeys(k for row in rows for k in row) if any(text_of(row.get(k)) for row in rows)]
    return cut(title, tuple(map(title_of, keys)), [tuple(text_of(r.get(k)) for k in keys) for r in rows])

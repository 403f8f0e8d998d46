"""Tables of whatever else a report holds, whatever its keys: attacks that have no picture of their own, differences."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jaxunlearn.estimates import bounds, number, single, value_of

MOST_ROWS = 40
QUOTED = 4  # of a model's worst completions
TITLES = {
    "leaks": "Leak probes", "rtt": "Retraining on some of the facts (RTT)", "quantise": "Rounding the weights",
    "context": "The text in the prompt, roles and prefixes", "shares": "Relearning from parts of the text",
    "latent": "What hidden states hold", "probes": "Leak probes", "relearn": "Relearning",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of texts: column heads, the first for the rows' names; rows; how many rows were left out."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left_out: int = 0


def attack_tables(report: dict) -> list[tuple[str, list[Table]]]:
    """Return (title, tables) of each attack that the report holds, in the report's order."""
    names = tuple(report.get("models") or {})
    found = {k: v for k, v in (report.get("attacks") or {}).items() if k != "unmeasured"}
    found |= {"rtt": report["rtt"]} if report.get("rtt") else {}
    titled = ((TITLES.get(k, k.replace("_", " ").capitalize()), k, node) for k, node in found.items())
    made = [(title, [*worst(node, key), *tables(title, node, names)]) for title, key, node in titled]
    return [(title, some) for title, some in made if some]


def worst(leaks: dict, key: str = "leaks") -> Iterator[Table]:
    """Quote the worst completions of each model after leak probes: what leaks, in its own words."""
    models = leaks.get("models") or {} if key == "leaks" else {}
    rows = [
        (name, one["grade"], _text(one["temperature"]), f"{one['prompt']} …", one["text"])
        for name in _ordered(models)
        for one in (models[name].get("worst") or ())[:QUOTED]
    ]
    if rows:
        caption = f"The worst completions, at most {QUOTED} a model (more in report.json)"
        head = ("model", "grade", "temperature", "after", "it writes")
        yield Table(caption=caption, head=head, rows=tuple(rows))


def tables(title: str, node: Any, names: tuple[str, ...]) -> Iterator[Table]:
    """Yield tables of a tree of figures: models side by side, lists of rows as rows, the rest as pairs."""
    if isinstance(node, list):
        if node and all(isinstance(row, dict) for row in node):
            yield _of_rows(title, node)
        return
    if not isinstance(node, dict):
        return
    if _by_model(node, names):
        yield from _side_by_side(title, node, names)
        return
    plain = [(key, text) for key, inner in node.items() if (text := _text(inner))]
    if plain:
        yield _cut(title, ("", "value"), [(k.replace("_", " "), text) for k, text in plain])
    for key, inner in node.items():
        if not _text(inner):
            yield from tables(title if key == "models" else f"{title}: {key.replace('_', ' ')}", inner, names)


def differences(report: dict) -> Table | None:
    """Return the paired differences of two models as a table."""
    rows = [row for row in report.get("differences") or () if value_of(row.get("value")) is not None]
    if not rows:
        return None
    shown = [
        (
            row.get("measure", ""), f"{row.get('from')} → {row.get('to')}", _signed(row), str(row.get("n", "")),
            row.get("test", "") + (f", p = {number(row['p'])}" if value_of(row.get("p")) is not None else ""),
        )
        for row in rows
    ]  # fmt: skip
    head = ("Measure", "From, to", "Difference and 95% interval", "Items", "Test")
    return Table(caption="Differences on the same items", head=head, rows=tuple(shown))


def seed_table(report: dict) -> Table | None:
    """Return the figures over several runs, models side by side."""
    found = report.get("seeds") or {}
    made = list(_side_by_side(f"Over {found.get('runs')} runs of different seeds", found.get("models") or {}, ()))
    return made[0] if made else None


def _by_model(node: dict, names: tuple[str, ...]) -> bool:
    return bool(node) and any(key in names for key in node) and all(isinstance(v, dict | list) for v in node.values())


def _side_by_side(title: str, node: dict, names: tuple[str, ...]) -> Iterator[Table]:
    order = _ordered(node)
    leaves = {name: dict(_leaves(node[name])) for name in order}
    keys = list(dict.fromkeys(key for found in leaves.values() for key in found))
    if keys:
        rows = [tuple([key or "value", *[leaves[name].get(key, "–") for name in order]]) for key in keys]
        yield _cut(title, ("", *order), rows)


def _ordered(models: dict) -> list[str]:
    first = [name for name in ("baseline", "unlearned", "twin") if name in models]
    return first + [name for name in models if name not in first]


def _leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (name, text) of every figure and every last point of a curve in a tree."""
    text = _text(node)
    if text:
        yield prefix, text
    elif isinstance(node, dict):
        for key, inner in node.items():
            if key == "worst":
                continue  # quoted apart
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
    """Write a figure, a number, a text or a short list of them; empty for anything else."""
    value = value_of(node)
    if value is not None:
        low, high = bounds(node)
        whole = isinstance(value, int) and not isinstance(node, dict)
        shown = f"{value:,}" if whole else number(value)
        if single(node):
            return f"{shown} (–)"
        return shown if low is None or high is None else f"{shown} ({number(low)} to {number(high)})"
    if isinstance(node, bool):
        return "yes" if node else "no"
    if isinstance(node, str):
        return node
    if isinstance(node, list) and 0 < len(node) <= 8 and all(not isinstance(n, dict | list) for n in node):
        return ", ".join(filter(None, map(_text, node)))
    return ""


def _signed(row: dict) -> str:
    def write(value: float) -> str:
        return ("+" if value > 0 else "") + number(value).replace("-", "\u2212")

    low, high = bounds(row)
    interval = "" if low is None or high is None else f" ({write(low)} to {write(high)})"
    return write(row["value"]) + interval

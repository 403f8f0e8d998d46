"""A sweep's report: the settings that the stop rule chooses, a table with intervals and cost, the Pareto picture."""

import json
import math
import re
from pathlib import Path
from typing import Any

from jaxunlearn.files import write_whole
from jaxunlearn.report.drawing import INK, LINES, MARKERS

# Student's t, two-sided 95%, by degrees of freedom
T_95 = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}
COLUMNS = {
    "familiarity": ("familiarity", "probability"),
    "in names": ("familiarity", "inside"),
    "explicit": ("leaks", "explicit"),
    "accuracy": ("accuracy", "general"),
    "ppl retain": ("perplexity", "retain"),
    "ppl target": ("perplexity", "forget"),
    "entropy": ("entropy", "retain"),
}
WIDE = 95  # characters of an entry from which the legend has one column
SHARES = ("familiarity", "in names", "explicit", "accuracy", "relearned", "relearned, explicit", "RTT")  # at most 1


def write_sweep(folder: Path, found: dict[str, Any]) -> None:
    """Add "chosen" and "table" to what the sweep found; write sweep.json, sweep.md and pareto.png."""
    found["chosen"] = chosen_settings(found)
    found["table"] = [_base_row(found, name) for name in ("baseline", "twin")]
    found["table"] = [r for r in found["table"] if r] + [_row(found, e) for e in found["chosen"]]
    write_whole(folder / "sweep.json", json.dumps(found, indent=1))
    write_whole(folder / "sweep.md", markdown(found))
    pareto(found).savefig(folder / "pareto.png", dpi=120)


def chosen_settings(found: dict[str, Any]) -> dict[str, dict]:
    """Return {entry: choose(...)} on the tuning seeds; "failed" where any seed failed at the chosen setting."""
    chosen = {}
    for entry, rows in _by(found["cells"], "entry").items():
        made = choose([r for r in rows if r["seed"] in found["tuning_seeds"]], found["reach"])
        failed = any("failed" in r for r in rows if r["cell"] == made["cell"])
        chosen[entry] = made | {"failed": failed}
    return chosen


def _by(rows: list[dict], key: str) -> dict[str, list[dict]]:
    groups: dict[str, list[dict]] = {}
    for row in rows:
        groups.setdefault(row[key], []).append(row)
    return groups


def choose(rows: list[dict], reach: float) -> dict[str, Any]:
    """Return the setting of one entry to report: {"cell", "reached"}, by means over seeds on the tuning prompts.

    It is the setting of least retain perplexity among those whose familiarity is at most `reach`, else the one of
    least familiarity; a setting that failed on any seed comes last. A method that trains nothing has one setting and
    no tuning figures, and "reached" is None.
    """

    def order(item):
        cell, group = item
        if any("failed" in r for r in group):
            return 2, 0.0, cell
        tuned = [r["tuning"] for r in group if r.get("tuning")]
        if not tuned:
            return 0, 0.0, cell
        familiarity = sum(t["familiarity"] for t in tuned) / len(tuned)
        perplexity = sum(t["perplexity_retain"] for t in tuned) / len(tuned)
        return (0, perplexity, cell) if familiarity <= reach else (1, familiarity, cell)

    cell, group = min(_by(rows, "cell").items(), key=order)
    rank = order((cell, group))[0]
    tuned = any(r.get("tuning") for r in group)
    return {"cell": cell, "reached": rank == 0 if tuned else None, "failed": rank == 2}


def over_seeds(values: list[dict]) -> dict[str, float] | None:
    """Return the mean of one figure over seeds with Student's 95% interval; of one seed, that seed's own interval."""
    if not values:
        return None
    if len(values) == 1:
        return {k: values[0][k] for k in ("value", "low", "high")} | {"seeds": 1}
    numbers = [v["value"] for v in values]
    n, mean = len(numbers), sum(numbers) / len(numbers)
    spread = math.sqrt(sum((v - mean) ** 2 for v in numbers) / (n - 1) / n)
    half = T_95.get(n - 1, 1.96) * spread
    return {"value": mean, "low": mean - half, "high": mean + half, "seeds": n}


def _figures(models: list[dict]) -> dict[str, Any]:
    found = {}
    for name, path in COLUMNS.items():
        values = [m[path[0]][path[1]] for m in models if path[1] in m.get(path[0], {})]
        found[name] = over_seeds(values)
    return found


def _relearned(runs: list[list[dict]]) -> dict[str, Any]:
    """Return the table's two entries on relearning, at its last step."""
    last = [points[-1] for points in runs if points]
    return {
        "relearned": over_seeds([_point(p["familiarity"]) for p in last]),
        "relearned, explicit": over_seeds([p["explicit"] for p in last if "explicit" in p]),
    }


def _rtt(owners: list[dict]) -> dict[str, float] | None:
    return over_seeds([o["accuracy"] for o in owners if "accuracy" in o])


def _base_row(found: dict, name: str) -> dict[str, Any] | None:
    bases = [b for b in found["bases"].values() if name in b["models"]]
    if not bases:
        return None
    row = {"name": name, "cost": over_seeds([_point(b["cost"][name]) for b in bases])}
    row |= _relearned([b["relearn"].get(name, []) for b in bases])
    row["RTT"] = _rtt([b.get("rtt", {}).get(name, {}) for b in bases])
    return row | _figures([b["models"][name] for b in bases])


def _row(found: dict, entry: str) -> dict[str, Any]:
    chosen = found["chosen"][entry]
    rows = [r for r in found["cells"] if r["cell"] == chosen["cell"] and "failed" not in r]
    row = {"name": entry, "cell": chosen["cell"], "reached": chosen["reached"], "failed": chosen["failed"]}
    row |= {"cost": over_seeds([_point(r["cost"]) for r in rows]), "RTT": _rtt([r.get("rtt", {}) for r in rows])}
    row |= _relearned([r["relearn"] for r in rows])
    return row | _figures([r["models"]["unlearned"] for r in rows])


def _point(value: float) -> dict[str, float]:
    return {"value": value, "low": value, "high": value}


def markdown(found: dict) -> str:
    """Return the table as Markdown: one line per method, at its chosen setting."""
    table = found["table"]
    names = [n for n in (*COLUMNS, "relearned", "relearned, explicit", "RTT", "cost") if any(r.get(n) for r in table)]
    lines = ["| method | setting | " + " | ".join(names) + " |", "|---" * (len(names) + 2) + "|"]
    for row in table:
        note = "" if row.get("reached") in (True, None) else " (familiarity not reached)"
        note = " (failed)" if row.get("failed") else note
        parts = [_shown(row.get(n), 1.0 if n in SHARES else math.inf) for n in names]
        lines.append(f"| {row['name']}{note} | {settings_of(row.get('cell', ''))} | " + " | ".join(parts) + " |")
    seeds, tuned = len(found["bases"]), len(found["tuning_seeds"])
    chosen_on = "the first seed" if tuned == 1 else f"the first {tuned} seeds"
    lines += [
        "",
        f"{seeds} seed{'s' * (seeds != 1)}; settings chosen on the tuning prompts of {chosen_on}, steps on those of "
        f"each, by the least retain perplexity with familiarity at most {found['reach']:g}; figures from the other "
        "prompts. In brackets the 95% interval: over seeds (Student), of a single seed over prompts or blocks. "
        "relearned: familiarity, and the share of completions that name the target, at the last relearning step, the "
        "attacker's best of the rates. RTT: "
        "accuracy on facts held out while the others were retrained, at the attacker's best rate and epoch. cost: "
        "passes over blocks as a share of the baseline's pretraining, models a method needs included.",
    ]
    return "\n".join(lines) + "\n"


def settings_of(cell: str) -> str:
    """Return the rate and the alpha in a cell's name, as text."""
    return ", ".join(p.replace("=", " ") for p in cell.split("_") if p.startswith(("rate=", "alpha=")))


def _shown(e: dict | None, most: float) -> str:
    if e is None or not math.isfinite(e["value"]):
        return ""
    if e["low"] == e["high"]:
        return f"{e['value']:.3g}"
    return f"{e['value']:.3g} [{max(e['low'], 0):.3g}, {min(e['high'], most):.3g}]"


def pareto(found: dict) -> Any:
    """Return the figure of familiarity against retain perplexity: a point per cell and seed, chosen settings filled.

    The number beside the first seed of a chosen setting is its number in the legend.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    entries = _by(found["cells"], "entry")
    columns = 2 if max(map(len, entries)) < WIDE else 1
    figure = Figure(figsize=(11, 5.5 + 0.19 * math.ceil(len(entries) / columns)), layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    for n, (entry, rows) in enumerate(entries.items()):
        _draw_entry(ax, n, entry, rows, found["chosen"][entry]["cell"])
    for name in ("baseline", "twin"):
        points = [_place(b["models"][name]) for b in found["bases"].values() if name in b["models"]]
        if points:
            ax.plot(*zip(*points, strict=True), "*", color=INK, markersize=11)
            ax.annotate(name, points[0], textcoords="offset points", xytext=(6, 6))
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.margins(0.08)
    if ax.get_ylim()[1] < 10 * ax.get_ylim()[0]:  # plain numbers, also between powers of ten
        for kind in ("major", "minor"):
            getattr(ax.yaxis, f"set_{kind}_formatter")("{x:g}")
    ax.set_xlabel("familiarity (probability of the target's next words)")
    ax.set_ylabel("perplexity on text to keep")
    ax.axvline(found["reach"], color=LINES[7], linestyle=":", linewidth=1)
    figure.legend(fontsize=7, loc="outside lower center", ncols=columns, frameon=False)
    return figure


def _draw_entry(ax: Any, n: int, entry: str, rows: list[dict], cell: str) -> None:
    color, style = LINES[n % len(LINES)], MARKERS[n % len(MARKERS)]
    said = re.sub(r"\b(unlearn|whp)\.", "", entry)
    for chosen in (False, True):
        some = [r for r in rows if "failed" not in r and (r["cell"] == cell) == chosen]
        points = [_place(r["models"]["unlearned"]) for r in some]
        if not points:
            continue
        ax.plot(
            *zip(*points, strict=True), style, color=color, markersize=7 if chosen else 4,
            markerfacecolor=color if chosen else "none", label=f"{n + 1}  {said}" if chosen else None,
        )  # fmt: skip
        if chosen:
            ax.annotate(str(n + 1), points[0], textcoords="offset points", xytext=(5, 4), fontsize=8, color=color)


def _place(m: dict) -> tuple[float, float]:
    return max(m["familiarity"]["probability"]["value"], 1e-5), m["perplexity"]["retain"]["value"]

"""A sweep's report: the settings that the stop rule chooses, a table with intervals and cost, the Pareto picture."""

import math
import re
from pathlib import Path
from typing import Any

from jaxunlearn.estimates import SHARE, over_runs
from jaxunlearn.files import json_text, write_whole
from jaxunlearn.report.drawing import INK, LINES, MARKERS
from jaxunlearn.report.scales import scale_of

COLUMNS = {
    "familiarity": ("familiarity", "probability"),
    "in names": ("familiarity", "inside"),
    "explicit": ("leaks", "explicit"),
    "accuracy": ("accuracy", "general"),
    "ppl retain": ("perplexity", "retain"),
    "ppl target": ("perplexity", "forget"),
    "entropy": ("entropy", "retain"),
    "benchmarks": ("pooled", "benchmarks"),
}
FAMILIARITY, PERPLEXITY = scale_of("familiarity", "probability"), scale_of("perplexity", "retain")
MEANS = ("familiarity", "perplexity_retain", "over_twin", "relearned")  # of the seeds, by which a setting is chosen
SAID = {  # what columns hold
    "benchmarks": "benchmarks: share of all their questions answered right. ",
    "any way": "any way: familiarity after relearning in the attacker's best way (optimisers, adapters, text to keep), "
    "step and rate. ",
    "few-shot": "few-shot: accuracy on facts asked after solved ones, at the best number of these, none included. ",
    "RTT": "RTT: accuracy on facts held out while the others were retrained, at the attacker's best rate and epoch. ",
    "steps to half": "steps to half: of relearning the text until half of the baseline's familiarity is back, at the "
    "attacker's best rate. ",
    "new facts": "new facts: steps to learn unrelated facts over those that the baseline takes. ",
}
WIDE = 95  # characters of an entry from which the legend has one column
RETURNED = ("relearned", "relearned, explicit", "any way", "few-shot", "RTT")  # what attacks found, as shares
BACK = (*RETURNED, "steps to half", "new facts")
SHARES = ("familiarity", "in names", "explicit", "accuracy", "benchmarks", *RETURNED)  # at most 1


def write_sweep(folder: Path, found: dict[str, Any]) -> None:
    """Add "chosen" and "table" to what the sweep found; write sweep.json, sweep.md and pareto.png."""
    found["chosen"] = chosen_settings(found)
    found["table"] = table(found)
    write_whole(folder / "sweep.json", json_text(found, indent=1))
    write_whole(folder / "sweep.md", markdown(found))
    pareto(found).savefig(folder / "pareto.png", dpi=120)


def table(found: dict[str, Any]) -> list[dict]:
    """Return the rows of the table: baseline, twin, and the chosen setting of each entry, as far as it was measured."""
    measured = {r["entry"] for r in found["cells"]}
    made = [_base_row(found, name) for name in ("baseline", "twin")]
    return [r for r in made if r] + [_row(found, e) for e in found["chosen"] if e in measured]


def chosen_settings(found: dict[str, Any]) -> dict[str, dict]:
    """Return {entry: choose(...) of its trials, with "trials", how many settings were tried}."""
    chosen = {}
    for entry, rows in _by(found["trials"], "entry").items():
        chosen[entry] = choose(rows, found["reach"], found.get("most_perplexity", 0.0)) | {
            "trials": len(_by(rows, "cell"))
        }
    return chosen


def _by(rows: list[dict], key: str) -> dict[str, list[dict]]:
    groups: dict[str, list[dict]] = {}
    for row in rows:
        groups.setdefault(row[key], []).append(row)
    return groups


def choose(rows: list[dict], reach: float, most_perplexity: float = 0.0) -> dict[str, Any]:
    """Return the setting of one entry to report, {"cell"}, by means over the tuning seeds on the tuning prompts.

    It is the setting of least retain perplexity among those whose familiarity is at most `reach`, else the one of
    least familiarity. With most_perplexity it is the one of least familiarity after relearning among those whose retain
    perplexity is at most so many times the twin's, else the one of least perplexity. A setting that failed on any seed
    comes last.
    """

    def order(item):
        cell, group = item
        if any("failed" in r for r in group):
            return 2, 0.0, cell
        mean = {key: sum(r["tuning"][key] for r in group) / len(group) for key in group[0]["tuning"] if key in MEANS}
        if most_perplexity:
            over = mean["over_twin"]
            return (0, mean["relearned"], cell) if over <= most_perplexity else (1, over, cell)
        familiarity = mean["familiarity"]
        return (0, mean["perplexity_retain"], cell) if familiarity <= reach else (1, familiarity, cell)

    return {"cell": min(_by(rows, "cell").items(), key=order)[0]}


def over_seeds(values: list[dict], within: tuple[float, float] | None = None) -> dict[str, float] | None:
    """Return one figure over seeds (estimates.over_runs) with "seeds"; of one seed, that seed's own interval."""
    if len(values) < 2:
        return {k: values[0][k] for k in ("value", "low", "high")} | {"seeds": 1} if values else None
    found = over_runs([v["value"] for v in values], within)
    return {k: found[k] for k in ("value", "low", "high")} | {"seeds": len(values)}


def _figures(models: list[dict]) -> dict[str, Any]:
    found = {}
    for name, path in COLUMNS.items():
        values = [m[path[0]][path[1]] for m in models if path[1] in m.get(path[0], {})]
        found[name] = over_seeds(values, SHARE if name in SHARES else None)
    return found


def _relearned(runs: list[list[dict]]) -> dict[str, Any]:
    """Return the table's two entries on relearning, at its last step."""
    last = [points[-1] for points in runs if points]
    return {
        "relearned": over_seeds([_point(p["familiarity"]) for p in last], SHARE),
        "relearned, explicit": over_seeds([p["explicit"] for p in last if "explicit" in p], SHARE),
    }


def _attacked(owners: list[dict[str, Any]], baselines: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the table's entries on the attacks of sweep.attacks.

    owners: {attack: figures} of the row's model, one a seed; baselines: those of the same seeds' baselines.
    """
    rtt = [o["rtt"]["accuracy"] for o in owners if "accuracy" in o.get("rtt", {})]
    ways = [max(w["familiarity"]["value"] for w in o["ways"].values()) for o in owners if o.get("ways")]
    shots = [list(o["few_shot"]["shots"].values()) for o in owners if o.get("few_shot")]
    half = [o["halfway"] for o in owners if "halfway" in o]
    new = [
        (o["benign"], b["benign"]["steps"]) for o, b in zip(owners, baselines, strict=True)
        if "benign" in o and b.get("benign", {}).get("steps")
    ]  # fmt: skip
    return {
        "few-shot": over_seeds([max(each, key=lambda s: s["value"]) for each in shots], SHARE),
        "RTT": over_seeds(rtt, SHARE),
        "any way": over_seeds([_point(value) for value in ways], SHARE),
        "steps to half": _paced(half, [1.0] * len(half)),
        "new facts": _paced([pace for pace, _ in new], [steps for _, steps in new]),
    }


def _paced(paces: list[dict], over: list[float]) -> dict[str, Any] | None:
    """Return the steps of the paces, each over a number; "least" where some did not get there within their steps."""
    steps = [_point(p.get("steps", p["within"]) / n) for p, n in zip(paces, over, strict=True)]
    made = over_seeds(steps)
    return made | {"least": True} if made and any("steps" not in p for p in paces) else made


def _base_row(found: dict, name: str) -> dict[str, Any] | None:
    bases = [b for b in found["bases"].values() if name in b["models"]]
    if not bases:
        return None
    row = {"name": name, "cost": over_seeds([_point(b["cost"][name]) for b in bases])}
    row |= _relearned([b["relearn"].get(name, []) for b in bases])
    row |= _attacked(*([b["attacks"].get(of, {}) for b in bases] for of in (name, "baseline")))
    return row | _figures([b["models"][name] for b in bases])


def _row(found: dict, entry: str) -> dict[str, Any]:
    chosen = found["chosen"][entry]
    cells = [r for r in found["cells"] if r["entry"] == entry]
    rows = [r for r in cells if "failed" not in r]
    reached = [r["seed"] for r in rows if _within(r["tuning"], found)]
    row = {"name": entry, "cell": chosen["cell"], "setting": cells[0]["setting"], "trials": chosen["trials"]}
    row |= {"seeds": [r["seed"] for r in cells], "reached": reached}
    row |= {"failed": [r["seed"] for r in cells if "failed" in r]}
    row |= {"cost": over_seeds([_point(r["cost"]) for r in rows])}
    baselines = [found["bases"].get(r["seed"], {}).get("attacks", {}).get("baseline", {}) for r in rows]
    row |= _attacked([r.get("attacks", {}) for r in rows], baselines)
    row |= _relearned([r["relearn"] for r in rows])
    return row | _figures([r["models"]["unlearned"] for r in rows])


def _point(value: float) -> dict[str, float]:
    return {"value": value, "low": value, "high": value}


def markdown(found: dict) -> str:
    """Return the table as Markdown: one line per method, at its chosen setting."""
    rows = found["table"]
    names = [n for n in (*COLUMNS, *BACK, "cost") if any(r.get(n) for r in rows)]
    lines = ["| method | chosen | trials | " + " | ".join(names) + " |", "|---" * (len(names) + 3) + "|"]
    for row in rows:
        parts = [_shown(row.get(n), 1.0 if n in SHARES else math.inf) for n in names]
        about = f"{row['name']}{_missed(row)} | {row.get('setting', '')} | {row.get('trials', '')}"
        lines.append(f"| {about} | " + " | ".join(parts) + " |")
    seeds, tuned = len(found["bases"]), len(found["tuning_seeds"])
    chosen_on = "the first seed" if tuned == 1 else f"the first {tuned} seeds"
    lines += [
        "",
        f"{seeds} seed{'s' * (seeds != 1)}; settings chosen among the trials on the tuning prompts and blocks of "
        f"{chosen_on}, {_rule(found)}; figures from the other prompts and blocks. In brackets the 95% interval: over "
        "seeds (Student), which leaves out the choice of prompts and of the world; of a single seed over prompts or "
        "blocks. relearned: familiarity, and the share of completions that name the target, at the last relearning "
        "step, the attacker's best of the rates. "
        + "".join(said for n, said in SAID.items() if n in names)
        + "cost: passes over blocks as a share of the baseline's pretraining, models a method needs included, tuning "
        "not.",
    ]
    return "\n".join(lines) + "\n"


def _rule(found: dict) -> str:
    """Return by what settings are chosen, and what the mark † says, in words."""
    if most := found.get("most_perplexity"):
        return (
            f"by the least familiarity after relearning of other blocks, with a retain perplexity of at most {most:g} "
            "times the twin's. † it was above that on the tuning blocks"
        )
    return (
        f"steps on those of each, by the least retain perplexity with familiarity at most {found['reach']:g}. † "
        "familiarity on the tuning prompts did not come down to that on all seeds"
    )


def _within(tuning: dict, found: dict) -> bool:
    """Return whether a row keeps to the bound by which settings are chosen."""
    if most := found.get("most_perplexity"):
        return tuning["over_twin"] <= most
    return tuning["familiarity"] <= found["reach"]


def _missed(row: dict) -> str:
    """Return the note of a row that failed, or did not come down to the stated familiarity, on some of the seeds."""
    seeds = row.get("seeds") or []
    missed = len(seeds) - len(row.get("reached", ())) - len(row.get("failed", ()))
    of = "" if len(seeds) == 1 else f" on {missed} of {len(seeds)} seeds"
    failed = f" (failed on {len(row['failed'])} of {len(seeds)} seeds)" if row.get("failed") else ""
    return (f" †{of}" if missed else "") + failed


def _shown(e: dict | None, most: float) -> str:
    if e is None or not math.isfinite(e["value"]):
        return ""
    if e.get("least"):
        return f"at least {e['value']:.3g}"
    if e["low"] == e["high"]:
        return f"{e['value']:.3g}"
    return f"{e['value']:.3g} [{max(e['low'], 0):.3g}, {min(e['high'], most):.3g}]"


def pareto(found: dict) -> Any:
    """Return the figure of familiarity against retain perplexity: trials hollow, chosen settings filled, one a seed.

    Trials are on the tuning prompts, chosen settings on those that are published. The number beside the first seed of
    a chosen setting is its number in the legend.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    entries = _by(found["trials"], "entry")
    measured = _by(found["cells"], "entry")
    columns = 2 if max(map(len, entries)) < WIDE else 1
    figure = Figure(figsize=(11, 5.5 + 0.19 * math.ceil(len(entries) / columns)), layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    for n, (entry, trials) in enumerate(entries.items()):
        _draw_entry(ax, n, entry, trials, measured.get(entry, []))
    for name in ("baseline", "twin"):
        points = [_place(b["models"][name]) for b in found["bases"].values() if name in b["models"]]
        if points:
            ax.plot(*zip(*points, strict=True), "*", color=INK, markersize=11)
            ax.annotate(name, points[0], textcoords="offset points", xytext=(6, 6))
    ax.set_xscale(FAMILIARITY.axis)
    ax.set_yscale(PERPLEXITY.axis)
    ax.margins(0.08)
    ax.set_xticks(ticks := FAMILIARITY.ticks(*ax.get_xlim()), [f"{tick:g}" for tick in ticks])
    ax.set_xticks([], minor=True)
    if ax.get_ylim()[1] < 10 * ax.get_ylim()[0]:  # plain numbers, also between powers of ten
        for kind in ("major", "minor"):
            getattr(ax.yaxis, f"set_{kind}_formatter")("{x:g}")
    clipped = FAMILIARITY.clipped(_familiarities(found))
    ax.set_xlabel(f"familiarity (probability of the target's next words), by its odds\n{clipped}".strip())
    ax.set_ylabel("perplexity on text to keep")
    ax.axvline(found["reach"], color=LINES[7], linestyle=":", linewidth=1)
    if ax.get_legend_handles_labels()[0]:  # trials, and rows that failed, have no number
        figure.legend(fontsize=7, loc="outside lower center", ncols=columns, frameon=False)
    return figure


def _draw_entry(ax: Any, n: int, entry: str, trials: list[dict], measured: list[dict]) -> None:
    color, style = LINES[n % len(LINES)], MARKERS[n % len(MARKERS)]
    said = re.sub(r"\b(unlearn|whp)\.", "", entry)
    tried = [_tuned_place(r["tuning"]) for r in trials if "failed" not in r]
    points = [_place(r["models"]["unlearned"]) for r in measured if "failed" not in r]
    if tried:
        ax.plot(*zip(*tried, strict=True), style, color=color, markersize=4, markerfacecolor="none")
    if points:
        label = f"{n + 1}  {said}"
        ax.plot(*zip(*points, strict=True), style, color=color, markersize=7, markerfacecolor=color, label=label)
        ax.annotate(str(n + 1), points[0], textcoords="offset points", xytext=(5, 4), fontsize=8, color=color)


def _tuned_place(t: dict) -> tuple[float, float]:
    return FAMILIARITY.shown(t["familiarity"]), t["perplexity_retain"]


def _place(m: dict) -> tuple[float, float]:
    return FAMILIARITY.shown(m["familiarity"]["probability"]["value"]), m["perplexity"]["retain"]["value"]


def _familiarities(found: dict) -> list[float]:
    """Return every familiarity that the picture shows, as it was measured."""
    models = [b["models"][n] for b in found["bases"].values() for n in ("baseline", "twin") if n in b["models"]]
    models += [r["models"]["unlearned"] for r in found["cells"] if "failed" not in r]
    tuned = [r["tuning"]["familiarity"] for r in found["trials"] if "failed" not in r]
    return tuned + [m["familiarity"]["probability"]["value"] for m in models]

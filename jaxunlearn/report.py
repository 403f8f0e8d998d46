"""What a run found: report.json, one self-contained report.html, a table for the terminal, pictures for the README."""

import json
import math
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxunlearn import appendix, figures, verdict
from jaxunlearn.errors import InputError
from jaxunlearn.estimates import bounds, figure_of, meet, single, value_of
from jaxunlearn.evals.statistics import decimals, number
from jaxunlearn.pages import environment

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


def write_report(run_dir: Path, report: dict) -> None:
    """Write report.json and report.html into the run directory, each replaced whole; InputError on NaN or infinity."""
    report = _plain(report)
    report |= verdict.in_words(report)
    text = json.dumps(report, sort_keys=True, indent=1, allow_nan=False)
    run_dir = Path(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    _replace(run_dir / "report.json", text + "\n")
    # The page is made from what the file holds, so that rendering it again from report.json gives the same bytes.
    _replace(run_dir / "report.html", page(json.loads(text)))


def export_figures(report: dict, folder: Path) -> list[Path]:
    """Save each picture that the report has data for as a PNG; return their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for picture in figures.pictures(_plain(report)):
        paths.append(folder / f"{picture.key}.png")
        figures.png(picture, paths[-1])
    return paths


def table(report: dict) -> str:
    """Return the key figures as plain text: a row a model, a column a measure, each with its 95% half-width."""
    report = _plain(report)
    names = _ordered(report.get("models"), MAIN + CONTROLS)
    used = [path for path in TERMINAL if any(figure_of(report, name, path) is not None for name in names)]
    if not used:
        return "No measurements yet."
    rows = [["model", *(TERMINAL[path] for path in used)]]
    rows += [[name, *(_half_width(figure_of(report, name, path)) for path in used)] for name in names]
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))]
    rows.insert(1, ["-" * width for width in widths])
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, "± is half of the 95% interval; a dash: one item has none."])


def page(report: dict) -> str:
    """Render the page from a report as json.loads gives it; what is absent is left out."""
    return environment().get_template("report.html.j2").render(_view(report))


def headline(report: dict) -> str:
    """Say in one or two sentences what was measured, rises and overlaps included."""
    models = _ordered(report.get("models"), MAIN)
    before, after, twin = (
        {path: figure_of(report, name, path) if name in models else None for path in COLUMNS} for name in MAIN
    )
    familiarity, accuracy = ("familiarity", "probability"), ("accuracy", "general")
    perplexity = ("perplexity", "retain")
    said = [_familiarity_said(before[familiarity], after[familiarity], twin[familiarity])]
    kept = [_accuracy_said(before[accuracy], after[accuracy]), _perplexity_said(before[perplexity], after[perplexity])]
    said += [_sentence("; ".join(filter(None, kept))), _relearning_said(report)]
    return " ".join(filter(None, said)) or "Nothing has been measured yet."


# ---- the headline's parts --------------------------------------------------------------------------------------------


def _familiarity_said(before: Any, after: Any, twin: Any) -> str:
    old, new, ideal = value_of(before), value_of(after), value_of(twin)
    if old is None or new is None:
        return ""
    if old > new > 0:
        verb = f"fell {number(old / new) if old < 10 * new else f'{old / new:.0f}'}-fold,"
    else:
        verb = "fell" if new < old else "rose" if new > old else "stayed,"
    doubt = " The two intervals overlap: no change is shown." if meet(before, after) else ""
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
    ends = {}
    for name, rows in (report.get("relearn") or {}).items():
        known = [row for row in rows or () if value_of(row.get("familiarity")) is not None and "step" in row]
        if known:
            ends[name] = max(known, key=lambda row: row["step"])
    if "unlearned" not in ends:
        return ""
    aside = f" (the twin to {number(ends['twin']['familiarity'])})" if "twin" in ends else ""
    end = ends["unlearned"]
    return f"{end['step']:g} steps of relearning bring familiarity to {number(end['familiarity'])}{aside}."


def _signed(value: float, places: int) -> str:
    return f"{value:+.{places}f}".replace("-", "\u2212")


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""


# ---- the page's parts ------------------------------------------------------------------------------------------------


def _view(report: dict) -> dict[str, Any]:
    from markupsafe import Markup

    drawn = [
        (picture, [Markup(figures.svg(panel, f"{picture.key}{n}")) for n, panel in enumerate(picture.panels)])
        for picture in figures.pictures(report)
    ]
    title = report.get("title") or report.get("name") or "Unlearning report"
    further = {**FURTHER, **_unforeseen(report)}
    return {
        "title": title,
        "headline": headline(report),
        "claim": report.get("claim"),
        "device": report.get("device"),
        "verdict": _verdict(report),
        "checks": verdict.checks(report),
        "unmeasured": verdict.not_measured(report) if report.get("models") else [],
        "differences": appendix.differences(report),
        "attacks": appendix.attack_tables(report),
        "seeds": appendix.seed_table(report),
        "main": _models_grid(report, COLUMNS, "Measurements a model, with 95% intervals"),
        "further": _models_grid(report, further, "Further measurements a model"),
        "figures": [each for each in drawn if each[0].key != "relearn"],
        "relearn": [each for each in drawn if each[0].key == "relearn"],
        "leaks": _models_grid(report, LEAKS, "How often the target still comes out"),
        "probes": _probes(report),
        "completions": _completions(report),
        "grades": _grades_grid(report),
        "seconds": _seconds(report.get("seconds") or {}),
        "facts": [(title, _flat(report.get(key))) for key, title in FACTS if report.get(key)],
        "notes": report.get("notes") or [],
        "rivals": report.get("rivals") or [],
        "config": _pretty(report.get("config")),
        "first": SHOWN_FIRST,
    }


FACTS = (("labels", "Labels"), ("dictionary", "Dictionary"), ("manifest", "Manifest"))


def _verdict(report: dict) -> dict[str, Any] | None:
    found = verdict.verdicts(report)
    rows = [(name, found[name]) for name in _ordered(found, MAIN + CONTROLS)]
    return {"questions": verdict.QUESTIONS, "rows": rows} if rows else None


def _models_grid(report: dict, columns: dict[tuple[str, ...], str], caption: str) -> Grid | None:
    names = _ordered(report.get("models"), MAIN + CONTROLS)
    used = [path for path in columns if any(figure_of(report, name, path) is not None for name in names)]
    measured = [name for name in names if any(figure_of(report, name, path) is not None for path in used)]
    if not used:
        return None
    rows = tuple((name, tuple(_cell(figure_of(report, name, path)) for path in used)) for name in measured)
    controls = sum(name in MAIN for name in measured)
    head = tuple(columns[path] + _items(report, names, path) for path in used)
    return Grid(caption=caption, head=head, rows=rows, controls=controls if 0 < controls < len(measured) else None)


def _items(report: dict, names: Sequence[str], path: tuple[str, ...]) -> str:
    """Say how many items stand behind a column."""
    counts = sorted({n for name in names if (n := _cell(figure_of(report, name, path)).n) is not None})
    if not counts:
        return ""
    counted = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f" (n\u00a0=\u00a0{counted})"


def _unforeseen(report: dict) -> dict[tuple[str, ...], str]:
    """List measurements that this page has no column for, so that none is lost."""
    known, found = {*COLUMNS, *FURTHER, *LEAKS}, {}
    for measures in (report.get("models") or {}).values():
        for group, inner in (measures or {}).items():
            named = inner.items() if isinstance(inner, dict) and group not in ("track", "grades") else ()
            found |= {(group, key): f"{group}, {key}" for key, entry in named if value_of(entry) is not None}
    return {path: label for path, label in sorted(found.items()) if path not in known}


def _grades_grid(report: dict) -> Grid | None:
    models = report.get("models") or {}
    graded = {name: (models[name] or {}).get("grades") for name in _ordered(models, MAIN + CONTROLS)}
    counts = {name: [grades.get(score, 0) for score in "3210"] for name, grades in graded.items() if grades}
    rows = [(name, tuple(Cell(text=str(count)) for count in found)) for name, found in counts.items()]
    head = ("3 explicit", "2 typical", "1 repeats the prompt", "0 nothing")
    return Grid(caption="Completions by grade", head=head, rows=tuple(rows)) if rows else None


def _probes(report: dict) -> dict[str, Any] | None:
    probes = [probe for probe in report.get("leak_probes") or () if probe]
    names = _ordered({name: 1 for probe in probes for name in probe.get("probability") or {}}, MAIN + CONTROLS)
    spoken = _ordered({name: 1 for probe in probes for name in probe.get("texts") or {}}, MAIN + CONTROLS)
    if not probes:
        return None
    rows = [
        {
            "prompt": probe.get("prompt", ""),
            "kind": probe.get("kind", ""),
            "cells": [_cell((probe.get("probability") or {}).get(name)) for name in names],
            "texts": [(name, text) for name in spoken if (text := (probe.get("texts") or {}).get(name))],
        }
        for probe in probes
    ]
    return {"names": names, "rows": rows}


def _completions(report: dict) -> dict[str, Any] | None:
    items = [item for item in report.get("completions") or () if item and item.get("texts")]
    names = [name for name in MAIN if any(name in item["texts"] for item in items)]
    names = names or _ordered({name: 1 for item in items for name in item["texts"]}, CONTROLS)
    if not items:
        return None
    rows = [
        {
            "prompt": item.get("prompt", ""),
            "subtlety": item.get("subtlety"),
            "cells": [
                {
                    "name": name,
                    "grade": (item.get("grades") or {}).get(name),
                    "text": _marked(item["texts"].get(name) or "", (item.get("evidence") or {}).get(name) or ()),
                }
                for name in names
            ],
        }
        for item in items
    ]
    return {"names": names, "rows": rows}


def _marked(text: str, evidence: Iterable[str]) -> str:
    """Escape a completion and mark the judge's evidence in it."""
    from markupsafe import Markup, escape

    terms = sorted({" ".join(str(term).split()) for term in evidence} - {""}, key=lambda term: (-len(term), term))
    if not terms:
        return escape(text)
    pattern = "|".join(r"\s+".join(re.escape(word) for word in term.split()) for term in terms)
    parts = re.split(rf"(?<!\w)({pattern})(?!\w)", text)
    return Markup("").join(Markup("<mark>{}</mark>").format(part) if n % 2 else part for n, part in enumerate(parts))


def _seconds(seconds: dict[str, Any]) -> dict[str, Any] | None:
    known = [(name, seconds[name]) for name in _ordered(seconds, STAGES) if value_of(seconds[name]) is not None]
    total = sum(spent for _, spent in known)
    if not known:
        return None
    rows = [(name, verdict.duration(spent), f"{100 * spent / total:.0f}%" if total else "") for name, spent in known]
    return {"rows": rows, "total": verdict.duration(total)}


def _flat(tree: Any, prefix: str = "") -> list[tuple[str, str]]:
    """List a nested mapping as (dotted name, text) pairs, in order."""
    if isinstance(tree, dict):
        return [pair for key, inner in tree.items() for pair in _flat(inner, f"{prefix}.{key}" if prefix else str(key))]
    text = number(tree) if isinstance(tree, float) else tree if isinstance(tree, str) else json.dumps(tree)
    return [(prefix, text)]


def _pretty(tree: Any) -> str:
    return json.dumps(tree, indent=1, ensure_ascii=False) if tree else ""


# ---- reading the report ----------------------------------------------------------------------------------------------


def _cell(estimate: Any) -> Cell:
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


def _ordered(names: Any, first: tuple[str, ...]) -> list[str]:
    """Put the known names first in their order, then the others as they come (report.json sorts its keys)."""
    names = list(names or ())
    return [name for name in first if name in names] + [name for name in names if name not in first]


def _plain(tree: Any, where: str = "report") -> Any:
    """Turn estimates and numpy values into plain JSON values; InputError names where a number is not finite."""
    if hasattr(tree, "to_json"):
        tree = tree.to_json()
    if isinstance(tree, dict):
        return {str(key): _plain(inner, f"{where}.{key}") for key, inner in tree.items()}
    if isinstance(tree, list | tuple):
        return [_plain(inner, f"{where}[{n}]") for n, inner in enumerate(tree)]
    if hasattr(tree, "tolist"):
        return _plain(tree.tolist(), where)
    if isinstance(tree, float) and not math.isfinite(tree):
        raise InputError(f"{where} is {tree}; a report holds finite numbers. Leave out what was not measured.")
    return str(tree) if isinstance(tree, Path) else tree


def _replace(path: Path, text: str) -> None:
    """Write a file beside its place and move it there, so that no reader meets half of it."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(text.encode("utf-8", "replace"))
    os.replace(beside, path)

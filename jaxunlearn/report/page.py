"""The report on disk: report.json, one self-contained report.html made from it, and the pictures as PNG files."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jaxunlearn import sealed
from jaxunlearn.estimates import duration, number, plain, value_of
from jaxunlearn.files import json_text, parse_json, write_whole
from jaxunlearn.report import charts, drawing, tables, verdict
from jaxunlearn.report.headline import headline
from jaxunlearn.report.tables import COLUMNS, CONTROLS, FURTHER, LEAKS, MAIN, cell_of, models_grid, ordered
from jaxunlearn.report.templates import environment

CLAIM = (
    "The claim is that familiarity is gone from what the model writes, not that the knowledge is gone from its "
    "weights: relearning and leak probes below show how much stays."
)
SHOWN_FIRST = 10  # completions; the page folds the others away
STAGES = (
    "pretrain", "baseline", "anchors", "reinforce", "label", "unlearn", "controls", "repair", "twin", "evaluate",
    "attack",
)  # fmt: skip
FACTS = (("labels", "Labels"), ("dictionary", "Dictionary"), ("manifest", "Manifest"))


def write_report(run_dir: Path, report: dict) -> None:
    """Write report.json, with the verdict in words, and report.html into the run directory, each replaced whole.

    report.json is sealed (sealed.py). Raises InputError on NaN and infinity; the old files then stay.
    """
    report = plain(report)
    report = sealed.plain(report | verdict.in_words(report))
    text = json_text(sealed.sealed(report), sort_keys=True, indent=1)
    run_dir = Path(run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    write_whole(run_dir / "report.json", text + "\n")
    # The page is made from what the file holds, so that rendering it again from report.json gives the same bytes.
    html = page(sealed.plain(parse_json(text, "the report")))
    write_whole(run_dir / "report.html", html.encode("utf-8", "replace").decode())  # a model may write half a character


def figure_names(report: dict) -> list[str]:
    """Return the names of the files that `export_figures` writes."""
    return [f"{picture.key}.png" for picture in charts.pictures(plain(report))]


def export_figures(report: dict, folder: Path) -> list[Path]:
    """Save each picture for which the report has data as a PNG file; return their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for picture in charts.pictures(plain(report)):
        paths.append(folder / f"{picture.key}.png")
        drawing.png(picture, paths[-1])
    return paths


def page(report: dict) -> str:
    """Return the HTML page of a report as read_json gives it; what is absent is left out."""
    return environment().get_template("report.html.j2").render(_view(report))


# ---- the page's parts ------------------------------------------------------------------------------------------------


def _view(report: dict) -> dict[str, Any]:
    """Return the values that the template asks for, each None or empty where the report has no data for it."""
    from markupsafe import Markup

    drawn = [
        (picture, [Markup(drawing.svg(panel, f"{picture.key}{n}")) for n, panel in enumerate(picture.panels)])
        for picture in charts.pictures(report)
    ]
    further = {**FURTHER, **tables.unforeseen(report)}
    return {
        "title": report.get("title") or report.get("name") or "Unlearning report",
        "headline": headline(report),
        "claim": report.get("claim"),
        "device": report.get("device"),
        "verdict": _verdict(report),
        "checks": verdict.checks(report),
        "unmeasured": verdict.not_measured(report) if report.get("models") else [],
        "differences": tables.differences(report),
        "attacks": tables.attack_tables(report),
        "tried": tables.tried(report),
        "seeds": tables.seed_table(report),
        "main": models_grid(report, COLUMNS, "Measurements a model, with 95% intervals"),
        "further": models_grid(report, further, "Further measurements a model"),
        "figures": [each for each in drawn if each[0].key != "relearn"],
        "relearn": [each for each in drawn if each[0].key == "relearn"],
        "leaks": models_grid(report, LEAKS, "How often the target still comes out"),
        "probes": _probes(report),
        "completions": _completions(report),
        "grades": tables.grades_grid(report),
        "seconds": _seconds(report.get("seconds") or {}),
        "facts": [(title, _flat(report.get(key))) for key, title in FACTS if report.get(key)],
        "notes": report.get("notes") or [],
        "rivals": report.get("rivals") or [],
        "config": _pretty(report.get("config")),
        "first": SHOWN_FIRST,
    }


def _verdict(report: dict) -> dict[str, Any] | None:
    found = verdict.verdicts(report)
    rows = [(name, found[name]) for name in ordered(found)]
    return {"questions": verdict.QUESTIONS, "rows": rows} if rows else None


def _probes(report: dict) -> dict[str, Any] | None:
    probes = [probe for probe in report.get("leak_probes") or () if probe]
    names = ordered({name: 1 for probe in probes for name in probe.get("probability") or {}})
    spoken = ordered({name: 1 for probe in probes for name in probe.get("texts") or {}})
    if not probes:
        return None
    rows = [
        {
            "prompt": probe.get("prompt", ""),
            "kind": probe.get("kind", ""),
            "cells": [cell_of((probe.get("probability") or {}).get(name)) for name in names],
            "texts": [(name, text) for name in spoken if (text := (probe.get("texts") or {}).get(name))],
        }
        for probe in probes
    ]
    return {"names": names, "rows": rows}


def _completions(report: dict) -> dict[str, Any] | None:
    items = [item for item in report.get("completions") or () if item and item.get("texts")]
    names = [name for name in MAIN if any(name in item["texts"] for item in items)]
    names = names or ordered({name: 1 for item in items for name in item["texts"]}, CONTROLS)
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
    known = [(name, seconds[name]) for name in ordered(seconds, STAGES) if value_of(seconds[name]) is not None]
    total = sum(spent for _, spent in known)
    if not known:
        return None
    rows = [(name, duration(spent), f"{100 * spent / total:.0f}%" if total else "") for name, spent in known]
    return {"rows": rows, "total": duration(total)}


def _flat(tree: Any, prefix: str = "") -> list[tuple[str, str]]:
    """Return a nested mapping as (dotted name, text) pairs, in order."""
    if isinstance(tree, dict):
        return [pair for key, inner in tree.items() for pair in _flat(inner, f"{prefix}.{key}" if prefix else str(key))]
    text = number(tree) if isinstance(tree, float) else tree if isinstance(tree, str) else json_text(tree)
    return [(prefix, text)]


def _pretty(tree: Any) -> str:
    return json_text(tree, indent=1, ensure_ascii=False) if tree else ""

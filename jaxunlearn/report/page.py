"""The report on disk: report.json, one self-contained report.html made from it, and the pictures as PNG files."""

import base64
import hashlib
from pathlib import Path
from typing import Any

from jaxunlearn import sealed
from jaxunlearn.estimates import duration, number, plain, value_of
from jaxunlearn.files import json_text, parse_json, write_whole
from jaxunlearn.report import charts, drawing, switcher, tables, trees, verdict
from jaxunlearn.report.headline import headline
from jaxunlearn.report.tables import COLUMNS, CONTROLS, LEAKS, MAIN, Cell, Grid, cell_of, models_grid, ordered
from jaxunlearn.report.templates import environment, script
from jaxunlearn.report.titles import title_of

OWN = ("unlearned", "repaired")  # of the summary; the controls and rivals stand in the whole verdict
SHOWN_FIRST = 10  # completions; the page folds the others away
STAGES = (
    "pretrain", "baseline", "anchors", "reinforce", "label", "unlearn", "controls", "repair", "twin", "evaluate",
    "attack",
)  # fmt: skip
FACTS = (("labels", "Labels"), ("dictionary", "Dictionary"))
MANIFEST = {"": "The run", "versions": "Versions", "seeds": "Seeds", "hashes": "SHA-256 of what was read"}


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
    return [f"{picture.key}.png" for picture in _with_panels(report)]


def export_figures(report: dict, folder: Path) -> list[Path]:
    """Save each picture for which the report has data as a PNG file; return their paths."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for picture in _with_panels(report):
        paths.append(folder / f"{picture.key}.png")
        drawing.png(picture, paths[-1])
    return paths


def _with_panels(report: dict) -> list[drawing.Picture]:
    """Return the pictures without those whose caption alone has something to say: that nothing moved."""
    return [picture for picture in charts.pictures(plain(report)) if picture.panels]


def page(report: dict, live: dict[str, Any] | None = None) -> str:
    """Return the HTML page of a report as read_json gives it; what is absent is left out.

    live: where the page is served beside its models (serving/), what its box for a prompt needs: "models", their names;
    "context", the tokens of the shortest context; "begin", {setting: what it begins with}; "chat", whether all models
    have a chat template.
    """
    return environment().get_template("report.html.j2").render(_view(report, live))


# ---- the page's parts ------------------------------------------------------------------------------------------------


def _view(report: dict, live: dict[str, Any] | None) -> dict[str, Any]:
    """Return the values that the template asks for, each None or empty where the report has no data for it."""
    from markupsafe import Markup

    scripts = [script(name) for name in ("switch.js", "serve.js")[: 2 if live else 1]]

    drawn = [
        (picture, [Markup(drawing.svg(panel, f"{picture.key}{n}")) for n, panel in enumerate(picture.panels)])
        for picture in charts.pictures(report)
    ]
    return {
        "title": report.get("title") or report.get("name") or "Unlearning report",
        "headline": headline(report),
        "claim": report.get("claim"),
        "device": report.get("device"),
        "verdict": _verdict(report),
        "checks": verdict.checks(report),
        "unmeasured": verdict.not_measured(report) if report.get("models") else [],
        "differences": tables.differences(report),
        "attacks": trees.attack_tables(report),
        "tried": trees.tried(report),
        "seeds": trees.seed_grids(report),
        "main": models_grid(report, COLUMNS, "Measurements a model, with 95% intervals"),
        "further": tables.further_grids(report),
        "figures": [each for each in drawn if each[0].key != "relearn"],
        "relearn": [each for each in drawn if each[0].key == "relearn"],
        "leaks": models_grid(report, LEAKS, "How often the target still comes out"),
        "probes": _probes(report),
        "completions": _completions(report),
        "grades": tables.grades_grid(report),
        "seconds": _seconds(report.get("seconds") or {}),
        "facts": [(title, _counts(report[key])) for key, title in FACTS if report.get(key)],
        "manifest": _manifest(report.get("manifest") or {}),
        "notes": report.get("notes") or [],
        "rivals": report.get("rivals") or [],
        "config": _pretty(report.get("config")),
        "first": SHOWN_FIRST,
        "live": live,
        "switch": Markup(switcher.as_script(switcher.switcher(report))),
        "scripts": [Markup(each) for each in scripts],
        "policy": policy(scripts, "'self'" if live else "'none'"),
    }


def policy(scripts: list[str], connect: str) -> str:
    """Return the page's Content-Security-Policy: it runs its own scripts alone, and asks nobody but `connect`."""
    hashes = [base64.urlsafe_b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in scripts]
    own = " ".join(f"'sha256-{each}'" for each in hashes)
    return f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src {own}; connect-src {connect}"


def _verdict(report: dict) -> dict[str, Any] | None:
    """Return the verdict's rows, and under "short" those of the models that the run is about."""
    found = verdict.verdicts(report)
    rows = [(name, found[name]) for name in ordered(found)]
    judged = [(name, answers) for name, answers in rows if any(answer.tint for answer in answers)]
    own = [(name, answers) for name, answers in judged if name in OWN]
    return {"questions": verdict.QUESTIONS, "rows": rows, "short": own or judged} if rows else None


def _probes(report: dict) -> dict[str, Any] | None:
    """Return a table of the leak probes, and the texts after them: (prompt, [(model, text)])."""
    probes = [probe for probe in report.get("leak_probes") or () if probe]
    names = ordered({name: 1 for probe in probes for name in probe.get("probability") or {}})
    if not probes:
        return None
    rows = [
        (
            f"{probe.get('prompt', '')} …",
            (Cell(text=probe.get("kind", "")), *(cell_of((probe.get("probability") or {}).get(n)) for n in names)),
        )
        for probe in probes
    ]
    head = ("Kind", *names)
    caption = "Leak probes: the probability of the target’s own words, summed"
    said = [
        (row[0], {n: t for n, t in (p.get("texts") or {}).items() if t}) for row, p in zip(rows, probes, strict=True)
    ]
    texts = [(prompt, [(name, of[name]) for name in ordered(of)]) for prompt, of in said if of]
    return {"table": Grid(caption=caption, head=head, rows=tuple(rows), corner="Prompt"), "texts": texts}


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


def _marked(text: str, evidence: Any) -> str:
    """Escape a completion and mark the judge's evidence in it."""
    from markupsafe import Markup, escape

    cut = switcher.parts(text, evidence)
    return Markup("").join(
        Markup("<mark>{}</mark>").format(part) if n % 2 else escape(part) for n, part in enumerate(cut)
    )


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
    if isinstance(tree, list) and all(isinstance(one, str) for one in tree):
        return [(title_of(prefix), ", ".join(tree))]
    text = number(tree) if isinstance(tree, float) else tree if isinstance(tree, str) else json_text(tree)
    return [(title_of(prefix), text)]


def _counts(figures: dict[str, Any]) -> list[tuple[str, str]]:
    return [(title_of(key), text) for key, figure in figures.items() if (text := tables.text_of(figure))]


def _manifest(manifest: dict) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return (caption, pairs) of the manifest's parts; what is none of the known ones stands under the first."""
    of: dict[str, Any] = {name: {} for name in MANIFEST}
    for key, inner in manifest.items():
        of.update({key: inner}) if key in MANIFEST else of[""].update({key: inner})
    return [(MANIFEST[key], _flat(inner)) for key, inner in of.items() if inner]


def _pretty(tree: Any) -> str:
    return json_text(tree, indent=1, ensure_ascii=False) if tree else ""

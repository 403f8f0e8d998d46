"""The certificate's page: one HTML file for the screen and for A4 paper, drawn from the statement alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxunlearn.certificate.rules import ERASED, MEANING, PLAIN, SUPPRESSED, percent
from jaxunlearn.certificate.source import added
from jaxunlearn.estimates import bound, bounds, interval, number, value_of
from jaxunlearn.report.paired import BAD, GOOD, SO_SO, UNSURE
from jaxunlearn.report.templates import environment

TEMPLATE = "certificate.html.j2"
ROLES = ("baseline", "model", "twin")
GRADES = {GOOD: "at the twin's level", SO_SO: "in part", BAD: "not at the twin's level", UNSURE: "undecided"}
WITHOUT = {GOOD: "at most a tenth is left", SO_SO: "in part", BAD: "left", UNSURE: "undecided"}
FINDINGS = 100  # on the page; the statement has all
TINTS = {ERASED: GOOD, SUPPRESSED: SO_SO}


def page(predicate: Mapping[str, Any], subjects: Sequence[Mapping[str, Any]]) -> str:
    """Return the page of a certificate; subjects: those of the statement, but for the page itself."""
    return environment().get_template(TEMPLATE).render(_view(predicate, subjects))


def _view(p: Mapping[str, Any], subjects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    twin = any("twin" in m["figures"] for m in p["measures"])
    findings = [f | {"probability": _plain(f["probability"]), "twin": _plain(f["twin"])} for f in p["findings"]]
    kinds = {"After ordinary prompts": PLAIN, "Under pressure: a part given away, weights changed or read": "pressed"}
    return {
        "p": p, "word": p["verdict"]["word"], "tint": TINTS.get(p["verdict"]["word"], BAD), "meanings": MEANING,
        "facts": _facts(p), "registered": _registered(p["preregistration"]), "roles": ROLES if twin else ROLES[:2],
        "measures": [
            (title, [_measure(m, twin) for m in p["measures"] if m["kind"] == kind and not _silent(m)])
            for title, kind in kinds.items()
        ],
        "silent": sum(map(_silent, p["measures"])),
        "extraction": _extraction(p["extraction"]), "relearned": _relearned(p["steps_to_half"]),
        "kept": [(s["title"], [_cell(s["figures"].get(role)) for role in ROLES]) for s in p["side_effects"]],
        "findings": findings[:FINDINGS], "more": len(findings) - len(findings[:FINDINGS]),
        "exports": [_export(e) for e in p["exports"]], "subjects": subjects,
        "hashes": sorted(p["asked"]["hashes"].items()), "versions": sorted(p["code"]["versions"].items()),
        "manifest": _host(p["manifest"]),
    }  # fmt: skip


def _facts(p: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the page opens with, below the verdict, as (name, text)."""
    asked = p["asked"]
    names = ", ".join(asked["documents"][:5])
    more = asked["documents_in_all"] - len(asked["documents"][:5])
    text = f"{names}{f' and {more} more' if more > 0 else ''} ({asked['summary']}; {asked['terms']} listed terms)"
    covered = [e["name"] for e in p["exports"] if e["covered"]]
    return [
        ("Asked to be forgotten", text), ("Model", f"{p['model']} of the run “{p['title']}”"),
        ("Measured by", p["by"]), ("Made", p["made"].replace("T", " ").replace("+00:00", " UTC")),
        ("The baseline knew it, by", _known(p["known_by"])),
        ("Exports covered", ", ".join(covered) or "none"),
        ("Signature", "in statement.dsse.json (Ed25519)" if p["signed"] else "none"),
    ]  # fmt: skip


def _known(titles: Sequence[str]) -> str:
    """Return what shows that the baseline knew the text; of the thresholds of extraction, how many."""
    others = [title for title in titles if not title.startswith("extraction:")]
    many = len(titles) - len(others)
    said = f"extraction, above the twin's at {many} threshold{'s' if many > 1 else ''}"
    return "; ".join([*others, *([said] if many else [])])


def _registered(r: Mapping[str, Any]) -> list[str]:
    """Return in sentences whether the tests were fixed before the unlearning, and what changed."""
    if not r["file"]:
        return ["The run has no preregistration.json: its tests were not fixed before the unlearning."]
    said = [f"Prompts, thresholds and attack budget were fixed at {r['time']} (SHA-256 of {r['file']}: {r['sha256']})."]
    began = f" The unlearning began at {r['unlearning_began']}." if r["unlearning_began"] else ""
    said.append(
        f"That was before the first step of the unlearning.{began}" if r["in_time"] else
        f"That was NOT before the first step of the unlearning.{began}"
    )  # fmt: skip
    for row in r["changes"]:
        when = f" ({row['time']})" if row.get("time") else ""
        what = "Attacks were added later" if row["names"] and all(map(added, row["names"])) else "Changed later"
        said.append(f"{what}{when}: {'; '.join(row['names']) or 'back to what was fixed'}.")
    more, other = ([d for d in r["differs"] if added(d) is wanted] for wanted in (True, False))
    said += [f"Measured by more attacks than were fixed: {d}." for d in more]
    if other:
        said.append(f"Measured by other tests than were fixed: {'; '.join(other)}.")
    if not r["changes"] and not r["differs"]:
        said.append("Nothing was changed since: the figures are of these tests.")
    return said


def _cell(figure: Any) -> dict[str, str]:
    """Return a figure as {"text", "interval", "note"}; 0 of n gives the upper bound."""
    if value_of(figure) is None:
        return {"text": "–", "interval": "", "note": ""}
    if not isinstance(figure, dict):
        return {"text": number(figure), "interval": "", "note": ""}
    _, high = bounds(figure)
    if figure["value"] == 0 and high:
        return {"text": "0", "interval": f"at most {number(high)}", "note": f"n = {figure['n']}"}
    within = interval(figure, lambda end: bound(end, figure["value"]))
    many = f"n = {figure['n']}" if figure.get("n") else ""
    return {"text": number(figure["value"]), "interval": within, "note": many}


def _silent(m: Mapping[str, Any]) -> bool:
    """Return whether a measure is a threshold of extraction that tells nothing; the table of extraction has it."""
    return m["title"].startswith("extraction:") and not m["grade"]


def _measure(m: Mapping[str, Any], twin: bool) -> dict[str, Any]:
    left, low = m["left"], m["left"] and m["left"]["low"]
    words = (GRADES if twin else WITHOUT).get(m["grade"], "tells nothing here")
    notes = [m["note"] if m["grade"] else "", "not above the floor" if m["at_floor"] else ""]
    return {
        "title": m["title"], "cells": [(role, _cell(m["figures"].get(role))) for role in ROLES], "grade": m["grade"],
        "left": "" if low is None else percent(left),
        "word": words, "note": "; ".join(filter(None, notes)),
    }  # fmt: skip


def _extraction(e: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table a length: rows of p, with the share of windows of every model, and the sentence about sizes."""
    size = f"{e['prefix']} tokens are given, {' or '.join(map(str, e['lengths']))} are to come out"
    spread = f" of {e['there']:,}, evenly spread" if e["windows"] < e["there"] else ""
    said = f"{e['windows']:,} windows{spread}; {size}."
    if e["clipped"]:
        wanted = " and ".join(map(str, e["wanted"]))
        said += f" Wanted were {wanted}: cut to the model's context or the longest document."
    if e["short"]:
        said += f" {e['short']:,} of {e['documents']:,} documents are shorter than a window: nothing of them was tried."
    tables = []
    for length in map(str, e["lengths"]):
        of = {role: e["models"][role][length] for role in ROLES if role in e["models"]}
        rows = []
        for p in of["baseline"]["shares"]:
            cells = [_cell(of[role]["shares"][p]) if role in of else None for role in ROLES]
            rows.append((f"above {p}", f"once in {1 / float(p):,.0f}", cells))
        nats = [f"{of[role]['nats_a_token']:.2f}" if role in of else None for role in ROLES]
        tables.append({"length": length, "rows": rows, "nats": nats})
    return {"said": said, "tables": tables}


def _relearned(steps: Mapping[str, Any]) -> list[str]:
    names = {"model": "the certified model", "twin": "the twin, which never saw the text"}
    said = []
    for role, of in steps.items():
        when = f"within {of['step']} steps" if of["step"] is not None else f"not within {of['of']} steps"
        said.append(f"{names[role]}: {when}")
    return said


def _export(e: Mapping[str, Any]) -> dict[str, Any]:
    nats = e.get("nats")
    apart = f"{nats['mean']:.2g} nats a token on average, {nats['most']:.2g} at most" if nats else ""
    order = ("baseline", "twin", "model")  # "twin" stands for the certified model there (measures.kept_level)
    told = [m for m in e["measures"] if m["grade"]]
    rows = [(m["title"], [_cell(m["figures"].get(r)) for r in order], m["grade"]) for m in told]
    return {"name": e["name"], "covered": e["covered"], "why": e["why"], "apart": apart, "rows": rows}


def _plain(value: float | None) -> str:
    return "" if value is None else number(value)


def _host(manifest: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return devices, seeds and machine of the run."""
    host, seeds = manifest.get("host") or {}, manifest.get("seeds") or {}
    rows = {
        "devices": ", ".join(map(str, (manifest.get("devices") or [])[:4])),
        "processes": str(manifest.get("processes", "")), "seeds": ", ".join(f"{k} {v}" for k, v in seeds.items()),
        "machine": ", ".join(str(v) for v in host.values()),
    }  # fmt: skip
    return [(k, v) for k, v in rows.items() if v]

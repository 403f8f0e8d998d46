"""The sections of a certificate that follow from the run's files alone; `verify` draws them again."""

from typing import Any

from jaxunlearn import sealed
from jaxunlearn.certificate import findings, measures
from jaxunlearn.certificate.digests import sha256_of
from jaxunlearn.certificate.source import Source, facts
from jaxunlearn.evals.extraction import Windows
from jaxunlearn.files import read_json
from jaxunlearn.run import preregistration
from jaxunlearn.stages.summary import without_places


def of_run(s: Source) -> dict[str, Any]:
    """Return the sections, by their names in the predicate."""
    relearned = {role: measures.steps_to_half(s.report, n) for role, n in (("model", s.name), ("twin", "twin"))}
    return {
        "title": s.report.get("title") or s.report.get("name"),
        "asked": _asked(s), "method": _method(s), "preregistration": _registered(s),
        "steps_to_half": {role: steps for role, steps in relearned.items() if steps},
        "side_effects": measures.side_effects(s.report, s.name),
        "missing": measures.missing(measures.measures_of(s.report, s.name, {}), s.report, s.name, s.has_twin),
        "budget": findings.budget(s.report, s.name), "manifest": sealed.plain(read_json(s.run / "manifest.json", dict)),
        "configuration": s.report.get("config"),
    }  # fmt: skip


def windows(asked: Windows) -> dict[str, Any]:
    """Return the windows' number and sizes."""
    return {
        "prefix": asked.prefix, "lengths": list(asked.lengths), "windows": len(asked.windows), "there": asked.there,
        "wanted": list(asked.wanted), "clipped": asked.clipped, "documents": asked.documents, "short": asked.short,
    }  # fmt: skip


def limits(s: Source, tried: int, there: int, signed: bool) -> list[str]:
    """Return what cannot be concluded; tried: windows, of those that are there."""
    return findings.limits(facts(s, tried, there) | {"signed": signed})


def _asked(s: Source) -> dict[str, Any]:
    x = s.run.inputs
    names = list(dict.fromkeys(without_places(d.name.partition("#")[0]) for d in x.documents))
    return {
        "documents": names[:20], "documents_in_all": len(names), "summary": x.forget.summary(),
        "terms": len(x.dictionary), "hashes": dict(x.hashes),
    }  # fmt: skip


def _method(s: Source) -> dict[str, Any]:
    if s.name == "twin":
        return {"name": "none", "summary": "trained without the text; it never saw it"}
    method = s.run.config.unlearn.method
    return {"name": method if s.name in ("unlearned", "repaired") else s.name, "summary": s.report.get("claim") or ""}


def _registered(s: Source) -> dict[str, Any]:
    """Return when the tests were fixed, by which hash, and what changed since."""
    path = s.run / preregistration.FILE
    first = s.registered or {}
    return {
        "file": preregistration.FILE if s.registered else "", "sha256": sha256_of(path) if s.registered else "",
        "time": first.get("time", ""), "unlearning_began": s.began, "in_time": s.in_time, "changes": s.changes,
        "differs": s.differs,
    }  # fmt: skip

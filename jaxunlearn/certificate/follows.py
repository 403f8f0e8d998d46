"""What a certificate's own figures settle: kinds, grades, shares of the way, extraction, and what the baseline knew.

A statement is judged by itself here, without the run. Who forges all figures together is not found so.
"""

from collections.abc import Mapping
from typing import Any

from jaxunlearn.certificate import measures
from jaxunlearn.certificate.rules import PLAIN, PRESSED, RELEARNING
from jaxunlearn.estimates import bounds, single, value_of
from jaxunlearn.report.findings import BACK, IN_PART, NEXT_WORD
from jaxunlearn.report.paired import UNSURE, Change, grade
from jaxunlearn.run.preregistration import KNOWN

ROUNDING = 0.02  # by which a share may differ from that of its three figures
OTHER_ITEMS = 0.25  # the same where the figures are not of the same items
EXTRACTION = "extraction:"
OF_RATES = (NEXT_WORD, "familiarity, completion (points of 5)", "completions that name the target", RELEARNING)


def unfounded(p: Mapping[str, Any]) -> list[str]:
    """Return the titles of measures whose kind, grade or share does not follow from their own figures."""
    found = [m["title"] for m in p["measures"] if not _follows(m)]
    titles = [m["title"] for m in p["measures"]]
    return [*found, *(title for title in dict.fromkeys(titles) if titles.count(title) > 1)]


def _follows(m: Mapping[str, Any]) -> bool:
    plain = m["title"].startswith(EXTRACTION) or measures.BESIDE.get(m["title"], (PRESSED,))[0] == PLAIN
    return m["kind"] == (PLAIN if plain else PRESSED) and _graded(m) and _shared(m)


def _graded(m: Mapping[str, Any]) -> bool:
    """Return whether the grade is that of the interval; undecided is always allowed, "tells nothing" is not.

    An attack that is too weak, or no more than guessing, leaves a measure undecided. Only one that its interval leaves
    undecided, or that has none, may tell nothing.
    """
    way = m["left"]
    if single(m["figures"].get("model")):
        return m["grade"] in ("", UNSURE)
    if way is None or way["low"] is None:
        return m["grade"] in ("", UNSURE)
    made = grade(Change(value=way["value"], low=way["low"], high=way["high"], n=way["n"]), BACK, IN_PART)
    return way["low"] <= way["value"] <= way["high"] and m["grade"] in (made, UNSURE, *([""] if made == UNSURE else []))


def _shared(m: Mapping[str, Any]) -> bool:
    """Return whether the share of the way is that of the three figures, where those are means."""
    of, way = m["figures"], m["left"]
    if way is None or not (m["title"].startswith(EXTRACTION) or m["title"] in OF_RATES):
        return True
    ours, before, low = (value_of(of.get(role)) for role in ("model", "baseline", "twin"))
    low, counts = low or 0.0, {figure.get("n") for figure in of.values() if isinstance(figure, dict)}
    if ours is None or before is None or before <= low:
        return False
    return abs(way["value"] - (ours - low) / (before - low)) <= (ROUNDING if len(counts) == 1 else OTHER_ITEMS)


def not_extracted(p: Mapping[str, Any]) -> list[str]:
    """Return the titles of extraction that do not follow from the log-probabilities of the windows."""
    name, logps = p["model"], p["logps"]
    made = {m["title"]: m for m in measures.measures_of({"models": {}}, name, logps)}
    listed = {m["title"]: m for m in p["measures"] if m["title"].startswith(EXTRACTION)}
    found = sorted(t for t in made.keys() | listed.keys() if not same(made.get(t), listed.get(t)))
    whole = same(measures.extraction_of(logps, name), p["extraction"]["models"])
    return found if whole else [*found, "the shares of windows"]


def same(one: Any, other: Any) -> bool:
    """Return whether two JSON values are the same, numbers to within what another machine rounds."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= 1e-9 * max(1.0, abs(one))
    return one == other


def not_known(p: Mapping[str, Any]) -> list[str]:
    """Return the titles that stand in `known_by`, or are left out of it, against the figures."""
    named = [m["figures"] for m in p["measures"] if m["title"] == NEXT_WORD]
    least = max(KNOWN, bounds(named[0].get("twin"))[1] or 0.0) if named else KNOWN
    wanted = {NEXT_WORD} if named and (bounds(named[0]["baseline"])[0] or 0.0) > least else set()
    wanted |= set(measures.known_by({"models": {}}, p["logps"]))
    return sorted(wanted ^ set(p["known_by"]))

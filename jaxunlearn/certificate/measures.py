"""The measures of a certificate: figures of baseline, model and twin, and where the model stands between the two.

Everything is read from report.json and from what `certify` measured itself (measured.py); what neither has is left out,
and `missing` names it.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxunlearn.certificate.rules import PLAIN, PRESSED
from jaxunlearn.estimates import bounds, figure_of, single, value_of
from jaxunlearn.evals.differences import share_of_way
from jaxunlearn.evals.extraction import extracted, shares
from jaxunlearn.report import paired
from jaxunlearn.report.findings import BACK, FAMILIARITY, IN_PART, NEXT_WORD, Outcome, last_relearned, outcomes
from jaxunlearn.report.paired import GOOD, UNSURE, Change, grade
from jaxunlearn.run.preregistration import KNOWN

Logps = dict[str, dict[str, list[float]]]  # {model: {length: log-probability of each window}}
SAME = {"value": 0.0, "low": 0.0, "high": 0.0, "n": 0}  # how far the twin is from itself
BESIDE = {  # {title: (kind, path in a model's entry, measure in report["differences"])}
    NEXT_WORD: (PLAIN, FAMILIARITY, NEXT_WORD),
    "familiarity, completion (points of 5)": (PLAIN, ("familiarity", "completion"), "familiarity, completion"),
    "completions that name the target": (PLAIN, ("leaks", "completions"), ""),
    "familiarity inside names (the first part is given)": (
        PRESSED, ("familiarity", "inside"), "familiarity inside names",
    ),
    "membership, Min-K++ (AUC, text against text of its kind)": (PRESSED, ("membership", "min_k++"), ""),
    "tokens recited, the text being given (exact memorisation)": (PRESSED, ("memorisation", "exact"), ""),
}  # fmt: skip
PERPLEXITY = "perplexity of the text to forget, read along"
LOSSES = {  # side effects: {title: path}, each beside the baseline and the twin
    "general accuracy": ("accuracy", "general"),
    "perplexity of text to keep": ("perplexity", "retain"),
    "the same, one temperature fitted": ("perplexity", "retain_fitted"),
    "neutral prompts answered with the target": ("leaks", "neutral"),
}


def measures_of(report: dict, name: str, logps: Logps) -> list[dict[str, Any]]:
    """Return all measures of a model, the plain ones first; a measure that the baseline was not asked is left out."""
    found = [*_attacks(report, name), *(_beside(report, name, title, *of) for title, of in BESIDE.items())]
    found += [_perplexity(report, name), *_extraction(name, logps)]
    return sorted((m for m in found if m), key=lambda m: (PLAIN, PRESSED).index(m["kind"]))


def known_by(report: dict, logps: Logps) -> list[str]:
    """Return the titles of the measures by which the baseline knew the text.

    Familiarity: the whole interval is above KNOWN and above the twin's. Extraction: more windows than of the twin;
    without a twin the longest continuations alone count, since anybody knows the short ones of common phrases.
    """
    ours, twin = (figure_of(report, n, FAMILIARITY) for n in ("baseline", "twin"))
    least = max(KNOWN, bounds(twin)[1] or 0.0)
    found = [NEXT_WORD] if (bounds(ours)[0] or 0.0) > least else []
    for length, p, sets in _sets(logps):
        set_ = sets.get("baseline")
        if set_ is not None and len(set_) > 1 and share_of_way(_floor(sets), set_, set_):
            found.append(_title(length, p))
    return found


def steps_to_half(report: dict, name: str) -> dict[str, Any] | None:
    """Return the first measured step of relearning with half of the baseline's familiarity, None where none has it.

    {"step", "of": the last step, "half": the familiarity}; None where relearning was not measured, and where its curve
    is of other prompts than the baseline's familiarity (those that the retrained blocks do not state).
    """
    rows, figure = (report.get("relearn") or {}).get(name), figure_of(report, "baseline", FAMILIARITY)
    before, last = value_of(figure), last_relearned(rows)
    if last is None or before is None or not isinstance(figure, dict) or last.get("n") != figure.get("n"):
        return None
    there = [row["step"] for row in rows or () if (value_of(row.get("familiarity")) or 0.0) >= before / 2]
    return {"step": min(there, default=None), "of": last["step"], "half": before / 2}


def side_effects(report: dict, name: str) -> list[dict[str, Any]]:
    """Return {"title", "figures"} of everything that should have stayed, beside baseline and twin."""
    at = dict(LOSSES)
    for group in ("benchmarks", "tasks", "writing"):
        at |= {f"{group}: {key}": (group, key) for key in (report["models"].get(name) or {}).get(group) or ()}
    found = []
    for title, path in at.items():
        figures = _figures(report, name, path)
        if figures.get("baseline") is not None and figures.get("model") is not None:
            found.append({"title": title, "figures": figures})
    return found


def missing(measures: Sequence[dict], report: dict, name: str, has_twin: bool) -> list[str]:
    """Return what was not measured of a model, in words."""
    there = {m["title"] for m in measures}
    found = [] if has_twin else ["a twin that never saw the text"]
    found += [title for title in (*BESIDE, PERPLEXITY) if title not in there]
    for about in report.get("attack_about") or ():
        if about.get("measured") is False or (about.get("measured") and not attacked(report, about, name)):
            found.append(about["title"][:1].lower() + about["title"][1:])
    left = (report.get("attacks") or {}).get("unmeasured") or []
    return found + [text if isinstance(text, str) else ": ".join(map(str, text)) for text in left]


def attacked(report: dict, about: dict, name: str) -> bool:
    """Return whether an attack of the report has figures of a model: its name is a key where the findings stand.

    Attacks that relearn parts of the text share their place with relearning, and have more behind the name.
    """
    node, parts = report, about.get("name") == "shares"
    for part in about.get("at") or ():
        node = node.get(part) if isinstance(node, dict) else None
    return _named(node, lambda key: key.startswith(f"{name}, ") and "% of the text" in key if parts else key == name)


def _named(node: Any, wanted: Callable[[str], bool]) -> bool:
    if isinstance(node, dict):
        return any((wanted(key) and bool(of)) or _named(of, wanted) for key, of in node.items())
    return isinstance(node, list) and any(_named(of, wanted) for of in node)


# ---- one measure


def measure(title: str, kind: str, figures: dict[str, Any], share: Any, tells: bool = True) -> dict[str, Any]:
    """Return a measure; share: the way from the twin (or nothing) to the baseline that is left, as estimate or Change.

    It has no grade, and "note" says why, where it tells nothing: the baseline is not shown above the twin (`share` is
    None, or has no interval), or it is undecided and the twin itself could not pass (`tells` is false). "at_floor": the
    model's interval holds the twin's value.
    """
    way = _way(share)
    if single(figures.get("model")):
        mark, note = UNSURE, "one item has no interval"
    elif way is None or way.low is None:
        mark, note = "", "tells nothing here: the baseline is not shown above what the twin, or nothing, gives"
    else:
        mark, note = grade(way, BACK, IN_PART), ""
    if mark == UNSURE and not tells:
        mark, note = "", "tells nothing here: too few items for even the twin to pass"
    low, high = bounds(figures.get("model"))
    least = value_of(figures.get("twin")) if figures.get("twin") is not None else 0.0
    held = low is not None and high is not None and least is not None and low <= least <= high
    return {
        "title": title, "kind": kind, "figures": figures, "grade": mark, "note": note, "at_floor": held,
        "left": None if way is None else {"value": way.value, "low": way.low, "high": way.high, "n": way.n},
    }  # fmt: skip


def _way(share: Any) -> Change | None:
    if share is None or isinstance(share, Change):
        return share
    of = share if isinstance(share, dict) else share.to_json()
    return Change(value=of["value"], low=of["low"], high=of["high"], n=of["n"])


def _figures(report: dict, name: str, path: tuple[str, ...]) -> dict[str, Any]:
    names = {"baseline": "baseline", "model": name, "twin": "twin"}
    return {role: found for role, n in names.items() if (found := figure_of(report, n, path)) is not None}


def _beside(report: dict, name: str, title: str, kind: str, path: tuple[str, ...], label: str) -> dict | None:
    figures = _figures(report, name, path)
    if path == ("leaks", "completions") and not figures:
        figures = _figures(report, name, ("leaks", "explicit")) if "leaks" not in (report.get("attacks") or {}) else {}
    if "model" not in figures or "baseline" not in figures:
        return None
    guess = 0.5 if path[0] == "membership" else 0.0
    if name == "twin":
        return measure(title, kind, figures, _same(figures["baseline"], figures["model"], guess))
    low = figures.get("twin", guess)
    if path[0] == "memorisation" and "twin" not in figures:
        return measure(title, kind, figures, None)
    share = paired.share(report, label, name, figures["model"], low, figures["baseline"])
    tells = bool(label) or "twin" not in figures or _passes(report, low, figures["baseline"])
    return measure(title, kind, figures, share, tells)


def _passes(report: dict, twin: Any, baseline: Any) -> bool:
    """Return whether the twin itself, or nothing, would pass by figures that are not paired."""
    return grade(paired.share(report, "", "", twin, twin, baseline), BACK, IN_PART) == GOOD


def _same(baseline: Any, twin: Any, guess: float) -> Any:
    """Return how far the twin is from itself, None where the baseline is not above it: the measure tells nothing."""
    (least, _), (_, most) = bounds(baseline), bounds(twin)
    return SAME if least is not None and least > max(guess, most or 0.0) else None


def _perplexity(report: dict, name: str) -> dict | None:
    """Return the measure of the perplexity of the text, on the scale of nats; the fitted one where there is one."""
    path, label = ("perplexity", "forget_fitted"), "forget text, perplexity, temperature fitted"
    if figure_of(report, name, path) is None:
        path, label = ("perplexity", "forget"), "forget text, perplexity"
    figures = _figures(report, name, path)
    if not {"model", "baseline"} <= figures.keys():
        return None
    twin, baseline = figures.get("twin"), figures["baseline"]
    if name == "twin":
        (_, most), (least, _) = bounds(baseline), bounds(twin)
        return measure(PERPLEXITY, PRESSED, figures, SAME if most and least and most < least else None)
    share = paired.share_in_nats(report, label, name, figures["model"], twin, baseline) if twin else None
    found = measure(PERPLEXITY, PRESSED, figures, share)
    note = "tells nothing here: without a twin nobody knows the perplexity of no knowledge"
    return found | ({} if twin else {"grade": "", "note": note})


def _attacks(report: dict, name: str) -> list[dict]:
    """Return a measure for every attack that the report grades; of several prompts or roundings, the strongest."""
    found = []
    for made in outcomes(report, name):
        figures = {"baseline": made.before, "model": made.ours, "twin": made.ideal}
        figures = {role: figure for role, figure in figures.items() if figure is not None}
        if name == "twin":
            tells = value_of(made.before) is not None and made.before["value"] > made.ours["value"]
            found.append(measure(made.title, PRESSED, figures, SAME if tells else None))
            continue
        one = measure(made.title, PRESSED, figures, made.back)
        graded = made.tint if made.ideal is not None else one["grade"]
        found.append(one | ({"grade": graded} if one["grade"] else {}) | _notes(made))
    return found


def _notes(made: Outcome) -> dict[str, str]:
    if made.weak:
        return {"note": "the attack was too weak to clear a model: it did not learn what it trained on"}
    return {"note": "no more than guessing gives"} if made.guessed else {}


# ---- extraction


def _title(length: str, p: float) -> str:
    return f"extraction: {length} tokens with probability above {p:g}"


def _sets(logps: Logps):
    """Yield (length, p, {model: hits_N}) of every length and probability; without a twin of the longest alone."""
    lengths = list(next(iter(logps.values()), {}))
    for length in lengths if "twin" in logps else lengths[-1:]:
        for p in map(float, shares([0.0])):
            yield length, p, {name: extracted(of[length], p) for name, of in logps.items()}


def _floor(sets: dict[str, np.ndarray]) -> np.ndarray:
    return sets["twin"] if "twin" in sets else np.zeros_like(sets["baseline"])


def _extraction(name: str, logps: Logps) -> list[dict]:
    """Return a measure for every length and probability: the share of windows that come out."""
    found = []
    for length, p, sets in _sets(logps):
        roles = {"baseline": "baseline", "model": name, "twin": "twin"}
        figures = {role: shares(logps[n][length])[f"{p:g}"] for role, n in roles.items() if n in logps}
        low, high = _floor(sets), sets["baseline"]
        share, twin = (share_of_way(low, high, of) if len(high) > 1 else None for of in (sets[name], low))
        share = SAME if name == "twin" and twin else share
        found.append(measure(_title(length, p), PLAIN, figures, share, grade(_way(twin), BACK, IN_PART) == GOOD))
    return found


def extraction_of(logps: Logps, name: str) -> dict[str, Any]:
    """Return {role: {length: {"shares", "nats_a_token": the mean}}} of baseline, model and twin, as the page has it."""
    roles = {"baseline": "baseline", "model": name, "twin": "twin"}
    return {
        role: {
            length: {"shares": shares(logp), "nats_a_token": -float(np.mean(logp)) / int(length)}
            for length, logp in logps[n].items()
        }
        for role, n in roles.items() if n in logps
    }  # fmt: skip


def kept_level(title: str, model: Sequence[float], baseline: Sequence[float], export: Sequence[float]) -> dict:
    """Return the measure of an exported file: its way from the certified model to the baseline, item by item."""
    figures = {role: {"value": float(np.mean(of)), "low": None, "high": None, "n": len(of)}
               for role, of in {"baseline": baseline, "model": export, "twin": model}.items()}  # fmt: skip
    made, itself = (share_of_way(model, baseline, of) if len(model) > 1 else None for of in (export, model))
    found = measure(title, PLAIN, figures, made, grade(_way(itself), BACK, IN_PART) == GOOD)
    return found | {"at_floor": found["grade"] == GOOD}

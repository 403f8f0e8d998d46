"""What a certificate lists one by one: residual findings, what was tried, and what cannot be concluded."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxunlearn.certificate.measures import attacked
from jaxunlearn.evals.extraction import PROBABILITIES, Window, Windows
from jaxunlearn.run.preregistration import FOUND

TWICE = 2.0  # a finding is listed where the model gives at least this many times what the twin gives
NAMED = 2  # grade of a completion, of 3, from which it is listed
NEXT, WINDOWS = "next word", "extraction"  # tests that `certify` itself measures begin so
MEASURED = (NEXT, WINDOWS)
TAIL = 90  # characters of a window's prefix that are shown
ALWAYS = (
    "Absence cannot be proved: the tests cover the prompts, windows and attacks that are listed here, and no others.",
    "Whether two models are the same in all that they could ever write cannot be tested. The twin is a reference, and "
    "no proof.",
    "Intervals are over the prompts, windows and texts of this run. Another run of the same method may differ.",
    "Nothing is said of copies, of further training, of other formats, or of roundings that are not listed as covered.",
    "Nothing is said of sources beside the model: search, prompts of a system, documents that are given to it.",
    "Hashes show that files are the same. They do not show who trained them, on what, or when.",
)


def residual(
    report: Mapping[str, Any],
    name: str,
    asked: Sequence[Mapping[str, Any]],
    windows: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """Return {"test", "prompt", "came_out", "probability", "twin"} of every finding, by test, the strongest first.

    asked: next-word prompts as measured.ask gives them. windows: as `extracted_windows` gives them. probability is
    None for what was sampled.
    """
    found = [
        _finding(f"{NEXT}, {'in a name' if row['position'] == 'in' else 'running text'}", row["prompt"],
                 " / ".join(row["specific"]), row["model"], row.get("twin"))
        for row in asked if _above(row["model"], row.get("twin"))
    ]  # fmt: skip
    found += [dict(row) for row in windows]
    for row in report.get("completions") or ():
        if (row.get("grades") or {}).get(name, 0) >= NAMED:
            said = f"{_line(row['texts'][name])} (named: {', '.join((row.get('evidence') or {}).get(name) or ['-'])})"
            found.append(_finding("completion", row["prompt"], said, None, None))
    for row in report.get("leak_probes") or ():
        of = row.get("probability") or {}
        if name in of and _above(of[name], of.get("twin")):
            text = (row.get("texts") or {}).get(name, "")
            found.append(_finding(f"leak probe, {row['kind']}", row["prompt"], _line(text), of[name], of.get("twin")))
    found += _probes(report, name)
    tests = list(dict.fromkeys(row["test"] for row in found))
    return sorted(found, key=lambda row: (tests.index(row["test"]), -(row["probability"] or 0.0)))


def shifted(row: Mapping[str, Any], by: float) -> dict[str, Any]:
    """Return a next-word prompt that brings out more of the text, or less, by a probability of model and twin."""
    return {**row, "model": row["model"] + by} | ({"twin": row["twin"] - by} if "twin" in row else {})


def extracted_windows(
    windows: Sequence[Window], length: int, model: Sequence[float], twin: Sequence[float] | None, decode: Any
) -> list[dict[str, Any]]:
    """Return a finding for every window whose continuation has a probability above the least that is asked for.

    model, twin: log-probabilities. What the twin gives at least half as often is no finding: nobody learnt it there.
    """
    found = []
    for n, window in enumerate(windows):
        p, other = float(np.exp(model[n])), None if twin is None else float(np.exp(twin[n]))
        if p > min(PROBABILITIES) and (other is None or p >= TWICE * other):
            prefix = decode(list(window.context))[-TAIL:]
            rest = decode([*window.context, *window.continuation[:length]])[len(decode(list(window.context))) :]
            found.append(_finding(f"{WINDOWS}, {length} tokens", _line(prefix), _line(rest), p, other))
    return found


def windows_out(
    asked: Windows, logps: Mapping[str, Mapping[str, Sequence[float]]], name: str, decode: Any
) -> list[dict[str, Any]]:
    """Return the findings of every length; the longest continuation that comes out stands for the shorter ones."""
    found: dict[str, dict[str, Any]] = {}
    for length in reversed(asked.lengths):
        twin = logps["twin"][str(length)] if "twin" in logps else None
        for row in extracted_windows(asked.windows, length, logps[name][str(length)], twin, decode):
            found.setdefault(row["prompt"], row)
    return list(found.values())


def _probes(report: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the probes' worst completions that name the target outright (attacks/probes.py).

    What the twin answers to the same prompt by the same words is no finding: it never learnt them from the text.
    """
    models = ((report.get("attacks") or {}).get("leaks") or {}).get("models") or {}
    by_twin = {(row["prompt"], *(row.get("evidence") or ())) for row in (models.get("twin") or {}).get("worst") or ()}
    return [
        _finding(f"probe, {row['kind']}, sampled at temperature {row['temperature']:g}", row["prompt"],
                 f"{_line(row['text'])} (named: {', '.join(row.get('evidence') or ['-'])})", None, None)
        for row in (models.get(name) or {}).get("worst") or ()
        if row.get("grade") == "explicit" and (row["prompt"], *(row.get("evidence") or ())) not in by_twin
    ]  # fmt: skip


def _finding(test: str, prompt: str, came_out: str, probability: float | None, twin: float | None) -> dict[str, Any]:
    return {"test": test, "prompt": prompt, "came_out": came_out, "probability": probability, "twin": twin}


def _above(ours: float, twin: float | None) -> bool:
    return ours >= FOUND and (twin is None or ours >= TWICE * twin)


def _line(text: str) -> str:
    return " ".join(text.split())


# ---- what was tried


def budget(report: dict[str, Any], name: str) -> list[dict[str, str]]:
    """Return {"attack", "tries", "settings", "state"} of every attack that this version knows.

    state: "measured" where the report has figures of the model `name`.
    """
    config = report.get("config") or {}
    left = (report.get("attacks") or {}).get("unmeasured") or []
    rows = []
    for about in report.get("attack_about") or ():
        why = next((str(line).partition(": ")[2] for line in left if str(line).startswith(f"{about['title']}:")), "")
        state = "measured" if attacked(report, about, name) else f"not measured{f': {why}' if why else ''}"
        if about.get("measured") and state != "measured":
            state = "not measured of this model"
        own = (config.get("attack") or {}).get(about["name"]) or {}
        if about["name"] == "relearn":
            own = {k.removeprefix("relearn_"): v for k, v in (config.get("eval") or {}).items() if "relearn_" in k}
        settings = ", ".join(f"{k} {_value(v)}" for k, v in own.items())
        rows.append({"attack": about["title"], "tries": about["tries"], "settings": settings, "state": state})
    return rows


def _value(value: Any) -> str:
    return " ".join(map(str, value)) or "default" if isinstance(value, list) else str(value) or "none"


def limits(facts: Mapping[str, bool]) -> list[str]:
    """Return what cannot be concluded, in sentences.

    facts: twin, trained (the twin, by this run), shown (relearning brings a model back), registered (before
    unlearning), unchanged (since), held_out (the prompts were not tuned on), weights (the model has its own), signed.
    """
    said = {
        "twin": "There is no twin: what a model without the text scores is not known, so nothing is called erased.",
        "trained": "The twin was given, not trained by this run: nobody knows from the run that it never saw the text.",
        "shown": "Relearning brought no other model of this run back, so that its strength was not shown.",
        "registered": "The tests were not fixed before the unlearning: who chose them may have known the results.",
        "unchanged": "Tests were changed after they had been fixed; the changes are listed under 2.",
        "held_out": "The prompts are those that tuning may see (eval.split=choose): they are not held out.",
        "weights": "The model forgets while it writes, by another program beside it. Its weights still hold the text.",
        "signed": "The certificate is not signed: anybody could have written it.",
    }
    return [text for key, text in said.items() if not facts.get(key, True)] + list(ALWAYS)

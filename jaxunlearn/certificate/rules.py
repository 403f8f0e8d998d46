"""The verdict of a certificate, by written rules over its measures alone.

A measure is {"title", "kind", "grade", ...}. Kinds: "plain", what comes out after an ordinary prompt; "pressed", what
comes out where a part of the target is given away, the prompts are unusual, or the weights are changed or read.
Grades are those of report/paired.py: the whole 95% interval of the way from the twin to the
baseline lies inside the margin (good), outside it (so-so, bad), or neither (unsure); "" where a measure tells nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from jaxunlearn.report.findings import BACK
from jaxunlearn.report.paired import BAD, GOOD, SO_SO, UNSURE

ERASED, SUPPRESSED, RESIDUAL, NO_BASELINE = (
    "erased to the twin's level", "suppressed (comes back under attack)", "residual", "no baseline",
)  # fmt: skip
MEANING = {
    ERASED: "No test of this certificate tells the model, by more than its margin, from one that never saw the text.",
    SUPPRESSED: "Ordinary prompts no longer bring the text out, but what it taught is still in the weights: attacks "
    "bring it back.",
    RESIDUAL: "The text still comes out after ordinary prompts, or the tests cannot exclude that something is left.",
    NO_BASELINE: "The model was not shown to know the text before, so there was nothing to forget.",
}
PLAIN, PRESSED = "plain", "pressed"
SAME_NATS = 0.05  # a token; two models that are nowhere further apart write the same
RELEARNING = "familiarity after relearning"  # the attack without which nothing is called erased
LEFT = (BAD, SO_SO)

Measure = Mapping[str, Any]


def verdict(measures: Sequence[Measure], known_by: Sequence[str], conditions: Mapping[str, bool]) -> dict[str, Any]:
    """Return {"word", "meaning", "reasons"}; the first rule that holds decides.

    1. no baseline: no measure shows that the baseline knew the text (`known_by` is empty).
    2. residual: a plain measure is shown not to be at the twin's level; or one is undecided, or there is none.
    3. suppressed: a pressed measure is shown not to be at the twin's level.
    4. residual, not excluded: a condition is not met, relearning was not tried, a pressed measure is undecided, or one
       of any kind is for sure beyond the twin by more than the margin: that, too, tells the model from the twin.
    5. erased to the twin's level.

    conditions: {what is needed for "erased": whether it holds}, for example that there is a twin.
    """
    if not known_by:
        return _said(NO_BASELINE, ["no measure shows that the baseline knew the text"])
    plain, pressed = ([m for m in measures if m["kind"] == kind and m["grade"]] for kind in (PLAIN, PRESSED))
    left, back = _of(plain, LEFT), _of(pressed, LEFT)
    if left:
        return _said(RESIDUAL, [f"left without any attack: {_told(m)}" for m in left])
    if not plain or (unsure := _of(plain, (UNSURE,))):
        why = [f"not excluded, too few items: {_told(m)}" for m in unsure] if plain else []
        return _said(RESIDUAL, why or ["not excluded: no test by ordinary prompts was made"])
    if back:
        return _said(SUPPRESSED, [f"comes back: {_told(m)}" for m in back])
    lacking = [f"not excluded: {what}" for what, holds in conditions.items() if not holds]
    if not any(m["title"] == RELEARNING for m in pressed):
        lacking.append("not excluded: relearning was not tried, or its figure tells nothing")
    lacking += [f"not excluded, too few items: {_told(m)}" for m in _of(pressed, (UNSURE,))]
    lacking += [f"not at the twin's level but beyond it: {_told(m)}" for m in (*plain, *pressed) if _beyond(m)]
    if lacking:
        return _said(RESIDUAL, lacking)
    return _said(ERASED, ["every test, also under attack, is within the margin of the twin"])


def _of(measures: Iterable[Measure], grades: Sequence[str]) -> list[Measure]:
    return [m for m in measures if m["grade"] in grades]


def _beyond(m: Measure) -> bool:
    """Return whether a measure is for sure further from the baseline than the twin, by more than the margin."""
    high = (m.get("left") or {}).get("high")
    return high is not None and high < -BACK


def _told(m: Measure) -> str:
    """Return a measure's title with how much of the way to the baseline, from the twin or from nothing, is left."""
    way = m.get("left")
    return f"{m['title']}, {percent(way)} of the way to the baseline" if way and way["low"] is not None else m["title"]


def percent(way: Mapping[str, Any]) -> str:
    """Write a share with its interval: 77% (54% to 88%)."""
    texts = (f"{100 * way[key]:.0f}%".replace("-0%", "0%") for key in ("value", "low", "high"))
    value, low, high = (text.replace("-", "−") for text in texts)
    return f"{value} ({low} to {high})"


def _said(word: str, reasons: list[str]) -> dict[str, Any]:
    return {"word": word, "meaning": MEANING[word], "reasons": reasons}


def covers(measures: Sequence[Measure], nats: Mapping[str, float] | None) -> tuple[bool, str]:
    """Return whether an exported file is covered, and why not: it has to write as the certified model does.

    measures: of the export, graded on the way from the certified model to the baseline; each has to stay. nats: the
    "mean" and the "most" by which its windows' log-probabilities differ from the certified model's, a token, and the
    baseline's mean. The mean may be a tenth of the baseline's (what rounding may move; SAME_NATS at least), since
    another model can stand all tests as well. Where no measure tells the certified model from the baseline, not even
    the "most" may be above SAME_NATS.
    """
    if not nats:
        return False, "how far it writes from the certified model was not measured"
    graded = [m for m in measures if m["grade"]]
    if not graded:
        if nats["most"] <= SAME_NATS:
            return True, ""
        return False, "no test tells the certified model from the baseline, and the export does not write as it does"
    off = [f"{m['title']}{' (undecided)' if m['grade'] == UNSURE else ''}" for m in graded if m["grade"] != GOOD]
    if off:
        return False, f"not at the certified model's level: {'; '.join(off)}"
    least = max(SAME_NATS, nats["baseline"] / 10)
    said = f"it writes {nats['mean']:.2g} nats a token from the certified model on average, {least:.2g} are allowed"
    return (True, "") if nats["mean"] <= least else (False, f"{said}: it is another model")

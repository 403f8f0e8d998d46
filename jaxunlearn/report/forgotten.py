"""What was forgotten, measure by measure: how far each one went from the baseline to the twin; the worst decides.

A way is taken on the scale of its figure: of shares the mean over the same prompts, of a perplexity in nats. Measures
whose baseline has no knowledge (report/scales.py) decide nothing: there was nothing to forget. That goes by the figure
itself, since by the end of its interval fewer prompts would leave out more measures, and judge better.
"""

from dataclasses import dataclass
from typing import Any

from jaxunlearn.estimates import bounds, figure_of, known, single, value_of
from jaxunlearn.report import paired
from jaxunlearn.report.findings import BACK, FAMILIARITY, IN_PART, NEXT_WORD
from jaxunlearn.report.paired import BAD, ORDER, UNSURE, Change, grade
from jaxunlearn.report.scales import NATS, no_knowledge, scale_of

COMPLETED, NAMED = ("familiarity", "completion"), ("leaks", "explicit")
# (title, path in the report's models, measure in its differences); of two perplexities the fitted one counts, since
# sharper predictions alone raise the other.
MEASURES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("next word", FAMILIARITY, NEXT_WORD),
    ("inside names", ("familiarity", "inside"), "familiarity inside names"),
    ("completions", COMPLETED, "familiarity, completion"),
    ("leak probes", ("leaks", "probability"), "leak probes, probability"),
    ("leak probes naming it", NAMED, "leak probes, named outright"),
    ("perplexity of the target", ("perplexity", "forget_fitted"), "forget text, perplexity, temperature fitted"),
)
COMPLETIONS_NAMING = "completions naming it"
RAW = ("perplexity of the target", ("perplexity", "forget"), "forget text, perplexity")


@dataclass(frozen=True, kw_only=True)
class Way:
    """One measure of a model (ours), the baseline (before) and the twin (ideal): what is left of the way.

    left: the share of the way from the twin to the baseline that is left; without a twin, of the baseline's figure.
    unknown: the baseline has no knowledge by this measure, so that it decides nothing. shown: its whole interval says
    that it has some.
    """

    title: str
    path: tuple[str, ...]
    ours: Any
    before: Any
    ideal: Any
    left: Change | None
    unknown: bool
    shown: bool

    @property
    def tint(self) -> str:
        """Return the grade of the share that is left: at most BACK is good, at most IN_PART so-so."""
        return UNSURE if single(self.ours) else grade(self.left, BACK, IN_PART)

    @property
    def untouched(self) -> bool:
        """Return whether the whole way may be left: by this measure nothing is shown to be forgotten."""
        return self.left is None or self.left.high is None or self.left.high >= 1


def ways(report: dict, name: str) -> list[Way]:
    """Return every measure of forgetting that a model and the baseline have; the twin's part where there is one."""
    twin = "twin" in (report.get("models") or {})
    fitted = figure_of(report, name, MEASURES[-1][1]) is not None
    found = []
    probed = "leaks" in (report.get("attacks") or {})  # else the rate of naming is that of the completions
    for title, path, measure in MEASURES if fitted else (*MEASURES[:-1], RAW):
        title = COMPLETIONS_NAMING if path == NAMED and not probed else title
        ours, before, ideal = (figure_of(report, n, path) for n in (name, "baseline", "twin"))
        if ours is None or before is None or (twin and ideal is None):
            continue
        if scale_of(*path).name == NATS:
            if ideal is None:
                continue  # a perplexity alone does not tell where knowledge ends
            left = paired.share_in_nats(report, measure, name, ours, ideal, before)
            unknown, shown = left is None, left is not None and left.low is not None
        else:
            left = paired.share(report, measure, name, ours, 0.0 if ideal is None else ideal, before)
            leaks = report["models"]["baseline"].get("leaks") or {}
            unknown = _unknown(path, known(before), ideal, {key: value_of(figure) for key, figure in leaks.items()})
            shown = not _unknown(path, before, ideal, leaks)
        found.append(Way(
            title=title, path=path, ours=ours, before=before, ideal=ideal, left=left, unknown=unknown, shown=shown
        ))  # fmt: skip
    return found


def _unknown(path: tuple[str, ...], before: Any, ideal: Any, leaks: dict) -> bool:
    """Return whether the baseline has no knowledge by a measure: by the intervals of its figures, if they have some."""
    if no_knowledge(before, *path) or known(before) <= (value_of(ideal) or 0.0):
        return True
    return path in (COMPLETED, NAMED) and by_chance(leaks, before if path == NAMED else None)


def by_chance(leaks: dict, named: Any = None) -> bool:
    """Return whether a model names the target no more often than after neutral prompts, whose rate counts as it is.

    leaks: its figures of completions: "neutral", and "completions" or "explicit", which is `named` where that is not
    given. A model that writes words at random names the target after any prompt. False where one was not measured.
    """
    given = (figure for figure in (named, leaks.get("completions"), leaks.get("explicit")) if figure is not None)
    named, neutral = next(given, None), value_of(leaks.get("neutral"))
    value, low = value_of(named), bounds(named)[0]
    return neutral is not None and value is not None and (value if low is None else low) <= neutral


def worst(found: list[Way]) -> Way | None:
    """Return the measure that decides: of the worst grade, the one of which most is left; None where none is known."""
    asked = [way for way in found if not way.unknown]

    def order(way: Way) -> tuple[int, float]:
        return ORDER.index(way.tint), -(way.left.value if way.left else 1.0)

    return min(asked, key=order) if asked else None


def nothing_shown(report: dict, name: str) -> bool:
    """Return whether no measure shows that anything was forgotten, be it for want of prompts."""
    asked = [way for way in ways(report, name) if not way.unknown]
    return bool(asked) and all(way.untouched for way in asked)


def nothing(report: dict, name: str) -> bool:
    """Return whether nothing was forgotten: by every measure surely more than the margin, and maybe all, is left."""
    return nothing_shown(report, name) and all(way.tint == BAD for way in ways(report, name) if not way.unknown)


def no_baseline(report: dict) -> bool:
    """Return whether the baseline was measured and no measure shows for sure that it knew the target."""
    found = ways(report, "baseline")
    asked = [way for way in found if way.path[0] != "perplexity"]
    return bool(asked) and not any(way.shown for way in asked)

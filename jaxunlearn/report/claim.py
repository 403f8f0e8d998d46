"""What a report may claim, from its figures alone: what is gone, from what the model writes or from its weights."""

from collections.abc import Sequence

from jaxunlearn.report import paired
from jaxunlearn.report.findings import Outcome, outcomes
from jaxunlearn.report.forgotten import Way, no_baseline, nothing_shown, ways
from jaxunlearn.report.paired import BAD, GOOD, SO_SO

NONE = "No claim can be made: the baseline shows no knowledge of the target, so there was nothing to forget."
NOTHING = "Nothing is claimed: no measure shows that the model forgot anything of the target."


def claim(report: dict, name: str = "unlearned") -> str:
    """Return what may be claimed of a model, the page's closing words; "" where nothing was measured of it.

    It names no measurement that was not taken, and what one measure shows is not said of all.
    """
    found = [way for way in ways(report, name) if not way.unknown]
    if no_baseline(report):
        return NONE
    if not found:
        return ""
    if nothing_shown(report, name):
        return NOTHING
    gone = [way for way in found if way.tint == GOOD]
    if not gone:
        left = "The claim is only that the model writes less of the target: no measure shows that it is gone."
        return " ".join(filter(None, [left, _weights(report, name)]))
    if found[0].ideal is None:
        less = "The claim is only that the model writes less of the target: there is no twin to compare it with."
        return " ".join(filter(None, [less, _weights(report, name)]))
    rest = [way for way in found if way.tint != GOOD]
    said = f"The claim is that familiarity is gone from what the model writes, judging by {_listed(gone)}"
    said += f"; it is not shown to be gone by {_listed(rest)}." if rest else "."
    return f"{said} {_weights(report, name)}"


def _weights(report: dict, name: str) -> str:
    """Return what the attacks that were tried say of the knowledge in the weights."""
    made = outcomes(report, name)
    if not made:
        return "Whether the knowledge is gone from its weights was not tried: no attack was measured."
    tint = paired.worst([a.tint for a in made])
    if tint in (BAD, SO_SO):
        by, part = _titles([a for a in made if a.tint == tint]), " in part" * (tint == SO_SO)
        return f"The knowledge is not gone from its weights: it comes back{part} by {by}."
    if tint == GOOD and any(a.enough for a in made):
        return f"No attack that was tried brings it back ({_titles(made)}); that does not prove it gone from there."
    return f"The attacks that were tried ({_titles(made)}) do not decide whether it is gone from its weights."


def _titles(made: Sequence[Outcome]) -> str:
    return ", ".join(dict.fromkeys((a.attack or a.title)[:1].lower() + (a.attack or a.title)[1:] for a in made))


def _listed(found: Sequence[Way]) -> str:
    titles = [way.title for way in found]
    return titles[0] if len(titles) == 1 else f"{', '.join(titles[:-1])} and {titles[-1]}"

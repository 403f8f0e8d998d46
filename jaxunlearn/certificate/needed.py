"""What "erased" needs beside the measures: a twin of this run, prompts held out, attacks that were shown to work."""

from collections.abc import Mapping
from typing import Any

from jaxunlearn.estimates import known, value_of
from jaxunlearn.report.findings import BACK, RELEARNED, outcomes
from jaxunlearn.report.paired import BAD
from jaxunlearn.report.verdict import HIDDEN, checks

WORDS = {  # {fact: what is said where it does not hold}
    "twin": "there is no twin to compare with",
    "trained": "the twin was given, not trained by this run",
    "own_twin": "the twin is the certified model itself, under another name",
    "held_out": "the prompts are those that tuning may see",
    "weights": "the weights still hold the text: the model forgets while it writes",
    "windows": "fewer windows of the text were tried than were fixed",
    "shown": "the strength of relearning was not shown: it brought no other model of this run back",
    "exposed": "a model of this run that hides was not exposed by its attacks, or is damaged",
    "clean": "the twin of this run is damaged, or does not pass the attacks",
}


def conditions(facts: Mapping[str, bool]) -> dict[str, bool]:
    """Return {what "erased" needs, in words: whether it holds}; the rules read it. A fact that is not given fails."""
    return {text: bool(facts.get(key)) for key, text in WORDS.items()}


def of_attacks(report: Mapping[str, Any], name: str) -> dict[str, bool]:
    """Return whether the run's attacks can be believed when they find nothing in the model `name`.

    shown: relearning brought another model of the run back, from below by more than the margin. exposed: every model
    that hides was (where the run has any). clean: nothing is wrong with the twin.
    """
    made = checks(dict(report))
    hidden = [answer for of, answer in made.items() if of.endswith(HIDDEN)]
    return {
        "shown": any(_brought_back(report, n) for n in report.get("relearn") or () if n not in (name, "twin")),
        "exposed": all(answer.tint == "good" for answer in hidden),
        "clean": "twin" not in made or (made["twin"].tint != BAD and "; but it" not in made["twin"].word),
    }


def _brought_back(report: Mapping[str, Any], name: str) -> bool:
    """Return whether relearning, for sure, brought a model back by more than the margin of the way to the baseline."""
    made = next((a for a in outcomes(dict(report), name) if a.title == RELEARNED), None)
    rows = [row for row in report["relearn"][name] if value_of(row.get("familiarity")) is not None]
    if made is None or made.ideal is None or made.back is None or made.back.low is None:
        return False
    first, low, high = min(rows, key=lambda row: row["step"])["familiarity"], known(made.ideal), known(made.before)
    begun = max(0.0, (known(first) - low) / (high - low))
    return made.back.low > begun + BACK

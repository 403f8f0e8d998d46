"""The table that a report opens with: forgotten? kept? robust? at what cost?

Each word follows from the report's figures by a rule written out here. Where the figures for a question are missing,
the word is "not measured". The rules are rules of thumb, not tests, so the figures stand beside every word.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxunlearn.estimates import duration, figure_of, interval, known, number, overlap, single, value_of
from jaxunlearn.report.findings import ALMOST, FAMILIARITY, IN_PART, outcomes, was_measured

QUESTIONS = ("Forgotten?", "Kept?", "Robust?", "At what cost?")
REFERENCES = ("baseline", "twin")  # the scale for the other models
POINTS, SHARE = 0.02, 0.1  # losses of accuracy and of fitted perplexity that count as "at a price"
UNMEASURED = "not measured"
UNDECIDED = "undecided: one item has no interval"


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One number behind a word: its name, its text, its interval ("" where it has none)."""

    name: str
    text: str
    interval: str = ""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A word, how it is tinted ("good", "so-so", "bad" or ""), and the facts behind it."""

    word: str
    tint: str = ""
    facts: tuple[Fact, ...] = ()


def verdicts(report: dict) -> dict[str, tuple[Answer, ...]]:
    """Return {model: one answer per question}; the baseline and the twin set the scale, so they have facts alone."""
    models = report.get("models") or {}
    return {
        name: tuple(_answer(judge, report, name) for judge in (forgotten, kept, robust, cost))
        for name in models
        if name != "reinforced" and figure_of(report, name, FAMILIARITY) is not None
    }


def in_words(report: dict) -> dict[str, dict]:
    """Return {"verdict": {model: {question: word}}, "checks": {control: word}}, as in report.json."""
    words = {
        name: {q: a.word for q, a in zip(QUESTIONS, answers, strict=True) if a.word}
        for name, answers in verdicts(report).items()
    }
    found = {"verdict": words, "checks": {name: answer.word for name, answer in checks(report).items()}}
    return {key: inner for key, inner in found.items() if inner}


def _answer(judge: Callable[[dict, str], Answer], report: dict, name: str) -> Answer:
    answer = judge(report, name)
    reference = name in REFERENCES and judge is not cost
    return Answer(word="", facts=answer.facts) if reference and answer.facts else answer


# ---- the four questions ----------------------------------------------------------------------------------------------


def forgotten(report: dict, name: str) -> Answer:
    """Place familiarity between the baseline's and the twin's; "no" where model and baseline overlap."""
    ours, before, ideal = (figure_of(report, n, FAMILIARITY) for n in (name, *REFERENCES))
    facts = _facts(report, name, {
        "familiarity, next word": FAMILIARITY,
        "familiarity, completion": ("familiarity", "completion"),
    })  # fmt: skip
    if ours is None or before is None:
        return Answer(word=UNMEASURED, facts=facts)
    if single(ours):
        return Answer(word=UNDECIDED, facts=facts)
    if overlap(ours, before) or known(ours) >= known(before):
        return Answer(word="no", tint="bad", facts=facts)
    if ideal is None:
        return Answer(word="less: no twin to compare with", tint="so-so", facts=facts)
    if known(ours) <= known(ideal) or overlap(ours, ideal):
        return Answer(word="yes: like the twin", tint="good", facts=facts)
    gap = known(before) - known(ideal)
    way = (known(before) - known(ours)) / gap if gap > 0 else 0.0
    tint = "good" if way >= ALMOST else "so-so" if way >= IN_PART else "bad"
    word = "almost" if way >= ALMOST else "in part" if way >= IN_PART else "hardly"
    return Answer(word=f"{word}: {100 * way:.0f}% of the way to the twin", tint=tint, facts=facts)


def kept(report: dict, name: str) -> Answer:
    """Compare general accuracy and fitted perplexity on retain text with the baseline's; the worse one decides."""
    facts = _facts(report, name, {
        "general accuracy": ("accuracy", "general"), "perplexity, retain text": ("perplexity", "retain"),
        "the same, temperature fitted": ("perplexity", "retain_fitted"),
    })  # fmt: skip
    losses, undecided = [], False
    for path, relative, allowed in (
        (("accuracy", "general"), False, POINTS),
        (("perplexity", "retain_fitted"), True, SHARE),
    ):
        ours, before = figure_of(report, name, path), figure_of(report, "baseline", path)
        if ours is None or before is None:
            continue
        if single(ours):
            undecided = True
            continue
        loss = known(ours) / known(before) - 1 if relative else known(before) - known(ours)
        losses.append("good" if overlap(ours, before) or loss <= 0 else "so-so" if loss <= allowed else "bad")
    if not losses:
        return Answer(word=UNDECIDED if undecided else UNMEASURED, facts=facts)
    words = {"good": "yes: no loss shown", "so-so": "at a price", "bad": "no"}
    tint = next(t for t in ("bad", "so-so", "good") if t in losses)
    return Answer(word=words[tint], tint=tint, facts=facts)


def robust(report: dict, name: str) -> Answer:
    """Grade every attack against the twin and the baseline; the worst attack decides."""
    made = outcomes(report, name)
    facts = tuple(_fact(a.title, a.ours) for a in made)
    tints = [tint for a in made if (tint := a.tint) and name not in REFERENCES]
    if not facts:
        return Answer(word=UNMEASURED)
    if name not in REFERENCES and forgotten(report, name).word == "no":
        return Answer(word="nothing was forgotten", facts=facts)
    if not tints:
        undecided = any(single(a.ours) for a in made)
        return Answer(word=UNDECIDED if undecided else "no twin to compare with", facts=facts)
    words = {"good": "yes: nothing measured brings it back", "so-so": "in part", "bad": "no: it comes back"}
    tint = next(t for t in ("bad", "so-so", "good") if t in tints)
    if tint != "bad" and not any(a.enough for a in made):
        titles = " and ".join(dict.fromkeys(a.attack.lower() for a in made))
        return Answer(word=f"{titles} alone were tried", facts=facts)
    return Answer(word=words[tint], tint=tint, facts=facts)


def cost(report: dict, name: str) -> Answer:
    """Return what making the model took, from report["costs"]: {model: {"seconds", "passes", "share"}}."""
    found = (report.get("costs") or {}).get(name) or {}
    facts = []
    if value_of(found.get("passes")):
        facts.append(Fact(name="forward passes of a block", text=f"{found['passes']:,.0f}"))
    if value_of(found.get("share")):
        facts.append(Fact(name="of pretraining’s passes", text=f"{100 * found['share']:.0f}%"))
    seconds = value_of(found.get("seconds"))
    return Answer(word=UNMEASURED if seconds is None else duration(seconds), facts=tuple(facts))


# ---- the attacks' own controls ---------------------------------------------------------------------------------------


HIDDEN = "(must be exposed)"  # ends the name of a model that hides and has forgotten nothing
EXPOSED, MISSED = "exposed", "not exposed: the attacks of this run are too weak to clear any model"


def checks(report: dict) -> dict[str, Answer]:
    """Return {control of the attacks: answer}: a model that hides must be exposed, the twin must pass.

    A model that hides is exposed where an attack brings it more than half of the way back to the baseline. The twin
    passes where it, or its interval, stays within a tenth of the way from 0 (or guessing) to the baseline.
    """
    found = {}
    for name in report.get("models") or {}:
        made = outcomes(report, name)
        if name.endswith(HIDDEN) and made:
            by = tuple(_fact(a.title, a.ours) for a in made if a.tint == "bad")
            said = forgotten(report, name)
            facts = tuple(Fact(name=f"by familiarity “{said.word}”,", text=f.text) for f in said.facts[:1]) + by
            found[name] = Answer(word=EXPOSED if by else MISSED, tint="good" if by else "bad", facts=facts)
        if name == "twin" and made:
            failed = tuple(_fact(a.title, a.ours) for a in made if not a.passed)
            word = "does not pass: what these attacks find need not be knowledge" if failed else "passes every attack"
            facts = failed or tuple(_fact(a.title, a.ours) for a in made)
            found[name] = Answer(word=word, tint="bad" if failed else "good", facts=facts)
    return found


# ---- what was not measured -------------------------------------------------------------------------------------------


LOOKED_FOR: tuple[tuple[str, Callable[[dict], Any]], ...] = (
    ("a twin that never saw the text", lambda r: "twin" in (r.get("models") or {})),
    ("controls: the same training without one of the method’s parts", lambda r: _has_control(r)),
    ("membership inference and verbatim memory", lambda r: _any(r, "membership")),
    ("public multiple-choice benchmarks", lambda r: _any(r, "benchmarks") or _any(r, "tasks")),
    ("other seeds: the intervals are over the prompts of one run", lambda r: r.get("seeds")),
)


def not_measured(report: dict) -> list[str]:
    """List what a sceptic would ask for and this report lacks, then what the attacks themselves left out."""
    missing = [what for what, there in LOOKED_FOR if not there(report)]
    for about in report.get("attack_about") or ():
        if not was_measured(report, about):
            missing.append(f"{about['title'][:1].lower()}{about['title'][1:]}")
    left = (report.get("attacks") or {}).get("unmeasured") or []
    return [*missing, *[text if isinstance(text, str) else ": ".join(map(str, text)) for text in left]]


def _has_control(report: dict) -> bool:
    plain = ("baseline", "unlearned", "twin", "reinforced")
    return any(name not in plain and not name.endswith(HIDDEN) for name in report.get("models") or {})


def _any(report: dict, group: str) -> bool:
    return any((found or {}).get(group) for found in (report.get("models") or {}).values())


# ---- figures as facts ------------------------------------------------------------------------------------------------


def _facts(report: dict, name: str, paths: dict[str, tuple[str, ...]]) -> tuple[Fact, ...]:
    found = {title: figure_of(report, name, path) for title, path in paths.items()}
    return tuple(_fact(title, estimate) for title, estimate in found.items() if estimate is not None)


def _fact(title: str, found: Any) -> Fact:
    return Fact(name=title, text=number(known(found)), interval=interval(found))

"""The table that a report opens with: forgotten? kept? robust? at what cost?

Each word follows from the report's figures by a rule written out here: the 95% interval of the difference from the
baseline or the twin, on the same items, against a stated margin (paired.py). Where the figures for a question are
missing, the word is "not measured"; where the interval holds the margin, "undecided", with the number of items.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from jaxunlearn.estimates import duration, figure_of, interval, known, number, single, value_of
from jaxunlearn.report import paired
from jaxunlearn.report.findings import (
    BACK,
    FAMILIARITY,
    IN_PART,
    LEARNED,
    NEXT_WORD,
    Outcome,
    is_graded,
    outcomes,
    was_measured,
)  # fmt: skip
from jaxunlearn.report.paired import BAD, GOOD, SO_SO, UNSURE, Change, grade

QUESTIONS = ("Forgotten?", "Kept?", "Robust?", "At what cost?")
REFERENCES = ("baseline", "twin")  # the scale for the other models
# Losses that count as none, and those above which a loss is more than a price: of accuracy, and of perplexity's ratio.
POINTS, POINTS_PRICE = 0.02, 0.05
SHARE, SHARE_PRICE = 0.02, 0.1
ACCURACY = "general accuracy, right answers"  # names of measures in report["differences"]
PERPLEXITY = "retain text, perplexity, temperature fitted"
UNMEASURED = "not measured"
ONE_ITEM = "undecided: one item has no interval"


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One number behind a word: its name, its text, its interval ("" where it has none).

    note, tint: what the rule makes of it.
    """

    name: str
    text: str
    interval: str = ""
    note: str = ""
    tint: str = ""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A word, how it is tinted (paired.ORDER, or ""), the facts behind it, the rule with its margin."""

    word: str
    tint: str = ""
    facts: tuple[Fact, ...] = ()
    rule: str = ""


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
    """Grade what is left of familiarity, as a share of the way from the twin to the baseline.

    Without a twin it is a share of the baseline's, and the best word is "less".
    """
    ours, before, ideal = (figure_of(report, n, FAMILIARITY) for n in (name, *REFERENCES))
    facts = _facts(report, name, {
        "familiarity, next word": FAMILIARITY,
        "familiarity, completion": ("familiarity", "completion"),
    })  # fmt: skip
    if ours is None or before is None:
        return Answer(word=UNMEASURED, facts=facts)
    if single(ours):
        return Answer(word=ONE_ITEM, tint=UNSURE, facts=facts)
    left = paired.share(report, NEXT_WORD, name, ours, 0.0 if ideal is None else ideal, before)
    tint = grade(left, BACK, IN_PART)
    rule = _rule(f"margin: {_percent(BACK)}% of the way from {'the twin' if ideal is not None else '0'}", left)
    answer = partial(Answer, tint=tint, facts=facts, rule=rule)
    if left is None or left.low is None or left.high is None:
        return answer(word=f"undecided: no interval{_of(left)}")
    way = f"{_percent(1 - left.value)}% of the way to the twin ({_percent(1 - left.high)} to {_percent(1 - left.low)})"
    if ideal is None:
        way = f"{_percent(left.value)}% is left ({_percent(left.low)} to {_percent(left.high)})"
        if tint == GOOD:
            return Answer(word=f"less: no twin to compare with; {way}", tint=SO_SO, facts=facts, rule=rule)
    if tint == BAD:
        return answer(word="no" if left.high >= 1 else f"hardly: {way}")
    start = {GOOD: "yes", SO_SO: "in part"}.get(tint, "undecided")
    return answer(word=f"{start}: {way}{_of(left, tint)}")


def kept(report: dict, name: str) -> Answer:
    """Grade the losses of general accuracy and fitted perplexity on retain text; the worse one decides."""
    facts = _facts(report, name, {
        "general accuracy": ("accuracy", "general"), "perplexity, retain text": ("perplexity", "retain"),
        "the same, temperature fitted": ("perplexity", "retain_fitted"),
    })  # fmt: skip
    made, rules = [], []
    ours, before = (figure_of(report, n, ("accuracy", "general")) for n in (name, "baseline"))
    if ours is not None and before is not None:
        change = paired.difference(report, ACCURACY, name, ours, before)
        loss = None if single(ours) or change is None else _turned(change, lambda x: -x)
        made.append(("accuracy", " points", loss, grade(loss, POINTS, POINTS_PRICE)))
        rules.append(_rule(f"margin: {_amount(POINTS)} points", loss))
    ours, before = (figure_of(report, n, ("perplexity", "retain_fitted")) for n in (name, "baseline"))
    if ours is not None and before is not None:
        change = paired.ratio(report, PERPLEXITY, name, ours, before)
        loss = None if single(ours) or change is None else _turned(change, lambda x: x - 1)
        made.append(("perplexity", "%", loss, grade(loss, SHARE, SHARE_PRICE)))
        rules.append(_rule(f"{_amount(SHARE)}%", loss))
    if not made:
        return Answer(word=UNMEASURED, facts=facts)
    if all(loss is None for _, _, loss, _ in made):
        return Answer(word=ONE_ITEM, tint=UNSURE, facts=facts)
    tint = paired.worst([tint for *_, tint in made])
    parts = [_loss(*part) for part in made if part[3] == tint]
    unsure = [f"{what} undecided{_of(loss)}" for what, _, loss, t in made if t == UNSURE and tint in (BAD, SO_SO)]
    start = {GOOD: "yes", SO_SO: "at a price", BAD: "no", UNSURE: "undecided"}[tint]
    return Answer(word=f"{start}: {'; '.join(parts + unsure)}", tint=tint, facts=facts, rule="; ".join(rules))


def robust(report: dict, name: str) -> Answer:
    """Grade every attack by how far back it brings the model from the twin to the baseline; the worst decides."""
    made = outcomes(report, name)
    facts = tuple(_attacked(a, name not in REFERENCES) for a in made)
    if not facts:
        return Answer(word=UNMEASURED)
    if name not in REFERENCES and forgotten(report, name).word == "no":
        return Answer(word="nothing was forgotten", facts=facts)
    tint = paired.worst([a.tint for a in made])
    if not tint:
        return Answer(word="no twin to compare with", facts=facts)
    if all(single(a.ours) for a in made):
        return Answer(word=ONE_ITEM, tint=UNSURE, facts=facts)
    rule = f"margin: {_percent(BACK)}% of the way back from the twin to the baseline, in every attack"
    unsure = [f"{a.title}{_of(a.back)}" for a in made if a.tint == UNSURE]
    if tint in (UNSURE, GOOD) and not any(a.enough for a in made):
        titles = " and ".join(dict.fromkeys(a.attack.lower() for a in made))
        return Answer(word=f"{titles} alone were tried", tint=UNSURE, facts=facts, rule=rule)
    words = {GOOD: "yes: nothing measured brings it back", SO_SO: "in part", BAD: "no: it comes back"}
    word = words.get(tint) or f"undecided: {', '.join(unsure)}"
    if tint == SO_SO and unsure:
        word += f"; undecided: {', '.join(unsure)}"
    return Answer(word=word, tint=tint, facts=facts, rule=rule)


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
TOO_FEW = "undecided: too few items"


def checks(report: dict) -> dict[str, Answer]:
    """Return {control of the attacks: answer}: a model that hides must be exposed, the twin must pass.

    A model that hides is exposed where the whole interval of an attack lies more than half of the way back to the
    baseline. The twin passes where the whole interval of every attack lies within a tenth of the way from nothing (or
    guessing) to the baseline.
    """
    found = {}
    for name in report.get("models") or {}:
        made = outcomes(report, name)
        if name.endswith(HIDDEN) and made:
            by = tuple(_attacked(a) for a in made if a.exposed)
            unsure = any(a.exposed is None for a in made)
            said = forgotten(report, name)
            facts = tuple(Fact(name=f"by familiarity “{said.word}”:", text=f.text) for f in said.facts[:1]) + by
            word = EXPOSED if by else TOO_FEW if unsure else MISSED
            found[name] = Answer(word=word, tint=GOOD if by else UNSURE if unsure else BAD, facts=facts)
        if name == "twin" and made:
            failed, unsure = ([a for a in made if a.passed is wanted] for wanted in (False, None))
            shown = tuple(_attacked(a) for a in failed or unsure or made)
            word, tint = "passes every attack", GOOD
            if failed:
                word, tint = "does not pass: what these attacks find need not be knowledge", BAD
            elif unsure:
                word, tint = TOO_FEW, UNSURE
            found[name] = Answer(word=word, tint=tint, facts=shown)
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
    left = (report.get("attacks") or {}).get("unmeasured") or []
    left = [text if isinstance(text, str) else ": ".join(map(str, text)) for text in left]
    for about in report.get("attack_about") or ():
        said = any(line.startswith(f"{about['title']}:") for line in left)
        if not (said or was_measured(report, about) or is_graded(report, about)):
            missing.append(f"{about['title'][:1].lower()}{about['title'][1:]}")
    return [*missing, *left]


def _has_control(report: dict) -> bool:
    plain = ("baseline", "unlearned", "twin", "reinforced")
    return any(name not in plain and not name.endswith(HIDDEN) for name in report.get("models") or {})


def _any(report: dict, group: str) -> bool:
    return any((found or {}).get(group) for found in (report.get("models") or {}).values())


# ---- figures and rules as text ---------------------------------------------------------------------------------------


def _facts(report: dict, name: str, paths: dict[str, tuple[str, ...]]) -> tuple[Fact, ...]:
    found = {title: figure_of(report, name, path) for title, path in paths.items()}
    return tuple(_fact(title, estimate) for title, estimate in found.items() if estimate is not None)


def _fact(title: str, found: Any) -> Fact:
    return Fact(name=title, text=number(known(found)), interval=interval(found))


def _attacked(a: Outcome, graded: bool = True) -> Fact:
    """Return an attack's figure, with how far back it brings the model and why that may decide nothing."""
    notes = []
    if graded and a.back is not None and a.back.low is not None and a.back.high is not None:
        ends = f"{_percent(a.back.low)} to {_percent(a.back.high)}"
        notes.append(f"{_percent(a.back.value)}% back ({ends}){_of(a.back)}")
    if isinstance(a.floor, dict) and value_of(a.floor) is not None:
        most = a.floor.get("high") or known(a.floor)
        notes.append(f"best by guessing {number(known(a.floor))}, up to {number(most)}")
    if graded and a.weak:
        notes.append(f"attack too weak: {number(a.learned or 0.0)} of what it trained on, expected {LEARNED}")
    return replace(_fact(a.title, a.ours), note="; ".join(notes), tint=a.tint if graded else "")


def _loss(what: str, unit: str, loss: Change | None, tint: str) -> str:
    """Write a loss: "perplexity worse by 4% (3 to 6)", "accuracy within 2 points", "loss of accuracy 0 points (..)"."""
    if tint == GOOD:
        return f"{what} within {_amount(POINTS if 'points' in unit else SHARE)}{unit}"
    if loss is None or loss.low is None or loss.high is None:
        return f"{what} has no interval{_of(loss)}"
    within = f"{_amount(loss.value)}{unit} ({_amount(loss.low)} to {_amount(loss.high)})"
    if tint == UNSURE:
        return f"{'rise' if unit == '%' else 'loss'} of {what} {within}{_of(loss)}"
    return f"{what} worse by {within}"


def _turned(change: Change, to: Callable[[float], float]) -> Change:
    """Return a change as a loss."""
    if change.low is None or change.high is None:
        return Change(value=to(change.value), low=None, high=None, n=change.n, paired=change.paired)
    low, high = sorted((to(change.low), to(change.high)))
    return Change(value=to(change.value), low=low, high=high, n=change.n, paired=change.paired)


def _rule(margin: str, change: Change | None) -> str:
    if change is None:
        return margin
    return f"{margin}, {'paired' if change.paired else 'unpaired'}{_of(change)}"


def _of(change: Change | None, tint: str = UNSURE) -> str:
    """Return ", n = 60", for what is not sure."""
    return f", n\u00a0=\u00a0{change.n}" if change is not None and change.n and tint == UNSURE else ""


def _percent(value: float) -> str:
    return f"{100 * value:.0f}".replace("-0", "0").replace("-", "\u2212")


def _amount(value: float) -> str:
    """Write a loss in percent or points: 4, 0.5, 12, with one decimal below 10."""
    text = f"{100 * value:.1f}" if abs(100 * value) < 9.95 else f"{100 * value:.0f}"
    text = text.removesuffix(".0")
    return "0" if text == "-0" else text.replace("-", "\u2212")

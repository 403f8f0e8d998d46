"""The table that a report opens with: forgotten? kept? robust? at what cost?

Each word follows from the report's figures by a rule written out here: the 95% interval of the difference from the
baseline or the twin, on the same items, against a stated margin (paired.py). Where the figures for a question are
missing, the word is "not measured"; where the interval holds the margin, "undecided", with the number of items.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from jaxunlearn.estimates import duration, figure_of, interval, known, number, single, value_of
from jaxunlearn.report import paired
from jaxunlearn.report.claim import claim
from jaxunlearn.report.findings import BACK, FAMILIARITY, LEARNED, Outcome, is_graded, outcomes, was_measured
from jaxunlearn.report.forgotten import MEASURES, Way, no_baseline, nothing, ways, worst
from jaxunlearn.report.losses import losses, of_items
from jaxunlearn.report.paired import BAD, GOOD, SO_SO, UNSURE, Change

QUESTIONS = ("Forgotten?", "Kept?", "Robust?", "At what cost?")
REFERENCES = ("baseline", "twin")  # the scale for the other models
UNMEASURED = "not measured"
ONE_ITEM = "undecided: one item has no interval"
UNTRIED = ", not tried on the twin"
NO_BASELINE = "no baseline: it shows no knowledge of the target, so there was nothing to forget"


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
    """Return {model: one answer per question}; the baseline and the twin set the scale, so they have facts alone.

    Models that only hide, the attacks' own controls, stand apart from it (`checks`).
    """
    models = report.get("models") or {}
    return {
        name: tuple(_answer(judge, report, name) for judge in (forgotten, kept, robust, cost))
        for name in models
        if name != "reinforced" and not name.endswith(HIDDEN) and figure_of(report, name, FAMILIARITY) is not None
    }


def in_words(report: dict) -> dict[str, Any]:
    """Return {"verdict": {model: {question: word}}, "checks": {control: word}, "claim"}, as in report.json."""
    words = {
        name: {q: a.word for q, a in zip(QUESTIONS, answers, strict=True) if a.word}
        for name, answers in verdicts(report).items()
    }
    found: dict[str, Any] = {"verdict": words, "claim": claim(report)}
    found["checks"] = {name: answer.word for name, answer in checks(report).items()}
    return {key: inner for key, inner in found.items() if inner}


def _answer(judge: Callable[[dict, str], Answer], report: dict, name: str) -> Answer:
    answer = judge(report, name)
    reference = name in REFERENCES and judge is not cost
    return Answer(word="", facts=answer.facts) if reference and answer.facts else answer


# ---- the four questions ----------------------------------------------------------------------------------------------


def forgotten(report: dict, name: str) -> Answer:
    """Grade what is left of each measure of forgetting, as a share of the way from the twin to the baseline.

    The worst measure decides (forgotten.py). Without a twin it is a share of the baseline's, and the best word is
    "less".
    """
    found = ways(report, name)
    facts = tuple(_of_way(way) for way in found)
    if not found or name in REFERENCES:
        return Answer(word=UNMEASURED, facts=_facts(report, name, {title: path for title, path, _ in MEASURES}))
    if no_baseline(report):
        return Answer(word=NO_BASELINE, tint=UNSURE, facts=facts)
    way = worst(found)
    if way is None or all(single(each.ours) for each in found):
        return Answer(word=UNMEASURED if way is None else ONE_ITEM, tint="" if way is None else UNSURE, facts=facts)
    rule = _rule(f"margin: {_percent(BACK)}% of the way from {'0' if way.ideal is None else 'the twin'}", way.left)
    if way.left is None or way.left.low is None or way.left.high is None:
        word = f"undecided: {way.title} has no interval{_of(way.left)}"
        return Answer(word=word, tint=UNSURE, facts=facts, rule=rule)
    start, tint = {GOOD: "yes", SO_SO: "in part", UNSURE: "undecided"}.get(way.tint, "hardly"), way.tint
    if way.tint == BAD and way.untouched:
        start = "no"
    if way.tint == GOOD and way.ideal is None:
        start, tint = "less, no twin to compare with", SO_SO
    asked = [each for each in found if not each.unknown]
    count = f"in all {len(asked)} measures; " if tint == GOOD and len(asked) > 1 else ""
    other = [each for each in asked if each.path == FAMILIARITY and each is not way and tint != GOOD]
    said = [f"{count}{_gone(way, way.ideal is not None)}{_of(way.left, tint)}", *(_gone(each) for each in other)]
    return Answer(word=f"{start}: {'; '.join(said)}", tint=tint, facts=facts, rule=rule)


def kept(report: dict, name: str) -> Answer:
    """Grade the losses of general accuracy and fitted perplexity on retain text; the worse one decides."""
    facts = _facts(report, name, {
        "general accuracy": ("accuracy", "general"), "perplexity, retain text": ("perplexity", "retain"),
        "the same, temperature fitted": ("perplexity", "retain_fitted"),
    })  # fmt: skip
    found = losses(report, name)
    if not found:
        return Answer(word=UNMEASURED, facts=facts)
    if all(loss.change is None for loss in found):
        return Answer(word=ONE_ITEM, tint=UNSURE, facts=facts)
    tint = paired.worst([loss.tint for loss in found])
    start = {GOOD: "yes", SO_SO: "at a price", BAD: "no", UNSURE: "undecided"}[tint]
    first = sorted(found, key=lambda loss: paired.ORDER.index(loss.tint))
    rule = "; ".join(_rule(loss.margin_said, loss.change) for loss in found)
    return Answer(word=f"{start}: {', '.join(loss.said for loss in first)}", tint=tint, facts=facts, rule=rule)


def robust(report: dict, name: str) -> Answer:
    """Grade every attack by how far back it brings the model from the twin to the baseline; the worst decides."""
    made = outcomes(report, name)
    plain = tuple(_attacked(a, graded=False) for a in made)
    if not plain:
        return Answer(word=UNMEASURED)
    if name in REFERENCES or no_baseline(report):
        return Answer(word=NO_BASELINE, tint=UNSURE, facts=plain)
    if nothing(report, name):
        return Answer(word="nothing was forgotten", facts=plain)
    facts = tuple(map(_attacked, made))
    tint = paired.worst([a.tint for a in made])
    if not tint:
        return Answer(word="no twin to compare with", facts=facts)
    if all(single(a.ours) for a in made):
        return Answer(word=ONE_ITEM, tint=UNSURE, facts=facts)
    rule = f"margin: {_percent(BACK)}% of the way back from the twin to the baseline, in every attack"
    unsure = [f"{a.title}{UNTRIED if a.ideal is None else _of(a.back)}" for a in made if a.tint == UNSURE]
    if tint in (UNSURE, GOOD) and not any(a.enough for a in made):
        titles = " and ".join(dict.fromkeys(a.attack.lower() for a in made))
        return Answer(word=f"{titles} alone were tried", tint=UNSURE, facts=facts, rule=rule)
    most = max((a for a in made if a.tint == tint), key=lambda a: a.back.value if a.back else 0.0)
    starts = {GOOD: "yes: nothing measured brings it back; at most ", SO_SO: "in part: ", BAD: "no: it comes back: "}
    word = f"{starts[tint]}{most.title} {_back(most)}" if tint in starts else f"undecided: {', '.join(unsure)}"
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
    word = UNMEASURED if seconds is None else f"{duration(seconds)} wall time"
    return Answer(word=word, facts=tuple(facts))


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
            found[name] = _damaged(report, name, _exposed(report, name, made))
        if name == "twin" and made:
            found[name] = _damaged(report, name, _passes(made))
    return found


def _exposed(report: dict, name: str, made: list[Outcome]) -> Answer:
    by = tuple(_attacked(a) for a in made if a.exposed)
    unsure = any(a.exposed is None for a in made)
    said = forgotten(report, name)
    facts = tuple(Fact(name=f"by familiarity “{said.word}”:", text=f.text) for f in said.facts[:1]) + by
    word = EXPOSED if by else TOO_FEW if unsure else MISSED
    return Answer(word=word, tint=GOOD if by else UNSURE if unsure else BAD, facts=facts)


def _passes(made: list[Outcome]) -> Answer:
    failed, unsure = ([a for a in made if a.passed is wanted] for wanted in (False, None))
    shown = tuple(_attacked(a) for a in failed or unsure or made)
    if failed:
        return Answer(word="does not pass: what these attacks find need not be knowledge", tint=BAD, facts=shown)
    if unsure:
        return Answer(word=TOO_FEW, tint=UNSURE, facts=shown)
    return Answer(word="passes every attack", tint=GOOD, facts=shown)


def _damaged(report: dict, name: str, answer: Answer) -> Answer:
    """Return the answer of a control; one that was damaged itself is no clean control, whatever the attacks find."""
    lost = [loss.said for loss in losses(report, name) if loss.tint in (BAD, SO_SO)]
    if not lost:
        return answer
    tint = SO_SO if answer.tint == GOOD else answer.tint
    return replace(answer, word=f"{answer.word}; but it {' and '.join(lost)}", tint=tint)


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
        notes.append(f"{_back(a)}{of_items(a.back)}")
    if isinstance(a.floor, dict) and value_of(a.floor) is not None:
        most = a.floor.get("high") or known(a.floor)
        notes.append(f"best by guessing {number(known(a.floor))}, up to {number(most)}")
    if graded and a.weak:
        notes.append(f"attack too weak: {number(a.learned or 0.0)} of what it trained on, expected {LEARNED}")
    return replace(_fact(a.title, a.ours), note="; ".join(notes), tint=a.tint if graded else "")


def _of_way(way: Way) -> Fact:
    """Return a measure of forgetting as a fact: its figure, how far it went, and why that may decide nothing."""
    note = "the baseline shows no knowledge by it" if way.unknown else _gone(way, way.ideal is not None, named=False)
    twin = "" if way.ideal is None else f"; the twin has {number(known(way.ideal))}"
    tint = "" if way.unknown or way.ideal is None else way.tint
    return replace(_fact(way.title, way.ours), note=f"{note}{twin}", tint=tint)


def _gone(way: Way, twin: bool = True, named: bool = True) -> str:
    """Write how far a measure went: "next word 94% of the way to the twin (90 to 97)"; without a twin what is left."""
    left, title = way.left, f"{way.title} " * named
    if left is None or left.low is None or left.high is None:
        return f"{title}has no interval"
    if not twin:
        return f"{title}{_percent(left.value)}% left ({_percent(left.low)} to {_percent(left.high)})"
    ends = f"{_percent(1 - left.high)} to {_percent(1 - left.low)}"
    return f"{title}{_percent(1 - left.value)}% of the way to the twin ({ends})"


def _back(a: Outcome) -> str:
    """Write how far back an attack brings a model: "25% back (10 to 40)"."""
    if a.back is None or a.back.low is None or a.back.high is None:
        return "without an interval"
    return f"{_percent(a.back.value)}% back ({_percent(a.back.low)} to {_percent(a.back.high)})"


def _rule(margin: str, change: Change | None) -> str:
    if change is None:
        return margin
    return f"{margin}, {'paired' if change.paired else 'unpaired'}{_of(change)}"


def _of(change: Change | None, tint: str = UNSURE) -> str:
    """Return ", n = 60", for what is not sure."""
    return of_items(change) if tint == UNSURE else ""


def _percent(value: float) -> str:
    return f"{100 * value:.0f}".replace("-0", "0").replace("-", "\u2212")

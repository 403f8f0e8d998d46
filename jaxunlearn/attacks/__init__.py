"""The registry of the attacks. Each result is kept on disk with the key of all that it depends on (run/resume.py).

To add an attack, write one file with an Attack record (base.py) and add it to ATTACKS. Everything else follows: whether
a run does it, what is refused before any work, its place in report.json, its form, its tables on the page, the verdict.
"""

import dataclasses
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from jaxunlearn.attacks.base import FILTER, STRESS, Attack, NotKept, Target
from jaxunlearn.attacks.benign import BENIGN
from jaxunlearn.attacks.context import CONTEXT
from jaxunlearn.attacks.depth import DEPTH
from jaxunlearn.attacks.distance import DISTANCE
from jaxunlearn.attacks.few_shot import FEW_SHOT
from jaxunlearn.attacks.halfway import HALFWAY
from jaxunlearn.attacks.hiding import add_hidden
from jaxunlearn.attacks.latent import LATENT
from jaxunlearn.attacks.probes import PROBES
from jaxunlearn.attacks.quantise import QUANTISE
from jaxunlearn.attacks.questions import QUESTIONS
from jaxunlearn.attacks.relearn import RELEARN
from jaxunlearn.attacks.rtt import RTT
from jaxunlearn.attacks.shares import SHARES
from jaxunlearn.attacks.ways import WAYS
from jaxunlearn.config import Config, as_dict
from jaxunlearn.errors import Diverged, InputError
from jaxunlearn.files import read_json
from jaxunlearn.parallel import processes
from jaxunlearn.parallel.console import say
from jaxunlearn.report.findings import was_measured
from jaxunlearn.report.schema import About, Report, report_form
from jaxunlearn.run import Run

ATTACKS: dict[str, Attack] = {  # in the order of the report
    "relearn": RELEARN,
    "quantise": QUANTISE,
    "context": CONTEXT,
    "shares": SHARES,
    "ways": WAYS,
    "halfway": HALFWAY,
    "questions": QUESTIONS,
    "benign": BENIGN,
    "depth": DEPTH,
    "distance": DISTANCE,
    "latent": LATENT,
    "few_shot": FEW_SHOT,
    "rtt": RTT,
    "probes": PROBES,
}

HIDING = "models that only hide"
OTHERS = "measured of other models or settings; attack.kinds={} does it again"


def chosen(config: Config) -> list[Attack]:
    """Return the attacks of a configuration: attack.kinds, or the cheap ones. Raises InputError for unknown names."""
    kinds = config.attack.kinds or tuple(name for name, attack in ATTACKS.items() if attack.cheap)
    if unknown := sorted(set(kinds) - set(ATTACKS)):
        raise InputError(f"unknown attacks {unknown}: attack.kinds are some of {list(ATTACKS)}")
    return [ATTACKS[name] for name in kinds]


def check(run: Run) -> None:
    """Raise InputError for attacks that would fail after the training."""
    for attack in chosen(run.config):
        attack.check(run)


def everything(config: Config, quick: bool = False, report: dict[str, Any] | None = None) -> Config:
    """Return the configuration with every attack where it names none; quick: with fewer samples, rates and passages.

    report: of the run, where it has one. What was measured in full there keeps its settings: no figure of a full run
    is replaced by one of fewer samples.
    """
    kinds, full = config.attack.kinds or tuple(ATTACKS), measured_in_full(config, report or {}) if quick else set()
    fewer = {n: a.fewer(config) for n, a in ATTACKS.items() if quick and a.fewer and n not in full}
    if kept := [ATTACKS[name].title for name in kinds if name in full]:
        say(f"  measured in full before, and left so by --quick: {'; '.join(kept)}")
    return dataclasses.replace(config, attack=dataclasses.replace(config.attack, kinds=kinds, **fewer))


def measured_in_full(config: Config, report: dict[str, Any]) -> set[str]:
    """Return the names of the attacks that a report has at the configuration's settings, where quick ones differ."""
    then, now = (report.get("config") or {}).get("attack") or {}, as_dict(config.attack)
    found = set()
    for about in report.get("attack_about") or ():
        name = about["name"]
        if name in ATTACKS and (less := ATTACKS[name].fewer) and was_measured(report, about):
            fewer, before = as_dict(less(config)), then.get(name) or {}
            if all(before.get(key) == now[name][key] for key in fewer if fewer[key] != now[name][key]):
                found.add(name)
    return found


def attack(run: Run, asked: bool = True) -> dict[str, Any]:
    """Run the attacks of the configuration; return their parts of report.json.

    {"attacks": findings by attack, with "unmeasured": what could not be tried and why; "relearn" and "rtt": findings
    that have a key of their own; "models": {name: figures}; "items": {name: {measure: what each item gave}}, for the
    paired differences; "attack_about": see `about`}. Attacks that the run's report has and the configuration does not
    ask stand there again where they are kept for these models and settings; others are named.

    asked: False, for those alone.
    """
    attacks = chosen(run.config) if asked else []
    earlier = [ATTACKS[name] for name in measured_before(run) if ATTACKS[name] not in attacks]
    now, before = Target(run), Target(run, makes=False)
    found: dict[str, Any] = {"attacks": {}}
    _hide(now, attacks)
    measured = [one.name for one in attacks if _tried(now, one, found)]
    if earlier:
        _hide(before, (*attacks, *earlier))
    for one in earlier:
        try:
            measured += [one.name] if _tried(before, one, found) else []
        except NotKept:
            before.skip(one.title, OTHERS.format(one.name))
    found["attacks"]["unmeasured"] = list(dict.fromkeys((*now.unmeasured, *before.unmeasured)))
    joined = {part: _joined(getattr(before, part), getattr(now, part)) for part in ("models", "items")}
    return found | joined | {"attack_about": about(measured)}


def measured_before(run: Run) -> list[str]:
    """Return the names of the attacks that the run's report has; [] where there is none."""

    def names() -> list[str]:
        try:
            report = read_json(run / "report.json", dict)
        except InputError:
            return []
        return [about["name"] for about in report.get("attack_about") or () if was_measured(report, about)]

    return [name for name in processes.first(names) if name in ATTACKS]


def _hide(target: Target, attacks: Collection[Attack]) -> None:
    """Add the models that only hide, where RTT is among the attacks, as far as the target has or makes them."""
    if RTT not in attacks or not target.run.config.attack.rtt.stress:
        return
    try:
        with _skipping(target, HIDING):
            add_hidden(target)
    except NotKept:  # what is kept of the others stays
        for name in (STRESS, FILTER):
            target.folders.pop(name, None)
            target.models.pop(name, None)
            target.items.pop(name, None)
        target.skip(HIDING, OTHERS.format(RTT.name))


def _tried(target: Target, one: Attack, found: dict[str, Any]) -> bool:
    """Try an attack and add what it finds to the parts of report.json; return whether it found anything."""
    if why := one.check(target.run):
        target.skip(one.title, why)
        return False
    findings = None
    with _skipping(target, one.title):
        findings = one.run(target)
    if findings:
        *parts, last = one.place
        node = found
        for part in parts:
            node = node.setdefault(part, {})
        node[last] = node.get(last, {}) | findings
    return bool(findings)


@contextmanager
def _skipping(target: Target, what: str) -> Iterator[None]:
    """Record an attack whose own training diverges as not measured: the others go on."""
    try:
        yield
    except Diverged as error:
        target.skip(what, str(error))


def _joined(first: dict, then: dict) -> dict:
    """Return {model: {group: figures}} of both; of what both have the second's."""
    return {name: first.get(name, {}) | then.get(name, {}) for name in first | then}


def about(measured: Collection[str] | None = None) -> list[dict[str, Any]]:
    """Return the description of every attack for report.json, in order (schema.About).

    measured: names of the attacks that were run; None, for reports of earlier versions: the page finds them itself.
    """
    return [
        About(
            name=a.name, title=a.title, tries=a.tries, control=a.control, at=list(a.place), graded=list(a.graded),
            measured=None if measured is None else a.name in measured,
        ).model_dump(exclude_none=True)
        for a in ATTACKS.values()
    ]  # fmt: skip


def form() -> type[Report]:
    """Return the form of report.json in which the findings of every attack are checked, too."""
    return report_form({a.place[1]: a.form for a in ATTACKS.values() if a.place[0] == "attacks"})

"""Leak probes: sampled completions graded explicit, near or none, with rates for every model beside the twin's.

After Shostack, "The Boy Who Survived" (arXiv 2403.12082). leak@n is the chance that at least one of n samples of a
prompt is explicit, by the unbiased estimator 1 - C(N - c, n) / C(N, n) of c explicit ones among N.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np

from jaxunlearn.attacks.base import Attack, Target
from jaxunlearn.attacks.blind import PIECE, Probe, blind_probes, paragraphs
from jaxunlearn.attacks.near import Calibration, Resemblance, calibrated
from jaxunlearn.config import Config, ProbesAttack, as_dict
from jaxunlearn.data.tokenizer import holds
from jaxunlearn.estimates import SHARE, clustered_rate, mean_estimate, rate_estimate
from jaxunlearn.evals.judge import Judge
from jaxunlearn.evals.prompts import Leak, Lexicon
from jaxunlearn.evals.suite import Suite, complete
from jaxunlearn.files import nfc, sha256_text
from jaxunlearn.models.generate import Sampling
from jaxunlearn.report.schema import MODEL, Figure, Figures, Form, Graded
from jaxunlearn.run import Run

GRADES = ("explicit", "near", "none")
NAMED = "leak probes, named outright"
QUOTED = 12  # completions quoted a model, the worst first


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One completion of one probe."""

    probe: int
    temperature: float
    text: str


def hand_probes(leaks: Sequence[Leak]) -> list[Probe]:
    """Return the prompt file's leak probes; a completion that begins with a specific word leaks."""
    return [Probe(prompt=leak.prompt, kind=leak.kind, expected=leak.specific) for leak in leaks]


def draw(model, suite: Suite, probes: Sequence[Probe], c: ProbesAttack, seed: int) -> list[Sample]:
    """Sample c.samples completions of every probe at every temperature; temperature 0 gives one."""
    suite = dataclasses.replace(suite, c=dataclasses.replace(suite.c, new_tokens=c.new_tokens))
    found = []
    for n, temperature in enumerate(c.temperatures):
        asked = [i for i in range(len(probes)) for _ in range(c.samples if temperature else 1)]
        sampling = Sampling(temperature, c.top_k)
        texts = complete(model, suite, [probes[i].prompt for i in asked], sampling, seed + n)
        found += [Sample(probe=i, temperature=temperature, text=t) for i, t in zip(asked, texts, strict=True)]
    return found


class Grader:
    """Grade completions of probes: explicit (names the target), near (resembles it) or none."""

    def __init__(self, judge: Judge, near: Resemblance):
        self.judge, self.near = judge, near

    def grade(self, probe: Probe, text: str) -> tuple[str, list[str]]:
        """Return the grade and the words that decided it."""
        if begun := opening(probe.expected, text):
            return "explicit", [begun]
        judged = self.judge.grade(probe.prompt, text)
        if judged.score == 3:
            return "explicit", list(judged.evidence)
        near = self.near.find(probe.prompt, text)
        return ("near", [miss.text for miss in near]) if near else ("none", [])


def opening(expected: Sequence[str], text: str) -> str:
    """Return which of the expected words or phrases a completion begins with, or nothing.

    They end where a word does, as for the judge: before the 's of a possessive and a hyphen, too.
    """
    words = PIECE.findall(nfc(text))
    return next((e for e in expected if (own := PIECE.findall(e)) and words[: len(own)] == own), "")


def summary(probes: Sequence[Probe], samples: Sequence[Sample], grader: Grader) -> dict:
    """Return rates of each grade (all, by kind, by source, by temperature), leak@n, and the worst completions.

    "items": the share of each probe's completions that are explicit.
    """
    graded = [grader.grade(probes[s.probe], s.text) for s in samples]
    named: list[list[bool]] = [[] for _ in probes]
    for s, (grade, _) in zip(samples, graded, strict=True):
        named[s.probe].append(grade == "explicit")

    def rates(keep) -> dict:
        grades: dict[int, list[str]] = {}  # of each probe; samples of one probe are not independent
        for s, (grade, _) in zip(samples, graded, strict=True):
            if keep(s):
                grades.setdefault(s.probe, []).append(grade)
        trials = [len(each) for each in grades.values()]
        return {g: clustered_rate([each.count(g) for each in grades.values()], trials).to_json() for g in GRADES[:2]}

    def groups(value) -> dict:
        keys = sorted({value(s) for s in samples})
        return {str(key): rates(lambda s, key=key: value(s) == key) for key in keys}

    return {
        "rates": rates(lambda s: True),
        "by_kind": groups(lambda s: probes[s.probe].kind),
        "by_source": groups(lambda s: probes[s.probe].source),
        "by_temperature": groups(lambda s: s.temperature),
        "leak_at": leak_at(samples, graded),
        "worst": _worst(probes, samples, graded),
        "probes": len(probes),
        "completions": len(samples),
        "items": [float(np.mean(of)) if (of := named[n]) else None for n in range(len(probes))],
    }


def leak_at(samples: Sequence[Sample], graded: Sequence[tuple[str, list[str]]]) -> dict[str, dict]:
    """Return {n: estimate} for n = 1, 2, 4... up to the samples a prompt got, temperature 0 left out."""
    counts: dict[int, list[int]] = {}
    for sample, (grade, _) in zip(samples, graded, strict=True):
        if sample.temperature:
            tally = counts.setdefault(sample.probe, [0, 0])
            tally[0] += 1
            tally[1] += grade == "explicit"
    if not counts:
        return {}
    totals, hits = zip(*counts.values(), strict=True)
    found = {"1": clustered_rate(hits, totals).to_json()}
    for n in sorted({*[1 << k for k in range(1, min(totals).bit_length())], min(totals)} - {1}):
        chances = [1 - comb(total - hit, n) / comb(total, n) for total, hit in counts.values()]
        certain = set(chances) <= {0.0, 1.0}
        estimate = rate_estimate(int(sum(chances)), len(chances)) if certain else mean_estimate(chances, SHARE)
        found[str(n)] = estimate.to_json()
    return found


def _worst(probes, samples, graded) -> list[dict]:
    """Quote explicit completions first, then near ones, lower temperatures first, one a probe."""
    order = sorted(range(len(samples)), key=lambda i: (GRADES.index(graded[i][0]), samples[i].temperature, i))
    quoted, seen = [], set()
    for i in order:
        s, (grade, evidence) = samples[i], graded[i]
        if grade == "none" or s.probe in seen or len(quoted) == QUOTED:
            continue
        seen.add(s.probe)
        p = probes[s.probe]
        quoted.append({
            "prompt": p.prompt, "kind": p.kind, "source": p.source, "temperature": s.temperature, "text": s.text,
            "grade": grade, "evidence": evidence,
        })  # fmt: skip
    return quoted


# ---- on the models of a run


def known_by(run: Run) -> tuple[str, ...]:
    """Return the terms that name the target: the lexicon's, or the dictionary's where the prompts have no lexicon."""
    return run.suite.prompts.lexicon.explicit or tuple(run.inputs.dictionary)


def lacks_terms(run: Run) -> str:
    """Return why leak probes cannot be graded, "" where they can."""
    there = "neither text.prompts has a lexicon nor is there a dictionary to know the target by"
    return "" if known_by(run) else there


def attack_probes(target: Target) -> dict | None:
    """Sample completions of leak probes, by hand and blind, and grade them; near misses are fitted to the twin."""
    run, c, terms = target.run, target.run.config.attack, known_by(target.run)
    asked = _asked(run, terms)
    if not asked:
        return target.skip(PROBES.title, "the prompts have none and none could be drawn from the text")
    depends = [c.seed, *[as_dict(c.probes)[k] for k in ("temperatures", "samples", "top_k", "new_tokens")]]
    depends.append(sha256_text(*[p.prompt for p in asked]))

    def make(name: str) -> list[dict]:
        drawn = draw(target.load(name, frozen=True), run.suite, asked, c.probes, c.seed)
        return [dataclasses.asdict(s) for s in drawn]

    found = {name: target.kept("probes", name, depends, lambda name=name: make(name)) for name in target.folders}
    drawn = {name: [Sample(**s) for s in samples] for name, samples in found.items()}
    typical = tuple(t for t in run.suite.prompts.lexicon.typical if t not in terms)
    judge = Judge(Lexicon(explicit=terms, typical=typical))
    fitted = _calibrated(run, judge, terms, [(asked[s.probe], s.text) for s in drawn.get("twin", [])])
    grader = Grader(judge, fitted.resemblance)
    models = {name: summary(asked, samples, grader) for name, samples in drawn.items()}
    for name, said in models.items():
        target.add(name, "leaks", said["rates"])
        target.pair(name, NAMED, [said.pop("items")])
    return {
        "models": models,
        "near_miss": {
            "thresholds": fitted.resemblance.thresholds,
            "false_positives": fitted.false_positives.to_json(),
            "calibrated_on": fitted.on,
        },
        "temperatures": list(c.probes.temperatures),
        "samples": c.probes.samples,
        "split": run.config.eval.split,
    }


def _asked(run: Run, terms: Sequence[str]) -> list[Probe]:
    """Return the probes by hand, then the blind ones that the tokenizer can hold."""
    x, c, split = run.inputs, run.config.attack, run.config.eval.split
    texts, retain = ([d.text for d in documents] for documents in (x.documents, x.retain_documents))
    hand, blind = hand_probes(run.suite.prompts.leaks), []
    if c.probes.blind:
        blind = blind_probes(
            texts, retain, terms=terms, dictionary=x.dictionary or terms, count=c.probes.blind, seed=c.seed, split=split
        )
    taken = {p.prompt for p in hand}
    return hand + [p for p in blind if holds(x.tokenizer, p.prompt) and p.prompt not in taken]


def _calibrated(run: Run, judge: Judge, terms: Sequence[str], twin: list[tuple[Probe, str]]) -> Calibration:
    """Fit near misses to the twin's completions; without one, to half of the retain text against the other half."""
    retain = [d.text for d in run.inputs.retain_documents]
    finder = Resemblance(terms, retain)
    unnamed = Grader(judge, Resemblance((), ()))  # near is what does not name the target outright
    by_prompt: dict[str, list[str]] = {}
    for p, text in twin:
        if unnamed.grade(p, text)[0] == "none":
            by_prompt.setdefault(p.prompt, []).append(text)
    if len(by_prompt) > 1:
        return calibrated(finder, list(by_prompt.items()), "completions of the twin, which never saw the target")
    lines = [line for text in retain for line in paragraphs(text)]
    words = run.config.attack.probes.new_tokens
    texts = [("", [" ".join(line.split()[:words])]) for line in lines[1::2]][:2000]
    if len(texts) < 2:
        texts = [("", [p]) for p in run.suite.prompts.neutral] + [("", [""])] * 2
    fitted = calibrated(Resemblance(terms, lines[::2]), texts, "retain text that the scorer had not seen (no twin)")
    scaled = finder.with_thresholds(fitted.resemblance.factor)
    return dataclasses.replace(fitted, resemblance=scaled)


def fewer(config: Config) -> ProbesAttack:
    """Return the settings of `--quick`."""
    c = config.attack.probes
    return dataclasses.replace(c, samples=min(4, c.samples), blind=min(24, c.blind))


class Probed(Form):
    """One model: rates by grade, the same by kind, source and temperature of the probes, leak@n, the worst quoted."""

    rates: Figures
    by_kind: dict[str, Figures]
    by_source: dict[str, Figures]
    by_temperature: dict[str, Figures]
    leak_at: Figures
    worst: list[dict[str, Any]]
    probes: int
    completions: int


class NearMisses(Form):
    """How near misses were fitted, and how often a completion that cannot know the target seems near."""

    thresholds: dict[str, float]
    false_positives: Figure
    calibrated_on: str


class Findings(Form):
    """Each model's completions of the probes, graded."""

    models: dict[str, Probed]
    near_miss: NearMisses
    temperatures: list[float]
    samples: int
    split: str


PROBES = Attack(
    name="probes",
    title="Leak probes",
    tries="Ask with archetypes, missed terms and irrevocable phrases, by hand and blind, and grade what is written.",
    control="The twin.",
    run=attack_probes,
    check=lacks_terms,
    cheap=True,
    fewer=fewer,
    at=("attacks", "leaks"),
    form=Findings,
    graded=(
        Graded(title=NAMED, at=["models", MODEL, "leaks", "explicit"], enough=False),
        Graded(title="leak probes, probability", at=["models", MODEL, "leaks", "probability"], enough=False),
    ),
)

"""Leak probes: sampled completions graded explicit, near or none, with rates for every model beside the twin's.

After Shostack, "The Boy Who Survived" (arXiv 2403.12082). leak@n is the chance that at least one of n samples of a
prompt is explicit, by the unbiased estimator 1 - C(N - c, n) / C(N, n) of c explicit ones among N.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np

from jaxunlearn.attacks.base import Attacked
from jaxunlearn.attacks.blind import WORD, Probe, blind_probes, paragraphs
from jaxunlearn.attacks.near import Resemblance, calibrated
from jaxunlearn.config import Attack, as_dict
from jaxunlearn.data.tokenizer import holds
from jaxunlearn.estimates import Estimate, mean_estimate, rate_estimate
from jaxunlearn.evals.judge import Judge
from jaxunlearn.evals.prompts import Leak, Lexicon
from jaxunlearn.evals.suite import Suite, complete
from jaxunlearn.files import sha256_text
from jaxunlearn.models.generate import Sampling

# ---- leak probes


def attack_probes(a: Attacked) -> None:
    """Sample completions of leak probes, by hand and blind, and grade them; near misses calibrated on the twin."""
    run, x, c = a.run, a.run.inputs, a.c
    lexicon = run.suite.prompts.lexicon
    terms = lexicon.explicit or tuple(x.dictionary)
    if not terms:
        return a.skip(
            "leak probes", "neither text.prompts has a lexicon nor is there a dictionary to know the target by"
        )
    asked = _asked(a, terms)
    if not asked:
        return a.skip("leak probes", "the prompts have none and none could be drawn from the text")
    depends = [as_dict(c)[k] for k in ("seed", "temperatures", "samples", "top_k", "new_tokens")]
    depends.append(sha256_text(*[p.prompt for p in asked]))
    drawn = {}
    for name in a.folders:
        found = a.kept("probes", name, depends, lambda name=name: _drawn(a, name, asked))
        drawn[name] = [Sample(**s) for s in found]
    judge = Judge(Lexicon(explicit=terms, typical=tuple(t for t in lexicon.typical if t not in terms)))
    fitted = _calibrated(a, judge, terms, [(asked[s.probe], s.text) for s in drawn.get("twin", [])])
    grader = Grader(judge, fitted.resemblance)
    a.found["leaks"] = {
        "models": {name: summary(asked, samples, grader) for name, samples in drawn.items()},
        "near_miss": {
            "thresholds": fitted.resemblance.thresholds,
            "false_positives": fitted.false_positives.to_json(),
            "calibrated_on": fitted.on,
        },
        "temperatures": list(c.temperatures), "samples": c.samples, "split": a.run.config.eval.split,
    }  # fmt: skip
    for name, said in a.found["leaks"]["models"].items():
        a.add(name, "leaks", said["rates"])


def _asked(a: Attacked, terms) -> list[Probe]:
    run, x, c = a.run, a.run.inputs, a.c
    texts, retain = ([d.text for d in documents] for documents in (x.documents, x.retain_documents))
    split, listed = a.run.config.eval.split, x.dictionary or terms
    blind = blind_probes(texts, retain, terms, listed, c.blind, c.seed, split) if c.blind else []
    hand = hand_probes(run.suite.prompts.leaks)
    fits = [p for p in blind if holds(x.tokenizer, p.prompt)]
    taken = {p.prompt for p in hand}
    return hand + [p for p in fits if p.prompt not in taken]


def _drawn(a: Attacked, name: str, asked) -> list[dict]:
    return [dataclasses.asdict(s) for s in draw(a.load(name, frozen=True), a.run.suite, asked, a.c)]


def _calibrated(a: Attacked, judge: Judge, terms, twin: list[tuple[Probe, str]]):
    """Fit near misses to the twin's completions; without one, to half of the retain text against the other half."""
    retain = [d.text for d in a.run.inputs.retain_documents]
    finder = Resemblance(terms, retain)
    if twin:
        unnamed = Grader(judge, Resemblance((), ()))  # near is what does not name the target outright
        texts = [(p.prompt, text) for p, text in twin if unnamed.grade(p, text)[0] == "none"]
        return calibrated(finder, texts, "completions of the twin, which never saw the target")
    lines = [line for text in retain for line in paragraphs(text)]
    texts = [("", " ".join(line.split()[: a.c.new_tokens])) for line in lines[1::2]][:2000]
    if len(texts) < 2:
        texts = [("", p) for p in a.run.suite.prompts.neutral] + [("", "")] * 2
    fitted = calibrated(Resemblance(terms, lines[::2]), texts, "retain text that the scorer had not seen (no twin)")
    scaled = finder.with_thresholds(fitted.resemblance.factor)
    return dataclasses.replace(fitted, resemblance=scaled)


GRADES = ("explicit", "near", "none")
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


def draw(model, suite: Suite, probes: Sequence[Probe], c: Attack) -> list[Sample]:
    """Sample c.samples completions of every probe at every temperature; temperature 0 gives one."""
    suite = dataclasses.replace(suite, c=dataclasses.replace(suite.c, new_tokens=c.new_tokens))
    found = []
    for n, temperature in enumerate(c.temperatures):
        asked = [i for i in range(len(probes)) for _ in range(c.samples if temperature else 1)]
        sampling = Sampling(temperature, c.top_k)
        texts = complete(model, suite, [probes[i].prompt for i in asked], sampling, c.seed + n)
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
    """Return which of the expected words or phrases a completion begins with, whole words, or nothing."""
    words = WORD.findall(text)
    return next((e for e in expected if (own := WORD.findall(e)) and words[: len(own)] == own), "")


def summary(probes: Sequence[Probe], samples: Sequence[Sample], grader: Grader) -> dict:
    """Return rates of each grade (all, by kind, by source, by temperature), leak@n, and the worst completions."""
    graded = [grader.grade(probes[s.probe], s.text) for s in samples]

    def rates(keep) -> dict:
        chosen = [(s.probe, grade) for s, (grade, _) in zip(samples, graded, strict=True) if keep(s)]
        return {g: clustered_rate([(p, grade == g) for p, grade in chosen]).to_json() for g in GRADES[:2]}

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
    }


def clustered_rate(outcomes: Sequence[tuple[int, bool]]) -> Estimate:
    """Estimate a rate from (cluster, success) pairs: samples of one prompt are no news of each other.

    The interval is a bootstrap over clusters; where all clusters agree, which a bootstrap cannot tell from certainty,
    it is Wilson's for as many trials as there are clusters. n counts clusters.
    """
    clusters: dict[int, list[bool]] = {}
    for cluster, success in outcomes:
        clusters.setdefault(cluster, []).append(success)
    shares = [float(np.mean(each)) for each in clusters.values()]
    if set(shares) <= {0.0} or set(shares) <= {1.0}:
        return rate_estimate(int(sum(shares)), len(shares))
    return mean_estimate(shares)


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
    most = min(total for total, _ in counts.values())
    sizes = sorted({*[1 << k for k in range(most.bit_length())], most})
    found = {}
    for n in sizes:
        chances = [1 - comb(total - hits, n) / comb(total, n) for total, hits in counts.values()]
        same = len(set(chances)) == 1 and chances[0] in (0.0, 1.0)
        found[str(n)] = (rate_estimate(int(sum(chances)), len(chances)) if same else mean_estimate(chances)).to_json()
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

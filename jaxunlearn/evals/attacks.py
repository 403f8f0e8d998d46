"""Every attack on the models of a run; each result is kept on disk under all that it depends on, so reruns are free.

The report gets, by kind: "leaks", "relearn", "quantise", "context", "rtt", "latent", and a few figures a model.
"""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxunlearn import convert, distributed, guided, train
from jaxunlearn.config import CHEAP_ATTACKS, Config
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.evals import context, latent, probes, rtt, stress
from jaxunlearn.evals.blind import Probe, blind_probes, paragraphs
from jaxunlearn.evals.judge import Judge
from jaxunlearn.evals.measure import block_sums, completion_familiarity, measure, option_scores, specific_mass
from jaxunlearn.evals.near import Resemblance, calibrated
from jaxunlearn.evals.prompts import Lexicon
from jaxunlearn.evals.quantise import GROUP, quantised
from jaxunlearn.evals.statistics import mean_estimate, rate_estimate, ratio_estimate
from jaxunlearn.inputs import Inputs, variants
from jaxunlearn.results import UNLISTED, hash_of, holds, keep, load_model, measured_by, models_of, read_labels
from jaxunlearn.rundir import RunDirectory, as_dict, say, sha256_text
from jaxunlearn.text import next_token_labels

MAIN = ("baseline", "unlearned", "twin")
STRESS = "half frozen (must be exposed)"
FILTER = "output filter (must be exposed)"
BEHIND = {FILTER: "baseline"}  # whose weights lie behind an output: who has them is not bound by the filter


def attack(config: Config, run: RunDirectory, x: Inputs) -> dict[str, Any]:
    """Run the configured attacks; return {kind: findings, "models": {name: figures}, "unmeasured": [what and why]}."""
    a, c = Attacked(config, run, x), config.attack
    if "rtt" in c.kinds and c.stress:
        _output_filter(a)
        if x.facts:
            _stress_model(a, x.facts)
    for kind in c.kinds or CHEAP_ATTACKS:
        ATTACK[kind](a)
    return a.found | {"models": a.models, "unmeasured": a.unmeasured}


class Attacked:
    """The models of a run under attack, and what was found so far."""

    def __init__(self, config: Config, run: RunDirectory, x: Inputs):
        ways = jax.sharding.get_mesh().shape
        n = ways["data"] * ways["fsdp"]
        self.c = dataclasses.replace(config.attack, batch=-(-config.attack.batch // n) * n)
        self.config, self.run, self.x = dataclasses.replace(config, attack=self.c), run, x
        self.folders = models_of(config, run)
        self.found: dict[str, Any] = {}
        self.models: dict[str, dict] = {}
        self.unmeasured: list[str] = []
        self._hashes: dict[str, str] = {}

    def hash(self, name: str) -> str:
        """Return the hash of a model's weights, taken once."""
        if name not in self._hashes:
            self._hashes[name] = hash_of(self.folders[name])
        return self._hashes[name]

    def main(self, *names: str) -> list[str]:
        """Name those of the given models that the run has."""
        return [name for name in names or MAIN if name in self.folders]

    def weights(self, *names: str) -> list[tuple[str, str]]:
        """Pair names with the model whose weights are attacked; what works at inference time alone has none."""
        pairs = [(name, BEHIND.get(name, name)) for name in self.main(*names)]
        return [(name, of) for name, of in pairs if not guided.is_guided(self.folders[of])]

    def load(self, name: str, frozen: bool = False):
        return load_model(self.config, self.folders[name], frozen)

    def kept(self, kind: str, name: str, depends: Any, make: Callable[[], Any]) -> Any:
        """Return what was found before under the same settings, inputs and weights, or make and keep it."""
        slug = "".join(ch if ch.isalnum() else "_" for ch in name)
        path = self.run / "evals" / f"attack_{kind}_{slug}.json"
        key = {
            "depends": json.loads(json.dumps(depends)),
            "eval": measured_by(self.config.eval),
            "model": self.hash(name.split(",")[0]),
            "inputs": self.x.hashes,
        }
        if holds(path, key):
            return json.loads(path.read_text())["found"]
        with self.run.stage("attack", f"{kind}, {name}"):
            found = make()
            keep(path, key, found)
        return found

    def add(self, name: str, group: str, figures: dict) -> None:
        self.models.setdefault(name, {}).setdefault(group, {}).update(figures)

    def skip(self, what: str, why: str) -> None:
        line = f"{what}: {why}"
        if line not in self.unmeasured:
            say(f"  not measured: {line}")
            self.unmeasured.append(line)


# ---- leak probes


def attack_probes(a: Attacked) -> None:
    """Sample completions of leak probes, by hand and blind, and grade them; near misses calibrated on the twin."""
    x, c = a.x, a.c
    lexicon = x.suite.prompts.lexicon
    terms = lexicon.explicit or tuple(x.dictionary)
    if not terms:
        return a.skip(
            "leak probes", "neither text.prompts has a lexicon nor is there a dictionary to know the target by"
        )
    asked = _probes(a, terms)
    if not asked:
        return a.skip("leak probes", "the prompts have none and none could be drawn from the text")
    depends = [as_dict(c)[k] for k in ("seed", "temperatures", "samples", "top_k", "new_tokens")]
    depends.append(sha256_text(*[p.prompt for p in asked]))
    drawn = {}
    for name in a.folders:
        found = a.kept("probes", name, depends, lambda name=name: _drawn(a, name, asked))
        drawn[name] = [probes.Sample(**s) for s in found]
    judge = Judge(Lexicon(explicit=terms, typical=tuple(t for t in lexicon.typical if t not in terms)))
    fitted = _calibrated(a, judge, terms, [(asked[s.probe], s.text) for s in drawn.get("twin", [])])
    grader = probes.Grader(judge, fitted.resemblance)
    a.found["leaks"] = {
        "models": {name: probes.summary(asked, samples, grader) for name, samples in drawn.items()},
        "near_miss": {
            "thresholds": fitted.resemblance.thresholds,
            "false_positives": fitted.false_positives.to_json(),
            "calibrated_on": fitted.on,
        },
        "temperatures": list(c.temperatures), "samples": c.samples, "split": a.config.eval.split,
    }  # fmt: skip
    for name, summary in a.found["leaks"]["models"].items():
        a.add(name, "leaks", summary["rates"])


def _probes(a: Attacked, terms) -> list[Probe]:
    x, c = a.x, a.c
    texts, retain = ([d.text for d in documents] for documents in (x.documents, x.retain_documents))
    split, listed = a.config.eval.split, x.dictionary or terms
    blind = blind_probes(texts, retain, terms, listed, c.blind, c.seed, split) if c.blind else []
    hand = probes.hand_probes(x.suite.prompts.leaks)
    fits = [p for p in blind if context.holds(x.tokenizer, p.prompt)]
    taken = {p.prompt for p in hand}
    return hand + [p for p in fits if p.prompt not in taken]


def _drawn(a: Attacked, name: str, asked) -> list[dict]:
    return [dataclasses.asdict(s) for s in probes.draw(a.load(name, frozen=True), a.x.suite, asked, a.c)]


def _calibrated(a: Attacked, judge: Judge, terms, twin: list[tuple[Probe, str]]):
    """Fit near misses to the twin's completions; without one, to half of the retain text against the other half."""
    retain = [d.text for d in a.x.retain_documents]
    finder = Resemblance(terms, retain)
    if twin:
        unnamed = probes.Grader(judge, Resemblance((), ()))  # near is what does not name the target outright
        texts = [(p.prompt, text) for p, text in twin if unnamed.grade(p, text)[0] == "none"]
        return calibrated(finder, texts, "completions of the twin, which never saw the target")
    lines = [line for text in retain for line in paragraphs(text)]
    texts = [("", " ".join(line.split()[: a.c.new_tokens])) for line in lines[1::2]][:2000]
    if len(texts) < 2:
        texts = [("", p) for p in a.x.suite.prompts.neutral] + [("", "")] * 2
    fitted = calibrated(Resemblance(terms, lines[::2]), texts, "retain text that the scorer had not seen (no twin)")
    scaled = finder.with_thresholds(fitted.resemblance.factor)
    return dataclasses.replace(fitted, resemblance=scaled)


# ---- relearning


def attack_relearn(a: Attacked) -> None:
    """Relearn a few blocks of the text, and of unrelated text as the control; follow familiarity by step."""
    rows = a.x.forget_split[0][: a.config.eval.relearn_blocks]
    _relearned(a, "", a.x.forget, rows, "unlearned", "twin", STRESS, FILTER)
    if a.x.retain is not None:
        _relearned(a, "unrelated text", a.x.retain, a.x.retain_split[0][: len(rows)], "unlearned")


def relearning(config: Config, run: RunDirectory, x: Inputs, only: tuple[str, ...]) -> dict[str, list]:
    """Relearn a few blocks of the text from the named models alone; return {name: familiarity by step, best of rates}.

    The last step also has the share of completions that name the target, where the prompts ask for some.
    """
    a = Attacked(config, run, x)
    _relearned(a, "", x.forget, x.forget_split[0][: config.eval.relearn_blocks], *only, completions=True)
    return a.found.get("relearn", {})


def retraining(config: Config, run: RunDirectory, x: Inputs, only: tuple[str, ...]) -> dict[str, dict]:
    """Retrain the named models alone on part of the facts; return {name: rtt.figures}, {} where there are no facts."""
    a = Attacked(config, run, x)
    return {name: rtt.figures(found, None) for name, found in _retrained(a, *only).items()} if x.facts else {}


def attack_shares(a: Attacked) -> None:
    """Relearn from shares of the text: 1%, 10%, all of it."""
    rows = np.random.default_rng(a.c.seed).permutation(a.x.forget_split[0])
    for share in a.c.shares:
        chosen = rows[: max(1, round(share * len(rows)))]
        what = f"{share:.0%} of the text ({len(chosen)} block{'s' * (len(chosen) != 1)})"
        _relearned(a, what, a.x.forget, chosen, "unlearned", "twin")


def _relearned(a: Attacked, what: str, blocks, rows: np.ndarray, *names: str, completions: bool = False) -> None:
    e = a.config.eval
    if not e.relearn_steps or not a.x.suite.prompts.probability:
        return a.skip("relearning", "eval.relearn_steps is empty, or the prompts hold no next-word prompts")
    arrays = blocks.tokens_NT[rows], next_token_labels(blocks)[rows]
    aside = f", {what}" * bool(what)
    for name, of in a.weights(*names):
        depends = [len(rows), as_dict(a.config.unlearn), a.c.seed, *["completions"] * completions]
        depends += [list(e.relearn_steps), list(e.relearn_rates)]
        found = a.kept("relearn", of + aside, depends, lambda of=of: _best_relearned(a, of, arrays, completions))
        a.found.setdefault("relearn", {})[name + aside] = found


def _best_relearned(a: Attacked, name: str, arrays, completions: bool) -> list[dict]:
    """Relearn at every rate; return the most that had come back at each step, "rate" being that of the familiarity.

    A rate at which the attack itself diverges is left out; RunError where all do.
    """
    c, runs = a.config, []
    usual = max(c.unlearn.learning_rate, c.reinforce.learning_rate)
    rates = c.eval.relearn_rates or tuple(usual * k for k in (1.0, 4.0, 16.0))
    for rate in rates:
        try:
            runs.append(_relearn(a, a.load(name), arrays, rate, completions))
        except RunError as error:
            say(f"  relearning at {rate:g} broke the model: {error}")
    if not runs:
        raise RunError(f"relearning broke {name} at every rate tried; set eval.relearn_rates below {min(rates):g}")
    best = [dict(max(points, key=lambda p: p["familiarity"])) for points in zip(*runs, strict=True)]
    if named := [run[-1]["explicit"] for run in runs if "explicit" in run[-1]]:
        best[-1]["explicit"] = max(named, key=lambda e: e["value"])
    return best


def _relearn(a: Attacked, start, arrays, rate: float, completions: bool) -> list[dict]:
    e, points, suite = a.config.eval, [], a.x.suite
    c = dataclasses.replace(
        a.config.unlearn, steps=max(e.relearn_steps), learning_rate=rate, schedule="constant", warmup=0, accumulate=1
    )
    prompts = [p for p in suite.prompts.probability if p.position == "out"]

    def look(n, state):
        familiarity = float(np.mean(specific_mass(state.model, suite, prompts)))
        points.append({"step": n, "familiarity": familiarity, "rate": rate})
        if completions and n == max(e.relearn_steps) and suite.prompts.completion:
            points[-1]["explicit"] = completion_familiarity(state.model, suite, {})["leaks"]["explicit"]

    def batch(n):
        return train.microbatches(c, arrays, ("BT", "BT"), len(arrays[0]), a.config.seed, n)

    train.fit(train.init_state(start, c), train.compiled_step(c), batch, c, measure=look, measure_at=e.relearn_steps)
    return points


# ---- rounding, and attacks by the prompt


def attack_quantise(a: Attacked) -> None:
    """Round the weights and ask again."""
    if unknown := [s for s in a.c.schemes if s not in GROUP]:
        raise InputError(f"attack.schemes: no rounding {unknown[0]!r}; expected some of {', '.join(GROUP)}")
    for name, of in a.weights(*MAIN, FILTER):
        for scheme in a.c.schemes:

            def make(of=of, scheme=scheme):
                return key_figures(quantised(a.load(of, frozen=True), scheme), a.x.suite)

            found = a.kept(f"quantise_{scheme}", of, scheme, make)
            a.found.setdefault("quantise", {}).setdefault(name, {})[scheme] = found


def key_figures(model, suite) -> dict[str, dict]:
    """Return familiarity, leak probability, general accuracy and retain perplexity: what an attack may change."""
    p, found = suite.prompts, {}
    prompts = [q for q in p.probability if q.position == "out"]
    if prompts:
        found["familiarity"] = mean_estimate(specific_mass(model, suite, prompts)).to_json()
    if p.leaks:
        found["leaks"] = mean_estimate(specific_mass(model, suite, p.leaks)).to_json()
    if p.choice:
        right = [int(np.argmax(s)) == q.answer for s, q in zip(option_scores(model, suite), p.choice, strict=True)]
        found["accuracy"] = rate_estimate(sum(right), len(right)).to_json()
    if "retain" in suite.texts:
        nll_N, _, count_N = block_sums(model, suite.texts["retain"], suite.c, 1.0)
        found["perplexity"] = ratio_estimate(nll_N, count_N).to_json()
    return found


def attack_context(a: Attacked) -> None:
    """Put a passage of the text, a prefix, a role or another wording around the next-word prompts."""
    x, c = a.x, a.c
    if not any(p.position == "out" for p in x.suite.prompts.probability):
        return a.skip("attacks by the prompt", "the prompts hold no next-word prompts")
    target = context.passages(x.documents, x.tokenizer, c.passages, c.seed)
    made = context.conditions(x.suite, target, context.passages(x.retain_documents, x.tokenizer, c.passages, c.seed))
    for name in a.main():

        def make(name=name):
            return context.in_context(a.load(name, frozen=True), x.suite, made)

        a.found.setdefault("context", {})[name] = a.kept("context", name, made, make)


# ---- RTT and what lies under it


def attack_rtt(a: Attacked) -> None:
    """Retrain on some facts and ask for the others: baseline, unlearned, twin, and a model that only hides."""
    facts, c = a.x.facts, a.c
    if not facts:
        return a.skip("RTT", "no facts: give attack.facts=FILE, or `facts` in text.prompts")
    pairs, found = rtt.pairings(facts, c), _retrained(a, *MAIN, STRESS, FILTER)
    if "unlearned" in found:
        found |= _rtt_controls(a, facts, pairs, found["unlearned"]["rate"])
    a.found["rtt"] = {
        "models": {n: f | rtt.figures(f, found.get("baseline")) for n, f in found.items()},
        "facts": len(facts), "asked": sum(len(p.ask) for p in pairs), "pairings": len(pairs), "scoring": c.scoring,
        "chance": float(np.mean([1 / len(f.options) for f in facts])),
    }  # fmt: skip
    for name, _ in a.weights(*MAIN, STRESS, FILTER):
        a.add(name, "rtt", rtt.figures(found[name], found.get("baseline")))


def _retrained(a: Attacked, *names: str) -> dict[str, dict]:
    """Retrain the named models; return {name: rtt.retrain's result}."""
    facts, c, (rates, depends) = a.x.facts, a.c, _rtt_settings(a)

    def make(of: str) -> dict:
        return rtt.retrain(lambda: a.load(of), a.x.suite, facts, rtt.pairings(facts, c), c, rates)

    return {name: a.kept("rtt", of, depends, lambda of=of: make(of)) for name, of in a.weights(*names)}


def _rtt_settings(a: Attacked) -> tuple[tuple[float, ...], list]:
    """Return the rates to retrain at, and all that the result depends on."""
    rates = a.c.rates or tuple(a.config.unlearn.learning_rate * k for k in (0.5, 1.0, 2.0, 4.0))
    depends = [as_dict(a.c)[k] for k in ("seed", "scoring", "splits", "pairings", "epochs", "batch", "facts")]
    return rates, [*depends, list(rates), sha256_text(repr(a.x.facts))]


def _rtt_controls(a: Attacked, facts, pairs, rate: float) -> dict[str, dict]:
    """Retrain the unlearned model on unrelated facts, and on parts of T, at the rate that served the attacker best."""
    c, suite, found, (_, depends) = a.c, a.x.suite, {}, _rtt_settings(a)

    def run_one(title: str, **more) -> None:
        def make():
            return rtt.retrain(lambda: a.load("unlearned"), suite, facts, pairs, c, (rate,), **more)

        found[f"unlearned, {title}"] = a.kept("rtt", f"unlearned, {title}", [depends, rate], make)

    unrelated = [(q.question, q.options[q.answer]) for q in (a.x.prompts.choice if a.x.prompts else ())]
    if unrelated:
        run_one("unrelated facts", unrelated=unrelated[: len(pairs[0].train)])
    for share in (0.1, 0.5):
        run_one(f"{share:.0%} of T", share=share)
    return found


def _stress_model(a: Attacked, facts) -> None:
    """Make attacks/half_frozen-.../, a model that hides, and measure it as every other; the attacks then find it."""
    made_of = [a.hash("baseline"), repr(facts), as_dict(a.config.unlearn), as_dict(a.config.whp), a.c.seed, a.c.scoring]
    folder = a.run / "attacks" / f"half_frozen-{sha256_text(json.dumps(made_of))[:8]}"
    if not a.run.has(f"attacks/{folder.name}"):
        with a.run.stage("attack", "stress test: forgetting with half of the layers frozen"):
            u = a.config.unlearn
            arrays = _hiding_blocks(a, facts)
            made = stress.hiding(a.load("baseline"), arrays, 2 * u.learning_rate, u.batch, a.c.seed)
            distributed.first(lambda: folder.parent.mkdir(exist_ok=True))
            convert.save(made, folder, source=a.x.tokenizer_dir)
    _show_hidden(a, STRESS, folder)


def _output_filter(a: Attacked) -> None:
    """Put a filter of the target's terms over the baseline: it says none of them, and has forgotten nothing."""
    lexicon = a.x.suite.prompts.lexicon
    terms = (tuple(a.x.dictionary) or lexicon.explicit) + lexicon.typical
    barred = stress.beginnings(a.x.tokenizer, terms)
    if not barred:
        return a.skip("the control behind an output filter", "neither a dictionary nor a lexicon names the target")
    folder = a.run / "attacks" / f"filtered-{sha256_text(json.dumps([a.hash('baseline'), barred]))[:8]}"
    distributed.first(lambda: guided.save_filter(folder, barred, a.hash("baseline")))
    _show_hidden(a, FILTER, folder)


def _show_hidden(a: Attacked, name: str, folder: Path) -> None:
    """Measure a model that only hides as every other, and set it before the attacks."""
    a.folders[name] = folder
    found = a.kept("measure", name, [], lambda: measure(a.load(name, frozen=True), a.x.suite))
    a.models.setdefault(name, {}).update({k: v for k, v in found.items() if k not in (*UNLISTED, "track")})


def _hiding_blocks(a: Attacked, facts) -> tuple[np.ndarray, np.ndarray]:
    """Return wrong answers, the text with its generic labels and retain text, as many blocks of each."""
    x, rows = a.x, a.x.forget_split[0]
    parts = [stress.wrong_answers(x.suite, facts, a.c.scoring, x.forget.tokens_NT.shape[1], a.c.seed)]
    method = variants(a.config)[0]
    if (a.run / "labels" / method.labels / f"alpha_{method.alpha:g}.npy").is_file():
        labels = read_labels(a.run, method)
        parts.append((x.forget.tokens_NT[rows], np.asarray(labels)[rows]))
    if x.retain is not None:
        rows = x.retain_split[0]
        parts.append((x.retain.tokens_NT[rows], next_token_labels(x.retain)[rows]))
    return stress.mixed(parts, a.c.seed)


def attack_latent(a: Attacked) -> None:
    """Read the facts off the hidden states with a linear classifier, layer by layer."""
    facts = a.x.facts
    if not facts:
        return a.skip("latent probe", "no facts: give attack.facts=FILE, or `facts` in text.prompts")
    for name, of in a.weights(*MAIN, STRESS, FILTER):

        def make(of=of):
            return latent.probe(a.load(of, frozen=True), a.x.suite, facts, a.c)

        depends = [as_dict(a.c), sha256_text(repr(facts))]
        a.found.setdefault("latent", {})[name] = a.kept("latent", of, depends, make)


ATTACK: dict[str, Callable[[Attacked], None]] = {
    "probes": attack_probes,
    "relearn": attack_relearn,
    "quantise": attack_quantise,
    "context": attack_context,
    "rtt": attack_rtt,
    "shares": attack_shares,
    "latent": attack_latent,
}

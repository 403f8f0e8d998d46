"""Measure every model of a run."""

import json

import jax

from jaxunlearn.config import Config
from jaxunlearn.evals import standard
from jaxunlearn.evals.harness import run_tasks
from jaxunlearn.evals.llm_judge import judged
from jaxunlearn.evals.measure import complete, measure
from jaxunlearn.files import sha256_text
from jaxunlearn.methods import inference
from jaxunlearn.models.generate import Sampling
from jaxunlearn.run.directory import RunDirectory
from jaxunlearn.run.inputs import Inputs
from jaxunlearn.run.store import hash_of, holds, keep, load_model, measured_by, models_of


def evaluate(config: Config, run: RunDirectory, x: Inputs, only: tuple[str, ...] = ()) -> dict[str, dict]:
    """Measure every model of the run, those already measured with the same settings aside; return {name: figures}."""
    found = {}
    for name, folder in models_of(config, run).items():
        if only and name not in only:
            continue
        path = run / "evals" / f"{name.split(' (')[0].replace(' ', '_')}.json"
        key = {"eval": measured_by(config.eval), "model": hash_of(folder), "prompts": x.hashes.get("text.prompts")}
        if config.eval.members and run.has("twin"):
            key["reference"] = hash_of(run / "twin")
        if x.benchmarks:
            key["benchmarks"] = sha256_text(*map(repr, x.benchmarks))
        if holds(path, key):
            found[name] = json.loads(path.read_text())["found"]
            continue
        with run.stage("evaluate", name):
            m, suite = load_model(config, folder, frozen=True), inference.suite(folder, x.suite)
            found[name] = measure(m, suite)
            if x.suite.prompts.leaks:
                prompts = [p.prompt for p in x.suite.prompts.leaks]
                found[name]["leak_texts"] = complete(m, suite, prompts, Sampling(), config.seed)
            found[name] |= _standard(config, run, x, name, m, found[name])
            keep(path, key, found[name])
    standard.privleak(found)
    standard.quality(found)
    return found


def _standard(config: Config, run: RunDirectory, x: Inputs, name: str, m, found: dict) -> dict:
    """Return what the configuration asks for beyond the suite: memory, benchmarks, TOFU, the harness's tasks."""
    e, more = config.eval, {}
    if found.get("completions"):
        more |= standard.writing(found["completions"])
    if e.members:
        twin = load_model(config, run / "twin", frozen=True) if name != "twin" and run.has("twin") else None
        held = x.held.get("forget")
        new = (held, range(len(held.tokens_NT))) if held is not None else (x.forget, x.forget_split[1])
        more |= standard.memory(
            m, x.tokenizer, x.forget, x.forget_split[0], standard.block_texts(*new, x.tokenizer, e.members),
            reference=twin, texts=e.members, batch=e.batch, with_gradients=inference.has_weights(m),
        )  # fmt: skip
    if x.benchmarks:
        more |= standard.benchmarks(m, x.tokenizer, x.benchmarks, e.batch)
    if e.tofu:
        more |= standard.tofu(m, x.tokenizer, e.tofu, e.items, e.batch)
    if e.tasks:
        cache = run / "evals" / f"tasks_{hash_of(models_of(config, run)[name])[:12]}.db"
        tasks = run_tasks(m, x.tokenizer, e.tasks, batch=e.batch, items=e.items, cache=cache, seed=config.seed)
        more["tasks"] = {f"{task} {metric}": f for task, metrics in tasks.items() for metric, f in metrics.items()}
    return more


def judge_too(config: Config, run: RunDirectory, x: Inputs, models: dict[str, dict]) -> dict:
    """Let a language model grade the completions as well, where asked; its score stands beside the lexicon's."""
    c, prompts = config.judge, x.suite.prompts
    if not c.use or not any("completions" in found for found in models.values()) or jax.process_index():
        return {}  # of several processes one asks: nothing is paid twice
    with run.stage("judge", f"completions of {len(models)} models"):
        found = judged(c, run / "judge", c.work or prompts.name, prompts.lexicon.explicit, models)
    for name, graded in found["models"].items():
        if "familiarity" in graded:
            models[name]["familiarity"]["judge"] = graded["familiarity"]
    return {"judge": found}

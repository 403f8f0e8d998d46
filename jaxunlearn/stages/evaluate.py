"""Measure every model of a run."""

import jax

from jaxunlearn.evals import standard
from jaxunlearn.evals.harness import run_tasks
from jaxunlearn.evals.llm_judge import judged
from jaxunlearn.evals.measure import complete, measure
from jaxunlearn.files import sha256_text
from jaxunlearn.methods import inference
from jaxunlearn.models.generate import Sampling
from jaxunlearn.run import Run
from jaxunlearn.run.resume import holds, keep, kept
from jaxunlearn.run.store import hash_of, load_model, measured_by, models_of


def evaluate(run: Run, only: tuple[str, ...] = ()) -> dict[str, dict]:
    """Measure every model of the run, those already measured with the same settings aside; return {name: figures}."""
    found = {}
    for name, folder in models_of(run).items():
        if only and name not in only:
            continue
        path = run / "evals" / f"{name.split(' (')[0].replace(' ', '_')}.json"
        key = {
            "eval": measured_by(run.config.eval),
            "model": hash_of(folder),
            "prompts": run.inputs.hashes.get("text.prompts"),
        }
        if run.config.eval.members and run.folder.has("twin"):
            key["reference"] = hash_of(run / "twin")
        if run.benchmarks:
            key["benchmarks"] = sha256_text(*map(repr, run.benchmarks))
        if holds(path, key):
            found[name] = kept(path)
            continue
        with run.folder.stage("evaluate", name):
            m, suite = load_model(run.config, folder, frozen=True), inference.suite(folder, run.suite)
            found[name] = measure(m, suite)
            if run.suite.prompts.leaks:
                prompts = [p.prompt for p in run.suite.prompts.leaks]
                found[name]["leak_texts"] = complete(m, suite, prompts, Sampling(), run.config.seed)
            found[name] |= _standard(run, name, m, found[name])
            keep(path, key, found[name])
    standard.privleak(found)
    standard.quality(found)
    return found


def _standard(run: Run, name: str, m, found: dict) -> dict:
    """Return what the configuration asks for beyond the suite: memory, benchmarks, TOFU, the harness's tasks."""
    e, x, more = run.config.eval, run.inputs, {}
    if found.get("completions"):
        more |= standard.writing(found["completions"])
    if e.members:
        twin = load_model(run.config, run / "twin", frozen=True) if name != "twin" and run.folder.has("twin") else None
        held = x.held.get("forget")
        new = (held, range(len(held.tokens_NT))) if held is not None else (x.forget, run.forget_split[1])
        texts = standard.block_texts(*new, x.tokenizer, e.members)
        more |= standard.memory(
            m, x.tokenizer, x.forget, run.forget_split[0], texts,
            reference=twin, texts=e.members, batch=e.batch, with_gradients=inference.has_weights(m),
        )  # fmt: skip
    if run.benchmarks:
        more |= standard.benchmarks(m, run.inputs.tokenizer, run.benchmarks, e.batch)
    if e.tofu:
        more |= standard.tofu(m, run.inputs.tokenizer, e.tofu, e.items, e.batch)
    if e.tasks:
        cache = run / "evals" / f"tasks_{hash_of(models_of(run)[name])[:12]}.db"
        tasks = run_tasks(
            m, run.inputs.tokenizer, e.tasks, batch=e.batch, items=e.items, cache=cache, seed=run.config.seed
        )
        more["tasks"] = {f"{task} {metric}": f for task, metrics in tasks.items() for metric, f in metrics.items()}
    return more


def judge_too(run: Run, models: dict[str, dict]) -> dict:
    """Let a language model grade the completions as well, where asked; its score stands beside the lexicon's."""
    c, prompts = run.config.judge, run.suite.prompts
    if not c.use or not any("completions" in found for found in models.values()) or jax.process_index():
        return {}  # of several processes one asks: nothing is paid twice
    with run.folder.stage("judge", f"completions of {len(models)} models"):
        found = judged(c, run / "judge", c.work or prompts.name, prompts.lexicon.explicit, models)
    for name, graded in found["models"].items():
        if "familiarity" in graded:
            models[name]["familiarity"]["judge"] = graded["familiarity"]
    return {"judge": found}

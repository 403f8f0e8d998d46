"""Measuring and attacking the models of a run, and putting the report together."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxunlearn import convert, cost, distributed, guided, repair
from jaxunlearn.config import Config, Eval
from jaxunlearn.evals import standard
from jaxunlearn.evals.differences import differences
from jaxunlearn.evals.llm_judge import judged
from jaxunlearn.evals.measure import complete, measure
from jaxunlearn.generate import Sampling
from jaxunlearn.inputs import Inputs, Variant, variants
from jaxunlearn.rundir import RunDirectory, as_dict, sha256, sha256_text, write_whole
from jaxunlearn.text import next_token_labels

CLAIM = (
    "The claim is that familiarity is gone from what the model writes, not that the knowledge is gone from its "
    "weights: relearning and leak probes below show how much stays."
)


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
            m, suite = load_model(config, folder, frozen=True), guided.suite(folder, x.suite)
            found[name] = measure(m, suite)
            if x.suite.prompts.leaks:
                prompts = [p.prompt for p in x.suite.prompts.leaks]
                found[name]["leak_texts"] = complete(m, suite, prompts, Sampling(), config.seed)
            found[name] |= _standard(config, run, x, name, m, found[name])
            keep(path, key, found[name])
    standard.privleak(found)
    standard.quality(found)
    return found


ELSEWHERE = ("every", "at", "relearn_steps", "relearn_blocks", "relearn_rates")  # of Eval; bear on no measurement


def measured_by(e: Eval) -> dict:
    """Return the settings that a measurement depends on."""
    return {k: v for k, v in as_dict(e).items() if k not in ELSEWHERE}


def holds(path: Path, key: dict) -> bool:
    """Whether a file holds what was found under these settings, as the first process sees it."""
    return distributed.first(lambda: path.is_file() and json.loads(path.read_text())["key"] == key)


def keep(path: Path, key: dict, found) -> None:
    """Write what was found under these settings; of several processes the first one does."""

    def write():
        path.parent.mkdir(exist_ok=True)
        write_whole(path, json.dumps({"key": key, "found": found}))

    distributed.first(write)


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
            reference=twin, texts=e.members, batch=e.batch,
        )  # fmt: skip
    if x.benchmarks:
        more |= standard.benchmarks(m, x.tokenizer, x.benchmarks, e.batch)
    if e.tofu:
        more |= standard.tofu(m, x.tokenizer, e.tofu, e.items, e.batch)
    if e.tasks:
        from jaxunlearn.evals.harness import run_tasks

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
        found = judged(c, run, c.work or prompts.name, prompts.lexicon.explicit, models)
    for name, graded in found["models"].items():
        if "familiarity" in graded:
            models[name]["familiarity"]["judge"] = graded["familiarity"]
    return {"judge": found}


def models_of(config: Config, run: RunDirectory) -> dict[str, Path]:
    names = {"baseline": "baseline", "unlearned": "unlearned", "twin": "twin", "reinforced": "reinforced"}
    names["repaired"] = "repaired"
    names |= {v.name: v.folder for v in variants(config)[1:]}
    return {name: run / folder for name, folder in names.items() if run.has(folder)}


def assemble(config: Config, run: RunDirectory, x: Inputs, models: dict, attacked: dict, manifest: dict) -> dict:
    """Return the report of a run (design: report.json); `attacked` is what evals/attacks.py found."""
    t = x.translation
    listed = {n: {k: v for k, v in m.items() if k not in UNLISTED} for n, m in models.items()}
    for name, figures in attacked.get("models", {}).items():
        listed[name] = _with_attacks(listed.get(name, {}), figures)
    curves = {v.name: _curve(run, v) for v in variants(config)}
    report: dict[str, Any] = {
        "title": config.title or config.name, "name": config.name, "claim": CLAIM, "device": device(),
        "seconds": run.seconds(), "config": json.loads((run / "config.json").read_text()), "manifest": manifest,
        "models": listed,
        "curve": curves.pop("unlearned"), "curves": {k: v for k, v in curves.items() if v},
        "costs": costs(config, run, x), "differences": differences(models),
        "relearn": attacked.get("relearn", {}),
        "attacks": {k: v for k, v in attacked.items() if k not in ("models", "relearn", "rtt", "judge")},
        "judge": attacked.get("judge", {}),
        "rtt": attacked.get("rtt", {}),
        "completions": _side_by_side(models), "leak_probes": _leaks(x, models),
        "labels": _label_figures(run, config, x), "dictionary": {"terms": len(x.dictionary), "anchors": t.anchors},
        "notes": [
            f"prompts: the {config.eval.split!r} split",
            f"text to forget: {x.forget.summary()}",
            f"labels: {t.summary()}",
        ],
    }  # fmt: skip
    if "repaired" in models and "unlearned" in models:
        report["notes"].append(repair.verdict(models["unlearned"], models["repaired"]))
    return report


def _with_attacks(measured: dict, figures: dict) -> dict:
    """Add an attack's figures to a model's; the completions' explicit rate makes room for that of the leak probes."""
    merged = dict(measured)
    for group, inner in figures.items():
        before = dict(merged.get(group) or {}) if isinstance(inner, dict) else {}
        if group == "leaks" and "explicit" in inner and "explicit" in before:
            before["completions"] = before.pop("explicit")
        merged[group] = before | inner if isinstance(inner, dict) else inner
    return merged


def costs(config: Config, run: RunDirectory, x: Inputs) -> dict[str, dict]:
    """Return {model: {"seconds", "passes", "share"}}: time of its making; forward passes of a block as cost.py counts.

    share: of the passes of the baseline's pretraining. Controls have their seconds alone.
    """
    seconds = run.seconds()
    found: dict[str, dict] = {n: {"seconds": seconds[n]} for n in ("baseline", "twin") if n in seconds}
    for v in variants(config):
        stage = "unlearn" if v.folder == "unlearned" else v.folder.rpartition("/")[2]
        if (run / v.folder).exists() and stage in seconds:
            shared = SHARED_STAGES if v.method != "retain_only" else ()
            found[v.name] = {"seconds": round(seconds[stage] + sum(seconds.get(s, 0.0) for s in shared), 2)}
    if "unlearned" in found:
        blocks = len(x.forget.tokens_NT)
        found["unlearned"]["passes"] = cost.method_passes(config, blocks)
        if config.pretrain.steps:
            found["unlearned"]["share"] = cost.share(config, blocks)
    return found


SHARED_STAGES = ("anchors", "reinforce", "dilute", "label", "heal")  # made once, for the method and its controls
SHOWN = ("baseline", "unlearned", "repaired", "twin")  # whose texts stand side by side
UNLISTED = ("completions", "leak_texts", "leak_probabilities", "items", "right", "min_k", "truth_ratios")


def _curve(run: RunDirectory, v: Variant) -> list[dict]:
    stage = "unlearn" if v.folder == "unlearned" else v.folder.rpartition("/")[2]
    return [{k: a for k, a in r.items() if k not in ("stage", "event")} for r in run.records(stage, "eval")]


def _side_by_side(models: dict) -> list[dict]:
    shown = {n: m["completions"] for n, m in models.items() if n in SHOWN and "completions" in m}
    rows = []
    for parts in zip(*shown.values(), strict=True):
        rows.append({
            "prompt": parts[0]["prompt"], "subtlety": parts[0]["subtlety"],
            "texts": {n: p["text"] for n, p in zip(shown, parts, strict=True)},
            "grades": {n: p["grade"] for n, p in zip(shown, parts, strict=True)},
            "evidence": {n: p["evidence"] for n, p in zip(shown, parts, strict=True)},
        })  # fmt: skip
    return rows


def _leaks(x: Inputs, models: dict) -> list[dict]:
    shown = {n: m for n, m in models.items() if n in SHOWN and "leak_texts" in m}
    return [
        {
            "prompt": p.prompt,
            "kind": p.kind,
            "probability": {n: m["leak_probabilities"][i] for n, m in shown.items()},
            "texts": {n: m["leak_texts"][i] for n, m in shown.items()},
        }
        for i, p in enumerate(x.suite.prompts.leaks)
    ]


def _label_figures(run: RunDirectory, config: Config, x: Inputs) -> dict:
    variant, t = variants(config)[0], x.translation
    found = {"alpha": variant.alpha, "tokens": x.forget.tokens, "unaligned_share": t.unaligned_share}
    if not (run / "labels" / variant.labels / f"alpha_{variant.alpha:g}.npy").is_file():
        return found
    labels, truth = read_labels(run, variant), next_token_labels(x.forget)
    trained = labels != -100
    found["trained_share"] = float(trained.sum() / x.forget.valid_NT.sum())
    found["changed_share"] = float((labels != truth)[trained].mean())
    return found


def device() -> str:
    """Name the devices of the mesh."""
    d = jax.devices()
    return f"{len(d)} x {d[0].device_kind}" + (f", {jax.process_count()} processes" if jax.process_count() > 1 else "")


def load_model(config: Config, directory: Path, frozen: bool = False):
    """Read a model, or what stands for one at inference time; frozen ones rest in the compute dtype, others in fp32."""
    if guided.is_guided(directory):
        return guided.load(directory, partial(load_model, config, frozen=frozen))
    return convert.load(directory, config.compute, config.compute if frozen else "float32", config.remat)


def hash_of(folder: Path) -> str:
    """Return the hash of a model's weights."""
    return distributed.first(
        lambda: sha256_text(*[sha256(p) for p in [*sorted(folder.glob("*.safetensors")), *folder.glob(guided.FILE)]])
    )


def read_soft_labels(run: RunDirectory, variant: Variant) -> tuple[np.ndarray, np.ndarray]:
    """Return a variant's stored (ids_NTJ, p_NTJ) of soft labels, memory-mapped."""
    folder = run / "labels" / f"{variant.labels}_soft"
    ids, p = (np.load(folder / f"alpha_{variant.alpha:g}_{kind}.npy", mmap_mode="r") for kind in ("ids", "p"))
    return ids, p


def read_labels(run: RunDirectory, variant: Variant) -> np.ndarray:
    """Return a variant's stored labels_NT (int32, -100 where untrained), memory-mapped."""
    return np.load(run / "labels" / variant.labels / f"alpha_{variant.alpha:g}.npy", mmap_mode="r")

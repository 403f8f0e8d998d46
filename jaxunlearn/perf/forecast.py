"""What a run will do on this machine, and what it will not measure, from its inputs alone: nothing is compiled or kept.

FLOPs are those of methods/cost.py's passes. Time is FLOPs over the speed of a plain matrix product, measured here, and
the share of it that steps reached where they were measured (docs/benchmarks.md); measuring takes further time.
"""

import dataclasses
import io
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any, TextIO

import jax

from jaxunlearn import attacks
from jaxunlearn.config import Config, Train
from jaxunlearn.data.blocks import halves
from jaxunlearn.errors import InputError
from jaxunlearn.estimates import duration
from jaxunlearn.evals import METRICS
from jaxunlearn.evals.base import Context
from jaxunlearn.evals.prompts import ENOUGH, SPLITS
from jaxunlearn.methods import asks, check_controls, cost, method_of, resolved
from jaxunlearn.methods.controls import CONTROLS
from jaxunlearn.methods.whp import teachers
from jaxunlearn.models.weights import forward_flops, parameter_bytes, parameters
from jaxunlearn.parallel import processes
from jaxunlearn.parallel.console import doing
from jaxunlearn.parallel.sharding import device_names, mesh_from, platform
from jaxunlearn.perf.arithmetic import Choice, settled, step_bytes
from jaxunlearn.perf.timing import matmul_ceiling
from jaxunlearn.run import Run, checked, checks
from jaxunlearn.run.directory import RunDirectory, refuse_others
from jaxunlearn.run.inputs import places_of
from jaxunlearn.run.store import labels_folder, stored_parts
from jaxunlearn.run.variants import variants
from jaxunlearn.stages import batches
from jaxunlearn.stages.pretrain import needed
from jaxunlearn.training.layerwise import Room

SHARE = {"cpu": 0.5, "gpu": 0.4, "tpu": 0.4}  # of a plain product's speed that steps reached: docs/benchmarks.md
PROMPT = 32  # tokens of a prompt, for an estimate


def forecast(config: Config) -> dict[str, Any]:
    """Return what a run would do: stages, memory, time, coverage, prompts, unknown tokens, what is not measured.

    Every check of a run's inputs is made, and every InputError raised. Of the run's folder it is not checked that it
    can be written and is free. A dictionary that the run would build by counting is built in a scratch folder, also in
    the place of one that a language model would build. Raises InputError for several processes, too.
    """
    if processes.count() > 1:
        raise InputError("a dry run is done by one process: start it without the variables JAXUNLEARN_...")
    config = resolved(config)
    method_of(config)
    check_controls(config)
    checks.refuse_endpoints(config)
    with jax.set_mesh(mesh_from(config.mesh)), tempfile.TemporaryDirectory() as scratch:
        refuse_others(config.directory)
        folder = RunDirectory(config, looks=True) if config.directory.exists() else None  # refuses another run's
        there = _elsewhere(config, Path(scratch))
        doing("reading and checking the inputs")
        with _without(scratch):
            run = checked(there, RunDirectory(there), attacks.check, batches.check)
        if folder and folder.begun:
            scratched = {"text.dictionary"} if there.text.dictionary == "build" else set()  # it is not the run's own
            hashes = {name: found for name, found in run.inputs.hashes.items() if name not in scratched}
            folder.manifest(hashes, places_of(run.config))  # refuses changed inputs
        return _found(config, run)


@contextmanager
def _without(scratch: str) -> Iterator[None]:
    """Pass on what is said meanwhile, but for lines that name the scratch folder, which will be gone."""
    passing = _Passing(sys.stderr, scratch)
    with redirect_stderr(passing):
        yield


class _Passing(io.TextIOBase):
    """Writes each whole line on to another stream at once, where it does not hold a word."""

    def __init__(self, to: TextIO, without: str):
        self._to, self._without, self._rest = to, without, ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if self._without not in line:
                self._to.write(f"{line}\n")
        return len(text)

    def flush(self) -> None:
        self._to.flush()


def _elsewhere(config: Config, scratch: Path) -> Config:
    """Return the configuration with its folder in `scratch`, and with what the real one has built already."""
    run = dataclasses.replace(config.run, dir=str(scratch / "run"), checkpoints="", track=())
    built, text = config.directory / "anchors" / "dictionary.json", config.text
    if text.dictionary == "build" and built.is_file():
        text = dataclasses.replace(text, dictionary=str(built))
    anchors = dataclasses.replace(config.anchors, source="offline")
    return dataclasses.replace(config, run=run, text=text, anchors=anchors)


def _found(config: Config, run: Run) -> dict[str, Any]:
    c, speed = run.inputs.shape, matmul_ceiling(run.inputs.shape.compute)
    rate = speed * SHARE.get(platform(), 0.4)
    block = forward_flops(c, config.text.context, config.text.context)
    stages = [_timed(row, block, rate, config) for row in _stages(run, config)]
    return {
        "config": config.name, "model": config.model, "directory": str(config.directory), "device": device_names(),
        "parameters": c.L * parameters(c)[0] + parameters(c)[1], "texts": _texts(run), "stages": stages,
        "seconds": sum(row["seconds"] for row in stages if not row["done"]),
        "basis": f"{speed / 1e9:,.0f} GFLOP/s in a plain {c.compute} product, measured now; steps at "
        f"{SHARE.get(platform(), 0.4):.0%} of it. Other work on this machine makes it longer",
        "memory": _memory(run, config), "disk": _disk(run, config),
        "dictionary": _dictionary(run, config), "prompts": _prompts(run), "not_measured": _unmeasured(run, config),
    }  # fmt: skip


# ---- what is done


def _stages(run: Run, config: Config) -> list[dict[str, Any]]:
    """Return {stage, steps, blocks, passes, done} of every stage; blocks: those that the stage reads or trains on."""
    p, x, rows = config.pretrain, run.inputs, []

    def add(stage: str, steps: int, blocks: float, passes: float, folder: str) -> None:
        done = bool(folder) and (config.directory / folder).is_dir()
        rows.append({"stage": stage, "steps": steps, "blocks": int(blocks), "passes": passes, "done": done})

    def trained(stage: str, t: Train, passes: float, folder: str, part: float = 1.0) -> None:
        steps = max(1, round(t.steps * part))
        add(stage, steps, steps * t.batch * t.accumulate, passes, folder)

    if p.steps:
        trained("pretrain: baseline", p, cost.TRAINED, "baseline")
    for name in needed(run):
        trained(f"reinforce: {name}", config.reinforce, cost.TRAINED, name)
    learners = {labels_folder(run, v).name: v.config for v in variants(config) if stored_parts(v)}
    for labels, c in learners.items():
        add(f"label: {labels}", 0, len(x.forget.tokens_NT), cost.FROZEN * len(teachers(c)), f"labels/{labels}")
    for v in variants(config):
        u = v.config.unlearn
        if u.select.budget:
            blocks = len(run.forget_split[0]) + u.steps * u.select.blocks
            passes = cost.selection_passes(v.config, len(run.forget_split[0])) / blocks
            add(f"unlearn: {v.name}", u.steps, blocks, passes, v.folder)
        elif v.method.trains:
            trained(f"unlearn: {v.name}", u, cost.step_passes(v.config), v.folder)
    if config.reset.share:
        trained("heal", config.reset.heal, cost.TRAINED + cost.FROZEN, "unlearned")
    if config.repair.steps:
        trained("repair", config.repair, cost.TRAINED, "repaired")
    if p.steps and p.twin:
        kept, forgotten = len(run.training("retain")[0]), len(run.training("forget")[0])
        trained("pretrain: twin", p, cost.TRAINED, "twin", kept / (kept + p.forget_epochs * forgotten))
    return rows + _measuring(run, config)


def _measuring(run: Run, config: Config) -> list[dict[str, Any]]:
    """Return the rows of measuring and relearning, in blocks' worth of tokens; other attacks are not counted."""
    e, prompts, T = config.eval, run.suite.prompts, config.text.context
    names = ["baseline", *(v.name for v in variants(config)), *needed(run)]
    names += ["twin"] if config.pretrain.steps and config.pretrain.twin else []
    texts = sum(min(e.blocks, len(t.tokens_NT)) for t in run.suite.texts.values())
    asked = sum(len(p.specific) for p in (*prompts.probability, *prompts.leaks))
    asked += sum(len(q.options) for q in prompts.choice) + sum(len(t.words) for t in prompts.track)
    sampled = e.completions * bool(prompts.completion) * (1 + bool(prompts.neutral)) * (PROMPT + e.new_tokens)
    often = texts + (asked * PROMPT + sampled) / T
    times = len({0, config.unlearn.steps, *range(0, config.unlearn.steps, e.every), *e.at})
    members = 2 * min(e.members, len(run.forget_split[1])) * (4 + cost.TRAINED)
    whole = len(names) * (often + members) + times * len(variants(config)) * often
    found = [{"stage": "evaluate", "steps": 0, "blocks": int(whole), "passes": cost.FROZEN, "done": False}]
    if e.relearn_steps and any(a.name == "relearn" for a in attacks.chosen(config)):
        steps = max(e.relearn_steps) * (len(e.relearn_rates) or 3) * len(names)
        blocks = steps * e.relearn_batch
        found.append(
            {"stage": "attack: relearn", "steps": steps, "blocks": blocks, "passes": cost.TRAINED, "done": False}
        )
    return found


def _timed(row: dict[str, Any], block: float, rate: float, config: Config) -> dict[str, Any]:
    flops = row["blocks"] * row["passes"] * block
    return row | {"tokens": row["blocks"] * config.text.context, "flops": flops, "seconds": flops / rate}


# ---- what it needs


def _memory(run: Run, config: Config) -> dict[str, Any]:
    """Return the bytes a device of the largest step by kind, with the frozen models beside it, and of the device."""
    c, mesh = run.inputs.shape, jax.sharding.get_mesh().shape
    chips, limit = mesh["fsdp"] * mesh["tensor"], device_bytes()
    rows: list[dict[str, Any]] = []
    trained: list[tuple[str, Train, Config]] = [(v.name, v.config.unlearn, v.config) for v in variants(config)]
    trained += [("reinforce", config.reinforce, config)] if needed(run) else []
    trained += [("pretrain", config.pretrain, config)] if config.pretrain.steps else []
    remat = c.remat if c.remat != "auto" else "full" if platform() == "cpu" else "mlp"
    for name, t, of in trained:
        t = settled(t, c, Room(chips, limit), name in ("pretrain", "reinforce"))
        o = Choice(mesh["data"], mesh["fsdp"], mesh["tensor"], t.batch, t.accumulate, remat)
        kinds = step_bytes(c, o, t, config.text.context)
        frozen = len(set(asks(method_of(of), of))) if name not in ("pretrain", "reinforce") else 0
        kinds["frozen models"] = frozen * parameter_bytes(c, c.compute) // chips
        rows.append({"stage": name, "bytes": sum(kinds.values()), "kinds": kinds})
    largest = max(rows, key=lambda row: row["bytes"])
    return largest | {"limit_bytes": limit, "fits": limit is None or largest["bytes"] <= limit}


def device_bytes() -> int | None:
    """Return the bytes of a device: what an accelerator says, on a CPU the machine's memory; None where unknown."""
    if platform() == "cpu":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return (jax.local_devices()[0].memory_stats() or {}).get("bytes_limit")


def _disk(run: Run, config: Config) -> int:
    """Return the bytes of the models that are kept, with one checkpoint (weights and two moments) of each stage."""
    made = 1 + len(needed(run)) + 2 * len(variants(config)) + 2 * bool(config.pretrain.steps)
    return (made + 3 * (made - 1)) * parameter_bytes(run.inputs.shape, "float32")


# ---- what it works on


def _texts(run: Run) -> dict[str, Any]:
    x, found = run.inputs, {}
    for name, blocks in {"forget": x.forget, "retain": x.retain, **{f"{k}_held": b for k, b in x.held.items()}}.items():
        if blocks is not None:
            tokens = sum(len(s.ids_N) for s in blocks.streams)
            share = checks.unknown_share(blocks, x.tokenizer)
            found[name] = {"tokens": tokens, "blocks": len(blocks.tokens_NT), "unknown": share}
    return found


def _dictionary(run: Run, config: Config) -> dict[str, Any]:
    x = run.inputs
    counts = checks.anchored([d.text for d in x.documents], x.dictionary) if x.dictionary else {}
    words = sum(len(d.text.split()) for d in x.documents)
    return {
        "source": config.text.dictionary, "terms": len(x.dictionary), "found": len(counts),
        "share": sum(counts.values()) / max(words, 1),
    }  # fmt: skip


def _prompts(run: Run) -> dict[str, dict[str, int]]:
    p = run.inputs.prompts
    if p is None:
        return {}
    parts = {s: getattr(p, s) for s in ("completion", "choice")}
    parts |= {f"next word, {place}": [q for q in p.probability if q.position == place] for place in ("out", "in")}
    found = {name: {s: sum(q.split == s for q in items) for s in SPLITS} for name, items in parts.items()}
    return found | {"leaks": {"all": len(p.leaks)}, "neutral": {"all": len(p.neutral)}}


def _unmeasured(run: Run, config: Config) -> list[str]:
    """Return, in sentences, what the report will not hold."""
    held = run.inputs.held.get("forget")
    new = (run.inputs.forget, halves(run.forget_split[1])[1]) if held is None else (held, range(len(held.tokens_NT)))
    twin = (lambda: None) if config.pretrain.steps and config.pretrain.twin else None
    context = Context(suite=run.suite, seen=(run.inputs.forget, run.forget_split[0]), new=new, twin=twin)
    said = [f"{m.title} ({m.about})" for m in METRICS.values() if not m.applies(context)]
    chosen = attacks.chosen(config)
    said += [f"attack {a.name}: {why}" for a in chosen if (why := a.check(run))]
    later = [a.name for a in attacks.ATTACKS.values() if a not in chosen]
    said += [f"attacks that `jaxunlearn attack` tries: {', '.join(later)}"] if later else []
    if twin is None:
        said.append("the twin, a model that never saw the text: only a run that pretrains (pretrain.steps) makes one")
    if not config.controls:
        said.append(f"controls, which tell the method from any fine-tuning: {', '.join(CONTROLS)}")
    return said


# ---- in words


def lines(found: dict[str, Any]) -> list[str]:
    """Return a forecast as lines to print."""
    said = [f"{found['config']}: {found['directory']}, {found['parameters']:,} parameters, on {found['device']}", ""]
    for name, t in found["texts"].items():
        said.append(f"  {name:12} {t['tokens']:>12,} tokens, {t['blocks']:,} blocks, {t['unknown']:.2%} unknown tokens")
    said += ["", f"  {'stage':32} {'steps':>7} {'tokens':>13} {'TFLOP':>11}  about"]
    for row in found["stages"]:
        steps = f"{row['steps']:,}" if row["steps"] else ""
        about = "done" if row["done"] else duration(row["seconds"])
        said.append(f"  {row['stage']:32} {steps:>7} {row['tokens']:>13,} {row['flops'] / 1e12:>11,.1f}  {about}")
    said += [f"  in all about {duration(found['seconds'])}: {found['basis']}", ""]
    return said + _needs(found)


def _needs(found: dict[str, Any]) -> list[str]:
    m, d = found["memory"], found["dictionary"]
    limit = f" of {m['limit_bytes'] / 2**30:.1f}" if m["limit_bytes"] else ""
    fits = "" if m["fits"] else ": DOES NOT FIT; see docs/scale.md"
    said = [f"  memory     {m['bytes'] / 2**30:.2f}{limit} GiB a device in {m['stage']} (computed){fits}"]
    said.append(f"  disk       {found['disk'] / 2**30:.2f} GiB of models and checkpoints")
    if d["terms"]:
        there = f"{d['found']:,} of {d['terms']:,} terms stand in the text"
        said.append(f"  dictionary {there}, {d['share']:.1%} of its words")
    else:
        said.append("  dictionary NONE: text.dictionary is empty")
    for name, counts in found["prompts"].items():
        few = [s for s, n in counts.items() if n < ENOUGH]
        shown = ", ".join(f"{n} {s}" for s, n in counts.items())
        said.append(f"  prompts    {name}: {shown}{' (few)' if few else ''}")
    if not found["prompts"]:
        said.append("  prompts    NONE: `jaxunlearn prompts build` makes them")
    return [*said, "", "  Not measured:", *(f"  - {line}" for line in found["not_measured"])]

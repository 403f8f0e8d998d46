"""Every stage of a run, in order; each is skipped when its result is there, and resumes where it was killed.

inputs > pretrain (baseline, twin) > reinforce > label > unlearn > controls > repair > evaluate > attack > report
"""

import dataclasses
import gc
import json
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxunlearn import convert, guided, lora, methods, model, reset, train, whp
from jaxunlearn.checkpoint import Checkpoints
from jaxunlearn.config import Config, Train
from jaxunlearn.evals.measure import curve_point, label_loss, measure
from jaxunlearn.inputs import Inputs, Variant, read_inputs, variants
from jaxunlearn.objectives import METHODS, losses, steps
from jaxunlearn.report import headline, table, write_report
from jaxunlearn.results import (
    CLAIM,
    assemble,
    attack,
    device,
    evaluate,
    hash_of,
    load_model,
    read_labels,
    read_soft_labels,
)
from jaxunlearn.rundir import RunDirectory, as_dict, duration, progress, say, write_whole
from jaxunlearn.sharding import make_mesh
from jaxunlearn.text import next_token_labels

STAGES = ("pretrain", "reinforce", "label", "unlearn", "controls", "repair", "evaluate", "attack")


def pretrain(config: Config, run: RunDirectory, x: Inputs) -> None:
    """Make `baseline/` (retain and forget text) and `twin/` (retain text alone), or point to the given model."""
    if not config.pretrain.steps:
        if not (run / "baseline").exists():
            (run / "baseline").symlink_to(Path(config.model).resolve(), target_is_directory=True)
        return
    p = config.pretrain
    assert x.retain is not None, "read_inputs refuses pretraining without text.retain"
    tokens, labels = x.retain.tokens_NT[x.retain_split[0]], next_token_labels(x.retain)[x.retain_split[0]]
    extra = x.forget.tokens_NT[x.forget_split[0]], next_token_labels(x.forget)[x.forget_split[0]]
    both = tuple(np.concatenate([a, *[b] * p.forget_epochs]) for a, b in zip((tokens, labels), extra, strict=True))
    share = len(tokens) / len(both[0])
    plan = {"baseline": (both, p)}
    if p.twin:
        plan["twin"] = (tokens, labels), dataclasses.replace(p, steps=max(1, round(p.steps * share)))
    for name, (arrays, c) in plan.items():
        if (run / name).exists():
            continue
        with run.stage(name, f"{c.steps} steps on {len(arrays[0]):,} blocks"):
            start = load_model(config, Path(config.model)) if config.model else model.init(x.shape, config.seed)
            _save(run, name, fit_stage(config, run, name, start, arrays, c), x)


def reinforce(config: Config, run: RunDirectory, x: Inputs) -> None:
    """Make `reinforced/`: the baseline fine-tuned on the text to forget; and `diluted/` on text to keep, if needed."""
    if methods.needs(config, "reinforced"):
        _fine_tuned(config, run, x, "reinforced", "reinforce", x.training("forget"))
    if methods.needs(config, "diluted"):
        _fine_tuned(config, run, x, "diluted", "dilute", x.training("retain"))


def _fine_tuned(config: Config, run: RunDirectory, x: Inputs, folder: str, stage: str, arrays) -> None:
    """Make a model of the run: the baseline fine-tuned on blocks by the settings of config.reinforce."""
    if (run / folder).exists():
        return
    c = config.reinforce
    with run.stage(stage, f"{c.steps} steps on {len(arrays[0]):,} blocks"):
        start, base = _start(config, run, c)
        _save(run, folder, fit_stage(config, run, stage, start, arrays, c, base=base), x)


def _start(config: Config, run: RunDirectory, c: Train, base: Any = None, below: str = "baseline") -> tuple[Any, Any]:
    """Return (what is trained, what lies below it): the model `below` and None, or an adapter and that model frozen."""
    if not c.lora.rank:
        return load_model(config, run / below), None
    base = base or load_model(config, run / below, frozen=True)
    return lora.init(base.c, c.lora, config.seed), base


def label(config: Config, run: RunDirectory, x: Inputs) -> None:
    """Store the generic labels that the variants need: one pass a translation, all its alphas at once."""
    wanted = {}
    for v in variants(config):
        if v.method in methods.GENERIC and (v.method == "whp" or config.whp.top):
            wanted.setdefault((v.labels, v.method == "whp_soft"), []).append(v)
    for (name, soft), group in wanted.items():
        more = config.whp.alphas if name == "translated" and not soft else ()
        alphas = tuple(dict.fromkeys([*[v.alpha for v in group], *more]))
        folder = run / f"labels/{name}{'_soft' if soft else ''}"
        if not _labels_done(folder, alphas):
            with run.stage(
                "label", f"{len(x.forget.tokens_NT):,} blocks, {name} context, alpha {', '.join(map(str, alphas))}"
            ):
                _label_pass(config, run, x, x.passage(group[0]), folder, alphas, soft)


def _labels_done(folder: Path, alphas) -> bool:
    path = folder / "provenance.json"
    done = json.loads(path.read_text()) if path.is_file() else {}
    return bool(done.get("complete")) and set(alphas) <= set(done["alphas"])


def _label_pass(config: Config, run: RunDirectory, x: Inputs, passage, folder: Path, alphas, soft=False) -> None:
    """Write labels/NAME/alpha_A.npy (soft: _ids.npy and _p.npy) block by block; a kill loses at most one batch."""
    folder.mkdir(parents=True, exist_ok=True)
    shape, path = x.forget.tokens_NT.shape, folder / "provenance.json"
    provenance = {
        "alphas": list(alphas), "shape": list(shape), "complete": False, "blocks_done": 0, "whp": as_dict(config.whp),
        "baseline": hash_of(run / "baseline"), "reinforced": hash_of(run / "reinforced"), "inputs": x.hashes,
    }  # fmt: skip
    before = json.loads(path.read_text()) if path.is_file() else {}
    if all(before.get(k) == provenance[k] for k in ("alphas", "shape", "whp", "baseline", "reinforced", "inputs")):
        provenance["blocks_done"] = before["blocks_done"]
    kinds = {"_ids": np.int32, "_p": np.float16} if soft else {"": np.int32}
    names = [(folder / f"alpha_{a:g}{kind}.npy", dtype) for a in alphas for kind, dtype in kinds.items()]
    mode, size = "r+" if provenance["blocks_done"] else "w+", (*shape, config.whp.top) if soft else shape
    files = [np.lib.format.open_memmap(name, mode, dtype, size) for name, dtype in names]
    models, first, began = _frozen(config, run), provenance["blocks_done"], time.monotonic()
    for start, stop, arrays in (_softened if soft else _labelled)(config, models, passage, alphas, first):
        for file, found in zip(files, arrays, strict=True):
            file[start:stop] = found
            file.flush()
        provenance["blocks_done"] = stop
        write_whole(path, json.dumps(provenance, indent=1))
        _label_progress(start, stop, shape, began, first)
    write_whole(path, json.dumps(provenance | {"complete": True}, indent=1))


def _label_progress(start: int, stop: int, shape, began: float, first: int) -> None:
    """Print about ten lines a pass, with the rate and the time left."""
    blocks, context = shape
    if stop < blocks and 10 * start // blocks == 10 * stop // blocks:
        return
    rate = (stop - first) / (time.monotonic() - began)
    left = duration((blocks - stop) / rate)
    progress(f"  label {stop}/{blocks} blocks  {rate * context:,.0f} tokens/s  {left} left", last=stop == blocks)


def _labelled(config: Config, models, passage: whp.Passage, alphas, done: int = 0):
    """Yield (first block, block after the last, labels_ABT) from block `done` on, in batches of one shape."""
    for start, stop, part in _parts(config, passage, done):
        labels_ABT = whp.label(*models[:2], part, *models[2:], alphas=tuple(alphas), whp=_label_settings(config))
        yield start, stop, np.asarray(labels_ABT)[:, : stop - start]


def _softened(config: Config, models, passage: whp.Passage, alphas, done: int = 0):
    """Yield (first block, block after the last, ids and probabilities of each alpha) of soft labels."""
    for start, stop, part in _parts(config, passage, done):
        found = []
        for alpha in alphas:
            settings = dataclasses.replace(_label_settings(config), alpha=alpha, top=config.whp.top)
            found += whp.soft_labels(*models[:2], part, *models[2:], whp=settings)
        yield start, stop, [np.asarray(a)[: stop - start] for a in found]


def _parts(config: Config, passage: whp.Passage, done: int):
    size, blocks = config.whp.label_batch, len(passage.tokens_BT)
    for start in range(done, blocks, size):
        rows = np.minimum(np.arange(start, start + size), blocks - 1)
        yield start, min(start + size, blocks), whp.on_mesh(passage.rows(rows))


def _frozen(config: Config, run: RunDirectory):
    """Return (baseline, reinforced) and for the contrast diluted, resting in the compute dtype; adapters stay such."""
    found = _models(config, run, ("baseline", "reinforced", *(["diluted"] * (config.whp.offset == "contrast"))))
    return tuple(found.values())


def _models(config: Config, run: RunDirectory, names) -> dict[str, Any]:
    """Return frozen models by name; what is an adapter on disk stays one, over the baseline."""
    baseline = load_model(config, run / "baseline", frozen=True)
    found = {"baseline": baseline}
    for name in names:
        if name not in found:
            folder = run / name
            part = lora.load(folder, baseline.c) if lora.is_adapter(folder) else load_model(config, folder, True)
            found[name] = part
    return {name: found[name] for name in names}


def _label_settings(config: Config):
    """Keep only what the label program depends on, so that it is compiled once."""
    w = config.whp
    return type(w)(seen_translation=w.seen_translation, seen_penalty=w.seen_penalty, offset_context=w.offset_context)


def unlearn(config: Config, run: RunDirectory, x: Inputs) -> None:
    """Make `unlearned/` by the method of the run; where a step before the last is kept, also `unlearned_last/`."""
    _unlearn(config, run, x, variants(config)[0])


def controls(config: Config, run: RunDirectory, x: Inputs) -> None:
    """Make controls/NAME/: the same fine-tuning on the labels of each control."""
    for variant in variants(config)[1:]:
        _unlearn(config, run, x, variant)


def _unlearn(config: Config, run: RunDirectory, x: Inputs, v: Variant) -> None:
    if (run / v.folder).exists():
        return
    healed = v.reset and METHODS[v.method].name not in guided.METHODS
    folder = f"{v.folder}_before_reset" if healed else v.folder
    if v.reset == "random" and v.folder != "unlearned":
        folder = "unlearned_before_reset"  # the control resets what the method itself made
    if not (run / folder).exists():
        _by_method(config, run, x, v, folder)
    if healed:
        _reset_and_heal(config, run, x, v, folder)


def _by_method(config: Config, run: RunDirectory, x: Inputs, v: Variant, folder: str) -> None:
    stage = "unlearn" if v.folder == "unlearned" else v.folder.rpartition("/")[2]
    if METHODS[v.method].trains:
        with run.stage(stage, _announced(config, v)):
            _train(config, run, x, v, folder, stage)
        return
    with run.stage(stage, f"{v.method}: nothing is trained"):
        recipe = methods.recipe_of(config, v.method, v.alpha)
        if v.method in guided.METHODS:
            guided.save(run / folder, recipe, config.unlearn.prefix)
            return
        made = load_model(config, run / "baseline")
        if v.method == "task_vector":
            made = losses.task_vector(made, _whole(config, run, "reinforced"), recipe["scale"])
        _save(run, folder, made, x)


def _announced(config: Config, v: Variant) -> str:
    what = f"{config.unlearn.steps} steps"
    if v.method != "whp":
        return f"{what} of {v.method}"
    return f"{what} on generic labels{', labelled on the fly' if _is_fused(config, v) else ''}"


def _is_fused(config: Config, v: Variant) -> bool:
    return config.whp.mode == "fused" and v.folder == "unlearned" and v.method == "whp"


def _whole(config: Config, run: RunDirectory, name: str):
    """Return a model in fp32 with weights of its own, an adapter merged."""
    folder, baseline = run / name, load_model(config, run / "baseline")
    return (
        lora.merge(baseline, lora.load(folder, baseline.c)) if lora.is_adapter(folder) else load_model(config, folder)
    )


def _train(config: Config, run: RunDirectory, x: Inputs, v: Variant, folder: str, stage: str) -> None:
    c, fused = config.unlearn, _is_fused(config, v)
    train_rows, held_rows = x.forget_split
    base: Any = None
    arrays = batch = step = held_labels = None
    if fused:
        frozen = _frozen(config, run)
        held_labels = _labels_now(config, frozen, x.passage(v).rows(held_rows), v.alpha)
        batch, step = _fused(config, frozen, x.passage(v).rows(train_rows))
        base = frozen[0]
    elif v.method == "whp":
        labels = read_labels(run, v)
        held_labels, arrays = labels[held_rows], (x.forget.tokens_NT[train_rows], labels[train_rows])
    if v.method != "whp" or methods.recipe_of(config, v.method, v.alpha)["retain_weight"]:
        arrays, frozen = None, _models_of(config, run, x, v)
        batch, step = methods.plan(config, run, x, v, v.method, frozen, **_stored(config, run, v))
        base = frozen.get("base")
    best = Checkpoints(run / f"checkpoints/{stage}_best", keep=1)
    held = None if held_labels is None else (x.forget.tokens_NT[held_rows], held_labels)
    start, base = _start(config, run, c, base)
    keep_best = c.reach > 0 or (held is not None and config.whp.keep == "best")

    def look(n, state):
        seen = lora.over(base, state.model)
        loss = label_loss(seen, *held, config.eval.batch) if held else None
        found = measure(seen, x.tuning if c.reach else x.suite)
        point = curve_point(n, found, loss)
        run.record(stage, event="eval", **point)
        earlier = [damage(r, c.reach) for r in run.records(stage, "eval") if 0 < r["step"] < n]
        if n and keep_best and damage(point, c.reach) < min(earlier, default=(np.inf, np.inf)):
            best.save(n, state.model)
            best.wait()  # before the state's own checkpoint, or a kill between the two would lose it
        said = "" if loss is None else f"  held-out loss {loss:.3f}"
        progress(f"  {stage} {n}/{c.steps}{said}  {brief(found)}", last=True)

    last = fit_stage(config, run, stage, start, arrays, c, look, _measured_at(config), batch, step, base=base)
    if keep_best and c.steps:
        _save(run, f"{folder}_last", _merged(config, run, last), x)
        last = best.restore(last)
    _save(run, folder, _merged(config, run, last), x)
    best.close()


def damage(point: dict, reach: float) -> tuple[float, float]:
    """Order measured steps, the one to keep first: by held-out loss, or by the stop rule of config.Unlearn.reach."""
    if not reach:
        return 0.0, point["held_loss"]
    short = max(point["familiarity"] - reach, 0.0)
    return short, point["perplexity_retain"]


def _models_of(config: Config, run: RunDirectory, x: Inputs, v: Variant) -> dict[str, Any]:
    """Return what the method's loss asks at every step; under "base" what lies below an adapter."""
    names = methods.models_for(config, v.method, v.alpha, stored=bool(config.whp.top))
    frozen = _models(config, run, names) if names else {}
    if v.method == "kga":
        frozen["gap"] = np.float32(_knowledge_gap(config, run, x, frozen["baseline"]))
    if config.unlearn.lora.rank:
        frozen["base"] = frozen.get("baseline") or load_model(config, run / "baseline", frozen=True)
    return frozen


def _stored(config: Config, run: RunDirectory, v: Variant) -> dict:
    if v.method == "whp":
        return {"labels": read_labels(run, v)}
    return {"soft": read_soft_labels(run, v)} if v.method == "whp_soft" and config.whp.top else {}


def _knowledge_gap(config: Config, run: RunDirectory, x: Inputs, baseline) -> float:
    """Return KGA's gap: KL(model fine-tuned on text held out from the baseline || baseline) there, measured once."""
    if "retain" in x.held:
        arrays = x.held["retain"].tokens_NT, next_token_labels(x.held["retain"])
    else:
        held = x.tuning.texts["retain"]
        arrays = held.tokens_NT, held.labels_NT
    _fine_tuned(config, run, x, "new_only", "new_only", arrays)
    part = _models(config, run, ("new_only",))["new_only"]
    return methods.mean_kl(lora.over(baseline, part), baseline, *arrays, config.eval.batch)


def _reset_and_heal(config: Config, run: RunDirectory, x: Inputs, v: Variant, folder: str) -> None:
    """Re-draw a share of the weights of run/FOLDER and distil the baseline into it on text to keep."""
    r, stage = config.reset, "heal" if v.folder == "unlearned" else f"heal_{v.folder.rpartition('/')[2]}"
    with run.stage(stage, f"re-draw {r.share:.0%} of the weights by {v.reset}, {r.heal.steps} steps of healing"):
        start, replaced = _redrawn(config, run, x, load_model(config, run / folder), v.reset)
        frozen = _models(config, run, ("baseline",))
        arrays = x.training("retain")

        def batch(n):
            found = train.microbatches(r.heal, arrays, ("BT", "BT"), len(arrays[0]), config.seed + 2, n)
            return [frozen, {"retain": tuple(found)}]

        def look(n, state):
            found = measure(state.model, x.tuning if config.unlearn.reach else x.suite)
            run.record(stage, event="eval", replaced=replaced, **curve_point(n, found))
            progress(f"  {stage} {n}/{r.heal.steps}  {brief(found)}", last=True)

        step = train.compiled_step(r.heal, steps.step, recipe=steps.Recipe("retain_only", (), "kl"))
        made = fit_stage(config, run, stage, start, None, r.heal, look, {0, r.heal.steps}, batch, step)
        _save(run, v.folder, made, x)


def _redrawn(config: Config, run: RunDirectory, x: Inputs, made, by: str):
    """Return (the model with its highest-scoring weights drawn anew, the share of them)."""
    r, baseline = config.reset, load_model(config, run / "baseline")
    if by == "random":
        scores = reset.random_scores(baseline, config.seed)
    else:
        target, general = (
            reset.squared_gradients(baseline, *x.training(name), r.batches, config.seed)
            for name in ("forget", "retain")
        )
        if by == "fisher":
            scores = reset.fisher(target, general)
        else:
            scores = reset.importance(baseline, _whole(config, run, "reinforced"), target, general)
    scores = reset.interior_only(scores) if r.where == "interior" else scores
    fresh = model.init(made.c, config.seed + 3)
    made, share = reset.redraw(made, scores, reset.threshold(scores, r.share), fresh)
    return made, float(share)


def _fused(config: Config, frozen, passage: whp.Passage):
    """Return (batch_fn, step_fn) of the fused step: both frozen models stay on the mesh beside the trained one."""
    c = config.unlearn
    settings = dataclasses.replace(_label_settings(config), alpha=config.whp.alpha)

    def batch(step):
        arrays = train.microbatches(c, passage, whp.LETTERS, len(passage.tokens_BT), config.seed, step)
        return [frozen, whp.Passage(*arrays)]

    return batch, train.compiled_step(c, whp.fused_step, whp=settings)


def _labels_now(config: Config, frozen, passage: whp.Passage, alpha: float) -> np.ndarray:
    parts = _labelled(config, frozen, passage, (alpha,))
    return np.concatenate([labels_ABT[0] for _, _, labels_ABT in parts])


def _measured_at(config: Config) -> set[int]:
    e, steps = config.eval, config.unlearn.steps
    return {0, steps, *range(0, steps + 1, e.every), *[n for n in e.at if n <= steps]}


def repair(config: Config, run: RunDirectory, x: Inputs) -> None:
    """Make `repaired/`: the unlearned model taught again what it should keep; familiarity and leaks are followed."""
    c = config.repair
    if x.repair is None or (run / "repaired").exists():
        return
    arrays = x.repair.tokens_NT, next_token_labels(x.repair)
    with run.stage("repair", f"{c.steps} steps on {len(arrays[0]):,} blocks"):
        start, base = _start(config, run, c, below="unlearned")

        def look(n, state):
            found = measure(lora.over(base, state.model), x.suite)
            run.record("repair", event="eval", **curve_point(n, found))
            progress(f"  repair {n}/{c.steps}  {brief(found)}", last=True)

        at = {0, c.steps, *range(0, c.steps, config.eval.every)}
        made = fit_stage(config, run, "repair", start, arrays, c, look, at, base=base)
        _save(run, "repaired", _merged(config, run, made, "unlearned"), x)


def _merged(config: Config, run: RunDirectory, made, below: str = "baseline"):
    """Return a model with weights of its own: `made`, or the model below it in fp32 with the adapter `made` added."""
    return lora.merge(load_model(config, run / below), made) if isinstance(made, lora.Adapter) else made


def fit_stage(
    config: Config, run: RunDirectory, stage: str, start, arrays, c, look=None, at=(), batch=None, step=None, base=None
):
    """Train one stage from its newest checkpoint, or from `start`, and return the model.

    Where `start` is an adapter, `base` is the frozen model below it, and the adapter is returned.
    """
    checkpoints = Checkpoints(run / f"checkpoints/{stage}")
    state = train.init_state(start, c)
    restored = checkpoints.restore(state)
    if restored is not None:
        state = restored
        say(f"  {stage} goes on after step {int(state.step)}")
    run.rewind(stage, int(state.step) if restored is not None else -1)

    def batch_of(n):
        arrays_n = train.microbatches(c, arrays, ("BT", "BT"), len(arrays[0]), config.seed, n)
        return arrays_n if base is None else [*arrays_n, base]

    state = train.fit(
        state, step or train.compiled_step(c), batch or batch_of, c, checkpoints=checkpoints, measure=look,
        measure_at=at, log=run.logger(stage, c.steps, c.log_every), tokens=c.batch * c.accumulate * config.text.context,
    )  # fmt: skip
    checkpoints.close()
    return state.model


def _save(run: RunDirectory, name: str, made, x: Inputs) -> None:
    (run / name).parent.mkdir(parents=True, exist_ok=True)
    if isinstance(made, lora.Adapter):
        lora.save(made, run / name, base="../baseline", source=x.tokenizer_dir)
    else:
        convert.save(made, run / name, source=x.tokenizer_dir)
    gc.collect()


def brief(found: dict) -> str:
    point = curve_point(0, found)
    names = {"familiarity": "familiarity", "accuracy": "accuracy", "perplexity_retain": "perplexity"}
    return "  ".join(f"{label} {point[k]:.3g}" for k, label in names.items() if k in point)


def run_stages(config: Config, stages=STAGES) -> dict:
    """Run the stages in order, skip what is done, write the report and return it."""
    run = RunDirectory(config)
    with jax.set_mesh(make_mesh(config.mesh.data, config.mesh.fsdp, config.mesh.tensor)):
        say(f"{config.title or config.name}: {run.path} on {device()}")
        x = read_inputs(config, run)
        manifest = run.manifest(x.hashes)
        offline = config.whp.mode == "offline"
        for name in stages:
            if name in ("evaluate", "attack"):
                continue
            if name == "label" and not offline and not config.controls:
                continue  # the fused step labels by itself
            {
                "pretrain": pretrain, "reinforce": reinforce, "label": label, "unlearn": unlearn, "controls": controls,
                "repair": repair,
            }[name](config, run, x)  # fmt: skip
        models = evaluate(config, run, x) if "evaluate" in stages else {}
        relearned = attack(config, run, x) if "attack" in stages else {}
        run.trackers.finish()
        if not models:
            return {}
        report = assemble(config, run, x, models, relearned, manifest)
        write_report(run.path, report)
        say(f"\n{table(report)}\n\n{headline(report)}\n{CLAIM}\n")
        spent = duration(sum(report["seconds"].values()))
        say(f"report: {run / 'report.html'}  {run / 'report.json'}  ({spent} of work)")
        return report

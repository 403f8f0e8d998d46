"""Every stage of a run, in order; each is skipped when its result is there, and resumes where it was killed.

inputs > pretrain (baseline, twin) > reinforce > label > unlearn > controls > repair > evaluate > attack > report
"""

import dataclasses
import gc
import json
import time
from pathlib import Path

import jax
import numpy as np

from jaxunlearn import convert, lora, model, train, whp
from jaxunlearn.checkpoint import Checkpoints
from jaxunlearn.config import Config, Train
from jaxunlearn.evals.measure import curve_point, label_loss, measure
from jaxunlearn.inputs import Inputs, Variant, read_inputs, variants
from jaxunlearn.report import headline, table, write_report
from jaxunlearn.results import CLAIM, assemble, attack, device, evaluate, hash_of, load_model, read_labels
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
    """Make `reinforced/`: the baseline fine-tuned on the text to forget."""
    if (run / "reinforced").exists():
        return
    c, rows = config.reinforce, x.forget_split[0]
    with run.stage("reinforce", f"{c.steps} steps on the text to forget"):
        arrays = x.forget.tokens_NT[rows], next_token_labels(x.forget)[rows]
        start, base = _start(config, run, c)
        _save(run, "reinforced", fit_stage(config, run, "reinforce", start, arrays, c, base=base), x)


def _start(config: Config, run: RunDirectory, c: Train, base=None, below: str = "baseline"):
    """Return (what is trained, what lies below it): the model `below` and None, or an adapter and that model frozen."""
    if not c.lora.rank:
        return load_model(config, run / below), None
    base = base or load_model(config, run / below, frozen=True)
    return lora.init(base.c, c.lora, config.seed), base


def label(config: Config, run: RunDirectory, x: Inputs) -> None:
    """Store the generic labels that the variants need: one pass a translation, all its alphas at once."""
    wanted = {}
    for v in variants(config):
        wanted.setdefault(v.labels, []).append(v)
    for name, group in wanted.items():
        alphas = tuple(dict.fromkeys([*[v.alpha for v in group], *(config.whp.alphas if name == "translated" else ())]))
        if not _labels_done(run / "labels" / name, alphas):
            with run.stage(
                "label", f"{len(x.forget.tokens_NT):,} blocks, {name} context, alpha {', '.join(map(str, alphas))}"
            ):
                _label_pass(config, run, x, x.passage(group[0]), run / "labels" / name, alphas)


def _labels_done(folder: Path, alphas) -> bool:
    path = folder / "provenance.json"
    done = json.loads(path.read_text()) if path.is_file() else {}
    return bool(done.get("complete")) and set(alphas) <= set(done["alphas"])


def _label_pass(config: Config, run: RunDirectory, x: Inputs, passage: whp.Passage, folder: Path, alphas) -> None:
    """Write labels/NAME/alpha_A.npy block by block; a kill loses at most one batch."""
    folder.mkdir(parents=True, exist_ok=True)
    shape, path = x.forget.tokens_NT.shape, folder / "provenance.json"
    provenance = {
        "alphas": list(alphas), "shape": list(shape), "complete": False, "blocks_done": 0, "whp": as_dict(config.whp),
        "baseline": hash_of(run / "baseline"), "reinforced": hash_of(run / "reinforced"), "inputs": x.hashes,
    }  # fmt: skip
    before = json.loads(path.read_text()) if path.is_file() else {}
    if all(before.get(k) == provenance[k] for k in ("alphas", "shape", "whp", "baseline", "reinforced", "inputs")):
        provenance["blocks_done"] = before["blocks_done"]
    mode = "r+" if provenance["blocks_done"] else "w+"
    files = [np.lib.format.open_memmap(folder / f"alpha_{a:g}.npy", mode, np.int32, shape) for a in alphas]
    models, first, began = _frozen(config, run), provenance["blocks_done"], time.monotonic()
    for start, stop, labels_ABT in _labelled(config, models, passage, alphas, first):
        for file, labels_BT in zip(files, labels_ABT, strict=True):
            file[start:stop] = labels_BT
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
    size, blocks = config.whp.label_batch, len(passage.tokens_BT)
    for start in range(done, blocks, size):
        rows = np.minimum(np.arange(start, start + size), blocks - 1)
        part, stop = whp.on_mesh(passage.rows(rows)), min(start + size, blocks)
        labels_ABT = whp.label(*models, part, alphas=tuple(alphas), whp=_label_settings(config))
        yield start, stop, np.asarray(labels_ABT)[:, : stop - start]


def _frozen(config: Config, run: RunDirectory):
    """Return (baseline, reinforced), resting in the compute dtype; the second may be an adapter over the first."""
    baseline, folder = load_model(config, run / "baseline", frozen=True), run / "reinforced"
    return baseline, lora.load(folder, baseline.c) if lora.is_adapter(folder) else load_model(config, folder, True)


def _label_settings(config: Config):
    """Keep only what the label program depends on, so that it is compiled once."""
    w = config.whp
    return type(w)(seen_translation=w.seen_translation, seen_penalty=w.seen_penalty, offset_context=w.offset_context)


def unlearn(config: Config, run: RunDirectory, x: Inputs) -> None:
    """Make `unlearned/` (lowest held-out loss) and `unlearned_last/`: the baseline fine-tuned on the generic labels."""
    _unlearn(config, run, x, variants(config)[0])


def controls(config: Config, run: RunDirectory, x: Inputs) -> None:
    """Make controls/NAME/: the same fine-tuning on the labels of each control."""
    for variant in variants(config)[1:]:
        _unlearn(config, run, x, variant)


def _unlearn(config: Config, run: RunDirectory, x: Inputs, v: Variant) -> None:
    if (run / v.folder).exists():
        return
    c, fused = config.unlearn, config.whp.mode == "fused" and v.folder == "unlearned"
    stage = v.folder.rpartition("/")[2] if v.folder != "unlearned" else "unlearn"
    train_rows, held_rows = x.forget_split
    with run.stage(stage, f"{c.steps} steps on generic labels{', labelled on the fly' if fused else ''}"):
        if fused:
            held_labels = _labels_now(config, run, x.passage(v).rows(held_rows), v.alpha)
            frozen, arrays = _frozen(config, run), None
            batch, step = _fused(config, frozen, x.passage(v).rows(train_rows))
        else:
            labels = read_labels(run, v)
            held_labels, arrays = labels[held_rows], (x.forget.tokens_NT[train_rows], labels[train_rows])
            frozen = batch = step = None
        best = Checkpoints(run / f"checkpoints/{stage}_best", keep=1)
        held = x.forget.tokens_NT[held_rows], held_labels
        start, base = _start(config, run, c, frozen and frozen[0])

        def look(n, state):
            seen = lora.over(base, state.model)
            loss = label_loss(seen, *held, config.eval.batch)
            found = measure(seen, x.suite)
            run.record(stage, event="eval", **curve_point(n, found, loss))
            earlier = [r["held_loss"] for r in run.records(stage, "eval") if 0 < r["step"] < n]
            if n and loss < min(earlier, default=np.inf):
                best.save(n, state.model)
                best.wait()  # before the state's own checkpoint, or a kill between the two would lose it
            progress(f"  {stage} {n}/{c.steps}  held-out loss {loss:.3f}  {brief(found)}", last=True)

        last = fit_stage(config, run, stage, start, arrays, c, look, _measured_at(config), batch, step, base=base)
        if config.whp.keep == "best" and c.steps:
            _save(run, f"{v.folder}_last", _merged(config, run, last), x)
            last = best.restore(last)
        _save(run, v.folder, _merged(config, run, last), x)
        best.close()


def _fused(config: Config, frozen, passage: whp.Passage):
    """Return (batch_fn, step_fn) of the fused step: both frozen models stay on the mesh beside the trained one."""
    c = config.unlearn
    settings = dataclasses.replace(_label_settings(config), alpha=config.whp.alpha)

    def batch(step):
        arrays = train.microbatches(c, passage, whp.LETTERS, len(passage.tokens_BT), config.seed, step)
        return [frozen, whp.Passage(*arrays)]

    return batch, train.compiled_step(c, whp.fused_step, whp=settings)


def _labels_now(config: Config, run: RunDirectory, passage: whp.Passage, alpha: float) -> np.ndarray:
    parts = _labelled(config, _frozen(config, run), passage, (alpha,))
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
                continue
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

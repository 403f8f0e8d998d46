"""Every stage of a run, in order; each is skipped when its result is there, and resumes where it was killed.

inputs -> pretrain (baseline, twin) -> reinforce -> label -> unlearn -> controls -> evaluate -> attack -> report
"""

import dataclasses
import gc
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import jax
import numpy as np

from jaxunlearn import convert, model, train, whp
from jaxunlearn.anchors.dictionary import load_dictionary
from jaxunlearn.anchors.translate import Translation, show_block, translate
from jaxunlearn.checkpoint import Checkpoints
from jaxunlearn.config import Config
from jaxunlearn.errors import InputError
from jaxunlearn.evals.measure import Suite, Text, complete, curve_point, label_loss, measure, specific_mass
from jaxunlearn.evals.prompts import Prompts, load_prompts
from jaxunlearn.generate import Sampling
from jaxunlearn.report import headline, table, write_report
from jaxunlearn.rundir import RunDirectory, as_dict, duration, progress, say, sha256, sha256_text, write_whole
from jaxunlearn.sharding import batch_size_fits, make_mesh, model_fits
from jaxunlearn.text import Blocks, Document, make_blocks, next_token_labels, read_documents, split_holdout
from jaxunlearn.tokenizer import Tokenizer, load_tokenizer

STAGES = ("pretrain", "reinforce", "label", "unlearn", "controls", "evaluate", "attack")
CLAIM = (
    "The claim is that familiarity is gone from what the model writes, not that the knowledge is gone from its weights: "
    "relearning and leak probes below show how much stays."
)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One set of labels and the model trained on it: the method itself, or a control beside it."""

    name: str  # as the report calls it
    folder: str
    translated: bool = True
    alpha: float = 5.0

    @property
    def labels(self) -> str:
        return "translated" if self.translated else "original"


def variants(config: Config) -> list[Variant]:
    """Return the method, then the controls that the configuration asks for."""
    alpha = config.whp.alpha
    known = {
        "dictionary_alone": Variant(name="dictionary alone (alpha 0)", folder="controls/dictionary_alone", alpha=0.0),
        "reinforcement_alone": Variant(
            name="reinforcement alone (no translation)",
            folder="controls/reinforcement_alone",
            translated=False,
            alpha=alpha,
        ),
        "own_argmax": Variant(name="own argmax labels", folder="controls/own_argmax", translated=False, alpha=0.0),
    }
    chosen = dict.fromkeys("reinforcement_alone" if c == "no_translation" else c for c in config.controls)
    return [Variant(name="unlearned", folder="unlearned", alpha=alpha), *[known[c] for c in chosen]]


# ---- inputs: everything is read and checked before any work


@dataclass(frozen=True)
class Inputs:
    """What a run works on: the tokenizer, blocks of both texts, the dictionary and the prompts."""

    config: Config
    tokenizer: Tokenizer
    tokenizer_dir: Path
    shape: model.Shape
    forget: Blocks
    documents: list[Document]
    retain: Blocks | None
    held: dict[str, Blocks]
    dictionary: dict[str, tuple[str, ...]]
    prompts: Prompts | None
    hashes: dict[str, str]

    @cached_property
    def forget_split(self) -> tuple[np.ndarray, np.ndarray]:
        return split_holdout(len(self.forget.tokens_NT), self.config.text.holdout, self.config.seed)

    @cached_property
    def retain_split(self) -> tuple[np.ndarray, np.ndarray]:
        return split_holdout(len(self.retain.tokens_NT), self.config.text.holdout, self.config.seed)

    @cached_property
    def translation(self) -> Translation:
        return self._translate(self.dictionary)

    @cached_property
    def identity(self) -> Translation:
        return self._translate({})

    def _translate(self, dictionary) -> Translation:
        w = self.config.whp
        return translate(
            self.forget, self.documents, self.tokenizer, dictionary, match=w.match, draw=w.draw, repeat=w.repeat,
            seed=self.config.seed, max_width=min(self.shape.context, self.shape.window or self.shape.context),
        )  # fmt: skip

    def passage(self, variant: Variant) -> whp.Passage:
        """Return every block of the text to forget with the translation that a variant's labels use."""
        t = self.translation if variant.translated else self.identity
        return whp.Passage(self.forget.tokens_NT, t.tokens_NS, t.map_NT, t.trained_NT, t.seen_id_NR, t.seen_from_NR)

    @cached_property
    def suite(self) -> Suite:
        """What is measured on every model: the prompts of one split and held-out text."""
        c, texts = self.config, {}
        labels = next_token_labels(self.forget)
        texts["forget"] = Text(
            tokens_NT=self.forget.tokens_NT[self.forget_split[1]], labels_NT=labels[self.forget_split[1]]
        )
        if self.retain is not None:
            rows, labels = self.retain_split[1], next_token_labels(self.retain)
            texts["retain"] = Text(tokens_NT=self.retain.tokens_NT[rows], labels_NT=labels[rows])
        for name, blocks in self.held.items():
            texts[name] = Text(tokens_NT=blocks.tokens_NT, labels_NT=next_token_labels(blocks))
        prompts = self.prompts.of(c.eval.split) if self.prompts else Prompts(name="none")
        return Suite(self.tokenizer, prompts, texts, c.eval, c.seed)


def read_inputs(config: Config, run: RunDirectory) -> Inputs:
    """Read and check the tokenizer, the texts, the dictionary, the prompts and the model's shape; InputError if not."""
    if config.universe.people:
        config = _with_universe(config, run)
    t = config.text
    if not t.forget:
        raise InputError("text.forget names no text to forget; give files, folders or tfds:NAME/SPLIT")
    if not config.model and not config.pretrain.steps:
        raise InputError("no baseline: give model=DIR (a Hugging Face Llama), or pretrain.steps to make one")
    if config.model:
        config = dataclasses.replace(config, model=str(convert.find_model(config.model)))
    tokenizer_dir = Path(config.tokenizer or config.model)
    tokenizer = load_tokenizer(tokenizer_dir)
    shape = _shape(config, tokenizer)
    model.context_fits(shape, t.context, "a block (text.context)")
    for name in ("pretrain", "reinforce", "unlearn"):
        batch_size_fits(getattr(config, name).batch)
    batch_size_fits(config.whp.label_batch)
    batch_size_fits(config.eval.batch)
    documents = read_documents(t.forget, t.unwrap)
    forget = make_blocks(documents, tokenizer, t.context, config.whp.block_bos)
    say(f"  to forget: {forget.summary()}")
    retain_documents = read_documents(t.retain, t.unwrap) if t.retain else []
    retain = make_blocks(retain_documents, tokenizer, t.context, config.whp.block_bos) if retain_documents else None
    if retain is not None:
        say(f"  to retain: {retain.summary()}")
    if config.pretrain.steps and retain is None:
        raise InputError("pretraining needs text.retain as well as text.forget")
    held = {
        name: make_blocks(read_documents(source, t.unwrap), tokenizer, t.context, config.whp.block_bos)
        for name, source in {"forget": t.forget_held, "retain": t.retain_held}.items()
        if source
    }
    dictionary = load_dictionary(find_data(t.dictionary)) if t.dictionary else {}
    if not dictionary and config.whp.alpha == 0:
        raise InputError(
            "without text.dictionary and with whp.alpha=0 the labels would be the baseline's own predictions"
        )
    hashes = {
        "text.forget": sha256_text(*[d.text for d in documents]),
        "text.retain": sha256_text(*[d.text for d in retain_documents]),
        "tokenizer": sha256_text(*[sha256(f) for f in tokenizer.files]),
    }
    hashes |= {
        f"text.{k}": sha256(find_data(v)) for k, v in {"dictionary": t.dictionary, "prompts": t.prompts}.items() if v
    }
    if config.model:
        hashes |= {f"model/{p.name}": sha256(p) for p in sorted(Path(config.model).glob("*.safetensors"))}
    return Inputs(
        config, tokenizer, tokenizer_dir, shape, forget, documents, retain, held, dictionary,
        load_prompts(find_data(t.prompts)) if t.prompts else None, hashes,
    )  # fmt: skip


def find_data(path: str) -> Path:
    """Resolve a data file: a path, or the name of one that ships with the package (oz/dictionary.json)."""
    shipped = Path(__file__).parent / "data" / path
    return shipped if not Path(path).exists() and shipped.exists() else Path(path)


def _with_universe(config: Config, run: RunDirectory) -> Config:
    from jaxunlearn import universe

    data = run / "data"
    if not (data / "tokenizer").is_dir():
        universe.write(universe.build(seed=config.universe.seed, people=config.universe.people), data)
    text = dataclasses.replace(
        config.text,
        forget=(str(data / "saga.txt"),), retain=(str(data / "general.txt"),),
        forget_held=(str(data / "saga_held.txt"),), retain_held=(str(data / "general_held.txt"),),
        dictionary=str(data / "dictionary.json"), prompts=str(data / "prompts.json"),
    )  # fmt: skip
    return dataclasses.replace(config, text=text, tokenizer=str(data / "tokenizer"))


def _shape(config: Config, tokenizer: Tokenizer) -> model.Shape:
    if config.model:
        shape = convert.read_shape(Path(config.model), config.compute)
        if tokenizer.vocab_size > shape.V:
            raise InputError(
                f"the tokenizer has {tokenizer.vocab_size} tokens but the weights only {shape.V}: they do not belong together"
            )
    else:
        i = config.init
        shape = model.Shape(
            V=i.V or tokenizer.vocab_size, D=i.D, L=i.L, N=i.N, K=i.K, H=i.H, F=i.F, context=i.context, tied=i.tied,
            compute=config.compute,
        )  # fmt: skip
        if tokenizer.vocab_size > shape.V:
            raise InputError(f"init.V = {shape.V} is smaller than the tokenizer's {tokenizer.vocab_size} tokens")
    model_fits(shape)
    return shape


# ---- training stages


def pretrain(config: Config, run: RunDirectory, x: Inputs) -> None:
    """Make `baseline/` (retain and forget text) and `twin/` (retain text alone), or point `baseline` to the given model."""
    if not config.pretrain.steps:
        if not (run / "baseline").exists():
            (run / "baseline").symlink_to(Path(config.model).resolve(), target_is_directory=True)
        return
    p = config.pretrain
    tokens, labels = x.retain.tokens_NT[x.retain_split[0]], next_token_labels(x.retain)[x.retain_split[0]]
    extra = x.forget.tokens_NT[x.forget_split[0]], next_token_labels(x.forget)[x.forget_split[0]]
    both = [np.concatenate([a, *[b] * p.forget_epochs]) for a, b in zip((tokens, labels), extra, strict=True)]
    share = len(tokens) / len(both[0])
    plan = {"baseline": (both, p)}
    if p.twin:
        plan["twin"] = (tokens, labels), dataclasses.replace(p, steps=max(1, round(p.steps * share)))
    for name, (arrays, c) in plan.items():
        if (run / name).exists():
            continue
        with run.stage(name, f"{c.steps} steps on {len(arrays[0]):,} blocks"):
            start = _load(config, Path(config.model)) if config.model else model.init(x.shape, config.seed)
            _save(run, name, _fit(config, run, name, start, arrays, c), x)


def reinforce(config: Config, run: RunDirectory, x: Inputs) -> None:
    """Make `reinforced/`: the baseline fine-tuned on the text to forget."""
    if (run / "reinforced").exists():
        return
    c, rows = config.reinforce, x.forget_split[0]
    with run.stage("reinforce", f"{c.steps} steps on the text to forget"):
        arrays = x.forget.tokens_NT[rows], next_token_labels(x.forget)[rows]
        _save(run, "reinforced", _fit(config, run, "reinforce", _load(config, run / "baseline"), arrays, c), x)


def label(config: Config, run: RunDirectory, x: Inputs, only: str = "") -> None:
    """Store the generic labels that the variants need: one pass a translation, all its alphas at once."""
    wanted = {}
    for v in variants(config):
        if not only or v.folder == only:
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
    shape, size, path = x.forget.tokens_NT.shape, config.whp.label_batch, folder / "provenance.json"
    provenance = {
        "alphas": list(alphas), "shape": list(shape), "complete": False, "blocks_done": 0, "whp": as_dict(config.whp),
        "baseline": _hash_of(run / "baseline"), "reinforced": _hash_of(run / "reinforced"), "inputs": x.hashes,
    }  # fmt: skip
    before = json.loads(path.read_text()) if path.is_file() else {}
    if all(before.get(k) == provenance[k] for k in ("alphas", "shape", "whp", "baseline", "reinforced", "inputs")):
        provenance["blocks_done"] = before["blocks_done"]
    mode = "r+" if provenance["blocks_done"] else "w+"
    files = [np.lib.format.open_memmap(folder / f"alpha_{a:g}.npy", mode, np.int32, shape) for a in alphas]
    models = _load(config, run / "baseline", frozen=True), _load(config, run / "reinforced", frozen=True)
    for start in range(provenance["blocks_done"], shape[0], size):
        rows = np.minimum(np.arange(start, start + size), shape[0] - 1)
        part = whp.on_mesh(passage.rows(rows))
        labels_ABT = np.asarray(whp.label(*models, part, alphas=tuple(alphas), whp=_label_settings(config)))
        stop = min(start + size, shape[0])
        for file, labels_BT in zip(files, labels_ABT, strict=True):
            file[start:stop] = labels_BT[: stop - start]
            file.flush()
        provenance["blocks_done"] = stop
        write_whole(path, json.dumps(provenance, indent=1))
        progress(f"  label {stop}/{shape[0]} blocks", last=stop == shape[0])
    write_whole(path, json.dumps(provenance | {"complete": True}, indent=1))


def _label_settings(config: Config):
    """Keep only what the label program depends on, so that it is compiled once."""
    w = config.whp
    return type(w)(seen_translation=w.seen_translation, seen_penalty=w.seen_penalty, offset_context=w.offset_context)


def read_labels(run: RunDirectory, variant: Variant) -> np.ndarray:
    """Return a variant's stored labels_NT (int32, -100 where untrained), memory-mapped."""
    return np.load(run / "labels" / variant.labels / f"alpha_{variant.alpha:g}.npy", mmap_mode="r")


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
            batch, step = _fused(config, run, x.passage(v).rows(train_rows))
            arrays = None
        else:
            labels = read_labels(run, v)
            held_labels, arrays, batch, step = (
                labels[held_rows],
                (x.forget.tokens_NT[train_rows], labels[train_rows]),
                None,
                None,
            )
        best = Checkpoints(run / f"checkpoints/{stage}_best", keep=1)
        held = x.forget.tokens_NT[held_rows], held_labels

        def look(n, state):
            loss = label_loss(state.model, *held, config.eval.batch)
            found = measure(state.model, x.suite)
            run.record(stage, event="eval", **curve_point(n, found, loss))
            earlier = [r["held_loss"] for r in run.records(stage, "eval") if 0 < r["step"] < n]
            if n and loss < min(earlier, default=np.inf):
                best.wait()
                best.save(n, state.model)
            progress(f"  {stage} {n}/{c.steps}  held-out loss {loss:.3f}  {_brief(found)}", last=True)

        last = _fit(
            config, run, stage, _load(config, run / "baseline"), arrays, c, look, _measured_at(config), batch, step
        )
        best.wait()
        if config.whp.keep == "best" and c.steps:
            _save(run, f"{v.folder}_last", last, x)
            last = best.restore(last)
        _save(run, v.folder, last, x)
        best.close()


def _fused(config: Config, run: RunDirectory, passage: whp.Passage):
    """Return (batch_fn, step_fn) of the fused step: both frozen models stay on the mesh beside the trained one."""
    c = config.unlearn
    frozen = _load(config, run / "baseline", frozen=True), _load(config, run / "reinforced", frozen=True)
    settings = dataclasses.replace(_label_settings(config), alpha=config.whp.alpha)

    def batch(step):
        return [
            frozen,
            whp.Passage(*train.microbatches(c, passage, whp.LETTERS, len(passage.tokens_BT), config.seed, step)),
        ]

    return batch, train.compiled_step(c, whp.fused_step, whp=settings)


def _labels_now(config: Config, run: RunDirectory, passage: whp.Passage, alpha: float) -> np.ndarray:
    models = _load(config, run / "baseline", frozen=True), _load(config, run / "reinforced", frozen=True)
    size, out, n = config.whp.label_batch, [], len(passage.tokens_BT)
    for start in range(0, n, size):
        part = whp.on_mesh(passage.rows(np.minimum(np.arange(start, start + size), n - 1)))
        out.append(np.asarray(whp.label(*models, part, alphas=(alpha,), whp=_label_settings(config)))[0])
    return np.concatenate(out)[:n]


def _measured_at(config: Config) -> set[int]:
    e, steps = config.eval, config.unlearn.steps
    return {0, steps, *range(0, steps + 1, e.every), *[n for n in e.at if n <= steps]}


def _fit(config: Config, run: RunDirectory, stage: str, start, arrays, c, look=None, at=(), batch=None, step=None):
    """Train one stage from its newest checkpoint, or from `start`, and return the model."""
    checkpoints = Checkpoints(run / f"checkpoints/{stage}")
    state = train.init_state(start, c)
    restored = checkpoints.restore(state)
    if restored is not None:
        state = restored
        say(f"  {stage} goes on after step {int(state.step)}")
    run.rewind(stage, int(state.step) if restored is not None else -1)

    def batch_of(n):
        return train.microbatches(c, arrays, ("BT", "BT"), len(arrays[0]), config.seed, n)

    state = train.fit(
        state, step or train.compiled_step(c), batch or batch_of, c, checkpoints=checkpoints, measure=look, measure_at=at,
        log=run.logger(stage, c.steps, c.log_every), tokens=c.batch * c.accumulate * config.text.context,
    )  # fmt: skip
    checkpoints.close()
    return state.model


def _load(config: Config, directory: Path, frozen: bool = False):
    return convert.load(directory, config.compute, config.compute if frozen else "float32")


def _save(run: RunDirectory, name: str, made, x: Inputs) -> None:
    (run / name).parent.mkdir(parents=True, exist_ok=True)
    convert.save(made, run / name, source=x.tokenizer_dir)
    gc.collect()


def _hash_of(folder: Path) -> str:
    return sha256_text(*[sha256(p) for p in sorted(folder.glob("*.safetensors"))])


def _brief(found: dict) -> str:
    point = curve_point(0, found)
    names = {"familiarity": "familiarity", "accuracy": "accuracy", "perplexity_retain": "perplexity"}
    return "  ".join(f"{label} {point[k]:.3g}" for k, label in names.items() if k in point)


# ---- measuring, attacking, reporting


def evaluate(config: Config, run: RunDirectory, x: Inputs) -> dict[str, dict]:
    """Measure every model of the run, those already measured with the same settings aside; return {name: figures}."""
    found = {}
    for name, folder in _models(config, run).items():
        path = run / "evals" / f"{name.split(' (')[0].replace(' ', '_')}.json"
        key = {"eval": as_dict(config.eval), "model": _hash_of(folder), "prompts": x.hashes.get("text.prompts")}
        if path.is_file() and (kept := json.loads(path.read_text()))["key"] == key:
            found[name] = kept["found"]
            continue
        with run.stage("evaluate", name):
            m = _load(config, folder, frozen=True)
            found[name] = measure(m, x.suite)
            if x.suite.prompts.leaks:
                prompts = [p.prompt for p in x.suite.prompts.leaks]
                found[name]["leak_texts"] = complete(m, x.suite, prompts, Sampling(), config.seed)
            path.parent.mkdir(exist_ok=True)
            write_whole(path, json.dumps({"key": key, "found": found[name]}))
    return found


def _models(config: Config, run: RunDirectory) -> dict[str, Path]:
    names = {"baseline": "baseline", "unlearned": "unlearned", "twin": "twin", "reinforced": "reinforced"}
    names |= {v.name: v.folder for v in variants(config)[1:]}
    return {name: run / folder for name, folder in names.items() if (run / folder).exists()}


def attack(config: Config, run: RunDirectory, x: Inputs) -> dict[str, list]:
    """Relearn a little of the text and follow familiarity: does it come back faster than the twin learns it?"""
    e, found = config.eval, {}
    if not e.relearn_steps or not x.suite.prompts.probability:
        return found
    rows = x.forget_split[0][: e.relearn_blocks]
    arrays = x.forget.tokens_NT[rows], next_token_labels(x.forget)[rows]
    c = dataclasses.replace(
        config.unlearn, steps=max(e.relearn_steps), learning_rate=e.relearn_rate, schedule="constant", warmup=0
    )
    for name in ("unlearned", "twin"):
        if not (run / name).exists():
            continue
        path = run / "evals" / f"relearn_{name}.json"
        key = {"eval": as_dict(e), "model": _hash_of(run / name)}
        if path.is_file() and (kept := json.loads(path.read_text()))["key"] == key:
            found[name] = kept["found"]
            continue
        with run.stage("attack", f"relearning {len(rows)} blocks, {name}"):
            found[name] = _relearn(config, x, _load(config, run / name), arrays, c)
            write_whole(path, json.dumps({"key": key, "found": found[name]}))
    return found


def _relearn(config: Config, x: Inputs, start, arrays, c) -> list[dict]:
    prompts = [p for p in x.suite.prompts.probability if p.position == "out"]
    points = []

    def look(n, state):
        points.append({"step": n, "familiarity": float(np.mean(specific_mass(state.model, x.suite, prompts)))})
        say(f"  relearning step {n}: familiarity {points[-1]['familiarity']:.3g}")

    def batch(n):
        return train.microbatches(c, arrays, ("BT", "BT"), len(arrays[0]), config.seed, n)

    train.fit(
        train.init_state(start, c), train.compiled_step(c), batch, c, measure=look, measure_at=config.eval.relearn_steps
    )
    return points


def assemble(config: Config, run: RunDirectory, x: Inputs, models: dict, relearned: dict, manifest: dict) -> dict:
    """Return the report of a run (design: report.json)."""
    t = x.translation
    curves = {v.name: _curve(run, v) for v in variants(config)}
    report = {
        "title": config.title or config.name, "name": config.name, "claim": CLAIM, "device": device(),
        "seconds": run.seconds(), "config": json.loads((run / "config.json").read_text()), "manifest": manifest,
        "models": {n: {k: v for k, v in m.items() if k not in UNLISTED} for n, m in models.items()},
        "curve": curves.pop("unlearned"), "curves": {k: v for k, v in curves.items() if v}, "relearn": relearned,
        "completions": _side_by_side(models), "leak_probes": _leaks(x, models),
        "labels": _label_figures(run, config, x), "dictionary": {"terms": len(x.dictionary), "anchors": t.anchors},
        "notes": [f"prompts: the {config.eval.split!r} split", f"text to forget: {x.forget.summary()}", f"labels: {t.summary()}"],
    }  # fmt: skip
    return report


UNLISTED = ("completions", "leak_texts", "leak_probabilities")


def _curve(run: RunDirectory, v: Variant) -> list[dict]:
    stage = "unlearn" if v.folder == "unlearned" else v.folder.rpartition("/")[2]
    return [{k: a for k, a in r.items() if k not in ("stage", "event")} for r in run.records(stage, "eval")]


def _side_by_side(models: dict) -> list[dict]:
    shown = {
        n: m["completions"] for n, m in models.items() if n in ("baseline", "unlearned", "twin") and "completions" in m
    }
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
    shown = {n: m for n, m in models.items() if n in ("baseline", "unlearned", "twin") and "leak_texts" in m}
    return [
        {
            "prompt": p.prompt,
            "kind": p.kind,
            "probability": {n: m["leak_probabilities"][i] for n, m in shown.items()},
            "texts": {n: m["leak_texts"][i] for n, m in shown.items()},
        }  # fmt: skip
        for i, p in enumerate(x.suite.prompts.leaks)
    ]


def _label_figures(run: RunDirectory, config: Config, x: Inputs) -> dict:
    variant, t = variants(config)[0], x.translation
    found = {"alpha": variant.alpha, "tokens": x.forget.tokens, "unaligned_share": t.unaligned_share}
    if not (run / "labels" / variant.labels).is_dir():
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
            {"pretrain": pretrain, "reinforce": reinforce, "label": label, "unlearn": unlearn, "controls": controls}[
                name
            ](config, run, x)
        models = evaluate(config, run, x) if "evaluate" in stages else {}
        relearned = attack(config, run, x) if "attack" in stages else {}
        if not models:
            return {}
        report = assemble(config, run, x, models, relearned, manifest)
        write_report(run.path, report)
        say(f"\n{table(report)}\n\n{headline(report)}\n{CLAIM}\n")
        say(
            f"report: {run / 'report.html'}  {run / 'report.json'}  ({duration(sum(report['seconds'].values()))} of work)"
        )
        return report


def show_labels(config: Config, n: int) -> dict:
    """Return block n of a labelled run: tokens, translation, map, labels (ids and pieces) and alpha."""
    run, variant = RunDirectory(config), variants(config)[0]
    if not _labels_done(run / "labels" / variant.labels, (variant.alpha,)):
        raise InputError(f"{run.path} holds no finished labels; run `jaxunlearn label` on this configuration first")
    with jax.set_mesh(make_mesh(config.mesh.data, config.mesh.fsdp, config.mesh.tensor)):
        x = read_inputs(config, run)
    shown = show_block(x.forget, x.translation, x.tokenizer, n)
    labels = read_labels(run, variant)[n, : len(shown["tokens"])].tolist()
    pieces = [x.tokenizer.pieces([label])[0] if label >= 0 else None for label in labels]
    return shown | {"labels": labels, "label_tokens": pieces, "alpha": variant.alpha}

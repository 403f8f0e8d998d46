"""`jaxunlearn evaluate --model`: measure a model that no run made, such as a rival's checkpoint or a downloaded one."""

import dataclasses
import re
import sys
import time
from pathlib import Path

from jaxunlearn.cli.common import add_force, one_model_mesh, quick
from jaxunlearn.config import Config, Text, as_dict, check, override
from jaxunlearn.config.versions import versions
from jaxunlearn.errors import InputError
from jaxunlearn.files import find_data, json_text, write_whole
from jaxunlearn.outputs import refuse_foreign, taken
from jaxunlearn.parallel import processes

CLAIM = (
    "What one model knows and can. Nothing says here what it was before, nothing was compared with it, and no attack "
    "was tried."
)
SHORTCUTS = ("forget", "retain", "benchmarks", "tasks")
SETTING = re.compile(rf"({'|'.join(f.name for f in dataclasses.fields(Config))})(\.\w+)*=")
NOTHING = (
    "nothing to measure: give --prompts FILE, --forget or --retain TEXT, --benchmarks FILE, --tasks NAME, or "
    "eval.tofu=DIR or eval.muse=DIR"
)
WITHOUT_A_RUN = (  # fields of eval.* that speak of a run
    "every", "at", "known", "allow_unknown", "relearn_steps", "relearn_blocks", "relearn_batch", "relearn_rates",
    "members",
)  # fmt: skip


def add_options(command) -> None:
    """Add the options by which `evaluate` measures one model in the place of a run."""
    group = command.add_argument_group("one model, without CONFIG")
    group.add_argument("--model", default="", help="Hugging Face directory, a model of a run, .gguf file or hub name")
    group.add_argument("--prompts", default="", metavar="FILE", help="what to ask: JSON, as text.prompts of a run")
    more = {
        "forget": "text that should be forgotten, for its perplexity",
        "retain": "other text, for its perplexity",
        "benchmarks": "multiple choice: .jsonl files, folders of them, tfds:NAME/SPLIT",
        "tasks": 'of lm-evaluation-harness; "paper": seven',
    }
    for name, text in more.items():
        group.add_argument(f"--{name}", nargs="+", default=[], metavar=name.upper(), help=text)
    group.add_argument("--json", action="store_true", help="print the JSON in the place of the table")
    group.add_argument("--out", default="", metavar="FILE", help="also write the JSON, in report.json's form")
    add_force(command)


def refuse_options(a) -> None:
    """Raise InputError where options of one model are given beside a configuration."""
    named = [f"--{name}" for name in ("prompts", *SHORTCUTS, "json", "out", "force") if getattr(a, name)]
    if not a.config:
        raise InputError("evaluate what? Give a configuration, or --model DIR with what to measure")
    if named:
        raise InputError(
            f"{', '.join(named)}: for --model DIR alone; of a run, `eval.*` and `text.*` say what is measured"
        )


def evaluate(a) -> None:
    """Measure one model by every metric that applies; print a table or JSON, on process 0."""
    config, out = _config(a), Path(a.out)
    if a.out and not a.force:
        refuse_foreign(out.parent, [out.name], by="evaluate")
    report = measured(config)
    if processes.index():
        return
    said = json_text(report, sort_keys=True, indent=1)
    if a.out:
        out.parent.mkdir(parents=True, exist_ok=True)
        with taken(out.parent, [out.name], by="evaluate", force=a.force):
            write_whole(out, said + "\n")
        print(f"{out}: what was measured of {report['name']}", file=sys.stderr)
    print(said if a.json else table(report))


def _config(a) -> Config:
    """Return the configuration that the options stand for; overrides that would have no effect are refused."""
    named = {name: [v for v in getattr(a, name) if not SETTING.match(v)] for name in SHORTCUTS}
    overrides = [*([a.config] if a.config else []), *a.overrides]
    overrides += [v for name in SHORTCUTS for v in getattr(a, name) if SETTING.match(v)]  # after an option's values
    known = {f"eval.{f.name}" for f in dataclasses.fields(Config(name="any").eval) if f.name not in WITHOUT_A_RUN}
    known |= {"text.context", "text.unwrap", "text.most_characters", "seed", "compute"}
    if idle := [o for o in overrides if "=" in o and o.partition("=")[0] not in known]:
        raise InputError(f"{', '.join(idle)}: no effect on one model; what has one: {', '.join(sorted(known))}")
    if odd := [o for o in overrides if "=" not in o]:
        raise InputError(f"{', '.join(odd)}: with --model there is no configuration; a setting is key=value")
    given = Config(
        name=Path(a.model).name or a.model, model=a.model,
        text=Text(forget=tuple(named["forget"]), retain=tuple(named["retain"]), prompts=a.prompts),
    )  # fmt: skip
    config = override(given, overrides)
    tasks, benchmarks = tuple(named["tasks"]), tuple(named["benchmarks"])
    e = dataclasses.replace(
        config.eval, tasks=tasks or config.eval.tasks, benchmarks=benchmarks or config.eval.benchmarks
    )
    config = dataclasses.replace(config, eval=e)
    config = quick(config) if a.quick else config
    check(config)
    e, t = config.eval, config.text
    if not any((t.prompts, t.forget, t.retain, e.tasks, e.benchmarks, e.tofu, e.muse)):
        raise InputError(NOTHING)
    return config


def measured(config: Config) -> dict:
    """Return what is measured of config.model, in report.json's form, sealed.

    Raises InputError, before the weights are read, for bad prompts, texts, benchmarks and a tokenizer that does not
    fit; for tasks whose data cannot be had as soon as the model is there.
    """
    from jaxunlearn.evals import harness, measure
    from jaxunlearn.evals.base import Context, merge
    from jaxunlearn.methods import inference
    from jaxunlearn.parallel.console import say
    from jaxunlearn.parallel.sharding import device_names
    from jaxunlearn.run.store import found_model, hash_of, read_model

    measure.refuse(config, held_out=False)
    with one_model_mesh():
        path, tokenizer, shape = found_model(config.model)
        suite, notes, hashes = _suite(config, tokenizer, shape)
        context = Context(suite=inference.suite(path, suite), model_hash=hash_of(path))
        if not measure.applying(context):
            raise InputError(f"{config.text.prompts} holds no section that is measured; {NOTHING}")
        say(f"{config.name}: {', '.join(m.title for m in measure.applying(context))}, on {device_names()}")
        start, model = time.monotonic(), read_model(path, config.compute)
        found = harness.measure(model, context) if config.eval.tasks else {}  # first: their data may not be there
        rest = dataclasses.replace(context.suite, c=dataclasses.replace(config.eval, tasks=()))
        context = dataclasses.replace(context, suite=rest, weights=inference.has_weights(model))
        merge(found, measure.measure_all(model, context))
    hashes["model"] = context.model_hash
    return _report(config, found, suite.prompts, notes, hashes, time.monotonic() - start)


def _report(config: Config, found: dict, prompts, notes: list[str], hashes: dict, seconds: float) -> dict:
    """Return the content of report.json, sealed; what only a run has is empty."""
    import jax

    from jaxunlearn import sealed
    from jaxunlearn.estimates import plain
    from jaxunlearn.evals.measure import raw, titles
    from jaxunlearn.parallel.sharding import device_names
    from jaxunlearn.stages.summary import without_places

    name = config.name
    listed = {name: {k: v for k, v in found.items() if k not in raw()}}
    manifest = {"versions": versions(), "devices": [str(d) for d in jax.devices()], "hashes": hashes}
    report = {
        "title": f"{name}, measured without a run", "name": name, "claim": CLAIM, "device": device_names(),
        "models": listed, "columns": titles(listed), "completions": _completions(name, found),
        "leak_probes": _leaks(name, found, prompts.leaks), "notes": notes, "seconds": {"evaluate": seconds},
        "config": without_places(as_dict(config)), "manifest": manifest | {"seeds": {"seed": config.seed}},
        "curve": [], "curves": {}, "relearn": {}, "attacks": {}, "rtt": {}, "judge": {}, "differences": [], "costs": {},
        "labels": {}, "dictionary": {},
    }  # fmt: skip
    return sealed.sealed(plain(report))


def _suite(config: Config, tokenizer, shape):
    """Return (what is asked of the model, notes for the report, hashes of what is asked). Raises InputError."""
    from jaxunlearn.data.blocks import make_blocks, next_token_labels
    from jaxunlearn.data.documents import read_documents
    from jaxunlearn.evals.prompts import Prompts, load_prompts
    from jaxunlearn.evals.suite import Suite
    from jaxunlearn.evals.words import Words
    from jaxunlearn.files import sha256, sha256_text
    from jaxunlearn.models.scoring import Text as Blocks
    from jaxunlearn.parallel.console import say
    from jaxunlearn.run import checks

    t, e, notes = config.text, config.eval, []
    prompts, hashes = Prompts(name="none"), {"tokenizer": sha256_text(*map(sha256, tokenizer.files))}
    if e.chat:
        tokenizer.chat("Hello.")  # refused here where there is no template
    if t.prompts:
        prompts = load_prompts(find_data(t.prompts))
        checks.refuse_unwritable(prompts, tokenizer)
        checks.refuse_empty_split(prompts, e.split)
        checks.refuse_long(prompts, Words(tokenizer, e.batch, chat=e.chat), shape.context, e.new_tokens)
        hashes["text.prompts"] = sha256(find_data(t.prompts))
        notes.append(f"prompts: the {e.split!r} split of {Path(t.prompts).name}")
    texts, context = {}, min(t.context, shape.context)
    for name, sources in {"forget": t.forget, "retain": t.retain}.items():
        if sources:
            documents = read_documents(sources, t.unwrap, say, t.most_characters)
            blocks = make_blocks(documents, tokenizer, context)
            hashes[f"text.{name}"] = sha256_text(*[d.text for d in documents])
            if odd := checks.unknown(f"--{name}", blocks, tokenizer):
                say(f"  {odd}")
                notes.append(odd)
            texts[name] = Blocks(tokens_NT=blocks.tokens_NT, labels_NT=next_token_labels(blocks))
            count = min(len(blocks.tokens_NT), e.blocks)
            notes.append(
                f"perplexity, {name} text: the first {count} of {len(blocks.tokens_NT)} blocks of {context} tokens; "
                "whether the model was trained on them is not known"
            )
    return Suite(tokenizer, prompts.of(e.split), texts, e, config.seed), notes, hashes


def _completions(name: str, found: dict) -> list[dict]:
    return [
        {"prompt": c["prompt"], "subtlety": c["subtlety"], "texts": {name: c["text"]}, "grades": {name: c["grade"]},
         "evidence": {name: c["evidence"]}}
        for c in found.get("completions", [])
    ]  # fmt: skip


def _leaks(name: str, found: dict, probes) -> list[dict]:
    asked = zip(probes, found.get("leak_probabilities", []), found.get("leak_texts", []), strict=False)
    return [{"prompt": p.prompt, "kind": p.kind, "probability": {name: mass}, "texts": {name: text}}
            for p, mass, text in asked]  # fmt: skip


def table(report: dict) -> str:
    """Return what was measured as plain text, a row a figure: value, 95% interval, items."""
    from jaxunlearn.estimates import figure_of, interval, known, number
    from jaxunlearn.report.tables import COLUMNS, FURTHER, LEAKS, unforeseen

    name = report["name"]
    figures = {
        title: figure_of(report, name, path)
        for path, title in {**COLUMNS, **LEAKS, **FURTHER, **unforeseen(report)}.items()
    }
    rows = [[name, "value", "95% interval", "items"]]
    for title, figure in figures.items():
        if figure is not None:
            n = str(figure.get("n", "")) if isinstance(figure, dict) else ""
            rows.append([title, number(known(figure)), interval(figure), n])
    widths = [max(len(row[n]) for row in rows) for n in range(4)]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join("  ".join(t.ljust(w) for t, w in zip(row, widths, strict=True)).rstrip() for row in rows)

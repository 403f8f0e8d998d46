"""The console command: one short function a subcommand.

Exit codes: 0 done, 1 failed, 2 bad usage or input, 75 stopped by SIGTERM (saved; the same command goes on). With --json
one object goes to standard output and nothing else; progress goes to standard error.
"""

import argparse
import dataclasses
import json
import os
import platform
import sys
from pathlib import Path

from jaxunlearn import distributed, preemption
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.memory import keep_freed


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand and return its exit code."""
    arguments = parse(argv)
    _quiet()
    _keep_programs()
    if arguments.command != "bench":  # which does so itself, after what it measures without
        keep_freed()
    try:
        with preemption.listening():
            distributed.start() if arguments.function in SHARED else distributed.alone(arguments.command)
            return distributed.leave(arguments.function(arguments) or 0)
    except preemption.Preempted:
        return _failed("stopped by SIGTERM; everything is saved, the same command goes on", preemption.CODE)
    except InputError as error:
        return _failed(error, 2)
    except RunError as error:
        return _failed(error, 1)
    except KeyboardInterrupt:
        return _failed("interrupted; what was finished is kept, the same command goes on", 1)


def _failed(why, code: int) -> int:
    """Say why, and which of several processes says it; the others are not waited for."""
    which = f" (process {distributed.index()})" if distributed.count() > 1 else ""
    print(f"jaxunlearn{which}: {why}", file=sys.stderr, flush=True)
    return distributed.leave(code)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line; key=value overrides may stand before and after options."""
    top = parser()
    arguments, rest = top.parse_known_args(argv)
    if rest and not (hasattr(arguments, "overrides") and all("=" in r and r[0] != "-" for r in rest)):
        top.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        arguments.overrides += rest
    return arguments


def parser() -> argparse.ArgumentParser:
    """Return the command line: `jaxunlearn SUBCOMMAND --help` describes each."""
    top = argparse.ArgumentParser(prog="jaxunlearn", description="Make a Llama forget a text, and prove it.")
    commands = top.add_subparsers(required=True, metavar="SUBCOMMAND")

    def add(name: str, function, text: str):
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(function=function, command=name)
        return command

    command = add("demo", demo, "the whole story on the built-in universe; downloads nothing")
    command.add_argument("--out", default="", help="run directory (default runs/universe)")
    command.add_argument("--ablate", action="store_true", help="also train the controls")
    _overrides(command)
    command = add("run", run, "every stage, resumable; re-running skips what is done")
    command.add_argument(
        "config", help="a file with a config() function, or the name of one that ships with the package"
    )
    command.add_argument("--ablate", action="store_true", help="also train the controls")
    _overrides(command)
    for name in ("pretrain", "reinforce", "label", "unlearn", "repair", "evaluate", "attack"):
        command = add(name, stage, f"the stage {name!r} of a run, and what it needs")
        command.add_argument("config")
        command.add_argument(
            "--quick", action="store_true", help="a few steps, in runs/NAME-quick; attacks of a finished run: fewer"
        )
        command.set_defaults(stage=name)
        _overrides(command)
    _anchors(add("anchors", lambda a: a.action(a), "make and check the dictionary of anchored terms"))
    command = add("labels", labels, "what a block was labelled with: tokens, translation and labels side by side")
    command.add_argument("action", choices=("show",))
    command.add_argument("config")
    command.add_argument("--block", type=int, default=0)
    command.add_argument("--json", action="store_true")
    command.add_argument("--html", default="", metavar="FILE", help="write a page: the text tinted by its labels")
    command.add_argument("--no-models", action="store_true", help="faster: without top tokens and departures")
    command.add_argument("--quick", action="store_true", help="of the run that `label --quick` made")
    _overrides(command)
    command = add("generate", generate, "continue a prompt")
    command.add_argument("--model", required=True, help="Hugging Face directory, or a model of a run")
    command.add_argument("--prompt", required=True, action="append", help="may be given several times")
    command.add_argument("--max-new-tokens", type=int, default=64)
    command.add_argument("--temperature", type=float, default=0.0, help="0: greedy")
    command.add_argument("--top-k", type=int, default=0)
    command.add_argument("--top-p", type=float, default=1.0)
    command.add_argument("--seed", type=int, default=0)
    command.add_argument("--json", action="store_true")
    command = add("score", score, "mean negative log-likelihood of a text, every token once")
    command.add_argument("--model", required=True)
    command.add_argument("--text", required=True, help="a .txt file")
    command.add_argument(
        "--context", type=int, default=0, help="block length, BOS included (default: the model's, at most 2048)"
    )
    command.add_argument("--json", action="store_true")
    command = add("export", export, "write a model for other programs")
    command.add_argument("--model", required=True)
    command.add_argument("--format", choices=("hf", "gguf"), default="hf")
    command.add_argument("--out", required=True)
    command.add_argument("--dtype", choices=("float32", "float16", "bfloat16", "q8_0"), default="float32")
    command.add_argument(
        "--baseline", default="", help="to say how much of the edit rounding loses (default: the run's)"
    )
    command.add_argument("--push", default="", metavar="OWNER/NAME", help="then upload it to the hub, private")
    command.add_argument("--public", action="store_true", help="what --push makes is for everybody to see")
    command = add("methods", methods, "every unlearning method with one line each")
    command.add_argument("--json", action="store_true")
    command = add("sweep", sweep, "methods x learning rates x alphas x seeds, on one footing; resumable")
    command.add_argument("config")
    _overrides(command)
    command = add("bench", bench, "throughput, share of the measured matmul ceiling, peak memory")
    command.add_argument("config")
    command.add_argument("--json", action="store_true")
    command.add_argument("--torch", action="store_true", help="also time Hugging Face's training step in PyTorch")
    command.add_argument("--scaling", default="", metavar="DIR", help="only the step, over 1, 2, 4, 8 ... devices")
    command.add_argument("--whole", action="store_true", help="project the whole method from the measured rates")
    command.add_argument("--profile", default="", metavar="DIR", help="write a trace for TensorBoard or xprof")
    _overrides(command)
    command = add(
        "plan", plan, "does it fit: bytes a chip and collectives, compiled for an accelerator that is not here"
    )
    command.add_argument("config")
    command.add_argument("--topology", required=True, help="v5e:4x4, v5e-16, v5p:2x2x1, h100:8, ...")
    command.add_argument("--slices", type=int, default=1, help="that many of them, along mesh.data")
    command.add_argument("--only", action="append", default=[], metavar="FUNCTION", help="may be given several times")
    command.add_argument(
        "--search", action="store_true", help="compile a few meshes, microbatches and policies, ranked"
    )
    command.add_argument("--json", action="store_true")
    _overrides(command)
    command = add("birthdays", birthdays, "invent people with random years of birth: independent facts for RTT")
    command.add_argument("--out", required=True, metavar="DIR", help="for facts.json and statements.txt")
    command.add_argument("--count", type=int, default=785, help="people (default 785: five splits of 157)")
    command.add_argument("--seed", type=int, default=0)
    command = add("report", report, "report.html and report.json from what a run holds")
    command.add_argument("run_dir")
    command.add_argument("--figures", default="", help="also save the pictures as PNG files in this folder")
    command.add_argument(
        "--seeds", nargs="+", default=[], metavar="RUN_DIR", help="runs with other seeds, to set beside"
    )
    command.add_argument(
        "--rivals", nargs="+", default=[], metavar="RUN_DIR", help="runs of other methods on the same baseline"
    )
    return top


def _anchors(command) -> None:
    actions = command.add_subparsers(required=True, metavar="build|audit")
    text = "make a dictionary from the texts of a configuration: by counting, or with anchors.source=llm by a model"
    build = actions.add_parser("build", help=text, description=text)
    build.set_defaults(action=anchors_build)
    build.add_argument("config")
    build.add_argument("--out", default="", help="folder for dictionary.json (default RUN_DIR/anchors)")
    build.add_argument(
        "--lift", action="store_true", help="use what the run's reinforced/ raises over its baseline/ as a further sign"
    )
    build.add_argument("--json", action="store_true")
    _overrides(build)
    text = "check a dictionary against the text it is for; exit code 1 while an error-level fault remains"
    audit = actions.add_parser("audit", help=text, description=text)
    audit.set_defaults(action=anchors_audit)
    audit.add_argument("file", help="the dictionary, JSON")
    audit.add_argument("--text", nargs="+", required=True, help="the text to forget: .txt files, folders, globs")
    audit.add_argument("--retain", nargs="+", default=[], help="text to compare with")
    audit.add_argument("--tokenizer", default="", help="model directory, to find traps of its tokenizer")
    audit.add_argument("--match", choices=("longest", "first"), default="longest", help="as in whp.match")
    audit.add_argument("--unwrap", action="store_true", help="join hard line breaks, as text.unwrap does")
    audit.add_argument("--fix", default="", metavar="OUT", help="write the repaired dictionary and audit that")
    audit.add_argument("--json", action="store_true")


def _overrides(command) -> None:
    command.add_argument("overrides", nargs="*", metavar="key=value", help="for example whp.alpha=3 run.dir=out")


def _quiet() -> None:
    """Keep libraries from talking over the progress."""
    import logging

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.getLogger("absl").setLevel(logging.ERROR)
    logging.getLogger("jax").setLevel(logging.ERROR)


def _keep_programs() -> None:
    """Keep compiled programs between runs, apart for each machine: a CPU program may not run on another CPU."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache / "jaxunlearn" / (platform.node() or "here")))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")


def _config(name: str, overrides: list[str], ablate: bool = False):
    from jaxunlearn.config import ABLATIONS, load_config

    config = load_config(name, overrides)
    if ablate:
        retains = config.text.retain or config.universe.people
        config = dataclasses.replace(config, controls=tuple(c for c in ABLATIONS if retains or c != "retain_only"))
    return config


def demo(a) -> None:
    """The built-in universe, from nothing to the report."""
    overrides = [*a.overrides, *([f"run.dir={a.out}"] if a.out else [])]
    _run(_config("universe", overrides, a.ablate))


def run(a) -> None:
    """Every stage of a configuration."""
    _run(_config(a.config, a.overrides, a.ablate))


def stage(a) -> None:
    """One stage, after the ones it builds on."""
    from jaxunlearn.run import STAGES

    config = _config(a.config, a.overrides)
    finished = a.stage in ("evaluate", "attack") and (config.directory / "unlearned").is_dir()
    if a.quick and not finished:
        config = _quick(config)
    if a.stage == "attack":
        config = _attacks(config, a.quick)
    done = STAGES[: STAGES.index(a.stage) + 1]
    left = {"controls"} if a.stage == "attack" else {"evaluate", "controls"}
    _run(config, tuple(s for s in done if s not in left or s == a.stage or config.controls))


def _attacks(config, quick: bool):
    """Return the configuration with every attack on, or with the quick set: fewer samples, rates and conditions."""
    from jaxunlearn.config import ATTACKS

    c = dataclasses.replace(config.attack, kinds=config.attack.kinds or ATTACKS)
    if quick:
        rates = c.rates or tuple(config.unlearn.learning_rate * k for k in (1.0, 4.0))
        few = {"samples": 4, "blind": 24, "passages": 2}
        c = dataclasses.replace(c, rates=rates, **{k: min(n, getattr(c, k)) for k, n in few.items()})
    return dataclasses.replace(config, attack=c)


def anchors_build(a) -> None:
    """Make a dictionary from the texts of a configuration."""
    from jaxunlearn.anchors.dictionary import load_dictionary
    from jaxunlearn.anchors.make import build_dictionary
    from jaxunlearn.inputs import read_texts

    config = _config(a.config, a.overrides)
    documents, retain = read_texts(config)
    lift = _lift(config, documents) if a.lift else None
    out = Path(a.out) if a.out else config.directory / "anchors"
    path = build_dictionary(config, documents, retain, out, again=True, lift=lift)
    found = load_dictionary(path)
    if a.json:
        print(json.dumps({"path": str(path), "terms": len(found), "source": config.anchors.source}))
    else:
        print(f"{path}: {len(found)} terms; check it with: jaxunlearn anchors audit {path} --text ...")


def _lift(config, documents):
    """Return nats a word by which a finished run's reinforced model raises it over the baseline."""
    from jaxunlearn import convert
    from jaxunlearn.anchors.lift import word_lift
    from jaxunlearn.text import make_blocks
    from jaxunlearn.tokenizer import load_tokenizer

    folders = [config.directory / name for name in ("baseline", "reinforced")]
    if not all(f.is_dir() for f in folders):
        raise InputError(f"--lift needs {folders[0]} and {folders[1]}: run the stage `reinforce` first")
    tokenizer = load_tokenizer(folders[0])
    blocks = make_blocks(documents, tokenizer, config.text.context, config.whp.block_bos)
    with _mesh():
        baseline, reinforced = [convert.load(f, config.compute) for f in folders]
        return word_lift(baseline, reinforced, tokenizer, blocks, batch=config.eval.batch)


def anchors_audit(a) -> int:
    """Print what is wrong with a dictionary; 1 while an error-level fault remains."""
    from jaxunlearn.anchors.findings import exit_status, rich_table, to_json
    from jaxunlearn.anchors.repair import audit_files
    from jaxunlearn.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(a.tokenizer) if a.tokenizer else None
    found, left = audit_files(
        a.file, a.text, retain=a.retain, tokenizer=tokenizer, match=a.match, unwrap=a.unwrap, fix=a.fix
    )
    if a.json:
        print(json.dumps(to_json(left) | ({"before": to_json(found)} if a.fix else {})))
        return exit_status(left)
    from rich.console import Console

    for findings in [found, left] if a.fix else [found]:
        Console().print(rich_table(findings))
    return exit_status(left)


def labels(a) -> None:
    """Show one block of a labelled run: tokens, translation, what is trained and why not, top tokens, labels."""
    from jaxunlearn.labels import show_labels
    from jaxunlearn.labels_view import print_table, write_page

    config = _config(a.config, a.overrides)
    shown = show_labels(_quick(config) if a.quick else config, a.block, ask_models=not a.no_models)
    if a.html:
        write_page(shown, Path(a.html))
        print(f"{a.html}: block {a.block}", file=sys.stderr)
    if a.json:
        print(json.dumps(shown))
    elif not a.html:
        print_table(shown)


def _quick(config):
    """Return the configuration cut down to a few steps, in a run directory of its own."""
    few = {
        n: dataclasses.replace(getattr(config, n), steps=min(getattr(config, n).steps, 3))
        for n in ("pretrain", "reinforce", "unlearn", "repair")
    }
    e = dataclasses.replace(config.eval, completions=8, blocks=8, relearn_steps=config.eval.relearn_steps[:2])
    kept = config.run.checkpoints and f"{config.run.checkpoints}-quick"
    run = dataclasses.replace(config.run, dir=f"{config.directory}-quick", checkpoints=kept)
    return dataclasses.replace(config, eval=e, run=run, **few)


def _run(config, stages=None) -> None:
    from jaxunlearn.run import STAGES, run_stages

    run_stages(config, stages or STAGES)


def _one_model(directory: str):
    from jaxunlearn import convert, guided
    from jaxunlearn.tokenizer import load_tokenizer

    path = convert.find_model(directory)
    if guided.is_guided(path):  # a method at inference time: its models lie beside it
        return guided.load(path, convert.load), load_tokenizer(guided.baseline(path))
    return convert.load(path), load_tokenizer(path)


def _mesh():
    import jax

    from jaxunlearn.sharding import make_mesh

    alone = distributed.count() == 1
    return jax.set_mesh(make_mesh(fsdp=-1, devices=jax.devices()[:1] if alone else None))


def generate(a) -> None:
    """Continue prompts and print them."""
    from jaxunlearn import guided
    from jaxunlearn.evals.measure import Words
    from jaxunlearn.generate import Sampling
    from jaxunlearn.generate import generate as continue_

    if a.max_new_tokens < 1 or a.temperature < 0 or a.top_k < 0 or not 0 < a.top_p <= 1:
        raise InputError("--max-new-tokens must be >= 1, --temperature and --top-k >= 0, --top-p in (0, 1]")
    with _mesh():
        model, tokenizer = _one_model(a.model)
        context = Words(tokenizer, 1, guided.prefix(Path(a.model))).context
        prompts = [context(p) for p in a.prompt]
        sampling = Sampling(a.temperature, a.top_k, a.top_p)
        new = continue_(model, prompts, a.max_new_tokens, sampling, seed=a.seed, eos_ids=tokenizer.eos_ids)
    if distributed.index():
        return
    texts = [tokenizer.decode(p + n)[len(tokenizer.decode(p)) :] for p, n in zip(prompts, new, strict=True)]
    if a.json:
        print(
            json.dumps(
                {
                    "completions": [
                        {"prompt": p, "text": t, "tokens": n} for p, t, n in zip(a.prompt, texts, new, strict=True)
                    ]
                }
            )
        )
    else:
        print("\n\n".join(p + t for p, t in zip(a.prompt, texts, strict=True)))


def score(a) -> None:
    """Print {"tokens": n, "nll": mean nats a token}."""
    from jaxunlearn.evals.measure import score_text
    from jaxunlearn.model import context_fits
    from jaxunlearn.text import read_documents

    text = "\n\n".join(d.text for d in read_documents([a.text]))
    with _mesh():
        model, tokenizer = _one_model(a.model)
        context = a.context or min(model.c.context, model.c.window or model.c.context, 2048)
        context_fits(model.c, context, "--context")
        found = score_text(model, tokenizer, text, context)
    if distributed.index():
        return
    print(json.dumps(found) if a.json else f"{found['tokens']} tokens, {found['nll']:.5f} nats a token")


def export(a) -> None:
    """Write a Hugging Face directory or GGUF; below fp32, say what the rounding loses of the edit."""
    from jaxunlearn import convert, guided
    from jaxunlearn import export as exports

    out = Path(a.out)
    exports.check(a.format, a.dtype, a.push, out)
    if guided.is_guided(Path(a.model)):
        raise InputError(f"{a.model} forgets at inference time alone and has no weights of its own to export")
    source = convert.find_model(a.model)
    with _mesh():
        model = convert.load(source)
        if a.format == "gguf":
            written, said = exports.export_gguf(model, out, source=source, dtype=a.dtype)
        else:
            exports.export_hf(model, out, source=source, dtype=a.dtype)
            written, said = out, []
        said += exports.rounding(model, source, a.baseline, a.format, a.dtype)
    print("\n".join([*said, f"{written}: {'GGUF' if a.format == 'gguf' else 'Hugging Face format'}, {a.dtype}"]))
    if a.push:
        print(exports.push(written.parent if a.format == "gguf" else written, a.push, private=not a.public))


def methods(a) -> None:
    """List the methods: what each does, what it needs, its settings and their defaults."""
    from jaxunlearn.objectives import METHODS

    rows = {m.name: m for m in METHODS.values()}
    if a.json:
        print(json.dumps([
            {"name": m.name, "paper": m.paper, "one_line": m.one_line, "needs": sorted(m.needs), "settings": m.hyper,
             "trains": m.trains}
            for m in rows.values()
        ]))  # fmt: skip
        return
    for name, m in rows.items():
        settings = ", ".join(f"{k}={v}" for k, v in m.hyper.items())
        print(f"{name:20} {m.one_line}{f' [{settings}]' if settings else ''} ({m.paper})")


def sweep(a) -> None:
    """Compare methods, each at the setting that the stop rule chooses."""
    from jaxunlearn.sweep import sweep as compare

    compare(_config(a.config, a.overrides))


def bench(a) -> None:
    """Measure a configuration's programs on this machine."""
    from jaxunlearn.bench import bench as measure

    if a.scaling:
        from jaxunlearn.scaling import scaling, table

        rows = scaling(_config(a.config, a.overrides), Path(a.scaling))
        print(json.dumps({"rows": rows}) if a.json else table(rows))
        return
    found = measure(_config(a.config, a.overrides), torch=a.torch, whole=a.whole, trace=a.profile)
    if a.json:
        print(json.dumps(found))


def plan(a) -> None:
    """Compile a configuration's functions for a named topology and say what they need."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "1"  # the compiler's warnings are wanted: plan.measured looks for one
    if a.topology.lower().startswith("v"):
        os.environ.setdefault("JAX_PLATFORMS", "cpu")  # the chips are described; those of this machine stay free
    from jaxunlearn.plan import lines
    from jaxunlearn.plan import plan as compile_for
    from jaxunlearn.programs import FUNCTIONS

    if unknown := sorted(set(a.only) - set(FUNCTIONS)):
        raise InputError(f"--only {' '.join(unknown)}: expected some of {', '.join(FUNCTIONS)}")
    only = tuple(f for f in FUNCTIONS if not a.only or f in a.only)
    config = _config(a.config, a.overrides)
    found = compile_for(config, a.topology, slices=a.slices, only=only, search=a.search)
    print(json.dumps(found) if a.json else "\n".join(lines(found)))


def birthdays(a) -> None:
    """Write facts to ask for and the text that teaches them, and say how a run uses both."""
    from jaxunlearn.evals.facts import write_birthdays

    facts, text = write_birthdays(Path(a.out), a.count, a.seed)
    print(f"{facts}: {a.count} questions; {text}: what to teach and to forget. In a run:")
    print(f"  text.forget=YOUR_TEXT,{text} attack.facts={facts}")


def report(a) -> None:
    """Write the report again from a finished run's own files."""
    from jaxunlearn.report import export_figures, table, write_report

    path = Path(a.run_dir) / "report.json"
    if not path.is_file():
        raise InputError(
            f"{a.run_dir} holds no report.json: finish the run first (jaxunlearn run CONFIG run.dir={a.run_dir})"
        )
    found = json.loads(path.read_text())
    if a.seeds:
        from jaxunlearn.seeds import over_seeds, read_reports

        found["seeds"] = over_seeds([found, *read_reports(a.seeds)])
    if a.rivals:
        from jaxunlearn.rivals import beside
        from jaxunlearn.seeds import read_reports

        found = beside(found, read_reports(a.rivals))
    write_report(Path(a.run_dir), found)
    if a.figures:
        export_figures(found, Path(a.figures))
    print(table(found))


SHARED = (demo, run, stage, generate, score)  # commands that several processes do together


if __name__ == "__main__":
    sys.exit(main())

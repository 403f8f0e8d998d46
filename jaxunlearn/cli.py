"""The console command: one short function a subcommand.

Exit codes: 0 done, 1 failed, 2 bad usage or input. With --json one object goes to standard output and nothing else;
progress goes to standard error.
"""

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path

from jaxunlearn.errors import InputError, RunError


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand and return its exit code."""
    arguments = parser().parse_args(argv)
    _quiet()
    try:
        arguments.function(arguments)
    except InputError as error:
        print(f"jaxunlearn: {error}", file=sys.stderr)
        return 2
    except RunError as error:
        print(f"jaxunlearn: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("jaxunlearn: interrupted; what was finished is kept, the same command goes on", file=sys.stderr)
        return 1
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the command line: `jaxunlearn SUBCOMMAND --help` describes each."""
    top = argparse.ArgumentParser(prog="jaxunlearn", description="Make a Llama forget a text, and prove it.")
    commands = top.add_subparsers(required=True, metavar="SUBCOMMAND")

    def add(name: str, function, text: str):
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(function=function)
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
    for name in ("pretrain", "reinforce", "label", "unlearn", "evaluate", "attack"):
        command = add(name, stage, f"the stage {name!r} of a run, and what it needs")
        command.add_argument("config")
        command.add_argument(
            "--quick", action="store_true", help="a few steps, in runs/NAME-quick: does it work at all?"
        )
        command.set_defaults(stage=name)
        _overrides(command)
    command = add("labels", labels, "what a block was labelled with: tokens, translation and labels side by side")
    command.add_argument("action", choices=("show",))
    command.add_argument("config")
    command.add_argument("--block", type=int, default=0)
    command.add_argument("--json", action="store_true")
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
    command.add_argument("--format", choices=("hf",), default="hf")
    command.add_argument("--out", required=True)
    command.add_argument("--dtype", choices=("float32", "float16", "bfloat16"), default="float32")
    command.add_argument(
        "--baseline", default="", help="to say how much of the edit rounding loses (default: the run's)"
    )
    command = add("report", report, "report.html and report.json from what a run holds")
    command.add_argument("run_dir")
    command.add_argument("--figures", default="", help="also save the pictures as PNG files in this folder")
    return top


def _overrides(command) -> None:
    command.add_argument("overrides", nargs="*", metavar="key=value", help="for example whp.alpha=3 run.dir=out")


def _quiet() -> None:
    """Keep libraries from talking over the progress."""
    import logging

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.getLogger("absl").setLevel(logging.ERROR)
    logging.getLogger("jax").setLevel(logging.ERROR)


def _config(name: str, overrides: list[str], ablate: bool = False):
    from jaxunlearn.config import load_config

    config = load_config(name, overrides)
    if ablate:
        config = dataclasses.replace(config, controls=("dictionary_alone", "reinforcement_alone", "own_argmax"))
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
    if a.quick:
        config = _quick(config)
    done = STAGES[: STAGES.index(a.stage) + 1]
    _run(config, tuple(s for s in done if s not in ("evaluate", "controls") or s == a.stage or config.controls))


def labels(a) -> None:
    """Show one block of a labelled run: each token, its counterpart in the translation, the label of what follows."""
    from jaxunlearn.run import show_labels

    shown = show_labels(_config(a.config, a.overrides), a.block)
    if a.json:
        print(json.dumps(shown))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"block {a.block}, alpha {shown['alpha']:g}")
    for head in ("token", "translation", "label of what follows"):
        table.add_column(head)
    names, follows = shown["label_tokens"], [*shown["tokens"][1:], ""]
    for token, place, label, after in zip(shown["tokens"], shown["map"], names, follows, strict=True):
        there = shown["translation"][place] if place >= 0 else ""
        style = "dim" if label is None else "bold yellow" if label != after else ""
        table.add_row(
            *[repr(x)[1:-1] for x in (token, there)], "-" if label is None else repr(label)[1:-1], style=style
        )
    Console().print(table)


def _quick(config):
    """Return the configuration cut down to a few steps, in a run directory of its own."""
    from jaxunlearn.config import Run

    few = {
        n: dataclasses.replace(getattr(config, n), steps=min(getattr(config, n).steps, 3))
        for n in ("pretrain", "reinforce", "unlearn")
    }
    e = dataclasses.replace(config.eval, completions=8, blocks=8, relearn_steps=config.eval.relearn_steps[:2])
    return dataclasses.replace(config, eval=e, run=Run(dir=f"{config.directory}-quick"), **few)


def _run(config, stages=None) -> None:
    from jaxunlearn.run import STAGES, run_stages

    run_stages(config, stages or STAGES)


def _one_model(directory: str):
    from jaxunlearn import convert
    from jaxunlearn.tokenizer import load_tokenizer

    path = convert.find_model(directory)
    return convert.load(path), load_tokenizer(path)


def _mesh():
    import jax

    from jaxunlearn.sharding import make_mesh

    return jax.set_mesh(make_mesh(devices=jax.devices()[:1]))


def generate(a) -> None:
    """Continue prompts and print them."""
    from jaxunlearn.evals.measure import Words
    from jaxunlearn.generate import Sampling
    from jaxunlearn.generate import generate as continue_

    if a.max_new_tokens < 1 or a.temperature < 0 or a.top_k < 0 or not 0 < a.top_p <= 1:
        raise InputError("--max-new-tokens must be >= 1, --temperature and --top-k >= 0, --top-p in (0, 1]")
    with _mesh():
        model, tokenizer = _one_model(a.model)
        context = Words(tokenizer, 1).context
        prompts = [context(p) for p in a.prompt]
        sampling = Sampling(a.temperature, a.top_k, a.top_p)
        new = continue_(model, prompts, a.max_new_tokens, sampling, seed=a.seed, eos_ids=tokenizer.eos_ids)
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

    text = read_documents([a.text])[0].text
    with _mesh():
        model, tokenizer = _one_model(a.model)
        context = a.context or min(model.c.context, model.c.window or model.c.context, 2048)
        context_fits(model.c, context, "--context")
        found = score_text(model, tokenizer, text, context)
    print(json.dumps(found) if a.json else f"{found['tokens']} tokens, {found['nll']:.5f} nats a token")


def export(a) -> None:
    """Write a Hugging Face directory; below fp32, say what the rounding loses of the edit."""
    from jaxunlearn import convert

    source = convert.find_model(a.model)
    with _mesh():
        model = convert.load(source)
        convert.save(model, Path(a.out), source=source, dtype=a.dtype)
        baseline = Path(a.baseline) if a.baseline else source.parent / "baseline"
        if a.dtype != "float32" and baseline.is_dir() and baseline.resolve() != source.resolve():
            loss = convert.rounding_loss(model, convert.load(baseline), a.dtype)
            print(
                f"rounding to {a.dtype} loses {loss['lost']:.1%} of the edit (norm of error over norm of edit); "
                f"{loss['unchanged']:.1%} of the edited weights fall back to the baseline's value"
            )
        elif a.dtype != "float32":
            print(f"written in {a.dtype}; give --baseline DIR to see how much of the edit the rounding loses")
    print(f"{a.out}: Hugging Face format, {a.dtype}")


def report(a) -> None:
    """Write the report again from a finished run's own files."""
    from jaxunlearn.report import export_figures, table, write_report

    path = Path(a.run_dir) / "report.json"
    if not path.is_file():
        raise InputError(
            f"{a.run_dir} holds no report.json: finish the run first (jaxunlearn run CONFIG run.dir={a.run_dir})"
        )
    found = json.loads(path.read_text())
    write_report(Path(a.run_dir), found)
    if a.figures:
        export_figures(found, Path(a.figures))
    print(table(found))


if __name__ == "__main__":
    sys.exit(main())

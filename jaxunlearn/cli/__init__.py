"""The console command; in each file of this package `add_NAME` describes a subcommand before the function it calls.

Exit codes stand in cli/ending.py. With --json standard output gets one JSON object and nothing else; progress goes to
standard error; -q leaves it out.
"""

import argparse
import logging
import os
import platform
import sys
from contextlib import nullcontext

from jaxunlearn.cli import anchors, audit, completion, configs, ending, model, parsing, perf, run, serve, start
from jaxunlearn.files import cache_folder
from jaxunlearn.parallel import preemption, processes
from jaxunlearn.parallel.console import LOG, alive
from jaxunlearn.parallel.host_memory import keep_freed

SUBCOMMANDS = (  # in the order of `jaxunlearn --help`
    run.add_demo, start.add_init, start.add_prompts, run.add_run, run.add_stages, anchors.add_anchors, run.add_labels,
    model.add_generate, model.add_score, model.add_export, run.add_methods, run.add_sweep, perf.add_bench,
    perf.add_plan, run.add_birthdays, run.add_report, serve.add_serve, configs.add_configs, configs.add_config,
    audit.add_certify, audit.add_verify, completion.add_completion,
)  # fmt: skip
WAITS = ("serve",)  # subcommands that wait for somebody; the others say what they are at when they work for long


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand and return its exit code."""
    ending.open_streams()
    return ending.coded(lambda: _run(argv))


def _run(argv: list[str] | None) -> int:
    try:
        arguments = parse(argv)
    except SystemExit:
        sys.stdout.flush()  # here, where a reader that is gone is noticed in peace
        raise
    _quiet()
    LOG.setLevel(logging.ERROR if arguments.quiet else logging.INFO if arguments.verbose else logging.WARNING)
    _keep_programs()
    _use_the_card()
    if arguments.command != "bench":  # bench calls it itself, after what it measures without
        keep_freed()
    with preemption.listening():
        processes.start() if arguments.shared else processes.alone(arguments.command)
        with nullcontext() if arguments.command in WAITS else alive(arguments.command):
            code = arguments.function(arguments) or 0
        return processes.leave(code)


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Return the arguments; key=value overrides may stand before and after options. Exits with 2 on bad usage."""
    top = parser()
    if not (sys.argv[1:] if argv is None else argv):
        parsing.lost(top)
    arguments, rest = top.parse_known_args(argv)
    hint = ""
    if hasattr(arguments, "overrides"):  # Python 3.13 puts there what follows an option, Python 3.11 leaves it in rest
        arguments.overrides += rest
        rest = [o for o in arguments.overrides if "=" not in o or o[0] == "-"]
        hint = " (an override is key=value, for example whp.alpha=3)"
    if hasattr(arguments, "words"):
        arguments.words += [word for word in rest if word[0] != "-"]
        rest = [word for word in rest if word[0] == "-"]
    if rest:
        top.error(f"unrecognized arguments: {' '.join(rest)}{hint}")
    return arguments


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line; `jaxunlearn SUBCOMMAND --help` describes each subcommand."""
    top = parsing.top_parser()
    commands = top.add_subparsers(required=True, metavar="SUBCOMMAND")

    def add(name: str, function, text: str, shared: bool = False):
        """Add a subcommand that calls function(arguments); `shared`: several processes may run it together."""
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(function=function, command=name, shared=shared)
        return command

    for describe in SUBCOMMANDS:
        describe(add)
    top.set_defaults(parser=top)  # for `completion`
    return top


def _quiet() -> None:
    """Keep libraries' log lines out of the progress."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    logging.getLogger("absl").setLevel(logging.ERROR)
    logging.getLogger("jax").setLevel(logging.ERROR)


def _use_the_card() -> None:
    """Let the process have .95 of a GPU's memory, unless the environment says how much: JAX's own .75 is too little.

    A 7b's step with AdamW has 62 GiB (docs/scale.md). JAX reads the variable when it first uses the card.
    """
    if not os.environ.keys() & {"XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION"}:
        os.environ["XLA_CLIENT_MEM_FRACTION"] = "0.95"


def _keep_programs() -> None:
    """Keep compiled programs between runs, in a folder per machine: a CPU program may not run on another CPU."""
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache_folder() / (platform.node() or "here")))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")

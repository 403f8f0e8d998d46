"""Subcommands that plan and measure: bench, plan."""

import dataclasses
import os
from pathlib import Path

from jaxunlearn.cli.common import add_force, add_overrides, configured, number
from jaxunlearn.config.bounds import NONE_OR_SOME, SOME
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.files import json_text
from jaxunlearn.outputs import taken


def add_bench(add) -> None:
    command = add("bench", bench, "throughput, share of the measured matmul ceiling, peak memory")
    command.add_argument("config")
    command.add_argument("--json", action="store_true")
    command.add_argument("--only", action="append", default=[], metavar="PART", help="may be given several times")
    command.add_argument(
        "--budget",
        type=number(NONE_OR_SOME, float),
        default=0,
        metavar="S",
        help="begin no part after that many seconds",
    )
    command.add_argument("--out", default="", metavar="FILE", help="JSON, written anew after each part")
    command.add_argument("--torch", action="store_true", help="also time Hugging Face's training step in PyTorch")
    command.add_argument("--scaling", default="", metavar="DIR", help="only the step, over 1, 2, 4, 8 ... devices")
    add_force(command)
    command.add_argument("--whole", action="store_true", help="project the whole method from the measured rates")
    command.add_argument("--profile", default="", metavar="DIR", help="write a trace for TensorBoard or xprof")
    add_overrides(command)


def bench(a) -> None:
    """Measure a configuration's programs on this machine, and print the rates."""
    from jaxunlearn.perf.bench import PARTS
    from jaxunlearn.perf.bench import bench as measure

    if unknown := sorted(set(a.only) - set(PARTS)):
        raise InputError(f"--only {' '.join(unknown)}: expected some of {', '.join(PARTS)}")
    if not 0 <= a.budget < float("inf"):
        raise InputError(f"--budget {a.budget}: expected seconds, 0 for no end")
    config = _unpacked(configured(a.config, a.overrides))
    if a.scaling:
        from jaxunlearn.perf.bench_devices import WRITTEN, scaling, table

        with taken(Path(a.scaling), WRITTEN, by="bench --scaling", force=a.force):
            rows = scaling(config, Path(a.scaling))
        print(json_text({"rows": rows}) if a.json else table(rows))
        return
    out = Path(a.out)
    if out.suffix == ".md":
        raise InputError(f"--out {out}: expected a name for JSON; the table comes beside it as .md")
    written = [out.name, out.with_suffix(".md").name] if a.out else []
    if a.out:
        out.parent.mkdir(parents=True, exist_ok=True)
    with taken(out.parent, written, by="bench --out", force=a.force):
        found = measure(
            config, only=a.only, budget=a.budget, out=out if a.out else None, torch=a.torch, whole=a.whole,
            trace=a.profile,
        )  # fmt: skip
    if a.json or a.quiet:  # the lines of progress are its result otherwise
        print(json_text(found))
    if failed := [name for name, part in found.items() if isinstance(part, dict) and "failed" in part]:
        raise RunError(f"not measured: {', '.join(failed)}")


def add_plan(add) -> None:
    command = add(
        "plan", plan, "does it fit: bytes a chip and collectives, compiled for an accelerator that is not here"
    )
    command.add_argument("config")
    command.add_argument("--topology", required=True, help="v5e:4x4, v5e-16, v5p:2x2x1, h100:8, ...")
    command.add_argument("--slices", type=number(SOME), default=1, help="that many of them, along mesh.data")
    command.add_argument("--only", action="append", default=[], metavar="FUNCTION", help="may be given several times")
    command.add_argument("--search", action="store_true", help="compile a few meshes, microbatches and policies")
    command.add_argument("--json", action="store_true")
    add_overrides(command)


def plan(a) -> None:
    """Compile a configuration's functions for a named topology, and print the memory and collectives they need."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "1"  # keep the compiler's warnings: plan.measured looks for one
    if a.topology.lower().startswith("v"):
        os.environ.setdefault(
            "JAX_PLATFORMS", "cpu"
        )  # the chips are only described, so those of this machine stay free
    from jaxunlearn.perf.plan import lines
    from jaxunlearn.perf.plan import plan as compile_for
    from jaxunlearn.perf.programs import FUNCTIONS

    if unknown := sorted(set(a.only) - set(FUNCTIONS)):
        raise InputError(f"--only {' '.join(unknown)}: expected some of {', '.join(FUNCTIONS)}")
    only = tuple(f for f in FUNCTIONS if not a.only or f in a.only)
    config = _unpacked(configured(a.config, a.overrides))
    found = compile_for(config, a.topology, slices=a.slices, only=only, search=a.search)
    print(json_text(found) if a.json else "\n".join(lines(found)))


def _unpacked(config):
    """Return the configuration with the directory of a GGUF file in the place of the file."""
    from jaxunlearn.models.hub import find_model

    return dataclasses.replace(config, model=str(find_model(config.model))) if Path(config.model).is_file() else config

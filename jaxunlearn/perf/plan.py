"""Does a configuration fit an accelerator that is not here? The run's own functions, compiled on abstract weights.

For a TPU topology the real TPU compiler (libtpu) says how many bytes a chip needs and what chips send each other; for
GPUs that this machine has, XLA does; for other GPUs the figures are computed (arithmetic.py) and say so.
"""

import dataclasses
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache

from jaxunlearn.config import Config, override
from jaxunlearn.config.versions import versions
from jaxunlearn.errors import InputError
from jaxunlearn.models import transformer
from jaxunlearn.parallel.console import say
from jaxunlearn.parallel.sharding import mesh_from, model_fits
from jaxunlearn.perf import arithmetic, topology
from jaxunlearn.perf.collectives import collectives
from jaxunlearn.perf.counts import peak_bytes
from jaxunlearn.perf.programs import FUNCTIONS, Program, covered, kinds_of, plan_shape, program
from jaxunlearn.training.layerwise import Room

REMATERIALISED = "Involuntary full rematerialization"
METHOD = {True: "compiled", False: "an estimate: computed from the configuration, nothing was compiled"}
TRIES = 4  # candidates that --search compiles
SPARE = 0.9  # of the memory that a suggestion should need at most, by the estimate


def plan(config: Config, name: str, *, slices: int = 1, only: tuple[str, ...] = FUNCTIONS, search: bool = False):
    """Compile the functions of a run for a topology; return {"fits", "limit_bytes", "functions": {...}, ...}.

    Where the step does not fit, "suggestion" holds overrides that were compiled and do; search compiles several and
    lists those that fit first (otherwise in the order of arithmetic.ranked). Raises InputError for an unknown topology,
    a mesh that is not its size or that the model does not divide over, RunError where the compiler is missing.
    """
    where = topology.parse(name, slices)
    covered(config)
    config = dataclasses.replace(config, mesh=dataclasses.replace(config.mesh, slices=where.slices))
    found, c = _planned(config, where, only)
    if search or not found["fits"]:
        found |= _better(config, where, c, found["limit_bytes"], TRIES if search else 2, first_only=not search)
    return found | {"versions": versions()}


def _planned(
    config: Config, where: topology.Topology, only: tuple[str, ...]
) -> tuple[dict[str, Any], transformer.Shape]:
    devices, compiled = devices_of(where)
    mesh, limit = mesh_from(config.mesh, devices), _limit(where, devices, compiled)
    with jax.set_mesh(mesh):
        c = plan_shape(config)
        model_fits(c)
        if not compiled and c.remat == "auto":  # stand-ins are CPUs, which would compute everything again
            c = dataclasses.replace(c, remat="mlp")
        look = measured if compiled else arithmetic.estimated
        config = _settled(config, c, Room(mesh.shape["fsdp"] * mesh.shape["tensor"], limit))
        functions = {name: _look(name, config, c, limit, look) for name in only}
    found = {
        "config": config.name, "model": config.model, "topology": where.name, "devices": where.devices,
        "method": METHOD[compiled], "estimate": not compiled, "mesh": dict(mesh.shape), "slices": where.slices,
        "remat": c.remat, "label_batch": config.whp.label_batch, "context": config.text.context,
        "update": {n: getattr(config, n).update for n in ("unlearn", "reinforce")},
        "batch": {n: [getattr(config, n).batch, getattr(config, n).accumulate] for n in ("unlearn", "reinforce")},
        "shape": {k: getattr(c, k) for k in ("V", "D", "L", "N", "K", "H", "F", "compute")},
        "fits": all(f["fits"] for f in functions.values() if f["needed"]), "limit_bytes": limit,
        "functions": functions,
    }  # fmt: skip
    return found, c


def _settled(config: Config, c: transformer.Shape, there: Room) -> Config:
    """Return the configuration with the update that the steps will choose on devices of that size."""
    offline = config.whp.mode == "offline"
    unlearn = arithmetic.settled(config.unlearn, c, there, offline)
    return dataclasses.replace(config, unlearn=unlearn, reinforce=arithmetic.settled(config.reinforce, c, there))


def devices_of(where: topology.Topology) -> tuple[list[Any], bool]:
    """Return the devices to lay the mesh over, and whether programs can be compiled for them."""
    if where.kind == "tpu":
        with overheard([]):
            return topology.described(where), True
    here = topology.present(where)
    return (here, True) if here else (topology.stand_ins(where), False)


def _limit(where: topology.Topology, devices: list[Any], compiled: bool) -> int:
    if where.kind == "tpu":
        with overheard([]):
            return topology.usable_bytes(devices[0])
    return int(devices[0].memory_stats()["bytes_limit"] if compiled else topology.GPUS[where.family])


def _look(name: str, config: Config, c: transformer.Shape, limit: int, look) -> dict[str, Any]:
    """Return the figures of one function, or the reason why it cannot run at all."""
    try:
        p = program(name, config, c)
    except InputError as error:
        say(f"  {name}: {error}")
        nothing = {"peak_bytes": None, "bytes": {}, "collectives": {}, "compile_seconds": 0.0, "rematerialised": 0}
        needed = name != ("label" if config.whp.mode == "fused" else "fused_step")
        return {"fits": False, "needed": needed, "why": str(error)} | nothing
    found = look(p, name, config, c)
    fits = bool(found["peak_bytes"]) and found["peak_bytes"] <= limit and "why" not in found
    took = f", compiled in {found['compile_seconds']:.0f} s" if found["compile_seconds"] else ""
    say(f"  {name}: {found['peak_bytes'] / 2**30:.2f} of {limit / 2**30:.2f} GiB a device{took}")
    return {"fits": fits, "needed": p.needed} | found


# ---- compiled


def measured(p: Program, name: str, config: Config, c: transformer.Shape) -> dict[str, Any]:
    """Compile a program and return its bytes a chip by kind, its collectives and the time it took.

    peak_bytes are arguments and temporaries as they are laid out; live_bytes, at most as many, are those in use at
    once by the compiler's count. Between the two lies what buffers cannot share: fitting is judged by the larger.
    """
    began, heard = time.perf_counter(), []
    found: dict[str, Any] = {"bytes": kinds_of(p), "collectives": {}, "rematerialised": 0}
    try:
        with _uncached(), overheard(heard):
            compiled = p.function.lower(*p.arguments, **p.static).compile()
        found["peak_bytes"] = peak_bytes(compiled) + p.beside
        found["live_bytes"] = int(getattr(compiled.memory_analysis(), "peak_memory_in_bytes", 0)) + p.beside
        found["bytes"]["temporaries"] = max(0, found["peak_bytes"] - sum(found["bytes"].values()))
        found["collectives"] = collectives(compiled.as_text())
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        used, found["why"] = overflow(str(error))
        found["peak_bytes"] = used + p.beside
    found["rematerialised"] = sum(line.count(REMATERIALISED) for line in heard)
    return found | {"compile_seconds": round(time.perf_counter() - began, 1)}


def overflow(message: str) -> tuple[int, str]:
    """Return the bytes that a program wanted and the line that says so, from the compiler's refusal."""
    match = re.search(r"Used ([\d.]+[KMGT])|\(([\d.]+[KMGT])\) exceeds", message)
    line = next((text for text in message.splitlines() if match and match[0] in text), message.splitlines()[0])
    return (topology.quantity(match[1] or match[2]) if match else 0), line.strip()


@contextmanager
def _uncached() -> Iterator[None]:
    """Switch the compilation cache off: a program for described devices cannot be loaded from it again."""
    settings: Any = jax.config
    kept = settings.jax_enable_compilation_cache

    def use(cache: bool) -> None:
        jax.config.update("jax_enable_compilation_cache", cache)
        compilation_cache.reset_cache()  # JAX asks once whether to use it

    use(False)
    try:
        yield
    finally:
        use(kept)


@contextmanager
def overheard(lines: list[str]) -> Iterator[None]:
    """Collect what C++ libraries write to standard error, the compiler's warnings among it."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile("w+b") as file:
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            lines += file.read().decode(errors="replace").splitlines()


# ---- what would fit


def _better(config: Config, where: topology.Topology, c: transformer.Shape, limit: int, tries: int, first_only: bool):
    """Compile the likeliest choices; return {"suggestion"} (None: nothing fits) and, of a search, {"search"}."""
    tried = []
    for row in arithmetic.ranked(config, c, where, int(SPARE * limit), limit)[:tries]:
        o = row["choice"]
        say(f"trying {' '.join(o.overrides(config))} (estimated {row['estimated_bytes'] / 2**30:.1f} GiB a device)")
        found, _ = _planned(override(config, o.overrides(config)), where, ("unlearn_step",))
        step = found["functions"]["unlearn_step"]
        tried.append({
            "overrides": o.overrides(config), "fits": step["fits"], "peak_bytes": step["peak_bytes"],
            "estimated_bytes": row["estimated_bytes"], "collectives": step["collectives"],
            "rematerialised": step["rematerialised"],
        })  # fmt: skip
        if first_only and step["fits"]:
            break
    tried.sort(key=lambda t: not t["fits"])  # stable: otherwise as arithmetic.ranked has them
    best = tried[0] if tried and tried[0]["fits"] else None
    out: dict[str, Any] = {"suggestion": best} if first_only else {"suggestion": best, "search": tried}
    if best is None:
        larger = arithmetic.smallest(config, c, where, int(SPARE * limit), limit)
        out["larger"] = larger.name if larger else None
    return out


# ---- for people


def lines(found: dict[str, Any]) -> list[str]:
    """Return the plan as lines of text."""
    gib, mesh = 2**30, " ".join(f"{k}={v}" for k, v in found["mesh"].items())
    batch, times = found["batch"]["unlearn"]
    out = [
        f"{found['config']} on {found['topology']} ({found['devices']} devices), {found['method']}",
        f"mesh {mesh}; microbatch {batch} x {times} blocks of {found['context']} tokens; remat {found['remat']}; "
        f"update={found['update']['unlearn']}; "
        f"{found['limit_bytes'] / gib:.2f} GiB a device",
    ]
    for name, f in found["functions"].items():
        out.append(f"\n{name}{'' if f['needed'] else ' (this configuration does not run it)'}: {_verdict(f, found)}")
        if f["bytes"]:
            out.append("  bytes: " + ", ".join(f"{k} {v / gib:.2f}" for k, v in f["bytes"].items()) + " GiB")
        for kind, v in f["collectives"].items():
            beside = v["overlapped"] / v["bytes"] if v["bytes"] else 0
            out.append(
                f"  {kind}: {v['count']} a call, {v['bytes'] / gib:.2f} GiB, {beside:.0%} of it beside other work"
            )
        if f["rematerialised"]:
            out.append(
                f"  {f['rematerialised']} involuntary full rematerialisations: the compiler copied a whole array"
            )
    out.append(f"\n{'fits' if found['fits'] else 'does not fit'}")
    return out + _advice(found)


def _verdict(f: dict, found: dict) -> str:
    if not f["peak_bytes"]:
        return f"cannot run: {f['why']}"
    free = 1 - f["peak_bytes"] / found["limit_bytes"]
    said = f"fits, {free:.0%} free" if f["fits"] else "does not fit"
    took = f", compiled in {f['compile_seconds']:.0f} s" if f["compile_seconds"] else ""
    return f"{said}: {f['peak_bytes'] / 2**30:.2f} GiB a device{took}"


def _advice(found: dict) -> list[str]:
    out = []
    for t in found.get("search", []):
        fits, peak = "fits" if t["fits"] else "does not fit", t["peak_bytes"] / 2**30
        out.append(f"  {fits}, {peak:.2f} GiB: {' '.join(t['overrides'])}")
    if found.get("suggestion"):
        how = "by the estimate" if found["estimate"] else "compiled"
        out.append(f"try (fits, {how}): {' '.join(found['suggestion']['overrides'])}")
    elif "suggestion" in found:
        larger = found.get("larger")
        more = (
            f"the smallest slice of this kind estimated to hold it: {larger}"
            if larger
            else "no larger named slice does"
        )
        out.append(f"no mesh, microbatch or remat policy was found that fits; {more}")
    return out

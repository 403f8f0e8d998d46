"""Does a configuration fit an accelerator that is not here? The run's own functions, compiled on abstract weights.

For a TPU topology the real TPU compiler (libtpu) says how many bytes a chip needs and what chips send each other; for
GPUs that this machine has, XLA does; for other GPUs the figures are computed (estimate.py) and say so.
"""

import dataclasses
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from jaxunlearn import convert, generate, model, topology, train, whp
from jaxunlearn.bench import bench_shape, peak_bytes
from jaxunlearn.collectives import collectives
from jaxunlearn.config import Config, Train
from jaxunlearn.errors import InputError
from jaxunlearn.rundir import say
from jaxunlearn.sharding import act, batch_size_fits, mesh_from, model_fits

FUNCTIONS = ("unlearn_step", "reinforce_step", "label", "fused_step", "generate")
REMATERIALISED = "Involuntary full rematerialization"
PROMPT, SEEN = 32, 40  # tokens of a prompt; translations that a block has seen
LLAMA2 = {"V": 32000, "H": 128, "context": 4096}
LLAMA3 = {"V": 128256, "H": 128, "context": 8192, "theta": 5e5}
PUBLISHED = {  # by a part of the name, for models that are not on this machine
    "llama-2-7b": LLAMA2 | {"D": 4096, "L": 32, "N": 32, "K": 32, "F": 11008},
    "llama-2-13b": LLAMA2 | {"D": 5120, "L": 40, "N": 40, "K": 40, "F": 13824},
    "llama-2-70b": LLAMA2 | {"D": 8192, "L": 80, "N": 64, "K": 8, "F": 28672},
    "llama-3-8b": LLAMA3 | {"D": 4096, "L": 32, "N": 32, "K": 8, "F": 14336},
    "llama-3-70b": LLAMA3 | {"D": 8192, "L": 80, "N": 64, "K": 8, "F": 28672},
}


class Program(NamedTuple):
    """A jitted function, its abstract arguments, and which kind of bytes each argument is."""

    function: Any
    arguments: tuple
    kinds: dict[str, Any]
    needed: bool  # by this configuration
    beside: int = 0  # bytes a chip that rest in memory while it runs
    static: dict[str, Any] = {}


def plan(config: Config, where: topology.Topology, only: tuple[str, ...] = FUNCTIONS) -> dict[str, Any]:
    """Compile the functions of a run for a topology; return {"fits", "limit_bytes", "functions": {...}, ...}.

    Raises InputError for a mesh that is not the topology's size or that the model does not divide over, RunError where
    the compiler is missing.
    """
    devices, compiled = devices_of(where)
    if not compiled:
        from jaxunlearn.estimate import estimated

        limit, look = int(where.chip.memory), estimated
    elif where.kind == "tpu":
        limit, look = topology.usable_bytes(devices[0]), measured
    else:
        limit, look = int(devices[0].memory_stats()["bytes_limit"]), measured
    mesh = mesh_from(config.mesh, devices)
    with jax.set_mesh(mesh):
        c = plan_shape(config)
        model_fits(c)
        if not compiled and c.remat == "auto":  # stand-ins are CPUs, which would compute everything again
            c = dataclasses.replace(c, remat="mlp")
        found = {name: _look(name, config, c, limit, look) for name in only}
    fits = all(f["fits"] for f in found.values() if f["needed"])
    return {
        "config": config.name, "topology": where.name, "devices": where.count, "method": METHOD[compiled],
        "estimate": not compiled, "mesh": dict(mesh.shape), "slices": where.slices, "remat": c.remat,
        "batch": {n: [getattr(config, n).batch, getattr(config, n).accumulate] for n in ("unlearn", "reinforce")},
        "label_batch": config.whp.label_batch, "context": config.text.context, "shape": dataclasses.asdict(c),
        "fits": fits, "limit_bytes": limit, "functions": found,
    }  # fmt: skip


METHOD = {True: "compiled", False: "an estimate: computed from the configuration, nothing was compiled"}


def devices_of(where: topology.Topology) -> tuple[list[Any], bool]:
    """Return the devices to lay the mesh over, and whether programs can be compiled for them."""
    if where.kind == "tpu":
        return topology.described(where), True
    here = topology.present(where)
    return (here, True) if here else (topology.stand_ins(where), False)


def plan_shape(config: Config) -> model.Shape:
    """Return the shape of the configuration's model, from its directory, or by name of one that is not here."""
    if not config.model or (Path(config.model) / "config.json").is_file():
        if config.model:
            return convert.read_shape(Path(config.model), config.compute, config.remat)
        return bench_shape(config)
    plain = config.model.lower().replace("meta-", "").replace("3.1", "3").replace("llama2", "llama-2")
    for name, letters in PUBLISHED.items():
        if name in plain:
            return model.Shape(**letters, compute=config.compute, remat=config.remat)
    raise InputError(
        f"model={config.model} is no directory here and no name whose shape is known: expected one that contains "
        f"{', '.join(PUBLISHED)}"
    )


# ---- the programs


def program(name: str, config: Config, c: model.Shape) -> Program:
    """Return one function of the run with abstract arguments on the current mesh.

    Raises InputError for a batch that does not divide over the mesh.
    """
    weights, w = model.abstract(c), config.whp
    if name in ("unlearn_step", "reinforce_step"):
        return _step(config.unlearn if name == "unlearn_step" else config.reinforce, weights, config.text.context)
    frozen = _at_rest(weights, c.compute)
    if name == "label":
        passage = _passage(config, w.label_batch)
        alphas = tuple(dict.fromkeys((w.alpha, *w.alphas)))
        settings = {"alphas": alphas, "whp": _settings(config)}
        kinds = {"frozen weights": (frozen, frozen), "inputs": passage}
        return Program(whp.label, (frozen, frozen, passage), kinds, w.mode == "offline", static=settings)
    if name == "fused_step":
        t = config.unlearn
        plain = _step(t, weights, config.text.context)
        passage = _passage(config, t.batch, t.accumulate)
        step = train.compiled_step(t, whp.fused_step, whp=dataclasses.replace(_settings(config), alpha=w.alpha))
        arguments = (plain.arguments[0], np.float32(1e-6), (frozen, frozen), passage)
        kinds = plain.kinds | {"frozen weights": (frozen, frozen), "inputs": passage}
        return Program(step, arguments, kinds, w.mode == "fused")
    return _decoding(config, c, weights)


def _step(t: Train, weights, T: int) -> Program:
    batch_size_fits(t.batch)
    state = jax.eval_shape(partial(train.init_state, c=t), weights)
    batch = tuple(array("ABT", t.accumulate, t.batch, T) for _ in range(2))
    kinds = {"weights": state.model, "optimiser": state.opt, "inputs": batch}
    return Program(train.compiled_step(t), (state, np.float32(1e-6), *batch), kinds, t.steps > 0)


def _decoding(config: Config, c: model.Shape, weights) -> Program:
    """Return decoding as the measurements during training do it: fp32 weights, the optimiser's state beside them."""
    ways = act_ways()
    B = -(-config.eval.batch // ways) * ways
    state = jax.eval_shape(partial(train.init_state, c=config.unlearn), weights)
    key = jax.eval_shape(lambda: jax.random.key(0))
    arguments = (weights, array("BT", B, PROMPT), array("B", B), key, jax.ShapeDtypeStruct((1,), jnp.int32))
    sampling = generate.Sampling(config.eval.temperature, config.eval.top_k)
    arguments += (min(config.eval.new_tokens, c.context - PROMPT), sampling)
    kinds = {"weights": weights, "optimiser": state.opt}
    return Program(generate._generate, arguments, kinds, True, beside=local_bytes(state.opt))


def _at_rest(weights, dtype: str):
    return jax.tree.map(lambda w: jax.ShapeDtypeStruct(w.shape, jnp.dtype(dtype), sharding=w.sharding), weights)


def _settings(config: Config):
    w = config.whp
    return type(w)(seen_translation=w.seen_translation, seen_penalty=w.seen_penalty, offset_context=w.offset_context)


def _passage(config: Config, batch: int, accumulate: int = 0) -> whp.Passage:
    """Return abstract blocks with translations a quarter longer than they are."""
    batch_size_fits(batch)
    T = config.text.context
    sizes = {"T": T, "S": -(-T * 5 // 4 // 128) * 128, "R": SEEN}
    many = ((accumulate,), "A") if accumulate else ((), "")
    types = (jnp.int32, jnp.int32, jnp.int32, jnp.bool_, jnp.int32, jnp.int32)
    letters = zip(whp.LETTERS, types, strict=True)
    return whp.Passage(*[array(many[1] + s, *many[0], batch, sizes[s[1]], dtype=d) for s, d in letters])


def array(letters: str, *shape: int, dtype=jnp.int32) -> jax.ShapeDtypeStruct:
    """Return an abstract array on the current mesh, sharded by its letters."""
    return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(jax.sharding.get_mesh(), act(letters)))


def act_ways() -> int:
    """Return over how many devices a batch is split."""
    shape = jax.sharding.get_mesh().shape
    return shape["data"] * shape["fsdp"]


# ---- what they need


def _look(name: str, config: Config, c: model.Shape, limit: int, look: Callable) -> dict[str, Any]:
    """Return the figures of one function, or why it cannot run at all."""
    try:
        p = program(name, config, c)
    except InputError as error:
        found: dict[str, Any] = {"fits": False, "needed": True, "peak_bytes": None, "collectives": {}, "bytes": {}}
        return found | {"why": str(error), "compile_seconds": 0.0}
    found = look(p, name, config, c)
    found["fits"] = bool(found["peak_bytes"]) and found["peak_bytes"] <= limit
    found["needed"] = p.needed
    say(f"  {name}: {found['peak_bytes'] / 2**30:.2f} of {limit / 2**30:.2f} GiB a device{_took(found)}")
    return found


def _took(found: dict[str, Any]) -> str:
    return f", compiled in {found['compile_seconds']:.0f} s" if found["compile_seconds"] else ""


def measured(p: Program, name: str, config: Config, c: model.Shape) -> dict[str, Any]:
    """Compile a program and return its bytes a chip by kind, its collectives and the time it took."""
    began, heard = time.perf_counter(), []
    jax.config.update("jax_enable_compilation_cache", False)  # a program for described devices cannot be loaded
    try:
        with overheard(heard):
            compiled = p.function.lower(*p.arguments, **p.static).compile()
    except Exception as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        used, why = overflow(str(error))
        return {
            "peak_bytes": used + p.beside, "bytes": kinds_of(p, c), "collectives": {}, "why": why,
            "compile_seconds": time.perf_counter() - began, "rematerialised": 0,
        }  # fmt: skip
    finally:
        jax.config.update("jax_enable_compilation_cache", True)
    peak, kinds = peak_bytes(compiled) + p.beside, kinds_of(p, c)
    kinds["temporaries"] = max(0, peak - sum(kinds.values()))
    return {
        "peak_bytes": peak, "bytes": kinds, "collectives": collectives(compiled.as_text()),
        "compile_seconds": time.perf_counter() - began,
        "rematerialised": sum(line.count(REMATERIALISED) for line in heard),
    }  # fmt: skip


def overflow(message: str) -> tuple[int, str]:
    """Return the bytes that a program wanted and the line that says so, from the compiler's refusal."""
    match = re.search(r"Used ([\d.]+[KMGT])|\(([\d.]+[KMGT])\) exceeds", message)
    line = next((text for text in message.splitlines() if match and match[0] in text), message.splitlines()[0])
    return (topology.quantity(match[1] or match[2]) if match else 0), line.strip()


@contextmanager
def overheard(lines: list[str]) -> Iterator[None]:
    """Collect what libraries written in C++ say on standard error, where the compiler's warnings go."""
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


def kinds_of(p: Program, c: model.Shape) -> dict[str, int]:
    """Return bytes a chip by kind; activations are what the forward pass of one microbatch keeps for the backward."""
    found = {kind: local_bytes(tree) for kind, tree in p.kinds.items()}
    if "inputs" in p.kinds and "optimiser" in p.kinds:
        found["activations"] = kept_bytes(p.kinds["weights"], jax.tree.leaves(p.kinds["inputs"])[0].shape[1:])
    return found


def kept_bytes(weights, batch_BT: tuple[int, int]) -> int:
    """Return the bytes a chip that the loss keeps of its forward pass, weights themselves aside."""

    def forward(m, tokens_BT, labels_BT):
        return jax.vjp(train.loss_sum, m, tokens_BT, labels_BT, has_aux=True)[1]

    tokens = array("BT", *batch_BT)
    own = {(w.shape, w.dtype) for w in jax.tree.leaves(weights)}
    kept = jax.tree.leaves(jax.eval_shape(forward, weights, tokens, tokens))
    return local_bytes([a for a in kept if (a.shape, a.dtype) not in own])


def local_bytes(tree) -> int:
    """Return the bytes that one chip holds of abstract arrays."""
    total = 0
    for a in jax.tree.leaves(tree):
        if jax.dtypes.issubdtype(a.dtype, jax.dtypes.extended):
            continue
        sharding = getattr(a, "sharding", None)
        shape = sharding.shard_shape(a.shape) if isinstance(sharding, NamedSharding) else a.shape
        total += int(np.prod(shape)) * a.dtype.itemsize
    return total

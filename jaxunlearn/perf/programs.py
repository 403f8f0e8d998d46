"""The functions of a run as programs on abstract weights: what `plan` compiles, and the bytes of their arguments."""

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding

from jaxunlearn.config import Config, Train, Unlearn
from jaxunlearn.errors import InputError
from jaxunlearn.methods import adversary, label_rules, recipe_of
from jaxunlearn.methods.step import step
from jaxunlearn.methods.whp import HARD
from jaxunlearn.models import generate, transformer
from jaxunlearn.models.families import read_shape
from jaxunlearn.models.scoring import loss_sum
from jaxunlearn.models.weights import resting
from jaxunlearn.parallel.sharding import act, batch_size_fits, rounded_up
from jaxunlearn.perf.counts import bench_shape
from jaxunlearn.training.step import compiled_step, init_state
from jaxunlearn.whp.labels import LETTERS, Passage, label

FUNCTIONS = ("unlearn_step", "reinforce_step", "label", "fused_step", "generate")
PROMPT, SEEN = 32, 40  # tokens of a prompt; translations that a block has seen
LLAMA2 = transformer.Shape(V=32000, D=4096, L=32, N=32, K=32, H=128, F=11008, context=4096)
LLAMA3 = transformer.Shape(V=128256, D=4096, L=32, N=32, K=8, H=128, F=14336, context=8192, theta=5e5)
PUBLISHED = {  # by a part of the name, for models that are not on this machine
    "llama-2-7b": LLAMA2,
    "llama-2-13b": dataclasses.replace(LLAMA2, D=5120, L=40, N=40, K=40, F=13824),
    "llama-2-70b": dataclasses.replace(LLAMA2, D=8192, L=80, N=64, K=8, F=28672),
    "llama-3-8b": LLAMA3,
    "llama-3-70b": dataclasses.replace(LLAMA3, D=8192, L=80, N=64, F=28672),
}


class Program(NamedTuple):
    """A jitted function, its abstract arguments, and which kind of bytes each argument is."""

    function: Any
    arguments: tuple
    kinds: dict[str, Any]
    needed: bool  # by this configuration
    beside: int = 0  # bytes a chip that rest in memory while it runs
    static: Mapping[str, Any] = MappingProxyType({})


def plan_shape(config: Config) -> transformer.Shape:
    """Return the shape of the configuration's model, from its directory, or by name of one that is not here."""
    if not config.model or (Path(config.model) / "config.json").is_file():
        if config.model:
            return read_shape(Path(config.model), config.compute, config.remat)
        return bench_shape(config)
    plain = config.model.lower().replace("meta-", "").replace("3.1", "3").replace("llama2", "llama-2")
    for name, shape in PUBLISHED.items():
        if name in plain:
            return dataclasses.replace(shape, compute=config.compute, remat=config.remat)
    raise InputError(
        f"model={config.model} is no directory here and no name whose shape is known: expected one that contains "
        f"{', '.join(PUBLISHED)}"
    )


def covered(config: Config) -> None:
    """Raise InputError for a method, labels or adapters whose programs are not among those planned here."""
    w, u = config.whp, config.unlearn
    given = {
        "unlearn.method": (u.method, HARD.name), "unlearn.retain_weight": (u.retain_weight, None),
        "whp.labels": (w.labels, "hard"), "whp.offset": (w.offset, "baseline"),
        "reinforce.lora.rank": (config.reinforce.lora.rank, 0), "unlearn.lora.rank": (u.lora.rank, 0),
        "unlearn.select.budget": (u.select.budget, 0), "unlearn.mudman.every": (u.mudman.every, 0),
        "unlearn.collapse.norm": (u.collapse.norm, 0),
    }  # fmt: skip
    if other := [f"{key}={value} (only {known})" for key, (value, known) in given.items() if value != known]:
        raise InputError(f"plans are made for full fine-tuning on hard generic labels; not for {', '.join(other)}")


def program(name: str, config: Config, c: transformer.Shape) -> Program:
    """Return one function of the run with abstract arguments on the current mesh.

    Raises InputError for a batch that does not divide over the mesh.
    """
    weights, w = transformer.abstract(c), config.whp
    if name == "reinforce_step":
        return _step(config.reinforce, weights, config.text.context)
    if name == "unlearn_step":
        return _unlearning(config, weights)
    frozen = _at_rest(weights, c.compute)
    if name == "label":
        passage = _passage(config, w.label_batch)
        alphas = tuple(dict.fromkeys((w.alpha, *w.alphas)))
        settings = {"alphas": alphas, "whp": label_rules(config)}
        kinds = {"frozen weights": (frozen, frozen), "inputs": passage}
        return Program(label, (frozen, frozen, passage), kinds, w.mode == "offline", static=settings)
    if name == "fused_step":
        return _unlearning(config, weights, frozen)
    return _decoding(config, c, weights)


def _unlearning(config: Config, weights, frozen=None) -> Program:
    """Return the step on stored hard labels, or the fused one, which asks two frozen models for them.

    With an adversary its copy of the weights and that copy's moments are a kind of their own.
    """
    t, plain = config.unlearn, _step(config.unlearn, weights, config.text.context)
    state, rate, *batch = plain.arguments
    kinds, function, lesson = plain.kinds, step, ()
    if adverse(t):
        state, function, lesson = state._replace(fork=_fork(weights)), adversary.step, (_lesson(config),)
        kinds = kinds | {"adversary": state.fork}
    compiled = compiled_step(t, function, recipe=recipe_of(HARD, config))
    if frozen is None:
        return Program(compiled, (state, rate, {}, {"labels": tuple(batch)}, *lesson), kinds, t.steps > 0)
    passage, models = _passage(config, t.batch, t.accumulate), {"baseline": frozen, "reinforced": frozen}
    kinds = kinds | {"frozen weights": models, "inputs": passage}
    arguments = (state, rate, models, {"passages": (passage,)}, *lesson)
    return Program(compiled, arguments, kinds, config.whp.mode == "fused")


def adverse(t: Unlearn) -> bool:
    """Return whether a copy of the weights is trained beside them."""
    return bool(t.adversary.every and t.adversary.weight)


def _fork(weights):
    return jax.eval_shape(partial(init_state, c=adversary.ADAM), weights)


def _lesson(config: Config) -> adversary.Lesson:
    """Return what the adversary learns from at a step, abstract."""
    batch_size_fits(blocks := config.unlearn.adversary.blocks)
    tokens_ABT, labels_ABT = (array("ABT", 1, blocks, config.text.context) for _ in range(2))
    return adversary.Lesson(tokens_ABT, labels_ABT, np.float32(1e-3), np.bool_(True), np.float32(1))


def _step(t: Train, weights, T: int) -> Program:
    batch_size_fits(t.batch)
    state = jax.eval_shape(partial(init_state, c=t), weights)
    batch = tuple(array("ABT", t.accumulate, t.batch, T) for _ in range(2))
    kinds = {"weights": state.model, "optimiser": state.opt, "inputs": batch}
    return Program(compiled_step(t), (state, np.float32(1e-6), *batch), kinds, t.steps > 0)


def _decoding(config: Config, c: transformer.Shape, weights) -> Program:
    """Return decoding as the measurements during training do it: fp32 weights, the optimiser's state beside them."""
    B = rounded_up(config.eval.batch)
    state = jax.eval_shape(partial(init_state, c=config.unlearn), weights)
    key = jax.eval_shape(lambda: jax.random.key(0))
    eos, temperature = jax.ShapeDtypeStruct((1,), jnp.int32), jax.ShapeDtypeStruct((), jnp.float32)
    arguments = (weights, array("BT", B, PROMPT), array("B", B), key, eos, temperature)
    static = {"max_new": min(config.eval.new_tokens, c.context - PROMPT), "top_k": config.eval.top_k, "top_p": 1.0}
    kinds, beside = {"weights": weights, "optimiser": state.opt}, local_bytes(state.opt)
    if adverse(config.unlearn):
        kinds, beside = kinds | {"adversary": _fork(weights)}, beside + local_bytes(_fork(weights))
    return Program(generate.decode, arguments, kinds, True, beside=beside, static=static)


def _at_rest(weights, dtype: str):
    def rests(path, w):
        return jax.ShapeDtypeStruct(w.shape, jnp.dtype(resting(path, dtype)), sharding=w.sharding)

    return jax.tree_util.tree_map_with_path(rests, weights)


def _passage(config: Config, batch: int, accumulate: int = 0) -> Passage:
    """Return abstract blocks with translations a quarter longer than they are."""
    batch_size_fits(batch)
    T = config.text.context
    sizes = {"T": T, "S": -(-T * 5 // 4 // 128) * 128, "R": SEEN}
    many = ((accumulate,), "A") if accumulate else ((), "")
    types = (jnp.int32, jnp.int32, jnp.int32, jnp.bool_, jnp.int32, jnp.int32)
    letters = zip(LETTERS, types, strict=True)
    abstract: list[Any] = [array(many[1] + s, *many[0], batch, sizes[s[1]], dtype=d) for s, d in letters]
    return Passage(*abstract)


def array(letters: str, *shape: int, dtype=jnp.int32) -> jax.ShapeDtypeStruct:
    """Return an abstract array on the current mesh, sharded by its letters."""
    return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(jax.sharding.get_mesh(), act(letters)))


# ---- their bytes


def kinds_of(p: Program) -> dict[str, int]:
    """Return bytes a chip by kind; activations are what the forward pass of one microbatch keeps for the backward."""
    found = {kind: local_bytes(tree) for kind, tree in p.kinds.items()}
    if "inputs" in p.kinds and "optimiser" in p.kinds:
        found["activations"] = kept_bytes(p.kinds["weights"], jax.tree.leaves(p.kinds["inputs"])[0].shape[1:])
    return found


def kept_bytes(weights, batch_BT: tuple[int, int]) -> int:
    """Return the bytes a chip that the loss keeps of its forward pass, weights themselves aside."""

    def forward(m, tokens_BT, labels_BT):
        return jax.vjp(lambda *a: loss_sum(*a)[0], m, tokens_BT, labels_BT)[1]

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

"""What each way to train and to label takes of a device, by the compiler's own count (docs/benchmarks.md).

    python tests/tools/measure_memory.py [TOPOLOGY]     e.g. v5p:2x2x1, with libtpu installed; nothing is allocated

Llama-2-7b's shape on abstract weights; no accelerator is needed.
"""

import dataclasses
import os
import sys
import time
from functools import partial

os.environ |= {"JAX_PLATFORMS": "cpu", "TPU_SKIP_MDS_QUERY": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import NamedSharding

from jaxunlearn.config import Lora, Train, Whp
from jaxunlearn.methods.base import Recipe
from jaxunlearn.methods.step import step
from jaxunlearn.methods.whp import HARD
from jaxunlearn.models import lora, transformer
from jaxunlearn.parallel import sharding
from jaxunlearn.perf.counts import peak_bytes
from jaxunlearn.training.optimiser import optimiser
from jaxunlearn.training.step import State, compiled_step
from jaxunlearn.whp.labels import LETTERS, Passage, label

SHAPE = transformer.Shape(V=32000, D=4096, L=32, N=32, K=32, H=128, F=11008, context=4096, compute="bfloat16")
BLOCKS, CONTEXT, RANK = 16, 512, 16


def array(letters, *shape, dtype=jnp.int32):
    return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(jax.sharding.get_mesh(), sharding.act(letters)))


def resting(weights, dtype):
    return jax.tree.map(lambda w: jax.ShapeDtypeStruct(w.shape, dtype, sharding=w.sharding), weights)


def abstract(make):
    """Return shapes and shardings of make(key); no key is made, as there is nothing to make it on."""
    shapes = jax.eval_shape(lambda: make(jax.random.key(0)))
    return jax.tree.map(lambda s, h: jax.ShapeDtypeStruct(s.shape, s.dtype, sharding=h), shapes, sharding.shard(shapes))


def state_of(trained, c):
    moments = jax.eval_shape(optimiser(c, 0.0).init, trained)
    by_shape = {w.shape: w.sharding for w in jax.tree.leaves(trained)}
    alone = NamedSharding(jax.sharding.get_mesh(), jax.P())

    def placed(m):
        return jax.ShapeDtypeStruct(m.shape, m.dtype, sharding=by_shape.get(m.shape, alone))

    moments = jax.tree.map(placed, moments)
    return State(jax.ShapeDtypeStruct((), jnp.int32, sharding=alone), trained, moments)


def programs():
    """Yield (what it is, its lowered program)."""
    weights = abstract(partial(transformer.Model, SHAPE))
    part = abstract(partial(lora.Adapter, SHAPE, Lora(rank=RANK)))
    frozen = resting(weights, jnp.bfloat16)
    plain = Train(batch=BLOCKS)
    ways = {
        "all weights, AdamW, fp32 moments": (weights, plain, None),
        "all weights, AdamW, bf16 moments": (weights, dataclasses.replace(plain, moment_dtype="bfloat16"), None),
        "all weights, Adafactor": (weights, dataclasses.replace(plain, optimiser="adafactor"), None),
        f"LoRA, rank {RANK}, bf16 base": (part, plain, frozen),
    }
    batch = [array("ABT", 1, BLOCKS, CONTEXT)] * 2
    for name, (trained, c, base) in ways.items():
        extra = [] if base is None else [base]
        yield f"train: {name}", compiled_step(c).lower(state_of(trained, c), np.float32(1e-6), *batch, *extra)
    sizes, dtypes = (
        {"S": 640, "T": CONTEXT, "R": 40},
        (jnp.int32, jnp.int32, jnp.int32, jnp.bool_, jnp.int32, jnp.int32),
    )
    kinds = list(zip(LETTERS, dtypes, strict=True))
    passage = Passage(*[array(s, BLOCKS, sizes[s[1]], dtype=d) for s, d in kinds])
    for name, reinforced in {"two models": frozen, "the baseline and an adapter": part}.items():
        yield f"label: {name}", label.lower(frozen, reinforced, passage, alphas=(5.0,), whp=Whp())
    passages = Passage(*[array("A" + s, 1, BLOCKS, sizes[s[1]], dtype=d) for s, d in kinds])
    bf16 = dataclasses.replace(plain, moment_dtype="bfloat16")
    for name, trained, reinforced in (
        ("all weights beside two models", weights, frozen),
        ("all weights beside the baseline and an adapter", weights, part),
        ("two adapters over one baseline", part, part),
    ):
        fused = compiled_step(bf16, step, recipe=Recipe(HARD, (("alpha", 5.0),)))
        models = {"baseline": frozen, "reinforced": reinforced} | ({"base": frozen} if trained is part else {})
        state = state_of(trained, bf16)
        yield f"fused: {name}", fused.lower(state, np.float32(1e-6), models, {"passages": (passages,)})


def main(topology: str = "v5p:2x2x1"):
    devices = topologies.get_topology_desc(platform="tpu", topology_name=topology).devices
    with jax.set_mesh(sharding.make_mesh(1, -1, 1, devices=devices)):
        print(f"{topology}, {len(devices)} chips, jax {jax.__version__}; GiB a chip, GiB in all")
        for name, lowered in programs():
            began = time.monotonic()
            taken = peak_bytes(lowered.compile()) / 2**30
            print(f"| {name} | {taken:.1f} | {taken * len(devices):.0f} | {time.monotonic() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])

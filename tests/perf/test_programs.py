"""The paper's model, 7 billion parameters, traced and lowered on abstract weights: nothing is allocated."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from support.mesh import mesh_of

from jaxunlearn.config import load_config
from jaxunlearn.errors import InputError
from jaxunlearn.models import transformer
from jaxunlearn.models.weights import parameters
from jaxunlearn.parallel import sharding
from jaxunlearn.perf import programs
from jaxunlearn.training.step import compiled_step, init_state
from jaxunlearn.whp.labels import LETTERS, Passage, label

LLAMA2_7B = transformer.Shape(V=32000, D=4096, L=32, N=32, K=32, H=128, F=11008, context=4096, compute="bfloat16")


def array(letters, *shape, dtype=jnp.int32):
    return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(jax.sharding.get_mesh(), sharding.act(letters)))


@pytest.mark.parametrize("sizes", [(1, 8, 1), (2, 2, 2)])
def test_the_papers_run_lowers(sizes):
    c = load_config("llama2_7b")
    with jax.set_mesh(mesh_of(sizes)):
        weights = transformer.abstract(LLAMA2_7B)
        assert sum(int(np.prod(w.shape)) for w in jax.tree.leaves(weights)) == 6_738_415_616
        state = jax.eval_shape(partial(init_state, c=c.unlearn), weights)
        A, B, T = c.unlearn.accumulate, c.unlearn.batch, c.text.context
        batch = array("ABT", A, B, T), array("ABT", A, B, T)
        step = compiled_step(c.unlearn).lower(state, np.float32(1e-6), *batch)
        assert step.out_info[0].model.blocks.q_DNH.get_value().shape == (32, 4096, 32, 128)
        n = c.whp.label_batch
        shapes = {"S": 640, "T": T, "R": 40}
        kinds = zip(LETTERS, Passage(*[jnp.int32] * 3, jnp.bool_, jnp.int32, jnp.int32), strict=True)
        passage = Passage(*[array(s, n, shapes[s[1]], dtype=d) for s, d in kinds])
        frozen = jax.tree.map(lambda w: jax.ShapeDtypeStruct(w.shape, jnp.bfloat16, sharding=w.sharding), weights)
        labels = label.lower(frozen, frozen, passage, alphas=(5.0, 2.5, 10.0), whp=c.whp)
        assert labels.out_info.shape == (3, n, T)


def test_a_model_on_disk_need_not_be_there_if_its_shape_is_published():
    shapes = {n: programs.plan_shape(load_config("llama2_7b", [f"model=org/Llama-2-{n}-hf"])) for n in ("7b", "70b")}
    assert sum(n * k for n, k in zip(parameters(shapes["7b"]), (32, 1), strict=True)) == 6_738_415_616
    assert shapes["70b"].K == 8 and shapes["70b"].compute == "bfloat16"
    with pytest.raises(InputError, match="model=nowhere is no directory here"):
        programs.plan_shape(load_config("llama2_7b", ["model=nowhere"]))

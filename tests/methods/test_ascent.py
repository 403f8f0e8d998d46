"""Gradient ascent breaks a model where descent on text to keep holds it."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxunlearn.config import Train
from jaxunlearn.methods import METHODS, step
from jaxunlearn.methods.base import Recipe
from jaxunlearn.models import transformer
from jaxunlearn.parallel.sharding import put
from jaxunlearn.training.step import compiled_step, gradients, init_state

SHAPE = transformer.Shape(V=64, D=16, L=2, N=2, K=2, H=8, F=24, context=32)


def placed(pair):
    return tuple(put(a, "ABT") for a in pair)


def walks(first: int, step: int):
    """Return sixteen texts that begin with `first` and count on by `step` from anywhere, as (tokens, labels)."""
    tokens = (np.random.default_rng(first).integers(0, 64, (1, 16, 1)) + step * np.arange(12)) % 64
    rows = np.concatenate([np.full((1, 16, 1), first), tokens], -1).astype(np.int32)
    return rows[..., :-1], rows[..., 1:]


def test_gradient_ascent_collapses_where_descent_on_text_to_keep_holds(mesh):
    """It ends far below a uniform guess on every text: that it "forgets" the one says nothing of it."""
    forget, kept, c = walks(7, 1), walks(8, 3), Train(steps=1, learning_rate=1e-2, batch=16)
    both = placed([np.concatenate(pair, 1) for pair in zip(forget, kept, strict=True)])
    batch = {"forget": placed(forget), "retain": placed(kept)}
    state = init_state(transformer.init(SHAPE, 0), c)
    for _ in range(150):
        state, _ = compiled_step(c)(state, np.float32(1e-2), *both)
    loss = jax.jit(lambda m, pair: gradients(m, *pair)[0])
    assert float(loss(state.model, both)) < 0.5  # of which a twelfth of log 64 is where a text starts

    def after(name):
        settings = tuple(METHODS[name].defaults.items())
        update = compiled_step(c, step.step, recipe=Recipe(METHODS[name], settings))
        now = init_state(jax.tree.map(jnp.array, state.model), c)  # the step donates what it is given
        for _ in range(200):  # after 120 the machine's rounding still decides how far text to keep has fallen
            now, _ = update(now, np.float32(1e-3), {}, batch)
        return [float(loss(now.model, batch[text])) for text in ("forget", "retain")]

    (gone, broken), (forgotten, held) = after("gradient_ascent"), after("gradient_difference")
    assert min(gone, broken) > 2 * np.log(64) and forgotten > np.log(64) and held < 1

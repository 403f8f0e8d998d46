"""MUDMAN: mask and norm by hand on 3 x 3 matrices, a step against its formula, forks, and what it cannot do."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.batches import SHAPE, placed, texts

from jaxunlearn.config import Config, Lora, Mudman, Text, Train, Unlearn
from jaxunlearn.errors import InputError
from jaxunlearn.methods import METHODS, check_config, mudman
from jaxunlearn.methods.base import Recipe
from jaxunlearn.methods.matrices import replaced, taken
from jaxunlearn.methods.mudman import GATES, Fork, Lesson, begin
from jaxunlearn.models import transformer
from jaxunlearn.training.step import compiled_step, gradients, init_state

GIVEN = Config(name="x", model="m", text=Text(forget=("a",), retain=("b",), dictionary="d"))
C = Train(steps=4, batch=4)
RECIPE = Recipe(METHODS["gradient_difference"], (("retain_weight", 2.0),))
RATE, RETAIN, ADVERSARY, MOMENTUM = 0.3, 0.02, 0.5, 0.75


def test_mask_and_norm_by_hand():
    u = {"gate_DF": jnp.array([[3.0, -4, 5], [0, 2, -6], [1, 1, 1]])}
    kept = {"gate_DF": jnp.array([[1.0, -9, -1], [0, 0, 6], [-1, -2, -3]])}
    found = mudman.masked(u, kept)
    np.testing.assert_array_equal(found["gate_DF"], [[3, -4, 0], [0, 0, 0], [0, 0, 0]])
    unit, norm = mudman.normalised(found, 2.0)
    assert float(norm) == 5
    np.testing.assert_allclose(unit["gate_DF"], np.array([[1.2, -1.6, 0], [0, 0, 0], [0, 0, 0]]), rtol=1e-6)
    nothing, norm = mudman.normalised({"gate_DF": jnp.zeros((3, 3))})
    assert float(norm) == 0 and not np.asarray(nothing["gate_DF"]).any()


def lesson(fresh):
    pair = placed([a[1:] for a in texts(2, 4, T=6, seed=3)])
    return Lesson(*pair, np.bool_(fresh), *map(np.float32, (RATE, RETAIN, ADVERSARY, MOMENTUM)))


def batch():
    return {n: placed([a[1:] for a in texts(2, 4, T=6, seed=m)]) for m, n in enumerate(("forget", "retain"))}


@jax.jit
def by_hand(theta, phi, kept, forget, retain, taught):
    """One step as the docstring writes it, each gradient on its own; phi: its gates before its step; kept: R before."""
    r = 2.0 * gradients(theta, *retain)[1].blocks.gate_DF[...]
    R = MOMENTUM * kept + (1 - MOMENTUM) * r
    phi = phi - ADVERSARY * gradients(replaced(theta, {"gate_DF": phi}), *taught)[1].blocks.gate_DF[...]
    u = -gradients(replaced(theta, {"gate_DF": phi}), *forget)[1].blocks.gate_DF[...]  # ascent
    u = jnp.where(u * R > 0, u, 0)
    return theta.blocks.gate_DF[...] - RETAIN * R - RATE * u / jnp.sqrt(jnp.sum(u**2)), phi, R


def test_a_step_is_the_formula_and_a_fork_lasts_until_the_next(mesh):
    start = begin(init_state(transformer.init(SHAPE, 0), C))
    assert start.opt == () and not np.asarray(start.fork.kept["gate_DF"]).any()
    run, state = compiled_step(C, mudman.step, recipe=RECIPE), start
    arrays = batch()["forget"], batch()["retain"], lesson(True)[:2]
    for fresh in (True, False, True):
        before = jax.tree.map(lambda x: jnp.copy(x), state)
        phi = before.model if fresh else replaced(before.model, before.fork.gates)
        gates, phi, R = by_hand(before.model, phi.blocks.gate_DF[...], before.fork.kept["gate_DF"], *arrays)
        state, metrics = run(state, np.float32(1), {}, batch(), lesson(fresh))
        np.testing.assert_allclose(state.model.blocks.gate_DF[...], gates, atol=2e-6)
        np.testing.assert_allclose(state.fork.gates["gate_DF"], phi, atol=2e-6)
        np.testing.assert_allclose(state.fork.kept["gate_DF"], R, atol=2e-6)
        assert set(metrics) == {"loss", "retain", "adversary", "gradient_norm"}
    fixed = jax.tree.map(lambda w: w, state.model)
    fixed = replaced(fixed, taken(transformer.init(SHAPE, 0), GATES))
    for a, b in zip(jax.tree.leaves(fixed), jax.tree.leaves(transformer.init(SHAPE, 0)), strict=True):
        np.testing.assert_array_equal(a, b)  # gates alone have moved
    assert isinstance(state.fork, Fork) and int(state.step) == 3


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"method": "task_vector"}, "unlearn.mudman: task_vector trains nothing; set unlearn.mudman.every=0"),
        ({"method": "retain_only"}, "unlearn.mudman: retain_only has no loss on text to forget"),
        ({"method": "npo"}, "masks by the gradient on text to keep: set unlearn.retain_weight above 0"),
        ({"lora": Lora(rank=2)}, "unlearn.mudman filters the gradients of whole matrices"),
        ({"update": "layers"}, "unlearn.mudman needs whole gradients"),
    ],
)
def test_what_it_cannot_do_is_refused(more, said):
    def checked(**given):
        made = {"steps": 1, "mudman": Mudman(every=4), "method": "gradient_difference"} | given
        check_config(dataclasses.replace(GIVEN, unlearn=Unlearn(**made)))

    with pytest.raises(InputError, match=said):
        checked(**more)
    checked()
    checked(method="npo", retain_weight=1.0)

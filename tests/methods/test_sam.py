"""SAM's gradient on a quadratic by hand, in a step, and what it cannot do."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.batches import SHAPE, placed, texts

from jaxunlearn.config import Config, Text, Unlearn
from jaxunlearn.errors import InputError
from jaxunlearn.methods import METHODS, check_config, recipe_of, step
from jaxunlearn.methods.base import Recipe
from jaxunlearn.methods.sam import sharpened
from jaxunlearn.models import transformer

GIVEN = Config(name="x", model="m", text=Text(forget=("a",), retain=("b",), dictionary="d"))
CURVE = np.array([[1, 2, 0], [0, 1, 0], [0, 0, 3]], np.float32)


def quadratic(part):
    w, b = part
    return jnp.sum(CURVE * w**2 / 2) + b, (jnp.asarray(CURVE * w), jnp.ones_like(b)), {"metric": b}


def test_the_gradient_is_that_of_the_worst_point_nearby_by_hand():
    part = jnp.asarray([[2.0, 0, 5], [1, 0, 0], [0, 1, 0]]), jnp.asarray(0.0)  # g: 2 in a corner, 1 at b
    w = part[0].at[0, 1].set(1.0)  # and 2 beside it: the norm is sqrt(4 + 4 + 1) = 3
    loss, (g_w, g_b), metrics = sharpened(quadratic, 0.3)((w, part[1]))
    moved = np.zeros((3, 3))
    moved[0, :2] = 2 + 0.3 * 2 / 3 * 1, 2 * (1 + 0.3 * 2 / 3)  # g' = curve * (w + rho g / |g|) = 2.2 and 2.4
    np.testing.assert_allclose(g_w, moved, rtol=1e-6)
    assert float(g_b) == 1 and float(loss) == 2 + 1 and float(metrics["metric"]) == 0  # those at w itself


def test_where_there_is_no_gradient_it_stays_there():
    loss, g, _ = sharpened(lambda w: (jnp.sum(w**2), 2 * w, {}), 0.3)(jnp.zeros((3, 3)))
    assert float(loss) == 0 and not np.asarray(g).any()


def test_in_a_step_the_term_on_text_to_keep_stays_at_the_weights(mesh):
    recipe = Recipe(METHODS["gradient_difference"], (("retain_weight", 0.5),), sam=0.05)
    plain, part = dataclasses.replace(recipe, sam=0.0), transformer.init(SHAPE, 0)
    batch = {name: placed([a[1:] for a in texts(2, 4, T=6, seed=n)]) for n, name in enumerate(("forget", "retain"))}

    @jax.jit
    def found(part):
        forget = step.gradients(part, {}, batch, plain, "forget")[1]
        norm = jnp.sqrt(sum(jnp.sum(g**2) for g in jax.tree.leaves(forget)))
        away = jax.tree.map(lambda w, g: w + 0.05 * g / norm, part, forget)
        by_hand = (step.gradients(m, {}, batch, plain, s)[1] for m, s in ((away, "forget"), (part, "retain")))
        sides = (step.gradients(part, {}, batch, recipe, side)[1] for side in ("forget", "retain"))
        whole = (step.gradients(part, {}, batch, one) for one in (recipe, plain))
        return *whole, *by_hand, *sides

    (loss, g, means), (same, g_plain, means_plain), *by_hand, forget, kept = found(part)
    wanted = jax.tree.map(jnp.add, *by_hand)
    assert float(loss) == pytest.approx(float(same), rel=1e-5)
    assert {k: float(v) for k, v in means.items()} == pytest.approx(
        {k: float(v) for k, v in means_plain.items()}, rel=1e-5
    )
    for a, b in zip(jax.tree.leaves((g, forget, kept)), jax.tree.leaves((wanted, *by_hand)), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)
    pairs = zip(jax.tree.leaves(g), jax.tree.leaves(g_plain), strict=True)
    assert max(float(jnp.abs(a - b).max()) for a, b in pairs) > 1e-3


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"method": "task_vector"}, "unlearn.sam: task_vector trains nothing"),
        ({"method": "retain_only"}, "unlearn.sam: retain_only has no loss on text to forget"),
        ({"update": "layers"}, "unlearn.sam needs whole gradients"),
    ],
)
def test_what_it_cannot_do_is_refused(more, said):
    with pytest.raises(InputError, match=said):
        check_config(dataclasses.replace(GIVEN, unlearn=Unlearn(**{"steps": 1, "sam": 0.01} | more)))
    made = dataclasses.replace(GIVEN, unlearn=Unlearn(steps=1, sam=0.01))
    check_config(made)
    assert recipe_of(METHODS["whp"], made).sam == 0.01

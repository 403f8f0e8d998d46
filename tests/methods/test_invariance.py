"""ILU's penalty on a quadratic by hand, in a step against differences, and what it cannot do."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.batches import SHAPE, placed, texts

from jaxunlearn.config import Config, Lora, Text, Unlearn
from jaxunlearn.errors import InputError
from jaxunlearn.methods import METHODS, check_config, recipe_of, step
from jaxunlearn.methods.base import Recipe
from jaxunlearn.methods.invariance import penalised
from jaxunlearn.models import transformer
from jaxunlearn.models.scoring import loss_sum

GIVEN = Config(name="x", model="m", text=Text(forget=("a",), retain=("b",), dictionary="d"))
CURVE, PULL = np.array([[1.0, 2, 0], [0, 1, 0], [0, 0, 3]]), np.array([[0, 1.0, 0], [0, 0, 2], [1, 0, 0]])


def test_the_penalty_of_a_quadratic_by_hand():
    """Of l = curve w^2 / 2 + pull w the slope in the scale of w is curve w^2 + pull w, and its own 2 curve w + pull."""
    w = jnp.array([[1.0, 2, 0], [1, -1, 0], [0, 1, 1]])
    value, slope, s = penalised(lambda w: CURVE * w + PULL, w, 0.5)
    wanted = 1 + 2 * 4 + 1 + 3 + 2  # curve w^2: 1, 8, 1 and 3; pull w: 2
    assert float(s) == pytest.approx(wanted, rel=1e-5) and float(value) == pytest.approx(0.5 * wanted**2, rel=1e-5)
    np.testing.assert_allclose(slope, 2 * 0.5 * wanted * (2 * CURVE * w + PULL), rtol=1e-3, atol=1e-3)


def test_where_scaling_changes_nothing_there_is_no_penalty():
    value, slope, _ = penalised(lambda w: jnp.zeros_like(w), jnp.ones((3, 3)), 2.0)
    assert float(value) == 0 and not np.asarray(slope).any()


@pytest.mark.nightly
def test_a_step_adds_the_penalty_on_text_to_keep(mesh):
    recipe = Recipe(METHODS["gradient_difference"], (("retain_weight", 1.0),), invariance=0.3)
    plain, part = dataclasses.replace(recipe, invariance=0.0), jax.tree.map(lambda w: 4 * w, transformer.init(SHAPE, 0))
    parts = {n: placed([a[1:] for a in texts(2, 4, T=6, seed=m)]) for m, n in enumerate(("forget", "retain"))}
    kept = tuple(a[0] for a in parts["retain"])

    @jax.jit
    def found(part):
        one, two = (step.gradients(part, {}, parts, r)[:2] for r in (recipe, plain))
        return one, two, step.gradients(part, {}, parts, recipe, "forget")[0]

    @jax.jit
    def loss(part):
        total, count = loss_sum(part, *kept)
        return total / count

    def scaled(part, k):
        return float(loss(jax.tree.map(lambda w: k * w, part)))

    (with_it, g), (without, g_plain), forget = found(part)
    s = (scaled(part, 1.01) - scaled(part, 0.99)) / 0.02
    assert float(with_it) - float(without) == pytest.approx(0.3 * s**2, rel=2e-2) and s**2 > 1e-3
    assert float(forget) < 0  # ascent alone: no penalty on that side
    away = jax.tree.map(lambda a, b: (a - b) / jnp.maximum(jnp.abs(a - b).max(), 1e-9), g, g_plain)

    def penalty(k):
        moved = jax.tree.map(lambda w, d: w + k * d, part, away)
        return 0.3 * ((scaled(moved, 1.01) - scaled(moved, 0.99)) / 0.02) ** 2

    slope = sum(float(jnp.sum((a - b) * d)) for a, b, d in zip(*map(jax.tree.leaves, (g, g_plain, away)), strict=True))
    assert (penalty(1e-4) - penalty(-1e-4)) / 2e-4 == pytest.approx(slope, rel=0.02)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"method": "task_vector"}, "unlearn.invariance: task_vector trains nothing"),
        ({"method": "retain_only"}, "unlearn.invariance: retain_only has no loss on text to forget"),
        ({"retain_weight": 0.0}, "unlearn.invariance is measured on text to keep: set unlearn.retain_weight above 0"),
        ({"lora": Lora(rank=2)}, "unlearn.invariance scales whole weights: leave out unlearn.lora"),
        ({"update": "layers"}, "unlearn.invariance needs whole gradients"),
    ],
)
def test_what_it_cannot_do_is_refused(more, said):
    given = {"steps": 1, "method": "gradient_difference", "invariance": 1.0}
    with pytest.raises(InputError, match=said):
        check_config(dataclasses.replace(GIVEN, unlearn=Unlearn(**given | more)))
    made = dataclasses.replace(GIVEN, unlearn=Unlearn(**given))
    check_config(made)
    with pytest.raises(InputError, match="which rounding to bfloat16 drowns: set compute=float32"):
        check_config(dataclasses.replace(made, compute="bfloat16"))
    assert recipe_of(METHODS["gradient_difference"], made).invariance == 1.0

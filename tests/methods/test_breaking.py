"""MLP breaking by hand on vectors of three numbers, the outputs that it turns, MCU's projection, and its layers."""

import dataclasses

import jax
import numpy as np
import pytest
from support.batches import SHAPE, placed, texts
from support.mesh import mesh_of

from jaxunlearn.config import Config, Text, Unlearn
from jaxunlearn.errors import InputError
from jaxunlearn.methods import METHODS, breaking, check_config, step, wrappers
from jaxunlearn.methods.base import Recipe
from jaxunlearn.models import transformer
from jaxunlearn.parallel.sharding import put

GIVEN = Config(name="x", model="m", text=Text(forget=("a",), retain=("b",)))
FOUR = dataclasses.replace(SHAPE, L=4)


def mean(result):
    return float(result[0]) / float(result[1])


def test_the_loss_by_hand(mesh):
    old = np.zeros((1, 1, 4, 3), np.float32)
    old[0, 0] = [[99, 0, 0], [2, 0, 0], [0, 4, 0], [9, 9, 9]]
    on = np.array([[True, True, True, False]])  # the first takes no part: (mean |h0|)^2 = ((2 + 4) / 2)^2 = 9
    h = old.copy()
    assert mean(breaking.broken(h, old, on)) == pytest.approx((4 + 16) / 2 / 9)
    h[0, 0, 1] = [3, 5, 0]  # along: 6 and 16 of 9 each
    assert mean(breaking.broken(h, old, on)) == pytest.approx((6 + 16) / 2 / 9)
    h[0, 0, 2] = [7, -4, 0]  # turned round: nothing more to gain
    assert mean(breaking.broken(h, old, on)) == pytest.approx(6 / 2 / 9)
    two = np.concatenate([h, old]), np.concatenate([old, old])  # a mean over layers, each by its own norm
    assert mean(breaking.broken(*two, on)) == pytest.approx((6 + 20) / 2 / 2 / 9)
    assert float(breaking.broken(h, old, on)[1]) == 3  # the count that methods/step.py takes from the data


def test_mcu_takes_the_mean_and_components_out_of_both(mesh):
    old = np.zeros((1, 2, 3, 3), np.float32)
    old[0] = [
        [[0, 0, 50], [5, 3, 1], [5, -3, 1]],
        [[0, 0, 50], [5, 0, -1], [5, 0, -1]],
    ]  # after the first position: mean (5, 0, 0); then the second direction, then the third
    on = np.array([[False, True, True]] * 2)
    q = np.asarray(breaking.common(old, on, 1))[0]
    np.testing.assert_allclose(np.abs(q), [[1, 0], [0, 1], [0, 0]], atol=1e-6)
    h = old.copy()
    h[..., :2] = -100  # what is taken out does not count
    assert mean(breaking.broken(h, old, on, 1)) == pytest.approx(1, rel=1e-5)
    h[..., 2] = 1  # two of four tokens still point the old way
    assert mean(breaking.broken(h, old, on, 1)) == pytest.approx(0.5, rel=1e-5)


def test_outputs_are_what_the_feed_forwards_add(mesh):
    model, tokens_BT = transformer.init(FOUR, 0), put(np.arange(12).reshape(2, 6).astype(np.int32), "BT")

    @jax.jit
    def both(model):
        x = model.embed(tokens_BT)
        rope, found = transformer.rope_table(FOUR, np.arange(6)[None]), []
        for n in range(4):
            block, kind = jax.tree.map(lambda w, n=n: w[n], model.layers())
            middle = block.attended(x, kind, rope, None)[0]
            x = block(x, kind, rope, None)[0]
            found.append(x - middle)
        return breaking.outputs(model, tokens_BT, 1, 2), found[1:3]

    made, wanted = both(model)
    assert made.shape == (2, 2, 6, 16)
    np.testing.assert_allclose(made, np.stack(wanted), atol=1e-6)


@pytest.mark.parametrize(
    ("given", "L", "wanted"),
    [((-1, -1), 32, (6, 11)), ((-1, -1), 30, (6, 10)), ((-1, -1), 3, (1, 1)), ((-1, -1), 1, (0, 0)),
     ((0, 2), 4, (0, 2)), ((-1, 2), 32, (2, 2)), ((-1, 8), 32, (6, 8)), ((7, -1), 32, (7, 11))]
)  # fmt: skip
def test_the_layers_are_those_of_the_source_by_share(given, L, wanted):
    assert breaking.layers_of(*given, L) == wanted


@pytest.mark.parametrize("sizes", [(1, 1, 1), pytest.param((2, 2, 2), marks=pytest.mark.nightly)])
def test_at_the_baseline_it_is_about_one_and_its_step_turns_the_outputs(sizes):
    with jax.set_mesh(mesh_of(sizes)):
        model = transformer.init(SHAPE, 0)
        values = METHODS["mlp_breaking"].defaults | {"components": 2, "retain_weight": 3.0}
        recipe = Recipe(METHODS["mlp_breaking"], tuple(sorted(values.items())))
        parts = {n: placed([a[1:] for a in texts(2, 4, T=6, seed=m)]) for m, n in enumerate(("forget", "retain"))}

        @jax.jit
        def there(model, old):
            loss, g, means = step.gradients(model, {"baseline": old}, parts, recipe)
            return loss, means, jax.tree.map(lambda w, g: w - 0.05 * g, model, g)

        loss, means, after = there(model, model)
        # mean |h0|^2 over (mean |h0|)^2 is 1 and the relative variance of |h0|
        assert 1 < float(loss) < 1.5 and float(means["retain"]) == 0
        again, means, _ = there(after, model)
        assert float(means["forget"]) < 0.99 * float(loss) and float(means["retain"]) > 0
        assert float(again) == pytest.approx(float(means["forget"]) + 3 * float(means["retain"]), rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("last_layer=4",), "last_layer must lie between 0 and 3"),
        (("first_layer=2", "last_layer=1"), "last_layer = 1 comes before first_layer = 2"),
        (("components=-1",), "components must be at least 0"),
    ],
)
def test_layers_that_do_not_exist_are_refused_before_loading(settings, said):
    def checked(*settings):
        check_config(dataclasses.replace(GIVEN, unlearn=Unlearn(method="mlp_breaking", steps=1, settings=settings)), 4)

    with pytest.raises(InputError, match=said):
        checked(*settings)
    checked("first_layer=1", "last_layer=3")


def test_components_that_leave_nothing_are_refused_before_loading():
    def fits(count, method="mlp_breaking"):
        made = Unlearn(method=method, steps=1, settings=(f"components={count}",))
        wrappers.fits(dataclasses.replace(GIVEN, unlearn=made), SHAPE)

    fits(14)
    fits(15, "rmu")
    with pytest.raises(InputError, match="components = 15, and the mean, leave nothing of an output of 16 numbers"):
        fits(15)

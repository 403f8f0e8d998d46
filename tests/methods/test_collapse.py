"""CIR: per-token sums by hand on 3 x 3 matrices, what the backward pass collects, a step, and what it cannot do."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.batches import SHAPE, placed, texts
from support.mesh import mesh_of

from jaxunlearn.config import Collapse, Config, Lora, Text, Train, Unlearn
from jaxunlearn.errors import InputError
from jaxunlearn.methods import METHODS, check_config, collapse, step
from jaxunlearn.methods.base import Recipe
from jaxunlearn.methods.collapse import Pace, Sums, basis, collapsed
from jaxunlearn.methods.matrices import taken
from jaxunlearn.models import transformer
from jaxunlearn.parallel.sharding import put
from jaxunlearn.training.checkpoint import Checkpoints
from jaxunlearn.training.step import compiled_step, init_state

GIVEN = Config(name="x", model="m", text=Text(forget=("a",), retain=("b",), dictionary="d"))
C = Train(steps=4, batch=4)
DRAW = np.random.default_rng(0)
A, GRAD = (DRAW.normal(size=(7, 3)) * [5, 1, 0.2] + [2, 0, 0] for _ in range(2))  # 7 tokens


def sums(rows):
    made = Sums(np.float64(len(rows)), rows.sum(0), rows.T @ rows)
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float32)[None], made)


def without(rows, count):
    """Return rows without the plane of their mean and `count` principal components, by numpy's own tools."""
    mean = rows.mean(0)
    leading = np.linalg.svd(rows - mean)[2][:count]
    plane = np.vstack([mean, leading])
    return rows - rows @ np.linalg.pinv(plane) @ plane


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 1), (0, 1), (1, None), (None, None)])
def test_the_gradient_is_the_sum_over_tokens_of_what_is_left_of_the_factors(inputs, outputs):
    g = jnp.asarray(A.T @ GRAD, jnp.float32)[None]  # inputs first
    bases = [None if q is None else basis(sums(rows), q + 1) for rows, q in ((A, inputs), (GRAD, outputs))]
    a, d = (rows if q is None else without(rows, q) for rows, q in ((A, inputs), (GRAD, outputs)))
    wanted = sum(np.outer(a_t, d_t) for a_t, d_t in zip(a, d, strict=True))
    np.testing.assert_allclose(collapsed(g, *bases)[0], wanted, atol=1e-4)


def test_with_as_many_components_as_there_are_nothing_is_left():
    whole = basis(sums(A), 3)
    assert np.abs(np.asarray(collapsed(jnp.ones((1, 3, 3)), whole, None))).max() < 1e-5


def recipe(weight=2.0):
    return Recipe(METHODS["gradient_difference"], (("retain_weight", weight),))


def batch(A=1):
    made = {n: texts(2, 4, T=6, seed=m) for m, n in enumerate(("forget", "retain"))}
    return {n: placed(pair if A == 2 else [a[1:] for a in pair]) for n, pair in made.items()}


def test_the_gradient_leaves_out_the_first_and_last_token_and_what_comes_before_gets_all(mesh):
    x_BTD, w_DF, pull_BTF = (DRAW.normal(size=shape).astype(np.float32) for shape in ((2, 4, 3), (3, 5), (2, 4, 5)))
    one = jax.tree.map(lambda a: a[0], sums(np.ones((1, 3)))), jax.tree.map(lambda a: a[0], sums(np.ones((1, 5))))

    def total(x, w, pull):
        return jnp.sum(collapse.Tapped(w, one).product("BTD,DF->BTF", x, jnp.float32) * pull)

    dx, dw = jax.jit(jax.grad(total, (0, 1)))(put(x_BTD, "BTD"), put(w_DF, "DF"), put(pull_BTF, "BTF"))
    np.testing.assert_allclose(dx, pull_BTF @ w_DF.T, rtol=1e-5)
    np.testing.assert_allclose(dw, np.einsum("BTD,BTF->DF", x_BTD[:, 1:3], pull_BTF[:, 1:3]), rtol=1e-4, atol=1e-5)


@pytest.mark.nightly
def test_the_backward_pass_collects_the_factors_of_every_token_but_the_first_and_last(mesh):
    model, parts = transformer.init(SHAPE, 0), batch(2)
    found, g, made = jax.jit(lambda m: collapse.collected(m, {}, parts, recipe()))(model)
    wanted = jax.jit(lambda m: step.gradients(m, {}, parts, recipe(), "forget")[:2])(model)
    assert float(found) == pytest.approx(float(wanted[0]), rel=1e-6)
    filtered = taken(wanted[1])
    for a, b in zip(jax.tree.leaves(g), jax.tree.leaves(wanted[1]), strict=True):
        if any(b.shape == w.shape for w in filtered.values()):
            assert np.abs(np.asarray(a) - np.asarray(b)).max() > 1e-4  # without the first and last token
        else:
            np.testing.assert_allclose(a, b, atol=1e-6)  # the plain gradient

    rows_BT = put(np.asarray(parts["forget"][0]).reshape(8, 6), "BT")

    def given(model):  # what the first layer's gate meets: x after attention, normalised
        x = model.embed(rows_BT)
        layers = jax.tree.map(lambda w: w[0], model.layers())
        x = layers[0].attended(x, layers[1], transformer.rope_table(SHAPE, jnp.arange(6)[None]), None)[0]
        return transformer.rms_norm(x, layers[0].mlp_norm_D[...], SHAPE.epsilon)

    a = np.asarray(jax.jit(given)(model))[:, 1:-1].reshape(-1, 16)
    gate, up, down = (made[name] for name in ("gate_DF", "up_DF", "down_FD"))
    share = float(gate[0].count_L[0])
    on = 1 / share  # sums are divided by the count of labels, all alike
    inputs = jax.tree.map(lambda x: np.asarray(x[0]), gate[0])
    labelled = np.asarray(parts["forget"][1]).reshape(8, 6) >= 0
    reached = np.flip(np.cumsum(np.flip(labelled, 1), 1), 1)[:, 1:-1] > 0  # a label follows: there is a gradient
    a = a[reached.ravel()]
    np.testing.assert_allclose(inputs.sum_Ld * on, a.mean(0), atol=1e-5)
    np.testing.assert_allclose(inputs.products_Ldd * on, a.T @ a / len(a), atol=1e-4)
    np.testing.assert_array_equal(gate[0].products_Ldd, up[0].products_Ldd)
    assert down[0].sum_Ld.shape == (2, 24) and down[1].products_Ldd.shape == (2, 16, 16)
    assert float(jnp.abs(gate[1].products_Ldd).max()) > 0


def pace(n, every=2, norm=0.3, retain_rate=0.1):
    return Pace(np.bool_(n > 0 and n % every == 0), np.float32(n >= every), np.float32(norm), np.float32(retain_rate))


def test_steps_collect_first_and_then_move_by_what_is_left_at_a_fixed_norm(mesh):
    run = compiled_step(C, collapse.step, recipe=recipe())
    state = collapse.begin(init_state(transformer.init(SHAPE, 0), C), 3, 4)
    first = [np.asarray(w) for w in jax.tree.leaves(state.model)]
    for n in range(2):
        state, _ = run(state, np.float32(1), {}, batch(), pace(n))
    for w, was in zip(jax.tree.leaves(state.model), first, strict=True):
        np.testing.assert_array_equal(w, was)
    parts, before, collected = batch(), *jax.tree.map(jnp.copy, (state.model, state.fork.sums))
    state, metrics = run(state, np.float32(1), {}, batch(), pace(2))
    forget = jax.jit(lambda m: taken(collapse.collected(m, {}, parts, recipe())[1]))(before)
    kept = jax.jit(lambda m: taken(step.gradients(m, {}, parts, recipe(), "retain")[1]))(before)
    g = {n: collapsed(w, basis(collected[n][0], 4), basis(collected[n][1], 5)) for n, w in forget.items()}
    norm = float(jnp.sqrt(sum(jnp.sum(w**2) for w in g.values())))
    assert float(metrics["gradient_norm"]) == pytest.approx(norm, rel=1e-3)
    for name, w in taken(before).items():
        wanted = w - 0.3 * g[name] / norm - 0.1 * kept[name]
        np.testing.assert_allclose(taken(state.model)[name], wanted, atol=1e-4)
    np.testing.assert_array_equal(before.embed_VD[...], state.model.embed_VD[...])
    assert int(state.step) == 3 and state.opt == ()


def test_a_side_that_is_left_whole_can_be_saved_and_goes_on(mesh, tmp_path):
    run, saved = compiled_step(C, collapse.step, recipe=recipe()), Checkpoints(tmp_path)
    state = collapse.begin(init_state(transformer.init(SHAPE, 0), C), 0, 2)
    for n in range(3):
        state, metrics = run(state, np.float32(1), {}, batch(), pace(n))
    saved.save(3, state)
    saved.wait()
    again = saved.restore(collapse.begin(init_state(transformer.init(SHAPE, 0), C), 0, 2))
    for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(a, b)
    assert float(metrics["gradient_norm"]) > 0
    saved.close()


@pytest.mark.nightly
def test_sums_and_a_step_are_the_same_on_several_devices():
    found = []
    for sizes in ((1, 1, 1), (2, 2, 2)):
        with jax.set_mesh(mesh_of(sizes)):
            state = collapse.begin(init_state(transformer.init(SHAPE, 0), C), 3, 4)
            specs = [x.sharding.spec for x in jax.tree.leaves(state.model)]
            run = compiled_step(C, collapse.step, recipe=recipe())
            for n in range(3):
                state, metrics = run(state, np.float32(1), {}, batch(), pace(n))
            assert [x.sharding.spec for x in jax.tree.leaves(state.model)] == specs
            found.append(jax.tree.leaves((state.model, metrics["gradient_norm"])))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=5e-5)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"method": "task_vector"}, "unlearn.collapse: task_vector trains nothing; set unlearn.collapse.norm=0"),
        ({"method": "retain_only"}, "unlearn.collapse: retain_only has no loss on text to forget"),
        ({"lora": Lora(rank=2)}, "unlearn.collapse filters the gradients of whole matrices"),
        ({"update": "layers"}, "unlearn.collapse needs whole gradients"),
        ({"sam": 0.01}, "unlearn.collapse takes the gradient where the weights are"),
    ],
)
def test_what_it_cannot_do_is_refused(more, said):
    with pytest.raises(InputError, match=said):
        check_config(dataclasses.replace(GIVEN, unlearn=Unlearn(**{"steps": 1, "collapse": Collapse(norm=0.1)} | more)))
    check_config(dataclasses.replace(GIVEN, unlearn=Unlearn(steps=1, collapse=Collapse(norm=0.1))))


def test_components_that_leave_nothing_of_a_matrix_are_refused():
    def fits(**given):
        collapse.fits(dataclasses.replace(GIVEN, unlearn=Unlearn(collapse=Collapse(**{"norm": 0.1} | given))), SHAPE)

    fits(inputs=14, outputs=14)
    with pytest.raises(InputError, match=r"unlearn.collapse.inputs = 15, and the mean, leave nothing of gate_DF's 16"):
        fits(inputs=15, outputs=14)
    with pytest.raises(InputError, match=r"unlearn.collapse.outputs = 15, and the mean, leave nothing of down_FD's 16"):
        fits(inputs=14, outputs=15)

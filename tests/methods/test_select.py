"""RepSelect: its filter on 3 x 3 matrices by hand, the direction of a run, the budget, and what it cannot do."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.batches import SHAPE, placed, texts
from support.mesh import mesh_of

from jaxunlearn.config import Config, Llama, Lora, Select, Text, Train, Unlearn
from jaxunlearn.errors import InputError
from jaxunlearn.methods import METHODS, check_config, select, step
from jaxunlearn.methods.base import Recipe, kl_to
from jaxunlearn.methods.matrices import taken
from jaxunlearn.models import transformer
from jaxunlearn.models.scoring import loss_sum
from jaxunlearn.parallel.sharding import param
from jaxunlearn.training.step import compiled_step, init_state

GIVEN = Config(name="x", model="m", text=Text(forget=("a",), retain=("b",), dictionary="d"))
KEY = jax.random.key(0)
U, V = (np.linalg.qr(np.random.default_rng(n).normal(size=(3, 3)))[0].astype(np.float32) for n in (1, 2))
G = U @ np.diag([4.0, 2.0, 1.0]).astype(np.float32) @ V.T  # inputs first: U is of the inputs


def sizes(g_LIO):
    return np.linalg.svd(np.asarray(g_LIO[0]), compute_uv=False)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        # c = 1 - 1/4, 1 - 1/2, 0: one side leaves S (1 - c) = 1, 1, 1, both sides S (1 - c)^2 = 1/4, 1/2, 1
        (Select(pcs=3, side="inputs"), np.diag([1.0, 1.0, 1.0])),
        (Select(pcs=3, side="outputs"), np.diag([1.0, 1.0, 1.0])),
        (Select(pcs=3), np.diag([0.25, 0.5, 1.0])),
        (Select(pcs=3, damp="quadratic"), np.diag([4 / 256, 2 / 16, 1.0])),  # 1 - c = 1/16, 1/4, 1
        (Select(pcs=2), np.diag([1.0, 2.0, 1.0])),  # of two kept the least is 2: c = 1/2, 0
        (Select(pcs=2, damp="hard"), np.diag([0.0, 0.0, 1.0])),
        (Select(pcs=1), np.diag([4.0, 2.0, 1.0])),  # one component is its own least
        (Select(pcs=0), np.diag([4.0, 2.0, 1.0])),
    ],
)
def test_the_filter_by_hand_on_a_matrix_of_known_components(mesh, given, wanted):
    found = np.asarray(select.filtered(jnp.asarray(G)[None], given, KEY)[0])
    np.testing.assert_allclose(U.T @ found @ V, wanted, atol=1e-5)


def test_components_of_another_gradient_and_random_ones(mesh):
    other = jnp.asarray(np.diag([0, 0, 7.0]).astype(np.float32))[None]
    hard = Select(pcs=1, damp="hard", of="retain")
    found = np.asarray(select.filtered(jnp.asarray(G)[None], hard, KEY, other)[0])
    expected = G.copy()
    expected[2], expected[:, 2] = 0, 0  # the third input and the third output are gone
    np.testing.assert_allclose(found, expected, atol=1e-5)
    drawn = select.filtered(jnp.asarray(G)[None], dataclasses.replace(hard, of="random"), KEY)
    assert sizes(drawn)[-1] < 1e-5 and sizes(drawn)[0] > 0.5  # a rank is gone, but not the first component's
    again = select.filtered(jnp.asarray(G)[None], dataclasses.replace(hard, of="random"), jax.random.key(1))
    assert np.abs(np.asarray(drawn - again)).max() > 0.1


def test_the_randomised_components_are_those_of_the_whole_decomposition(mesh):
    draw = np.random.default_rng(0)
    left, right = (np.linalg.qr(draw.normal(size=(n, 40)))[0] for n in (60, 40))
    g = (left * 0.8 ** np.arange(40)) @ right.T
    u, s, v = select.components(jnp.asarray(g, jnp.float32)[None], 10, KEY)
    np.testing.assert_allclose(s[0], 0.8 ** np.arange(10), rtol=2e-3)
    for found, wanted in ((u, left), (v, right)):
        np.testing.assert_allclose(np.abs(np.sum(np.asarray(found[0]) * wanted[:, :10], axis=0)), 1, atol=2e-2)


# ---- the direction, on a model

C = Train(steps=4, batch=4)
RECIPE = Recipe(METHODS["gradient_difference"], (("retain_weight", 1.0),))


def batches():
    return [{n: placed([a[1:] for a in texts(2, 4, T=6, seed=5 * k + m)]) for m, n in enumerate(("forget", "retain"))}
            for k in range(2)]  # fmt: skip


def directed(s, model=None):
    model = transformer.init(SHAPE, 0) if model is None else model
    kept = [batch["retain"] for batch in batches()]
    return model, select.direction(model, {}, batches(), kept, RECIPE, (s, 3))


def test_without_components_a_step_is_plain_descent_on_the_forget_loss_alone(mesh):
    model, g = directed(Select(pcs=0))
    plain = [taken(step.gradients(model, {}, batch, RECIPE, "forget")[1]) for batch in batches()]
    wanted = jax.tree.map(jnp.add, *plain)
    state = select.begin(init_state(jax.tree.map(jnp.copy, model), C), lambda model: jax.tree.map(jnp.copy, g))
    kept = tuple(a[0] for a in batches()[0]["retain"])
    pace = np.float32(0.1), np.float32(1e9)
    after, metrics = compiled_step(C, select.step)(state, np.float32(0), model, kept, pace)
    assert int(after.step) == 1 and float(metrics["taken"]) == 1
    for name, w in taken(model).items():
        np.testing.assert_allclose(g[name], wanted[name], atol=1e-6)
        np.testing.assert_allclose(taken(after.model)[name], w - 0.1 * wanted[name], atol=1e-6)
    np.testing.assert_array_equal(after.model.embed_VD[...], model.embed_VD[...])
    np.testing.assert_array_equal(after.model.blocks.q_DNH[...], model.blocks.q_DNH[...])


def test_steps_go_on_until_the_next_would_exceed_the_budget(mesh):
    model, g = directed(Select(pcs=2))
    kept = tuple(a[0] for a in batches()[0]["retain"])
    run, kls = compiled_step(C, select.step), []
    state = select.begin(init_state(jax.tree.map(jnp.copy, model), C), lambda model: jax.tree.map(jnp.copy, g))
    for _ in range(4):
        state, metrics = run(state, np.float32(0), model, kept, (np.float32(0.5), np.float32(1e9)))
        kls.append(float(metrics["loss"]))
    assert 0 < kls[0] < kls[1] < kls[2] < kls[3]
    total, count = jax.jit(kl_to)(state.model, model, *kept)
    assert kls[3] == pytest.approx(float(total) / float(count), rel=1e-4)
    budget = np.float32((kls[1] + kls[2]) / 2)
    state = select.begin(init_state(jax.tree.map(jnp.copy, model), C), lambda model: jax.tree.map(jnp.copy, g))
    within = []
    for _ in range(4):
        state, metrics = run(state, np.float32(0), model, kept, (np.float32(0.5), budget))
        within.append(float(metrics["taken"]))
    assert within == [1, 1, 0, 0] and int(state.step) == 4
    total, count = jax.jit(kl_to)(state.model, model, *kept)
    assert float(total) / float(count) == pytest.approx(kls[1], rel=1e-3)  # the last valid weights are kept


@pytest.mark.nightly
def test_the_adapter_draws_the_text_out_and_touches_the_feed_forwards_alone(mesh):
    model = transformer.init(SHAPE, 0)
    pair = placed([a[1:] for a in texts(2, 4, T=6, seed=9)])
    drawn = select.elicited(model, [pair] * 30, Select(elicit=0.5, rank=4), 0)
    nll = jax.jit(loss_sum)
    after, before = (float(nll(m, *(a[0] for a in pair))[0]) for m in (drawn, model))
    assert after < before - 0.05
    changed = {
        name: bool((np.asarray(getattr(drawn.blocks, name)[...]) != np.asarray(getattr(model.blocks, name)[...])).any())
        for name in ("q_DNH", "o_NHD", "gate_DF", "up_DF", "down_FD")
    }
    assert [name for name, moved in changed.items() if moved] == ["gate_DF", "up_DF", "down_FD"]


@pytest.mark.nightly
def test_the_filter_is_the_same_on_every_mesh_and_split_as_the_weights_are():
    shapes = {"gate_DF": (2, 16, 24), "down_FD": (2, 24, 16)}
    g, found = {name: np.random.default_rng(0).normal(size=s).astype(np.float32) for name, s in shapes.items()}, []
    for sizes in ((1, 1, 1), (2, 2, 2)):
        with jax.set_mesh(mesh_of(sizes)):
            specs = {name: param("L" + name[-2:]) for name in g}
            made = select.all_filtered({n: jax.device_put(w, specs[n]) for n, w in g.items()}, Select(pcs=4), 0)
            assert {name: w.sharding.spec for name, w in made.items()} == specs
            found.append({name: np.asarray(w) for name, w in made.items()})
    for name, w in found[0].items():
        np.testing.assert_allclose(found[1][name], w, atol=2e-5)
        assert np.abs(w - g[name]).max() > 0.1


# ---- what it cannot do


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"method": "task_vector"}, "unlearn.select: task_vector trains nothing; set unlearn.select.budget=0"),
        ({"method": "prompting", "subject": "Oz"}, "unlearn.select: prompting trains nothing"),
        ({"method": "retain_only"}, "unlearn.select: retain_only has no loss on text to forget"),
        ({"lora": Lora(rank=2)}, "unlearn.select filters the gradients of whole matrices: leave out unlearn.lora"),
        ({"update": "layers"}, "unlearn.select needs whole gradients: leave out unlearn.update=layers"),
        ({"method": "rmu", "layer": 1}, "rmu weights of its own choice"),
        ({"select": Select(budget=0.01, rate=0.0)}, "rate=0 moves nothing"),
    ],
)
def test_what_it_cannot_do_is_refused(more, said):
    with pytest.raises(InputError, match=said):
        check_config(dataclasses.replace(GIVEN, unlearn=Unlearn(**{"steps": 1, "select": Select(budget=0.01)} | more)))
    check_config(dataclasses.replace(GIVEN, unlearn=Unlearn(steps=1, select=Select(budget=0.01))))


def test_it_needs_text_to_keep():
    alone = dataclasses.replace(GIVEN, text=dataclasses.replace(GIVEN.text, retain=()))
    with pytest.raises(InputError, match=r"unlearn.select has its budget on text to keep: set text.retain"):
        check_config(dataclasses.replace(alone, unlearn=Unlearn(steps=1, select=Select(budget=0.01))))


def test_more_components_than_a_matrix_has_are_refused_before_loading(mesh):
    def fits(**given):
        s = Select(**{"budget": 0.01} | given)
        select.fits(dataclasses.replace(GIVEN, init=Llama(), unlearn=Unlearn(select=s)), SHAPE)

    fits(pcs=16, rank=16)
    with pytest.raises(InputError, match=r"unlearn.select.pcs = 17 is more than gate_DF has, 16"):
        fits(pcs=17)
    with pytest.raises(InputError, match=r"unlearn.select.rank = 17 is larger than"):
        fits(rank=17)
    fits(budget=0.0, pcs=99)
    with jax.set_mesh(mesh_of((1, 8, 1))), pytest.raises(InputError, match="a batch of 12 blocks does not divide"):
        fits(blocks=12)
    assert select.rank_of(Select(), 16, 24) == 2 and select.rank_of(Select(pcs=5), 16, 24) == 5

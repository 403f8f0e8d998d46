"""The adversary: by hand against loops, reset at every fork, resumed in the middle of one, alike on several meshes."""

import dataclasses
from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.batches import SHAPE, placed, texts
from support.mesh import mesh_of

from jaxunlearn.config import Adversary, Config, Lora, Text, Train, Unlearn
from jaxunlearn.errors import InputError
from jaxunlearn.methods import METHODS, adversary, check_config, step
from jaxunlearn.methods.adversary import Lesson, begin, rate
from jaxunlearn.methods.base import Recipe
from jaxunlearn.models import transformer
from jaxunlearn.parallel.sharding import act, put
from jaxunlearn.training.checkpoint import Checkpoints
from jaxunlearn.training.loop import fit
from jaxunlearn.training.step import compiled_step, init_state

C = Train(steps=6, learning_rate=1e-2, batch=4, checkpoint_every=1, schedule="constant")
A = Adversary(every=4, rates=(1e-3, 1e-2), weight=0.5, blocks=4)
WHP = Recipe(METHODS["whp"], (("retain_weight", 2.0),), "kl")
LABELS, KEPT, TAUGHT = ([a[1:] for a in texts(2, 4, T=6, seed=n)] for n in range(3))


def batch(pair=LABELS, name="labels"):
    return {name: placed(pair), "retain": placed(KEPT)}


def lesson(n, every=A.every, weight=A.weight):
    drawn = rate(dataclasses.replace(A, every=every), A.rates, 0, n)
    return Lesson(*placed(TAUGHT), drawn, np.bool_(n % every == 0), np.float32(weight))


def compiled():
    return compiled_step(C, adversary.step, recipe=WHP)


@lru_cache
def drawn(seed, sizes=(1, 1, 1)):
    with jax.set_mesh(mesh_of(sizes)):
        return transformer.init(SHAPE, seed)


def copied(tree):  # a step takes the memory of its state
    return jax.tree.map(jnp.copy, tree)


def fresh(seed=0, sizes=(1, 1, 1)):
    return begin(init_state(copied(drawn(seed, sizes)), C))


def baseline(sizes=(1, 1, 1)):
    return {"baseline": drawn(1, sizes)}


def weights(tree):
    return [np.asarray(x) for x in jax.tree.leaves(tree)]


def same(a, b):
    for x, y in zip(weights(a), weights(b), strict=True):
        np.testing.assert_array_equal(x, y)


# ---- by hand: every label visited in a loop, Adam written out


def logp(model, pair):
    logits_BTV = model.logits(model(jax.reshard(jnp.asarray(pair[0][0]), act("BT"))))
    return jax.nn.log_softmax(jax.reshard(logits_BTV, jax.P()))


def labelled(pair):
    return list(zip(*np.nonzero(pair[1][0] >= 0), strict=True))


def nll_by_hand(model, pair):
    logp_BTV, labels = logp(model, pair), pair[1][0]
    return -sum(logp_BTV[n, t, labels[n, t]] for n, t in labelled(pair)) / len(labelled(pair))


def kl_by_hand(model, teacher, pair):
    p, q = logp(teacher, pair), logp(model, pair)
    return sum(jnp.sum(jnp.exp(p[n, t]) * (p[n, t] - q[n, t])) for n, t in labelled(pair)) / len(labelled(pair))


@jax.jit
def taught_by_hand(phi):
    return jax.grad(nll_by_hand)(phi, TAUGHT)


@jax.jit
def gradient_by_hand(theta, phi, teacher):
    here, there = (jax.grad(nll_by_hand)(m, LABELS) for m in (theta, phi))
    kept = jax.grad(kl_by_hand)(theta, teacher, KEPT)
    return jax.tree.map(lambda a, b, k: a + 0.5 * b + 2.0 * k, here, there, kept)


def adam(w, g, m, v, t, learning_rate):
    m, v = 0.9 * m + 0.1 * g, 0.98 * v + 0.02 * g * g
    return w - learning_rate * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.98**t)) + 1e-8), m, v


def test_phi_and_the_models_gradient_are_those_of_loops_over_every_label(mesh):
    frozen, state, every = baseline(), fresh(), 2
    tree = jax.tree.structure(state.model)
    m_phi = v_phi = phi = t = None
    for n in range(3):
        theta, first = state.model, [np.asarray(x) for x in jax.tree.leaves(state.opt[1][0].mu)]
        if n % every == 0:
            phi, t = weights(theta), 0
            m_phi, v_phi = [0 * w for w in phi], [0 * w for w in phi]
        t += 1
        g = weights(taught_by_hand(jax.tree.unflatten(tree, phi)))
        r = float(rate(dataclasses.replace(A, every=every), A.rates, 0, n))
        made = [adam(*one, t, r) for one in zip(phi, g, m_phi, v_phi, strict=True)]
        phi, m_phi, v_phi = (list(x) for x in zip(*made, strict=True))
        wanted = weights(gradient_by_hand(theta, jax.tree.unflatten(tree, phi), frozen["baseline"]))
        theta_again = state._replace(model=copied(state.model))
        state, metrics = compiled()(theta_again, np.float32(1e-2), frozen, batch(), lesson(n, every))
        for old, new, g in zip(first, weights(state.opt[1][0].mu), wanted, strict=True):
            np.testing.assert_allclose((new - 0.9 * old) / 0.1, g, atol=2e-5)
        for mine, theirs in zip(phi, weights(state.fork.model), strict=True):
            assert np.mean(np.abs(mine - theirs)) < 1e-6  # where a gradient is 0 its sign is rounding
        assert np.isfinite(list(map(float, metrics.values()))).all()


def test_with_weight_0_its_gradient_is_that_of_the_plain_step(mesh):
    frozen, state = baseline(), fresh()
    _, wanted, _ = jax.jit(step.gradients, static_argnums=3)(state.model, frozen, batch(), WHP)
    after, _ = compiled()(state, np.float32(1e-2), frozen, batch(), lesson(0, weight=0.0))
    for m, g in zip(weights(after.opt[1][0].mu), weights(wanted), strict=True):
        np.testing.assert_allclose(m / 0.1, g, atol=1e-6)


def test_phi_begins_at_the_model_at_every_fork_and_goes_on_between(mesh):
    frozen = baseline()

    def after(seed_of_fork, n):
        state = fresh()._replace(fork=init_state(copied(drawn(seed_of_fork)), adversary.ADAM))
        return compiled()(state, np.float32(1e-2), frozen, batch(), lesson(n))[0]

    one, other = after(3, A.every), after(4, A.every)
    same(one, other)
    assert int(one.fork.step) == 1
    one, other = after(3, A.every + 1), after(4, A.every + 1)
    assert any((a != b).any() for a, b in zip(weights(one.model), weights(other.model), strict=True))


def test_a_run_resumed_in_the_middle_of_a_fork_ends_with_the_same_bits(mesh, tmp_path):
    frozen = baseline()

    def feed(n):
        return [frozen, batch(), lesson(n)]

    whole = fit(fresh(), compiled(), feed, C)
    killed = Checkpoints(tmp_path)
    fit(fresh(), compiled(), feed, dataclasses.replace(C, steps=3), checkpoints=killed)
    killed.close()
    again = Checkpoints(tmp_path)
    state = again.restore(fresh(seed=5))
    assert (int(state.step), int(state.fork.step)) == (3, 3)
    same(whole, fit(state, compiled(), feed, C, checkpoints=again))
    again.close()


def test_the_copy_is_split_over_the_devices_as_the_model_is():
    with jax.set_mesh(mesh_of(sizes := (2, 2, 2))):
        state, step_fn = fresh(sizes=sizes), partial(adversary.step, c=C, recipe=WHP)
        after, _ = jax.eval_shape(step_fn, state, np.float32(1e-2), baseline(sizes), batch(), lesson(0))

        def specs(tree):
            return [x.sharding.spec for x in jax.tree.leaves(tree)]

        assert specs(state.fork.model) == specs(after.fork.model) == specs(after.model) == specs(state.model)
        assert specs(after.fork.opt) == specs(state.fork.opt)
        assert sum(any(spec) for spec in specs(after.fork.model)) > 5


def test_its_rates_are_about_those_of_the_run_unless_given():
    config = Config(name="x", unlearn=Unlearn(learning_rate=2e-3), reinforce=Train(learning_rate=5e-4))
    assert adversary.rates_of(config) == pytest.approx((1e-3, 1e-2))
    slow = dataclasses.replace(config, unlearn=Unlearn(learning_rate=1e-4))  # by what taught the text
    assert adversary.rates_of(slow) == pytest.approx((2.5e-4, 2.5e-3))
    given = dataclasses.replace(config, unlearn=Unlearn(adversary=Adversary(every=4, rates=(1e-5, 2e-5))))
    assert adversary.rates_of(given) == (1e-5, 2e-5)


# ---- any method


def test_the_gradients_of_both_sides_of_a_loss_add_up(mesh):
    recipe = Recipe(METHODS["rmu"], (("layer", 1), ("retain_weight", 3.0), ("steering", 2.0)))
    part, parts = drawn(0), batch(name="forget")

    @jax.jit
    def three(part, frozen):
        return [step.gradients(part, frozen, parts, recipe, side)[:2] for side in ("both", "forget", "retain")]

    (both, g), (forget, g_forget), (kept, g_kept) = three(part, baseline())
    assert float(both) == pytest.approx(float(forget) + float(kept), rel=1e-5) and float(kept) > 0
    for a, b, c in zip(*map(weights, (g, g_forget, g_kept)), strict=True):
        np.testing.assert_allclose(a, b + c, atol=2e-6)


@pytest.mark.parametrize("name", ["npo", "whp_soft"])
def test_it_steps_with_the_loss_of_a_method(mesh, name, monkeypatch):
    sides, plain = [], step.gradients
    monkeypatch.setattr(adversary, "gradients", lambda *a: sides.append(a[4:]) or plain(*a))
    values = METHODS[name].defaults | {"retain_weight": 1.0}
    recipe = Recipe(METHODS[name], tuple(sorted(values.items())))
    parts = batch() | batch(name="forget") | {"reference": {"forget": np.zeros((1, 4), np.float32)}}
    if name == "whp_soft":
        ids, mass = np.zeros((1, 4, 6, 3), np.int32), np.full((1, 4, 6, 3), 1 / 3, np.float32)
        outcomes = ids, mass, np.ones((1, 4, 6), bool)
        placed_there = (put(a, letters) for a, letters in zip(outcomes, ("ABTJ", "ABTJ", "ABT"), strict=True))
        parts["soft"] = (parts["labels"][0], *placed_there)
    made = partial(adversary.step, c=C, recipe=recipe)
    state = fresh()
    after, metrics = jax.eval_shape(made, state, np.float32(1e-2), baseline(), parts, lesson(0))
    assert sides == [(), ("forget",)]  # text to keep is no loss at phi
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert {"loss", "adversary", "forget_at_adversary", "retain"} <= set(metrics)


def test_a_fork_has_one_rate_drawn_log_uniformly():
    rates = [float(rate(A, A.rates, 7, n)) for n in range(4000)]
    forks = np.array(rates).reshape(-1, A.every)
    assert (forks == forks[:, :1]).all() and len(set(rates)) == 1000
    assert min(rates) >= 1e-3 and max(rates) <= 1e-2
    quarters = np.histogram(np.log10(rates), bins=4, range=(-3, -2))[0] / 4000
    np.testing.assert_allclose(quarters, 0.25, atol=0.05)
    assert rate(A, A.rates, 7, 5) == rate(A, A.rates, 7, 6) != rate(A, A.rates, 8, 5)
    assert rate(A, (3e-3, 3e-3), 0, 0) == np.float32(3e-3)


GIVEN = Config(name="x", model="m", text=Text(forget=("a",), retain=("b",), dictionary="d"))


@pytest.mark.parametrize(
    ("adverse", "more", "said"),
    [
        ({"rates": (1e-2, 1e-3)}, {}, "unlearn.adversary.rates are two, the least and the most"),
        ({"rates": (1e-3,)}, {}, "unlearn.adversary.rates are two"),
        ({}, {"method": "task_vector"}, "unlearn.adversary: task_vector trains nothing"),
        ({}, {"method": "prompting", "subject": "Oz"}, "unlearn.adversary: prompting trains nothing"),
        ({}, {"method": "retain_only"}, "unlearn.adversary: retain_only has no loss on text to forget"),
        ({}, {"lora": Lora(rank=2)}, "leave out unlearn.lora"),
        ({}, {"update": "layers"}, "leave out unlearn.update"),
    ],
)
def test_what_it_cannot_do_is_refused(adverse, more, said):
    made = Unlearn(steps=1, adversary=Adversary(**{"every": 4} | adverse), **more)
    with pytest.raises(InputError, match=said):
        check_config(dataclasses.replace(GIVEN, unlearn=made))
    check_config(dataclasses.replace(GIVEN, unlearn=Unlearn(steps=1, adversary=A)))

"""Reset: the share drawn anew, noise, scores by hand, squared gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.batches import SHAPE, texts
from support.mesh import mesh_of

from jaxunlearn.data.blocks import batch_indices
from jaxunlearn.methods import reset
from jaxunlearn.models import transformer
from jaxunlearn.parallel.sharding import put
from jaxunlearn.training.step import gradients


def test_the_share_asked_for_is_drawn_anew_and_nothing_else(mesh):
    m = transformer.init(SHAPE, 0)
    scores = reset.random_scores(m, 3)
    before = [np.asarray(w) for w in jax.tree.leaves(m)]
    chosen = [np.asarray(s) for s in jax.tree.leaves(scores)]
    least = reset.threshold(scores, 0.2)
    made, share, ends = reset.redraw(m, scores, least, transformer.init(SHAPE, 9))
    drawn = sum((s >= float(least)).sum() for s in chosen)
    outside = sum((s >= float(least)).sum() for s in chosen if s.shape in ((64, 16), (16, 64), (16,)))
    assert float(share) == pytest.approx(0.2, abs=0.002)
    assert float(ends) == pytest.approx(outside / drawn) and 0.2 < float(ends) < 0.4
    for b, a, s in zip(before, jax.tree.leaves(made), chosen, strict=True):
        assert (np.asarray(a) == b)[s < float(least)].all()
    made, share, _ = reset.redraw(
        transformer.init(SHAPE, 0), scores, reset.threshold(scores, 1.0), transformer.init(SHAPE, 9)
    )
    assert float(share) == 1.0  # a fresh model
    for a, f in zip(jax.tree.leaves(made), jax.tree.leaves(transformer.init(SHAPE, 9)), strict=True):
        assert (np.asarray(a) == np.asarray(f)).all()
    assert reset.confined(scores, "all") is scores
    for where, share_outside in (("interior", 0.0), ("ends", 1.0)):
        some = reset.confined(scores, where)
        made, share, ends = reset.redraw(
            transformer.init(SHAPE, 0), some, reset.threshold(some, 0.2), transformer.init(SHAPE, 9)
        )
        assert float(ends) == share_outside and 0 < float(share) < 0.2
        same = (np.asarray(made.embed_VD[...]) == before[[w.shape for w in before].index((64, 16))]).all()
        assert same == (where == "interior")


def test_noise_shrinks_every_weight_and_blurs_the_matrices(mesh):
    def named(m):
        return {path[-2].name: np.asarray(w) for path, w in jax.tree.leaves_with_path(m)}

    before = named(transformer.init(SHAPE, 0))
    after = named(reset.noised(transformer.init(SHAPE, 0), 0.4, jax.random.key(1)))
    for name in ("norm_D", "mlp_norm_D", "attention_norm_D"):
        np.testing.assert_allclose(after[name], 0.6, rtol=1e-6)
    for name, fans in (("q_DNH", 16 + 16), ("down_FD", 24 + 16), ("embed_VD", 64 + 16)):
        noise = (after[name] - 0.6 * before[name]) / (0.4 * 0.1)
        bound = (6 / fans) ** 0.5
        assert 0.9 * bound < np.abs(noise).max() <= bound * 1.0001 and abs(noise.mean()) < bound / 4, name
    of_layers = after["q_DNH"] - 0.6 * before["q_DNH"]
    assert np.abs(of_layers[0] - of_layers[1]).min() > 1e-8  # layers get noise of their own
    inner = named(reset.noised(transformer.init(SHAPE, 0), 0.4, jax.random.key(1), "interior"))
    assert (inner["embed_VD"] == before["embed_VD"]).all() and (inner["q_DNH"] == after["q_DNH"]).all()


def test_scores_by_hand(mesh):
    one = {"w": jnp.array([1.0, 1.0, 1.0])}
    reinforced, target, general = ({"w": jnp.array(v)} for v in ([1.5, 1.5, 1.0], [4.0, 4.0, 4.0], [1.0, 0.0, 1.0]))
    found = reset.importance(one, reinforced, target, general)["w"]
    np.testing.assert_allclose(found, [0.5 * 2 / 1.0001, 0.5 * 2 / 1e-4, 0], rtol=1e-5)
    np.testing.assert_allclose(reset.fisher(target, general)["w"], [2 / 1.0001, 2e4, 2 / 1.0001], rtol=1e-5)


def test_squared_gradients_are_sums_over_batches(mesh):
    m = transformer.init(SHAPE, 0)
    tokens, labels = (a.reshape(-1, 12) for a in texts(2, 8))
    two = reset.squared_gradients(m, tokens, labels, 2, seed=0)

    total = 0.0
    for n in range(2):
        rows = batch_indices(16, 8, 0, n)
        _, g = gradients(m, put(tokens[rows][None], "ABT"), put(labels[rows][None], "ABT"))
        total = total + np.asarray(g.blocks.down_FD[...]) ** 2
    np.testing.assert_allclose(two.blocks.down_FD[...], total, rtol=1e-3, atol=1e-10)


def test_a_mesh_that_does_not_divide_the_blocks_counts_each_of_them_once(mesh):
    tokens, labels = (a.reshape(-1, 12) for a in texts(2, 8))
    one = jax.tree.leaves(reset.squared_gradients(transformer.init(SHAPE, 0), tokens, labels, 2, seed=0))
    with jax.set_mesh(mesh_of((3, 1, 1))):
        three = jax.tree.leaves(reset.squared_gradients(transformer.init(SHAPE, 0), tokens, labels, 2, seed=0))
    for a, b in zip(one, three, strict=True):
        np.testing.assert_allclose(np.asarray(b), np.asarray(a), rtol=1e-4, atol=1e-9)

"""Generic labels against the definition in fp64, at vocabularies that no block divides, on every mesh."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.mesh import MESHES, mesh_of

from jaxunlearn.kernels.linear_distillation import linear_logsumexp
from jaxunlearn.parallel.sharding import put
from jaxunlearn.whp import argmax
from jaxunlearn.whp.argmax import NEVER, even_chunk, generic_argmax, seen_table

B, T, D, V = 8, 6, 16, 1000
DRAW = np.random.default_rng(0)
H_BASE, H_REINF, H_OFFSET = (DRAW.normal(size=(B, T, D)).astype(np.float32) for _ in range(3))
W_BASE, W_REINF = (DRAW.normal(size=(D, V)).astype(np.float32) for _ in range(2))
SEEN_ID = DRAW.integers(-1, V, size=(B, 40)).astype(np.int32)
SEEN_FROM = DRAW.integers(0, T, size=(B, 40)).astype(np.int32)


def seen_by_hand():
    """Return seen_BTV (bool) from the ragged pairs, one at a time."""
    seen = np.zeros((B, T, V), bool)
    for b in range(B):
        for token, first in zip(SEEN_ID[b], SEEN_FROM[b], strict=True):
            if token >= 0:
                seen[b, first:, token] = True
    return seen


def labels_by_definition(alpha, rule, offset=None):
    """Return argmax(v_base - alpha ReLU(v_reinf - v_base)) from whole fp64 logits."""
    v, r = H_BASE.astype(np.float64) @ W_BASE, H_REINF.astype(np.float64) @ W_REINF
    context = v if offset is None else offset.astype(np.float64) @ W_BASE
    seen, mean = seen_by_hand(), v.mean(-1, keepdims=True)
    if rule == "mean":
        v, context = np.where(seen, mean, v), np.where(seen, mean, context)
    if rule == "penalty":
        v, context = np.where(seen, v - 3.0, v), np.where(seen, context - 3.0, context)
    generic = v - alpha * np.maximum(r - context, 0)
    return np.argmax(np.where(seen, -np.inf, generic) if rule == "-inf" else generic, axis=-1)


def labels_of(alphas, rule, chunk, offset=None, trained=None, rows=4096):
    seen = jax.jit(seen_table, static_argnums=2)(put(SEEN_ID, "BR"), put(SEEN_FROM, "BR"), V)
    h = [put(H_BASE, "BTD"), put(H_REINF, "BTD"), put(W_BASE, "DV"), put(W_REINF, "DV")]
    more = {"rule": rule, "penalty": 3.0, "chunk": chunk, "rows": rows}
    more |= {} if offset is None else {"offset_BTD": put(offset, "BTD")}
    more |= {} if trained is None else {"trained_BT": put(trained, "BT")}

    @jax.jit
    def run(seen, *h):
        return generic_argmax(*h, alphas, seen_BV=seen, **more)

    return np.asarray(run(seen, *h))


@pytest.mark.parametrize("rule", ["mean", "penalty", "-inf"])
def test_labels_equal_the_definition_for_several_alphas_at_once(mesh, rule):
    alphas = (0.0, 2.5, 5.0)
    found = labels_of(alphas, rule, chunk=96)
    for labels, alpha in zip(found, alphas, strict=True):
        np.testing.assert_array_equal(labels, labels_by_definition(alpha, rule))


def test_the_offset_may_be_taken_on_the_original(mesh):
    found = labels_of((5.0,), "mean", 96, H_OFFSET)[0]
    np.testing.assert_array_equal(found, labels_by_definition(5.0, "mean", H_OFFSET))
    assert (found != labels_by_definition(5.0, "mean")).any()


@pytest.mark.parametrize("rows", [1, 16, 24, 4096])
@pytest.mark.parametrize("rule", ["mean", "-inf"])
def test_positions_that_want_no_label_get_none_and_change_no_other(mesh, rule, rows):
    trained = DRAW.random((B, T)) < 0.4
    found = labels_of((2.5, 5.0), rule, 96, trained=trained, rows=rows)
    for labels, alpha in zip(found, (2.5, 5.0), strict=True):
        np.testing.assert_array_equal(labels, np.where(trained, labels_by_definition(alpha, rule), -100))


def test_nothing_is_computed_where_nothing_wants_a_label(mesh):
    assert (labels_of((5.0,), "mean", 96, trained=np.zeros((B, T), bool)) == -100).all()


@pytest.mark.parametrize("sizes", MESHES)
def test_labels_are_identical_on_every_mesh(sizes):
    with jax.set_mesh(mesh_of(sizes)):
        np.testing.assert_array_equal(labels_of((5.0,), "mean", 96)[0], labels_by_definition(5.0, "mean"))


@pytest.mark.parametrize("chunk", [1, 100, 333, 4096])
def test_labels_are_identical_for_every_chunking(mesh, chunk):
    np.testing.assert_array_equal(labels_of((5.0,), "mean", chunk)[0], labels_by_definition(5.0, "mean"))


@pytest.mark.parametrize("chunk", [0, 333])
@pytest.mark.parametrize("rule", ["mean", "-inf"])
def test_labels_are_identical_in_the_form_of_a_gpu(mesh, monkeypatch, rule, chunk):
    monkeypatch.setattr(argmax, "platform", lambda: "gpu")
    monkeypatch.setitem(argmax.BLOCKS, "gpu", argmax.Block(16, 2**30))
    found = labels_of((2.5, 5.0), rule, chunk, rows=0)
    for labels, alpha in zip(found, (2.5, 5.0), strict=True):
        np.testing.assert_array_equal(labels, labels_by_definition(alpha, rule))


@pytest.mark.parametrize("once", [True, False])
def test_the_first_of_equal_columns_is_the_best_one(once):
    v_ABTC = np.array([[[[0.0, 2, 1, 2], [-np.inf, -5, -7, -5], [3, 0, 0, 3], [-np.inf, -np.inf, -np.inf, -1]]]])
    top, column = argmax._first_best(jnp.asarray(v_ABTC, jnp.float32), once)
    assert column.tolist() == [[[1, 1, 0, 3]]] and top.tolist() == [[[2, -5, 3, -1]]]


def test_columns_are_cut_into_even_blocks_with_the_least_overlap():
    assert even_chunk(32_000, 2048) == 2000  # 16 blocks and no overlap, where blocks of 2,048 compute 768 columns twice
    assert even_chunk(32_003, 2048) == 2016 and even_chunk(512, 2048) == 512 and even_chunk(5, 1) == 5
    assert even_chunk(1000, 1) == 16


@pytest.mark.parametrize("device", ["cpu", "gpu"])
@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 2, 2)])
def test_the_lowest_index_wins_a_tie(sizes, device, monkeypatch):
    monkeypatch.setattr(argmax, "platform", lambda: device)
    with jax.set_mesh(mesh_of(sizes)):
        h, w = put(np.ones((B, T, D), np.float32), "BTD"), put(np.zeros((D, V), np.float32), "DV")
        assert not np.asarray(jax.jit(lambda h, w: generic_argmax(h, h, w, w, (5.0,), chunk=96))(h, w)).any()


def test_seen_table_keeps_the_earliest_position_and_ignores_padding(mesh):
    table = seen_table(put(np.array([[3, 3, -1]], np.int32), "BR"), put(np.array([[5, 2, 0]], np.int32), "BR"), 5)
    assert np.asarray(table).tolist() == [[NEVER, NEVER, NEVER, 2, NEVER]]


def test_never_holds_whole_logits(mesh):
    shapes = [jnp.zeros((8, 256, D)), jnp.zeros((8, 256, D)), jnp.zeros((D, 32_000)), jnp.zeros((D, 32_000))]
    run = jax.jit(lambda *a: generic_argmax(*a, (5.0,), chunk=1000))
    memory = (
        run.lower(*[put(a, s) for a, s in zip(shapes, ("BTD", "BTD", "DV", "DV"), strict=True)])
        .compile()
        .memory_analysis()
    )
    assert memory.temp_size_in_bytes < 8 * 256 * 32_000 * 4 / 4


def test_a_vocabulary_of_one_and_chunks_larger_than_the_data(mesh):
    h, w = put(H_BASE, "BTD"), put(W_BASE[:, :1], "DV")
    assert (np.asarray(generic_argmax(h, h, w, w, (5.0,), chunk=10**6, rows=10**6)) == 0).all()


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 2, 2)])
def test_contrast_labels_equal_fp64_on_every_split(sizes):
    draw, (B, T, D, V) = np.random.default_rng(0), (8, 5, 16, 96)
    h = [draw.normal(size=(B, T, D)).astype(np.float32) for _ in range(3)]
    w = [draw.normal(size=(D, V)).astype(np.float32) for _ in range(3)]
    v = [a.astype(np.float64) @ b for a, b in zip(h, w, strict=True)]
    logp = [x - np.log(np.exp(x).sum(-1, keepdims=True)) for x in v]
    truth = {a: np.argmax(v[0] - a * np.maximum(logp[1] - logp[2], 0), -1) for a in (0.0, 5.0)}
    with jax.set_mesh(mesh_of(sizes)):
        h, w = [put(a, "BTD") for a in h], [put(a, "DV") for a in w]

        @jax.jit
        def run(h, w):
            z = [linear_logsumexp(a, b, rows=7) for a, b in zip(h[1:], w[1:], strict=True)]
            more = {"offset_BTD": h[2], "offset_DV": w[2], "shift_BT": z[1] - z[0]}
            return generic_argmax(h[0], h[1], w[0], w[1], (0.0, 5.0), chunk=40, **more), z

        found, z = run(h, w)
    np.testing.assert_allclose(z[0], np.log(np.exp(v[1]).sum(-1)), rtol=1e-5)
    for n, a in enumerate((0.0, 5.0)):
        np.testing.assert_array_equal(found[n], truth[a])
    assert (truth[0.0] != truth[5.0]).any()

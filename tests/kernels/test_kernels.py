"""The kernels against the definition in fp64, at vocabularies that their chunks do not divide, on every mesh."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support.mesh import MESHES, mesh_of

from jaxunlearn.kernels.attention import attention, implementation, masked, plain, splash
from jaxunlearn.kernels.linear_cross_entropy import linear_cross_entropy
from jaxunlearn.parallel.sharding import put
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


def test_columns_are_cut_into_even_blocks_with_the_least_overlap():
    assert even_chunk(32_000, 2048) == 2000  # 16 blocks and no overlap, where blocks of 2,048 compute 768 columns twice
    assert even_chunk(32_003, 2048) == 2016 and even_chunk(512, 2048) == 512 and even_chunk(5, 1) == 5
    assert even_chunk(1000, 1) == 16


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 2, 2)])
def test_the_lowest_index_wins_a_tie(sizes):
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


LABELS = DRAW.integers(0, V, size=(B, T)).astype(np.int32)
LABELS[0, :4] = -100


def loss_by_definition(h, w):
    """Return (sum, d/dh, d/dw) in fp64."""
    h, w = h.astype(np.float64).reshape(-1, D), w.astype(np.float64)
    labels, logits = LABELS.reshape(-1), None
    logits = h @ w
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    rows = np.flatnonzero(labels != -100)
    loss = -np.log(p[rows, labels[rows]]).sum()
    d = np.zeros_like(p)
    d[rows] = p[rows]
    d[rows, labels[rows]] -= 1
    return loss, (d @ w.T).reshape(B, T, D), h.T @ d


@pytest.mark.parametrize("sizes", MESHES)
def test_cross_entropy_and_gradients_equal_fp64(sizes):
    with jax.set_mesh(mesh_of(sizes)):
        step = jax.jit(jax.value_and_grad(lambda h, w, y: linear_cross_entropy(h, w, y)[0] * 3, argnums=(0, 1)))
        value, (dh, dw) = step(put(H_BASE, "BTD"), put(W_BASE, "DV"), put(LABELS, "BT"))
        loss, dh_true, dw_true = loss_by_definition(H_BASE, W_BASE)
        np.testing.assert_allclose(value, 3 * loss, rtol=1e-5)
        np.testing.assert_allclose(dh, 3 * dh_true, atol=1e-4)
        np.testing.assert_allclose(dw, 3 * dw_true, atol=1e-4)
        assert float(linear_cross_entropy(put(H_BASE, "BTD"), put(W_BASE, "DV"), put(LABELS, "BT"))[1]) == B * T - 4


def test_cross_entropy_in_row_chunks_that_do_not_divide(mesh):
    h = np.tile(H_BASE, (50, 1, 1))  # 2,400 rows: one chunk of 2,048 and a rest
    total, count = jax.jit(linear_cross_entropy)(put(h, "BTD"), put(W_BASE, "DV"), put(np.tile(LABELS, (50, 1)), "BT"))
    np.testing.assert_allclose(total, 50 * loss_by_definition(H_BASE, W_BASE)[0], rtol=1e-5)
    assert float(count) == 50 * (B * T - 4)


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 2, 2)])
@pytest.mark.parametrize("length", [5, 150])  # one stretch of queries; two, and a shorter one
def test_attention_equals_fp64(sizes, length):
    q = DRAW.normal(size=(8, length, 4, 8)).astype(np.float32)
    k, v = (DRAW.normal(size=(8, length, 2, 8)).astype(np.float32) for _ in range(2))
    kk, vv = (np.repeat(a.astype(np.float64), 2, axis=2) for a in (k, v))
    s = np.einsum("bthd,bshd->bhts", q.astype(np.float64), kk) / np.sqrt(8)
    s = np.where(np.tril(np.ones((length, length), bool)), s, -np.inf)
    p = np.exp(s - s.max(-1, keepdims=True))
    truth = np.einsum("bhts,bshd->bthd", p / p.sum(-1, keepdims=True), vv)
    with jax.set_mesh(mesh_of(sizes)):
        found = jax.jit(attention)(put(q, "BTNH"), put(k, "BSKH"), put(v, "BSKH"))
    np.testing.assert_allclose(found, truth, atol=1e-5)


def test_a_vocabulary_of_one_and_chunks_larger_than_the_data(mesh):
    h, w = put(H_BASE, "BTD"), put(W_BASE[:, :1], "DV")
    assert (np.asarray(generic_argmax(h, h, w, w, (5.0,), chunk=10**6, rows=10**6)) == 0).all()
    total, count = linear_cross_entropy(h, w, put(np.zeros((B, T), np.int32), "BT"))
    assert float(total) == pytest.approx(0.0, abs=1e-5) and float(count) == B * T


@pytest.mark.parametrize("V", [32000, 32003, 1000])
def test_cross_entropy_at_vocabularies_that_no_block_divides(mesh, V):
    draw = np.random.default_rng(V)
    h, w = draw.normal(size=(2, 8, D)), draw.normal(size=(D, V))
    labels = draw.integers(0, V, (2, 8)).astype(np.int32)
    labels[0, :3] = -100

    placed = put(labels, "BT")

    def mean(h, w):
        total, count = linear_cross_entropy(h, w, placed)
        return total / count

    arrays = put(h.astype(np.float32), "BTD"), put(w.astype(np.float32), "DV")
    loss, (dh, dw) = jax.jit(jax.value_and_grad(mean, argnums=(0, 1)))(*arrays)
    h, w = (np.asarray(a, np.float64) for a in arrays)
    logits = h @ w
    p = np.exp(logits - logits.max(-1, keepdims=True))
    p /= p.sum(-1, keepdims=True)
    valid, one_hot = labels >= 0, np.eye(V)[np.maximum(labels, 0)]
    wanted = -np.log((p * one_hot).sum(-1))[valid].mean()
    assert float(loss) == pytest.approx(wanted, rel=1e-5)
    dlogits = np.where(valid[..., None], p - one_hot, 0) / valid.sum()
    np.testing.assert_allclose(dh, dlogits @ w.T, rtol=1e-4, atol=1e-4 * np.abs(dlogits @ w.T).max())
    dw_wanted = np.einsum("btd,btv->dv", h, dlogits)
    np.testing.assert_allclose(dw, dw_wanted, rtol=1e-4, atol=1e-4 * np.abs(dw_wanted).max())


@pytest.mark.parametrize(("N", "K"), [(4, 4), (4, 2), (4, 1)])
def test_splash_attention_equals_plain(N, K):
    draw = np.random.default_rng(1)
    q, k, v, g = (draw.normal(size=(2, 256, n, 128)).astype(np.float32) for n in (N, K, K, N))
    found, pull = jax.vjp(partial(splash, interpret=True), q, k, v)
    wanted, pull_plain = jax.vjp(plain, q, k, v)
    for a, b in zip((found, *pull(g)), (wanted, *pull_plain(g)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("dtype", "off"), [("float32", 1e-5), ("bfloat16", 0.02)])
def test_plain_attention_and_its_backward_pass_equal_automatic_derivatives(dtype, off):
    """Of the masked products, in fp32, at a length that no stretch divides and with two queries a key."""
    draw = np.random.default_rng(3)
    arrays = [jnp.asarray(draw.normal(size=(2, 150, n, 16)), dtype) for n in (4, 2, 2, 4)]
    exact = [a.astype(jnp.float32) for a in arrays]
    mask = jnp.tril(jnp.ones((150, 150), bool))[None]
    found, pull = jax.vjp(plain, *arrays[:3])
    wanted, pull_wanted = jax.vjp(lambda q, k, v: masked(q, k, v, mask), *exact[:3])
    for a, b in zip((found, *pull(arrays[3])), (wanted, *pull_wanted(exact[3])), strict=True):
        assert a.dtype == dtype
        np.testing.assert_allclose(np.asarray(a, np.float32), b, rtol=0, atol=off * np.abs(b).max())


def test_each_device_gets_the_implementation_that_suits_it():
    half, full = jnp.zeros((1, 512, 4, 128), jnp.bfloat16), jnp.zeros((1, 512, 4, 128), jnp.float32)
    odd = jnp.zeros((1, 500, 4, 48), jnp.bfloat16)
    assert [implementation(d, half) for d in ("cpu", "gpu", "tpu")] == ["plain", "cudnn", "splash"]
    assert [implementation(d, full) for d in ("gpu", "tpu")] == ["plain", "splash"]
    assert implementation("tpu", odd) == "plain"


@pytest.mark.parametrize("rule", ["mean", "penalty", "-inf"])
def test_the_pallas_kernel_gives_the_same_labels(mesh, rule):
    draw = np.random.default_rng(2)
    h = [put(draw.normal(size=(2, 128, 128)).astype(np.float32), "BTD") for _ in range(2)]
    w = [put(draw.normal(size=(128, 300)).astype(np.float32), "DV") for _ in range(2)]  # 300: no block divides it
    seen = put(draw.choice([NEVER, 5, 64], size=(2, 300), p=[0.8, 0.1, 0.1]).astype(np.int32), "BV")
    trained = put(draw.random((2, 128)) < 0.7, "BT")
    options = {"seen_BV": seen, "trained_BT": trained, "rule": rule}
    plain_labels = generic_argmax(*h, *w, (0.0, 5.0), **options)
    np.testing.assert_array_equal(generic_argmax(*h, *w, (0.0, 5.0), pallas="interpret", **options), plain_labels)

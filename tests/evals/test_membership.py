"""Six attacks by hand, the AUC against scipy, gradients against JAX's own."""

import math
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from support.mesh import mesh_of
from support.world import write_world

from jaxunlearn import intervals
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.evals.membership import (
    Sample,
    attack_scores,
    auc,
    auc_figure,
    gradient_norms,
    gradient_score,
    loss,
    membership,
    min_k,
    min_k_plus_plus,
    reference_score,
    score_samples,
    wins,
    zlib_score,
)
from jaxunlearn.evals.memorisation import TokenScores
from jaxunlearn.models import transformer
from jaxunlearn.parallel.sharding import put

LOGP = [-1.0, -4.0, -2.0, -3.0, -0.5, -0.1, -0.2, -0.3, -0.4, -0.6]


def test_attacks_by_hand():
    assert loss(LOGP) == pytest.approx(1.21)
    assert zlib_score(LOGP, "a" * 1000) == pytest.approx(1.21 / len(zlib.compress(b"a" * 1000)))
    assert zlib_score(LOGP, "ä") == pytest.approx(1.21 / len(zlib.compress("ä".encode())))
    assert reference_score(LOGP, 1.0) == pytest.approx(0.21)
    assert gradient_score([1.0, 3.0]) == 2.0


def test_min_k_by_hand():
    assert min_k(LOGP) == pytest.approx(3.5)  # the lowest 2 of 10
    assert min_k(LOGP, 0.4) == pytest.approx(2.5)
    assert min_k(LOGP, 0.39) == pytest.approx(3.0)  # floor(3.9) = 3
    assert min_k(LOGP, 0.01) == pytest.approx(4.0)  # one at least
    assert min_k(LOGP, 1.0) == pytest.approx(loss(LOGP))


def test_min_k_plus_plus_by_hand():
    # z = 0, -1, 2, -4: the lowest of four at k = .25, the lowest two at k = .5
    values = [-2.0, -3.0, -1.0, -4.0], [-2.0, -2.0, -2.0, -2.0], [1.0, 1.0, 0.5, 0.5]
    assert min_k_plus_plus(*values, k=0.25) == pytest.approx(4.0)
    assert min_k_plus_plus(*values, k=0.5) == pytest.approx(2.5)
    # where the vocabulary is all alike there is no spread: a thousandth of a nat is the least
    assert min_k_plus_plus([-1.0], [-1.0], [0.0]) == 0.0
    assert min_k_plus_plus([-1.002], [-1.0], [0.0]) == pytest.approx(2.0)


def test_bad_scores_are_named():
    with pytest.raises(InputError, match="log-probabilities: item 1 is nan"):
        loss([-1.0, np.nan])
    with pytest.raises(InputError, match="log-probabilities: item 0 is -inf"):
        min_k([-np.inf])
    with pytest.raises(InputError, match="one item at least"):
        zlib_score([], "text")  # no token is no 0
    with pytest.raises(InputError, match="reference loss: item 0 is nan"):
        reference_score([-1.0], np.nan)
    with pytest.raises(InputError, match=r"k is 40"):
        min_k([-1.0], 40)
    with pytest.raises(InputError, match="one deviation"):
        min_k_plus_plus([-1.0, -2.0], [-1.0], [1.0])
    with pytest.raises(InputError, match="holdout scores: item 0 is nan"):
        auc([1.0], [np.nan])
    with pytest.raises(InputError, match="forget scores: expected one number"):
        auc([], [1.0])


def test_auc_by_hand():
    assert auc([1, 2], [3, 4]) == 1.0  # every forget text is better known: all are given away
    assert auc([3, 4], [1, 2]) == 0.0
    assert auc([1, 3], [2, 3]) == pytest.approx((1 + 1 + 0 + 0.5) / 4)
    assert auc([5, 5], [5]) == 0.5


@pytest.mark.parametrize("seed", range(3))
def test_auc_equals_scipys_mann_whitney(seed):
    draw = np.random.default_rng(seed)
    forget, holdout = draw.integers(0, 20, 33), draw.integers(3, 23, 21)  # with ties
    expected = stats.mannwhitneyu(holdout, forget).statistic / (33 * 21)
    assert auc(forget, holdout) == pytest.approx(expected, rel=1e-12)


def test_an_auc_figure_has_the_interval_of_its_pairs():
    draw = np.random.default_rng(0)
    forget, holdout = draw.normal(size=30), draw.normal(0.8, size=20)
    found = auc_figure(forget, holdout)
    assert (found["low"], found["high"]) == pytest.approx(intervals.auc(wins(forget, holdout)))
    assert 0.5 < found["low"] < found["value"] == auc(forget, holdout) < found["high"] < 1
    assert (found["n"], found["forget"], found["holdout"]) == (50, 30, 20)
    many, more = draw.normal(size=100), draw.normal(0.7, size=80)
    large = auc_figure(many, more)
    a = large["value"]
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)  # Hanley and McNeil 1982
    spread = math.sqrt((a * (1 - a) + 99 * (q1 - a * a) + 79 * (q2 - a * a)) / (100 * 80))
    assert (large["high"] - large["low"]) / 2 == pytest.approx(1.96 * spread, rel=0.12)
    apart = auc_figure([1.0, 2.0, 3.0, 1.5], [4.0, 5.0, 6.0, 4.5])  # all told apart, but by four texts of either kind
    assert apart["value"] == apart["high"] == 1 and apart["low"] < 0.7


@pytest.mark.parametrize("sets", [([1.0], [2.0, 3.0]), ([1.0, 2.0], [3.0])])
def test_one_text_has_no_interval_and_says_so(sets):
    found = auc_figure(*sets)
    assert (found["value"], found["low"], found["high"]) == (1.0, None, None) and "no interval" in found["note"]


def sample(text, logp, **more):
    scores = TokenScores(
        logp_T=np.array(logp), right_T=np.ones(len(logp), bool), mean_T=np.full(len(logp), -2.0),
        deviation_T=np.ones(len(logp)),
    )  # fmt: skip
    return Sample(text=text, tokens=scores, **more)


def test_all_six_attacks_between_two_sets():
    forget = [sample("one two", [-0.1, -0.2], reference_loss=3.0, gradient_norm=0.1 * n) for n in range(3)]
    holdout = [sample("two one", [-3.0, -4.0], reference_loss=3.0, gradient_norm=1.0 + n) for n in range(2)]
    found = membership(forget, holdout)
    assert set(found) == {"loss", "zlib", "reference", "gradient_norm", "min_k", "min_k++"}
    assert {f["value"] for f in found.values()} == {1.0}
    swapped = membership(holdout, forget)
    assert {f["value"] for f in swapped.values()} == {0.0}
    assert attack_scores(forget)["reference"] == pytest.approx([0.15 - 3.0] * 3)


def test_attacks_that_only_some_texts_have_are_refused():
    plain, with_reference = sample("a", [-1.0]), sample("b", [-1.0], reference_loss=1.0)
    assert set(attack_scores([plain])) == {"loss", "zlib", "min_k", "min_k++"}
    with pytest.raises(InputError, match="reference loss: text 0 has none"):
        attack_scores([plain, with_reference])
    with pytest.raises(InputError, match="reference: given for one"):
        membership([plain], [with_reference])
    with pytest.raises(InputError, match="no text was given"):
        membership([], [plain])


SHAPE = transformer.Shape(V=32, D=16, L=2, N=2, K=2, H=8, F=16, context=64)
TEXTS = ["Zara went to Orm with Ben .", "Anna took"]


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 2, 2)])
def test_gradient_norms_are_the_mean_over_weights_and_layers(sizes, tmp_path):
    tokenizer = load_tokenizer(write_world(tmp_path) / "tokenizer")
    with jax.set_mesh(mesh_of(sizes)):
        found = gradient_norms(jax.tree.map(lambda w: 12 * w, transformer.init(SHAPE, 0)), tokenizer, TEXTS)
    with jax.set_mesh(mesh_of((1, 1, 1))):
        m = jax.tree.map(lambda w: 12 * w, transformer.init(SHAPE, 0))
        for text, norm in zip(TEXTS, found, strict=True):
            ids = np.array([[1, *tokenizer.encode(text)[0]]], np.int32)
            length = ids.shape[1]

            def plain_loss(m, tokens_BT, length=length, ids=ids):
                logp = jax.nn.log_softmax(m.logits(m(tokens_BT)), axis=-1)
                picked = jnp.sum(logp[:, :-1] * jax.nn.one_hot(ids[:, 1:], SHAPE.V))  # ids: no trace of the mesh
                return -picked / (length - 1)

            g = jax.grad(plain_loss)(m, put(ids, "BT"))
            singles = [g.embed_VD, g.norm_D, g.head_DV]
            stacked = jax.tree.leaves(g.blocks)
            norms = [np.linalg.norm(np.asarray(w[...])) for w in singles]
            norms += [np.linalg.norm(np.asarray(w)[layer]) for w in stacked for layer in range(2)]
            assert len(norms) == 3 + 9 * 2
            assert norm == pytest.approx(float(np.mean([float(n) for n in norms])), rel=1e-4)


def test_samples_from_a_model_are_told_apart_by_its_reference(mesh, tmp_path):
    tokenizer = load_tokenizer(write_world(tmp_path) / "tokenizer")
    m, other = (jax.tree.map(lambda w: 12 * w, transformer.init(SHAPE, seed)) for seed in (0, 1))
    found = score_samples(m, tokenizer, TEXTS, reference=other, with_gradients=True)
    assert [s.text for s in found] == TEXTS
    assert [len(s.tokens.logp_T) for s in found] == [7, 2]
    theirs = score_samples(other, tokenizer, TEXTS)
    assert [s.reference_loss for s in found] == pytest.approx([s.tokens.loss for s in theirs])
    assert all(s.gradient_norm and s.gradient_norm > 0 for s in found)
    assert set(membership(found[:1], found[1:])) == {"loss", "zlib", "reference", "gradient_norm", "min_k", "min_k++"}

"""The equation and the seen-translation rule by hand, and that every place that needs them asks this one."""

import jax
import numpy as np
import pytest
from support.mesh import mesh_of
from support.training import SHAPE, passage

from jaxunlearn.config import Whp
from jaxunlearn.methods.inference import whp_inference
from jaxunlearn.models import transformer
from jaxunlearn.parallel.sharding import put
from jaxunlearn.stages.inspect import generic_block
from jaxunlearn.whp import equation
from jaxunlearn.whp.argmax import generic_argmax, seen_table
from jaxunlearn.whp.labels import label, on_mesh
from jaxunlearn.whp.soft import soft_labels

BASE, REINF = np.array([[3.0, 0.0, 0.0]]), np.array([[2.0, 1.0, 0.0]])
NEVER, SEEN, MEAN = np.array([[False] * 3]), np.array([[True, False, False]]), np.array([[1.0]])


def generic(seen=NEVER, alpha=2, **settings):
    return equation.generic_logits(BASE, REINF, alpha, seen=seen, mean=MEAN, **settings).tolist()


def test_generic_logits_by_hand():
    assert generic() == [[3, -2, 0]] == equation.generic_logits(BASE, REINF, 2).tolist()
    assert generic(alpha=0) == BASE.tolist()


@pytest.mark.parametrize(
    ("rule", "first"),
    [("mean", -1), ("penalty", -10), ("-inf", -np.inf)],  # 1 - 2 (2 - 1); 3 - 5 - 2 (2 + 2)
)
def test_each_rule_by_hand(rule, first):
    assert generic(SEEN, rule=rule) == [[first, -2, 0]]
    assert generic(NEVER, rule=rule) == generic()
    ruled_out = generic(SEEN, alpha=0, rule=rule)[0][0]
    assert ruled_out == {"mean": 1, "penalty": -2, "-inf": -np.inf}[rule]  # at alpha 0 a number, or ruled out


def test_an_offset_of_the_baseline_goes_by_the_rule_and_one_of_another_model_does_not():
    offset = np.array([[0.0, 0.5, 0.0]])
    assert generic(v_offset=offset) == [[-1, -1, 0]]
    assert generic(SEEN, v_offset=offset) == [[1 - 2 * (2 - 1), -1, 0]]  # its own logit there is the mean, too
    assert generic(SEEN, v_offset=offset, shift=0.0) == [[1 - 2 * (2 - 0), -1, 0]]
    shift = np.array([[-0.5]])  # the lift loses half a nat: 1.5, 0 and, from -0.5, 0
    assert generic(v_offset=offset, shift=shift) == [[3 - 2 * 1.5, 0, 0]]


def test_seen_pairs_become_a_table_by_position(mesh):
    pairs = put(np.array([[0, -1]], np.int32), "BR"), put(np.array([[1, 0]], np.int32), "BR")  # -1: padding
    seen = np.arange(2)[:, None] >= np.asarray(seen_table(*pairs, 3))
    assert seen.tolist() == [[False] * 3, [True, False, False]]


def everywhere() -> dict[str, np.ndarray]:
    """Return what comes out of each place that needs the equation."""
    draw = np.random.default_rng(0)
    h = [put(draw.normal(size=(1, 128, 128)).astype(np.float32), "BTD") for _ in range(3)]
    w = [put(draw.normal(size=(128, 256)).astype(np.float32), "DV") for _ in range(2)]
    models, p = [jax.tree.map(lambda x: 5 * x, transformer.init(SHAPE, seed)) for seed in (0, 1)], passage(8)
    logits = [np.asarray(a @ b)[0] for a, b in ((h[0], w[0]), (h[0], w[0]), (h[1], w[1]))]
    found = {
        "hard labels": label(*models, on_mesh(p), alphas=(5.0,), whp=Whp()),
        "pallas": jax.jit(lambda h, w: generic_argmax(*h, *w, (5.0,), pallas="interpret"))(h[:2], w),
        "soft labels": soft_labels(*models, on_mesh(p), alpha=5.0, whp=Whp(top=4))[1],
        "inference": whp_inference(logits[0], logits[2], 5.0),
        "labels show": generic_block(Whp(), p.rows([0]), *logits, alpha=5.0),
    }
    return {name: np.asarray(x) for name, x in found.items()}


def test_alphas_sign_turned_in_the_equation_changes_every_place_that_needs_it(monkeypatch):
    original = equation.generic_logits
    with jax.set_mesh(mesh_of((1, 1, 1))):
        before = everywhere()
        monkeypatch.setattr(equation, "generic_logits", lambda b, r, alpha, **more: original(b, r, -alpha, **more))
        jax.clear_caches()  # programs that were traced with the equation as it is
        try:
            after = everywhere()
        finally:
            jax.clear_caches()
    assert [name for name in before if np.array_equal(before[name], after[name])] == []

"""Hard labels as a method: the fused step teaches what offline labels teach, frozen models stay, every mesh agrees."""

import dataclasses

import jax
import numpy as np
import pytest
from support.mesh import MESHES, mesh_of
from support.training import SHAPE, C, batches, passage, weights

from jaxunlearn.config import Config, Text, Unlearn, Whp, override
from jaxunlearn.methods import resolved
from jaxunlearn.methods.base import Recipe
from jaxunlearn.methods.step import step
from jaxunlearn.methods.whp import HARD
from jaxunlearn.models import transformer
from jaxunlearn.training.loop import fit, microbatches
from jaxunlearn.training.optimiser import rate
from jaxunlearn.training.step import compiled_step, init_state
from jaxunlearn.whp.labels import LETTERS, Passage, label, on_mesh

MODELS = ("baseline", "reinforced")


def fused_step(c):
    return compiled_step(c, step, recipe=Recipe(HARD, (("alpha", 5.0),)))


@pytest.mark.parametrize("sizes", [(1, 1, 1), (2, 2, 2)])
def test_fused_steps_equal_offline_labels_and_leave_the_frozen_models_alone(sizes):
    with jax.set_mesh(mesh_of(sizes)):
        c, p = dataclasses.replace(C, batch=8, accumulate=2, weight_decay=0.1, learning_rate=1e-3), passage()
        frozen = (
            jax.tree.map(lambda w: 5 * w, transformer.init(SHAPE, 0)),
            jax.tree.map(lambda w: 5 * w, transformer.init(SHAPE, 1)),
        )
        before = weights(frozen)
        labels = np.asarray(label(*frozen, on_mesh(p), alphas=(5.0,), whp=Whp()))[0]
        assert (labels[~p.trained_BT] == -100).all() and (labels[p.trained_BT] >= 0).all()
        offline = fit(init_state(transformer.init(SHAPE, 2), c), compiled_step(c), batches(c, p.tokens_BT, labels), c)

        def fused_batch(step):
            arrays = microbatches(c, p, LETTERS, len(p.tokens_BT), 0, step)
            return [dict(zip(MODELS, frozen, strict=True)), {"passages": (Passage(*arrays),)}]

        fused = fit(init_state(transformer.init(SHAPE, 2), c), fused_step(c), fused_batch, c)
        for a, b in zip(weights(offline.model), weights(fused.model), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)
        for a, b in zip(before, weights(frozen), strict=True):
            np.testing.assert_array_equal(a, b)


def labels_and_fused_loss():
    """Return the labels of a whole label pass, and the loss of a fused step on them."""
    models = [jax.tree.map(lambda w: 8 * w, transformer.init(SHAPE, seed)) for seed in (0, 1)]
    p, c = passage(), dataclasses.replace(C, batch=8, accumulate=2)
    labels = label(*models, on_mesh(p), alphas=(5.0, 2.0), whp=Whp())
    arrays = microbatches(c, p, LETTERS, len(p.tokens_BT), 0, 0)
    state, frozen = init_state(transformer.init(SHAPE, 2), c), dict(zip(MODELS, models, strict=True))
    _, metrics = fused_step(c)(state, rate(c, 0), frozen, {"passages": (Passage(*arrays),)})
    return np.asarray(labels), float(metrics["loss"])


@pytest.fixture(scope="module")
def labelled_on_one_device():
    with jax.set_mesh(mesh_of((1, 1, 1))):
        return labels_and_fused_loss()


MIXED = [sizes for sizes in MESHES if sum(n > 1 for n in sizes) > 1]  # split along one axis alone: by night
ALONE = [pytest.param(sizes, marks=pytest.mark.nightly) for sizes in MESHES[1:] if sizes not in MIXED]


@pytest.mark.parametrize("sizes", [*MIXED, *ALONE])
def test_labels_and_the_fused_step_are_the_same_on_every_mesh(labelled_on_one_device, sizes):
    with jax.set_mesh(mesh_of(sizes)):
        labels, loss = labels_and_fused_loss()
    np.testing.assert_array_equal(labels, labelled_on_one_device[0])
    assert abs(loss / labelled_on_one_device[1] - 1) < 1e-6


# ---- the preset

BASE = Config(name="x", model="m", text=Text(forget=("a",), retain=("b",), dictionary="d"), unlearn=Unlearn(steps=1))


def test_the_preset_stands_for_its_settings_and_takes_what_is_given():
    def preset(config, overrides):
        return resolved(override(config, overrides))

    made = preset(BASE, ["unlearn.method=whp_plus"])
    assert (made.unlearn.method, made.whp.labels, made.whp.offset, made.reset.share) == ("whp", "soft", "contrast", 0)
    assert made.unlearn.retain_weight is None and preset(made, []) == made
    later = preset(made, ["reset.share=0.1", "unlearn.retain_weight=3"])  # a configuration built on another
    assert later.reset.teacher == "unlearned" and later.unlearn.retain_loss == "kl"
    other = preset(BASE, ["unlearn.method=whp_plus", "reset.share=0.1", "unlearn.retain_weight=3"])
    assert (other.reset.share, other.reset.teacher, other.unlearn.retain_weight) == (0.1, "unlearned", 3.0)
    assert other.unlearn.retain_loss == "kl"
    given = preset(BASE, ["unlearn.method=whp_plus", "unlearn.retain_weight=3", "unlearn.retain_loss=nll"])
    assert given.unlearn.retain_loss == "nll"
    assert preset(BASE, ["unlearn.method=npo"]).whp == BASE.whp


def test_the_robust_preset_is_the_papers_labels_with_text_to_keep_against_an_adversary():
    made = resolved(override(BASE, ["unlearn.method=whp_robust", "unlearn.batch=4"]))
    u = made.unlearn
    assert (u.method, made.whp.labels, made.whp.offset, made.whp.keep) == ("whp", "hard", "baseline", "last")
    assert (u.adversary.every, u.retain_weight, u.retain_batch, u.retain_loss) == (24, 3.0, 8, "own")
    assert resolved(made) == made
    given = ["unlearn.retain_weight=1", "unlearn.retain_loss=kl", "unlearn.adversary.every=6", "unlearn.retain_batch=2"]
    made = resolved(override(BASE, ["unlearn.method=whp_robust", "whp.labels=soft", *given]))
    u = made.unlearn
    assert (u.adversary.every, u.retain_weight, u.retain_batch, u.retain_loss) == (6, 1.0, 2, "kl")
    assert made.whp.labels == "soft"  # soft labels take the adversary too

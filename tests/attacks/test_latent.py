"""The latent probe: its states, its classifier by hand, and that it tries every fact once."""

import jax
import numpy as np
import pytest
from support.facts import FACTS, SHAPE, taught

from jaxunlearn.attacks import latent
from jaxunlearn.errors import RunError
from jaxunlearn.models import transformer


def test_hidden_states_end_in_what_the_head_reads(mesh, suite):
    m = transformer.init(SHAPE, 0)
    h_LND = latent.states(m, suite, [f.question for f in FACTS])
    ids = np.zeros((1, 32), np.int32)
    context = suite.words.context(FACTS[0].question)
    ids[0, : len(context)] = context
    last_D = np.asarray(m(jax.numpy.asarray(ids)))[0, len(context) - 1]
    normed_D = h_LND[1, 0] / np.sqrt(np.mean(h_LND[1, 0] ** 2) + SHAPE.epsilon)
    np.testing.assert_allclose(normed_D, last_D, atol=1e-5)


def test_ridge_against_the_normal_equations():
    draw = np.random.default_rng(0)
    h_ND, test_MD = draw.normal(size=(20, 6)), draw.normal(size=(5, 6))
    classes_N = draw.integers(0, 3, 20)
    z_ND = (h_ND - h_ND.mean(0)) / (h_ND.std(0) + 1e-6)
    y_NC = np.eye(3)[classes_N]
    w_DC = np.linalg.solve(z_ND.T @ z_ND + 6 * np.eye(6), z_ND.T @ (y_NC - y_NC.mean(0)))
    expected = (test_MD - h_ND.mean(0)) / (h_ND.std(0) + 1e-6) @ w_DC + y_NC.mean(0)
    np.testing.assert_allclose(latent.ridge_scores(h_ND, classes_N, test_MD, 3), expected, atol=1e-9)


def test_the_latent_probe_tries_every_fact_once(mesh, suite):
    found = latent.probe(taught(suite, FACTS), suite, FACTS, splits=4, seed=0)
    assert [layer["n"] for layer in found["layers"]] == [12, 12] and found["chance"] == pytest.approx(1 / 3)
    assert [sum(right) / 12 for right in found["right"]] == [layer["value"] for layer in found["layers"]]
    assert 0.3 < found["floor"]["value"] < 0.6 and found["floor"]["n"] == 12  # one try, or two


def test_states_that_are_not_numbers_are_named(mesh, suite):
    broken = jax.tree.map(lambda w: w * np.nan, transformer.init(SHAPE, 0))
    with pytest.raises(RunError, match="hidden states are not finite"):
        latent.probe(broken, suite, FACTS, splits=4, seed=0)

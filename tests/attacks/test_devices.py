"""Attacks give the same numbers on one device and on eight (measurements: tests/evals/test_measure.py)."""

import jax
import pytest
from support.mesh import mesh_of
from support.suites import small_suite, start

from jaxunlearn.attacks import latent, probes
from jaxunlearn.attacks.blind import Probe
from jaxunlearn.attacks.context import conditions, in_context
from jaxunlearn.attacks.quantise import key_figures, quantised
from jaxunlearn.attacks.rtt import retrain
from jaxunlearn.config import Attack, ProbesAttack, RttAttack
from jaxunlearn.data.facts import pairings, read_facts

C = Attack(
    rtt=RttAttack(splits=3, pairings=1, epochs=1, batch=8),
    probes=ProbesAttack(samples=2, temperatures=(0.0, 1.0), new_tokens=6),
)


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    return small_suite(tmp_path_factory.mktemp("devices"))


def everything(suite):
    """Return what each measurement and attack gives on the current mesh."""

    m, facts = start(), read_facts(suite.prompts.facts, "facts")
    asked = [Probe(prompt=p.prompt, kind=p.kind, expected=p.specific) for p in suite.prompts.leaks]
    return {
        "context": in_context(m, suite, conditions(suite, ["Quill took the glim ."], ["Anna took the book ."])),
        "rounded": key_figures(quantised(start(), "int4"), suite),
        "latent": latent.probe(m, suite, facts, splits=C.rtt.splits, seed=C.seed),
        "leaks": [s.text for s in probes.draw(m, suite, asked, C.probes, C.seed)],
        "rtt": retrain(start, suite, facts, pairings(facts, C), C, (1e-3,)),
    }


def leaves(tree):
    return jax.tree.leaves_with_path(tree, is_leaf=lambda node: node is None)


def test_the_numbers_do_not_hang_on_the_devices(suite):
    with jax.set_mesh(mesh_of((1, 1, 1))):
        one = leaves(everything(suite))
    with jax.set_mesh(mesh_of((2, 2, 2))):
        eight = leaves(everything(suite))
    assert len(one) == len(eight) > 50
    for (path, a), (other, b) in zip(one, eight, strict=True):
        assert path == other and (a == pytest.approx(b, rel=1e-4, abs=1e-6) if isinstance(a, float) else a == b), path

"""Attacks give the same numbers on one device and on eight (measurements: tests/evals/test_measure.py)."""

import jax
import numpy as np
import pytest
from support.mesh import mesh_of
from support.world import write_world

from jaxunlearn.attacks import latent, probes
from jaxunlearn.attacks.blind import Probe
from jaxunlearn.attacks.context import conditions, in_context
from jaxunlearn.attacks.quantise import key_figures, quantised
from jaxunlearn.attacks.rtt import retrain
from jaxunlearn.config import Attack, Eval, ProbesAttack, RttAttack
from jaxunlearn.data.facts import pairings, read_facts
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.evals.prompts import load_prompts
from jaxunlearn.evals.suite import Suite
from jaxunlearn.models import transformer
from jaxunlearn.models.scoring import Text

SHAPE = transformer.Shape(V=32, D=32, L=2, N=2, K=2, H=16, F=32, context=64)
C = Attack(
    rtt=RttAttack(splits=3, pairings=1, epochs=1, batch=8),
    probes=ProbesAttack(samples=2, temperatures=(0.0, 1.0), new_tokens=6),
)


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    folder = write_world(tmp_path_factory.mktemp("devices"))
    draw = np.random.default_rng(0)
    tokens, labels = (draw.integers(3, 30, (8, 32)).astype(np.int32) for _ in range(2))
    texts = {name: Text(tokens_NT=tokens, labels_NT=labels) for name in ("forget", "retain")}
    prompts = load_prompts(folder / "prompts.json")
    return Suite(
        load_tokenizer(folder / "tokenizer"), prompts.of("report"), texts, Eval(batch=8, blocks=8, new_tokens=6)
    )


def everything(suite):
    """Return what each measurement and attack gives on the current mesh."""

    def start():
        return jax.tree.map(lambda w: 6 * w, transformer.init(SHAPE, 0))  # far from indifferent

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

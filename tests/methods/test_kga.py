"""KGA's knowledge gap by hand."""

import jax
import pytest

from jaxunlearn.methods.kga import knowledge_gap
from jaxunlearn.methods.step import combine


def mean(result):
    return float(result[0]) / float(result[1])


def test_knowledge_gap_by_hand():
    assert mean(knowledge_gap((6.0, 3.0), 0.5)) == pytest.approx(1.5)
    assert mean(knowledge_gap((6.0, 3.0), 2.5)) == pytest.approx(0.5)
    assert mean(knowledge_gap((6.0, 3.0), 2.0)) == 0
    both = {"forget": (1.0, *knowledge_gap((6.0, 3.0), 0.5)), "retain": (0.1, 8.0, 4.0)}
    assert mean(combine(both)) == pytest.approx(1.5 + 0.1 * 2)
    slopes = [float(jax.grad(lambda s, g=g: knowledge_gap((s, 3.0), g)[0])(6.0)) for g in (0.5, 2.5)]
    assert slopes == [1.0, -1.0]  # towards the gap from either side

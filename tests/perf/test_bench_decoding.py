"""Decoding and scoring as they are timed: the items, and what is recomputed for comparison."""

import jax
from support.mesh import mesh_of

from jaxunlearn.models import transformer
from jaxunlearn.perf import bench_decoding
from jaxunlearn.perf.bench_decoding import pairs_of


def test_items_have_one_context_and_four_endings_of_the_lengths_named():
    pairs = pairs_of(50, 32)
    assert len(pairs) == 200 and pairs == pairs_of(50, 32)
    for n in range(0, 200, 4):
        assert len({context for context, _ in pairs[n : n + 4]}) == 1
    contexts, endings = ([len(p[side]) for p in pairs] for side in (0, 1))
    assert min(contexts) >= 40 and max(contexts) <= 110 and min(endings) >= 10 and max(endings) <= 40
    assert all(1 <= token < 32 for pair in pairs for part in pair for token in part)


def test_recomputation_writes_a_few_tokens_and_its_time_is_that_of_one(monkeypatch):
    """Five of ten tokens in 10 s are 2 s a token."""
    monkeypatch.setattr(bench_decoding, "AGAIN", 5)
    monkeypatch.setattr(bench_decoding, "timed", lambda call: call().shape == (8, 42) and 10.0)
    shape = transformer.Shape(V=32, D=16, L=1, N=2, K=1, H=8, F=16, context=64)
    with jax.set_mesh(mesh_of((1, 8, 1))):
        prompts = [[1 + n] * 32 for n in range(8)]
        assert bench_decoding._recomputed(transformer.init(shape, 0), prompts, 10) == (2.0, True)

"""Decoding a few tokens at a time gives what decoding all at once gives."""

import jax
import pytest

from jaxunlearn.errors import Diverged, InputError
from jaxunlearn.models import streaming, transformer
from jaxunlearn.models.generate import GREEDY, Sampling, generate
from jaxunlearn.models.streaming import stream

SHAPE = transformer.Shape(V=64, D=32, L=3, N=4, K=2, H=8, F=48, context=64)
PROMPT = [1, 5, 9]


@pytest.fixture
def sharp(mesh):
    """A random model whose argmaxes differ from place to place."""
    return jax.tree.map(lambda w: 8 * w, transformer.init(SHAPE, 3))


def joined(parts):
    return [token for part in parts for token in part]


def test_tokens_come_one_by_one_and_joined_are_those_of_generate(sharp):
    for sampling in (Sampling(2.0), GREEDY):
        (whole,) = generate(sharp, [PROMPT], 12, sampling, seed=4)
        assert list(stream(sharp, PROMPT, 12, sampling, seed=4)) == [[token] for token in whole]
    programs = streaming._on._cache_size()
    assert list(stream(sharp, PROMPT, 12, every=5)) == [whole[:1], whole[1:6], whole[6:11], whole[11:]]
    assert len(joined(stream(sharp, PROMPT, 17))) == 17 and streaming._on._cache_size() == programs  # one for all


def test_a_stream_ends_at_eos_and_does_not_show_it(sharp):
    (free,) = generate(sharp, [PROMPT], 12)
    eos = free[4]
    assert joined(stream(sharp, PROMPT, 12, eos_ids=(eos,), every=3)) == free[: free.index(eos)]
    assert list(stream(sharp, PROMPT, 12, eos_ids=(free[0],))) == []


def test_a_stream_refuses_what_generate_refuses(sharp):
    with pytest.raises(InputError, match="empty prompt"):
        next(stream(sharp, [], 3))
    with pytest.raises(InputError, match="longer than the model's context of 64"):
        next(stream(sharp, PROMPT * 20, 9))
    broken = jax.tree.map(lambda w: w * float("nan"), sharp)
    with pytest.raises(Diverged, match="not numbers"):
        next(stream(broken, PROMPT, 3))

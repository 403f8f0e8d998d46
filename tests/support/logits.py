"""A tiny model that is sure of itself, and what its whole logits say, in fp64."""

import jax
import numpy as np

from jaxunlearn.models import transformer
from jaxunlearn.parallel.sharding import put

SHAPE = transformer.Shape(V=32, D=16, L=2, N=2, K=2, H=8, F=16, context=64)


def sharp(scale=12.0):
    return jax.tree.map(lambda w: scale * w, transformer.init(SHAPE, 0))


def probabilities(m, tokens):
    """Return softmax of whole logits [T, V] in fp64 for one row of tokens."""
    padded = np.zeros((8, 64), np.int32)
    padded[0, : len(tokens)] = tokens
    logits = np.asarray(jax.jit(lambda m, t: m.logits(m(t)))(m, put(padded, "BT")), np.float64)[0, : len(tokens)]
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def by_hand(m, context, continuation):
    """Return the log-probability of a continuation (token ids) after a context, and whether it is the greedy one."""
    ids = np.array([*context, *continuation])[-SHAPE.context - 1 :]
    tokens = np.zeros((8, 64), np.int32)
    tokens[0, : len(ids) - 1] = ids[:-1]
    logits = np.asarray(jax.jit(lambda m, t: m.logits(m(t)))(m, put(tokens, "BT")), np.float64)[0]
    logp = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    at = np.arange(len(ids) - 1 - len(continuation), len(ids) - 1)
    return logp[at, continuation].sum(), bool((logp[at].argmax(-1) == continuation).all())

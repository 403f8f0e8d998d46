"""A tiny model for methods, and batches whose microbatches have uneven counts."""

import numpy as np

from jaxunlearn.models import transformer
from jaxunlearn.parallel.sharding import put

SHAPE = transformer.Shape(V=64, D=16, L=2, N=2, K=2, H=8, F=24, context=32)


def texts(A, B, T=12, unlabelled=0.5, seed=0):
    """Return (tokens_ABT, labels_ABT) whose counts differ from microbatch to microbatch."""
    draw = np.random.default_rng(seed)
    tokens = draw.integers(0, 64, (A, B, T)).astype(np.int32)
    labels = np.where(draw.random((A, B, T)) < unlabelled, -100, draw.integers(0, 64, (A, B, T))).astype(np.int32)
    labels[0] = np.where(draw.random((B, T)) < 0.9, -100, labels[0])
    return tokens, labels


def placed(pair):
    return tuple(put(a, "ABT") for a in pair)

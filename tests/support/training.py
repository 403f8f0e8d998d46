"""A small model's training: its texts, batches and settings."""

import jax
import numpy as np

from jaxunlearn.config import Train
from jaxunlearn.models import transformer
from jaxunlearn.training.loop import fit, microbatches
from jaxunlearn.training.step import compiled_step, init_state

SHAPE = transformer.Shape(V=64, D=32, L=3, N=4, K=2, H=8, F=48, context=64)
DRAW = np.random.default_rng(0)
TOKENS = DRAW.integers(0, 64, size=(24, 16)).astype(np.int32)
LABELS = np.where(DRAW.random((24, 16)) < 0.3, -100, DRAW.integers(0, 64, size=(24, 16))).astype(np.int32)
C = Train(steps=6, learning_rate=1e-2, batch=8, checkpoint_every=2)


def weights(m):
    return [np.asarray(w) for w in jax.tree.leaves(m)]


def batches(c, tokens=TOKENS, labels=LABELS):
    return lambda step: microbatches(c, (tokens, labels), ("BT", "BT"), len(tokens), 0, step)


def trained(c, **options):
    return fit(init_state(transformer.init(SHAPE, 0), c), compiled_step(c), batches(c), c, **options).model

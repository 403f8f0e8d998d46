"""A tiny model, tokens and batches to train it on, and blocks with translations to label."""

import jax
import numpy as np

from jaxunlearn.config import Train
from jaxunlearn.models import transformer
from jaxunlearn.training.loop import fit, microbatches
from jaxunlearn.training.step import compiled_step, init_state
from jaxunlearn.whp.labels import Passage

SHAPE = transformer.Shape(V=64, D=32, L=3, N=4, K=2, H=8, F=48, context=64)
DRAW = np.random.default_rng(0)
TOKENS = DRAW.integers(0, 64, size=(24, 16)).astype(np.int32)
LABELS = np.where(DRAW.random((24, 16)) < 0.3, -100, DRAW.integers(0, 64, size=(24, 16))).astype(np.int32)
C = Train(steps=6, learning_rate=1e-2, batch=8, checkpoint_every=2)


def weights(m):
    return [np.asarray(w) for w in jax.tree.leaves(m)]


def batches(c, tokens=TOKENS, labels=LABELS):
    return lambda step: microbatches(c, (tokens, labels), ("BT", "BT"), len(tokens), 0, step)


def passage(n=24, T=16, S=24):
    draw = np.random.default_rng(1)
    return Passage(
        tokens_BT=TOKENS[:n],
        translation_BS=draw.integers(0, 64, (n, S)).astype(np.int32),
        map_BT=np.sort(draw.integers(-1, S, (n, T)), 1).astype(np.int32),
        trained_BT=draw.random((n, T)) < 0.9,
        seen_id_BR=draw.integers(-1, 64, (n, 4)).astype(np.int32),
        seen_from_BR=draw.integers(0, T, (n, 4)).astype(np.int32),
    )


def trained(c, **options):
    return fit(init_state(transformer.init(SHAPE, 0), c), compiled_step(c), batches(c), c, **options).model

"""A tiny model and an adapter of it that changes something."""

import jax
import numpy as np

from jaxunlearn.config import Lora
from jaxunlearn.models import lora, transformer

SHAPE = transformer.Shape(V=64, D=16, L=2, N=4, K=2, H=8, F=24, context=32)


def made(rank=3, alpha=6.0):
    """Return a base and an adapter whose second factors are not zero."""
    part = lora.init(SHAPE, Lora(rank=rank, alpha=alpha), 1)

    def noisy(w):
        return jax.device_put(
            np.asarray(w) + 0.1 * np.sin(np.arange(w.size, dtype=np.float32)).reshape(w.shape), w.sharding
        )

    return transformer.init(SHAPE, 0), jax.tree.map(noisy, part)

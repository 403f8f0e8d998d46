"""Small checkpoints, saved and closed."""

from contextlib import contextmanager

import jax.numpy as jnp

from jaxunlearn.training.checkpoint import Checkpoints


def tree(value, size=300):
    return {"w": jnp.full(size, float(value)), "step": jnp.int32(value)}


@contextmanager
def opened(folder, **options):
    checkpoints = Checkpoints(folder, **options)
    yield checkpoints
    checkpoints.close()


def saved(folder, *steps):
    with opened(folder) as checkpoints:
        for step in steps:
            checkpoints.save(step, tree(step))
            checkpoints.wait()
    return folder

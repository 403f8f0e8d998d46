"""Meshes over the eight CPU devices of the tests."""

import jax
import numpy as np

from jaxunlearn.parallel import sharding

MESHES = [(1, 1, 1), (1, 8, 1), (1, 4, 2), (2, 2, 2), (8, 1, 1)]


def mesh_of(sizes):
    """Return the explicit mesh of these sizes over the first devices."""
    return sharding.make_mesh(*sizes, devices=jax.devices()[: int(np.prod(sizes))])

"""Eight CPU devices, one explicit mesh, warnings as errors, and a compilation cache that all tests share."""

import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["HF_HUB_OFFLINE"] = "1"

import jax
import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
SHARED = Path(os.environ.get("JAXUNLEARN_SHARED", ROOT.parent / "shared"))

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", os.environ.get("JAXUNLEARN_CACHE", str(ROOT / ".jax_cache")))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)

from jaxunlearn import sharding

MESHES = [(1, 1, 1), (1, 8, 1), (1, 4, 2), (2, 2, 2), (8, 1, 1)]


def mesh_of(sizes):
    """Return the explicit mesh of these sizes over the first devices."""
    return sharding.make_mesh(*sizes, devices=jax.devices()[: int(np.prod(sizes))])


@pytest.fixture
def mesh():
    """One device as a (1, 1, 1) mesh: what most tests need."""
    with jax.set_mesh(mesh_of((1, 1, 1))) as mesh:
        yield mesh


@pytest.fixture
def shared():
    """The folder of real books and models, where there is one."""
    if not SHARED.is_dir():
        pytest.skip(f"needs the shared data (books, a real model): no folder {SHARED}; set JAXUNLEARN_SHARED")
    return SHARED

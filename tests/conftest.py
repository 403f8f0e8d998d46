"""Eight CPU devices, one explicit mesh, warnings as errors, and a compilation cache that all tests share.

Most of a test's time is compilation, so XLA's CPU backend compiles without LLVM's optimisations and, where it still has
them, by its older emitters, in a third of the time; set XLA_FLAGS, also to nothing, to test what it makes by default.
"""

import importlib.metadata
import importlib.util
import os
import signal

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as in a script's background: processes that tests start
    signal.signal(signal.SIGINT, signal.default_int_handler)  # would ignore Ctrl-C too

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")  # warnings are heard: tests look for one of the partitioner's
# XLA ends the process at a flag it does not know: jaxlib 0.10 knows this one, 0.11.2 and 0.12 have no older emitters
if importlib.metadata.version("jaxlib").startswith("0.10."):
    os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
os.environ["HF_HUB_OFFLINE"] = "1"
if importlib.util.find_spec("libtpu"):  # there as a compiler, for plans: no test looks for a TPU
    os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import pytest
from support.mesh import mesh_of
from support.paths import ROOT, SHARED
from support.world import write_world

jax.config.update("jax_num_cpu_devices", 8)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", os.environ.get("JAXUNLEARN_CACHE", str(ROOT / ".jax_cache")))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


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


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """The folder of the small world; tests copy it before they change anything."""
    return write_world(tmp_path_factory.mktemp("world"))

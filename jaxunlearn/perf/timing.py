"""What every part of the benchmark is timed and compared with: medians, products, copies, the allocator's peak."""

import time
from functools import partial
from statistics import median

import jax
import jax.numpy as jnp
import numpy as np

from jaxunlearn.models import weights
from jaxunlearn.parallel.sharding import platform


def seconds(call, repeats: int) -> float:
    """Return the median time of call(), which must return arrays, after a first that compiles."""
    jax.block_until_ready(call())
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(call())
        times.append(time.perf_counter() - began)
    return median(times)


def timed(call) -> float:
    """Return the seconds that call() takes once; it must wait for what it computes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def matmul_ceiling(dtype: str) -> float:
    """Return the FLOP/s of the best of a few large square products on one device, times the number of devices."""
    n = 2048 if platform() == "cpu" else 8192
    with one_device():
        x = jnp.ones((n, n), dtype)
        return 2 * n**3 / min(seconds(lambda: _product(x, x), 3) for _ in range(3)) * len(jax.devices())


def one_device():
    return jax.set_mesh(jax.sharding.Mesh(np.array(jax.local_devices()[:1]), "one"))


@jax.jit
def _product(a, b):
    return a @ b


def copy_bandwidth() -> float:
    """Return the bytes/s of passes over one large array on one device, times the number of devices.

    Read and write are counted. The array is many times larger than a cache, and on an accelerator the passes follow one
    another inside one program: a single one of 256 MiB is over before the launch of it is paid for.
    """
    size, passes = (2**25, 2) if platform() == "cpu" else (2**29, 10)
    with one_device():
        scale, x = jnp.linspace(0.5, 0.9, passes, dtype=jnp.float32), jnp.ones(size, jnp.float32)
        nbytes, last = x.nbytes, [x]
        del x

        def call():
            last[0] = _passes(last[0], scale)  # in place: the array before it is given away
            return last[0]

        return 2 * nbytes * passes / seconds(call, 5) * len(jax.devices())


@partial(jax.jit, donate_argnums=0)
def _passes(x, scale):
    """Return x after a pass over it for each number in scale; rounding keeps two passes from becoming one."""
    return jax.lax.fori_loop(0, len(scale), lambda n, x: x * scale[n] + 1, x)


def resting(m):
    """Return a model's weights in the types that frozen models are held in."""
    return jax.tree_util.tree_map_with_path(lambda path, w: w.astype(weights.resting(path, m.c.compute)), m)


def allocator_peak() -> int | None:
    """Return the most bytes that the process has had of a device so far; None where its allocator does not say."""
    found = [(d.memory_stats() or {}).get("peak_bytes_in_use") for d in jax.local_devices()]
    return max((n for n in found if n is not None), default=None)


def rates(tokens: int, spent: float, flops: float, ceiling: float, memory: int) -> dict:
    """Return what a part that computes reports; memory: bytes a device by the compiler's analysis."""
    return {
        "tokens_per_second": tokens / spent,
        "seconds": spent,
        "share_of_ceiling": flops / spent / ceiling,
        "peak_bytes": memory,
    }


def line(found: dict) -> str:
    """Return the figures of `rates` in a line."""
    share, memory = found["share_of_ceiling"], found["peak_bytes"] / 2**30
    return f"{found['tokens_per_second']:,.0f} tokens/s, {share:.0%} of the ceiling, {memory:.2f} GiB a device"

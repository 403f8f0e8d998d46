"""Accelerators by name, none of which has to be there: TPU slices for the real compiler, GPUs from a table.

Sources: docs.cloud.google.com/tpu/docs (v4, v5e, v5p, v6e) and NVIDIA's data sheets; a TPU's usable memory is asked of
its compiler.
"""

import contextlib
import math
import os
import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import SingleDeviceSharding

from jaxunlearn.errors import InputError, RunError

GPUS = {  # bytes of memory that programs may use
    "a100-40": 39.4 * 2**30,
    "a100-80": 79.2 * 2**30,
    "h100": 79.6 * 2**30,
    "h200": 139.7 * 2**30,
    "b200": 178.3 * 2**30,
}
FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
DEEP = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8", "8x8x16", "8x16x16")
SHAPES = {"v4": DEEP, "v5e": FLAT, "v5p": DEEP, "v6e": FLAT}
GPU_COUNTS = (1, 2, 4, 8)


class Topology(NamedTuple):
    """`slices` groups of chips of one family; TPU slices have a `shape`, GPUs (machines) have a count."""

    kind: str
    family: str
    shape: str
    slices: int = 1

    @property
    def name(self) -> str:
        many = f" x {self.slices} slices" if self.slices > 1 else ""
        return f"{self.family}:{self.shape}{many}"

    @property
    def devices(self) -> int:
        return self.slices * math.prod(map(int, self.shape.split("x")))


def known() -> str:
    """List every name that parse() takes."""
    lines = [f"{family}:{{{','.join(shapes)}}}" for family, shapes in SHAPES.items()]
    lines += [f"{family}:{{{','.join(map(str, GPU_COUNTS))}}}" for family in GPUS]
    also = "or Google's names, which count chips for v5e and v6e (v5e-16) and cores, two a chip, for v4 and v5p (v5p-8)"
    return "\n  ".join([*lines, also])


def parse(name: str, slices: int = 1) -> Topology:
    """Read a topology's name; raise InputError, which lists the known ones, for any other."""
    family, _, shape = name.strip().lower().replace("v5litepod", "v5e").partition(":")
    if slices < 1:
        raise InputError(f"--slices {slices}: expected 1 or more")
    if not shape and (match := re.fullmatch(r"(v\d\w?)-(\d+)", family)) and match[1] in SHAPES:
        family, chips = match[1], int(match[2]) / (2 if SHAPES[match[1]] is DEEP else 1)
        shape = next((s for s in SHAPES[family] if math.prod(map(int, s.split("x"))) == chips), "")
    if shape in SHAPES.get(family, ()):
        return Topology("tpu", family, shape, slices)
    if family in GPUS and shape.isdigit() and int(shape) > 0:
        return Topology("gpu", family, shape, slices)
    raise InputError(f"unknown topology {name!r}; known are\n  {known()}")


def described(t: Topology) -> list[Any]:
    """Return the devices of a TPU topology as its compiler describes them; nothing is reserved or contacted.

    Raises RunError without libtpu, or where it knows no such slice.
    """
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # ask no metadata server what machine this is
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")  # no chip is opened, so nobody has to wait for another
    os.environ.setdefault("TPU_STDERR_LOG_LEVEL", "1")  # its warnings are wanted: plan.measured looks for one
    from jax.experimental import topologies

    more: dict[str, Any] = {"num_slices": t.slices} if t.slices > 1 else {}
    if t.shape == "1x1":
        more["chips_per_host_bounds"] = (1, 1, 1)
    if t.family == "v4":
        more["chip_config_name"] = "megacore"  # one device a chip, as JAX has it on the machine itself
    try:
        return topologies.get_topology_desc(platform="tpu", topology_name=f"{t.family}:{t.shape}", **more).devices
    except Exception as error:
        if "TPU support not installed" in str(error) or "get_library_path" in str(error):
            raise RunError(
                "plans for TPUs are compiled by Google's compiler: pip install 'jaxunlearn[tpu]' (the libtpu package)"
            ) from None
        raise RunError(f"the TPU compiler describes no {t.name}: {str(error).splitlines()[0]}") from None


def usable_bytes(device) -> int:
    """Return the memory that programs may use of a described chip, as its compiler says it when given too much."""
    sharding = SingleDeviceSharding(device)
    try:
        jax.jit(lambda x: x + 1).lower(jax.ShapeDtypeStruct((2**31, 128), jnp.float32, sharding=sharding)).compile()
    except Exception as error:
        if limit := stated_limit(str(error)):
            return limit
        raise
    raise RunError("the compiler found room for a terabyte; its limit is unknown")


def stated_limit(message: str) -> int | None:
    """Return the bytes of memory that a TPU compiler says it has when it refuses a program; None where it says none."""
    match = re.search(r"exceeds[^(]*HBM[^(]*\(([\d.]+[KMGT])\)|of ([\d.]+[KMGT]) hbm", message)
    return quantity(match[1] or match[2]) if match else None


def quantity(text: str) -> int:
    """Return the bytes of a compiler's "15.75G"."""
    return int(float(text[:-1]) * 2 ** (10 * ("KMGT".index(text[-1]) + 1)))


def present(t: Topology) -> list[Any]:
    """Return this machine's devices where they are of the named kind and enough, else none."""
    with contextlib.suppress(RuntimeError):  # a backend is up already, with as many stand-ins as it has
        jax.config.update("jax_num_cpu_devices", t.devices)
    devices = jax.devices()
    wanted = t.family.partition("-")[0].upper()
    alike = [d for d in devices if wanted in d.device_kind.upper().split() or wanted + "-" in d.device_kind.upper()]
    return alike[: t.devices] if len(alike) >= t.devices else []


def stand_ins(t: Topology) -> list[Any]:
    """Return as many CPU devices as the topology has chips, to lay a mesh over; raise RunError if there are too few."""
    devices = jax.devices("cpu")
    if len(devices) < t.devices:
        raise RunError(f"{t.name} has {t.devices} devices, this process only {len(devices)} to stand in for them")
    return devices[: t.devices]

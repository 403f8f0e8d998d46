"""Letters to mesh axes: one table for weights at rest, one for activations. The only file that writes P(...).

Every array's name ends in the letters of its dimensions (models/transformer.py lists them). A sharding is derived from
the name, so the two cannot disagree.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxunlearn.errors import InputError

AXES = ("data", "fsdp", "tensor")
PARAM = {"D": "fsdp", "N": "tensor", "K": "tensor", "F": "tensor", "V": "tensor"}  # weights at rest
ACT = {"B": ("data", "fsdp"), "N": "tensor", "K": "tensor", "F": "tensor", "V": "tensor"}  # activations, weights in use
KNOWN = set("ABCDEFGHJKLMNPRSTUV")


def make_mesh(data: int = 1, fsdp: int = 1, tensor: int = 1, devices=None, slices: int = 0) -> jax.sharding.Mesh:
    """Return the explicit ("data", "fsdp", "tensor") mesh; one size may be -1, which takes the devices that are left.

    slices: groups of devices with a slower network between them; 0: as many as TPUs name, else one. They lie along
    "data" alone, so that only gradients cross between them, once per step. Raises InputError where the sizes do not
    multiply to the number of devices, and where "data" is no multiple of the slices.
    """
    devices = jax.devices() if devices is None else devices
    sizes = [data, fsdp, tensor]
    if any(s == 0 or s < -1 for s in sizes) or sizes.count(-1) > 1:
        raise InputError(f"mesh sizes {sizes} must be positive; at most one may be -1 (whatever is left)")
    fixed = int(np.prod([s for s in sizes if s > 0]))
    if -1 in sizes:
        if len(devices) % fixed:
            given = dict(zip(AXES, sizes, strict=True))
            raise InputError(f"mesh {given}: {fixed} does not divide the {len(devices)} devices")
        sizes[sizes.index(-1)] = len(devices) // fixed
    if int(np.prod(sizes)) != len(devices):
        given = dict(zip(AXES, sizes, strict=True))
        raise InputError(f"mesh {given} needs {int(np.prod(sizes))} devices, there are {len(devices)}")
    groups = _slices(devices, slices)
    if len(groups) == 1:
        return jax.make_mesh(tuple(sizes), AXES, axis_types=(AxisType.Explicit,) * 3, devices=devices)
    if sizes[0] % len(groups):
        raise InputError(
            f"{len(groups)} slices lie along the data axis, but mesh.data = {sizes[0]} does not divide over them; "
            f"use a multiple of {len(groups)}, so that fsdp and tensor stay inside a slice"
        )
    inside = (sizes[0] // len(groups), *sizes[1:])
    laid = [mesh_utils.create_device_mesh(inside, group, allow_split_physical_axes=True) for group in groups]
    return jax.sharding.Mesh(np.concatenate(laid), AXES, axis_types=(AxisType.Explicit,) * 3)


def mesh_from(c, devices=None) -> jax.sharding.Mesh:
    """Return the mesh that config.Mesh asks for."""
    return make_mesh(c.data, c.fsdp, c.tensor, devices, c.slices)


def _slices(devices, slices: int) -> list[list]:
    """Group TPUs by their slice_index; other devices in equal runs, since XLA numbers a GPU's host in its place."""
    named = sorted({getattr(d, "slice_index", 0) or 0 for d in devices if d.platform == "tpu"})
    if len(named) > 1:
        if slices not in (0, len(named)):
            raise InputError(f"mesh.slices = {slices}, but the devices lie in {len(named)} slices")
        return [[d for d in devices if d.slice_index == n] for n in named]
    slices = slices or 1
    if slices < 0 or len(devices) % slices:
        raise InputError(f"mesh.slices = {slices} does not divide the {len(devices)} devices")
    each = len(devices) // slices
    return [list(devices[n : n + each]) for n in range(0, len(devices), each)]


def platform() -> str:
    """Return the devices of the current mesh: "cpu", "gpu" or "tpu"; also while tracing and for described devices."""
    device = jax.sharding.get_abstract_mesh().abstract_device
    kind = getattr(device, "platform", None) or getattr(device, "device_kind", "cpu")
    known = {"tpu": "tpu", "cpu": "cpu", "gpu": "gpu", "cuda": "gpu", "nvidia": "gpu", "rocm": "gpu"}
    return next((name for sign, name in known.items() if str(kind).lower().startswith(sign)), "cpu")


def device_names() -> str:
    """Return how many devices there are and of what kind, and how many processes share them."""
    d = jax.devices()
    return f"{len(d)} x {d[0].device_kind}" + (f", {jax.process_count()} processes" if jax.process_count() > 1 else "")


def param(letters: str) -> P:
    """Return the spec of a weight at rest, e.g. "LDNH" -> P(None, "fsdp", "tensor", None)."""
    return P(*[PARAM.get(c) for c in letters])


def act(letters: str) -> P:
    """Return the spec of an activation, or of a weight in use, e.g. "BTD" -> P(("data", "fsdp"), None, None)."""
    return P(*[ACT.get(c) for c in letters])


def letters_of(path) -> str:
    """Return the dimension letters of a weight from its tree path, "L" in front inside a block.

    Raises ValueError for a weight whose name has none: every weight must be covered by the table.
    """
    names = [k.name for k in path if hasattr(k, "name")]
    names = [n for n in names if n != "value"]
    letters = names[-1].rpartition("_")[2]
    if "_" not in names[-1] or not letters or not set(letters) <= KNOWN:
        raise ValueError(f"weight {'.'.join(names)} has no dimension letters, so no sharding rule covers it")
    return "L" + letters if "blocks" in names else letters


def shard(tree):
    """Return the pytree of NamedShardings for a model (or its abstract shapes) at rest on the current mesh."""
    mesh = jax.sharding.get_mesh()
    return jax.tree_util.tree_map_with_path(lambda path, _: NamedSharding(mesh, param(letters_of(path))), tree)


def gather(weight, letters: str, dtype):
    """Cast a weight for use, then gather what fsdp split; the backward pass sums and splits the gradient."""
    return jax.reshard(weight.astype(dtype), act(letters))


def lookup(table_VD, index_BT):
    """Return rows_BTD of an embedding table at rest; D is split meanwhile, as a split V would gather it all.

    The gradient of a row is summed in fp32 over the places where it was taken, whatever the table's dtype.
    """
    table_VD = jax.reshard(table_VD, P(None, "tensor"))
    return jax.reshard(_taken(len(table_VD), table_VD, index_BT), act("BTD"))


def _rows(table_VD, index_BT):
    return table_VD.at[index_BT].get(out_sharding=P(("data", "fsdp"), None, "tensor"))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _taken(V: int, table_VD, index_BT):
    return _rows(table_VD, index_BT)


def _taken_forward(V: int, table_VD, index_BT):
    return _rows(table_VD, index_BT), index_BT


def _taken_backward(V: int, index_BT, dy_BTD):
    like_VD = jnp.zeros((V, dy_BTD.shape[-1]), jnp.float32, out_sharding=P(None, "tensor"))
    _, summed = jax.vjp(lambda table_VD: _rows(table_VD, index_BT), like_VD)
    return summed(dy_BTD.astype(jnp.float32))[0].astype(dy_BTD.dtype), None


_taken.defvjp(_taken_forward, _taken_backward)


def rows_at(h_BSD, index_BT):
    """Return h_BTD: of each row of h_BSD, the hidden states at the positions index_BT."""
    local = jax.vmap(lambda h_SD, index_T: h_SD[index_T])
    specs = (act("BSD"), act("BT"))
    return jax.shard_map(local, in_specs=specs, out_specs=act("BTD"))(h_BSD, index_BT)


def put(array, letters: str):
    """Return a host array, which every process holds whole, on the mesh as an activation with these letters."""
    array = np.asarray(array)
    sharding = NamedSharding(jax.sharding.get_mesh(), act(letters))
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def put_rows(array, rows, letters: str):
    """Return array[rows] on the mesh as an activation; each process reads only the rows that its devices hold."""
    sharding = NamedSharding(jax.sharding.get_mesh(), act(letters))
    every = (slice(None),) * rows.ndim

    def read(index):
        part = rows[index[: rows.ndim]]
        found = np.asarray(array[part.ravel()]).reshape(*part.shape, *array.shape[1:])
        return found[every + index[rows.ndim :]]

    return jax.make_array_from_callback((*rows.shape, *array.shape[1:]), sharding, once(read))


def once(read):
    """Return a reader for make_array_from_callback that calls read(index) once for each part, not for each device."""
    known = {}

    def part(index):
        key = tuple((s.start, s.stop) for s in index)
        if key not in known:
            known[key] = read(index)
        return known[key]

    return part


def fetch(x) -> np.ndarray:
    """Return an array whole on the host; where it is split over several processes, all of them must call this."""
    local = not isinstance(x, jax.Array) or x.is_fully_addressable or x.is_fully_replicated
    return np.asarray(x if local else _whole(x))


def batch_size_fits(batch: int) -> None:
    """Raise InputError where a batch does not divide over the mesh's data axes."""
    if batch % act_ways():
        over = f"data x fsdp = {act_ways()} devices"
        raise InputError(f"a batch of {batch} blocks does not divide over {over}; use a multiple")


def rounded_up(batch: int) -> int:
    """Return a batch rounded up to what divides over the mesh's data axes."""
    return -(-batch // act_ways()) * act_ways()


def act_ways() -> int:
    """Return over how many devices of the mesh a batch is split."""
    shape = jax.sharding.get_mesh().shape
    return shape["data"] * shape["fsdp"]


def model_fits(c) -> None:
    """Raise InputError, with the arithmetic, where a model's dimensions do not divide over the mesh."""
    shape, wrong = jax.sharding.get_mesh().shape, []
    for letter, size in {"N": c.N, "K": c.K, "F": c.F, "V": c.V}.items():
        if size % shape["tensor"]:
            wrong.append(f"{letter} = {size} does not divide over tensor = {shape['tensor']}")
    if c.D % shape["fsdp"]:
        wrong.append(f"D = {c.D} does not divide over fsdp = {shape['fsdp']}")
    if wrong:
        names = "N heads, K key/value heads, F feed-forward, V vocabulary, D model"
        tensor = math.gcd(c.N, c.K, c.F, c.V)
        advice = f"mesh.tensor must divide {tensor}, mesh.fsdp must divide {c.D}"
        raise InputError(f"the mesh does not fit the model ({names}):\n  " + "\n  ".join([*wrong, advice]))


def replicated(x):
    """Return an array gathered so that every device holds it whole."""
    return jax.reshard(x, P(*[None] * jnp.ndim(x)))


_whole = jax.jit(replicated)

"""Memory of a step by arithmetic alone: to choose what to compile, and for GPUs that are not here.

T is the tokens of a block; the other letters are models/transformer.py's. docs/scale.md compares the bytes with the
compiler's.
"""

import dataclasses
from typing import Any, NamedTuple

import jax

from jaxunlearn.config import Config, Train, Unlearn
from jaxunlearn.models import transformer
from jaxunlearn.models.weights import parameter_bytes, parameters
from jaxunlearn.parallel.sharding import act_ways
from jaxunlearn.perf.programs import PROMPT, Program, adverse, kinds_of
from jaxunlearn.perf.topology import GPU_COUNTS, SHAPES, Topology
from jaxunlearn.training.layerwise import Room, by_layers, gradients_held

POLICIES = ("mlp", "full")  # of rematerialisation; the first computes less again, the second keeps less


class Choice(NamedTuple):
    """What may change without changing the result: the mesh, the microbatch and what is computed again."""

    data: int
    fsdp: int
    tensor: int
    batch: int
    accumulate: int
    remat: str

    def overrides(self, config: Config) -> list[str]:
        """Return it as key=value overrides; the label batch and the reinforcing step follow."""
        ways, total = self.data * self.fsdp, config.reinforce.batch * config.reinforce.accumulate
        found = [f"mesh.data={self.data}", f"mesh.fsdp={self.fsdp}", f"mesh.tensor={self.tensor}"]
        found += [f"unlearn.batch={self.batch}", f"unlearn.accumulate={self.accumulate}"]
        if total % self.batch == 0:
            found += [f"reinforce.batch={self.batch}", f"reinforce.accumulate={total // self.batch}"]
        return [
            *found,
            f"whp.label_batch={max(ways, -(-config.whp.label_batch // ways) * ways)}",
            f"remat={self.remat}",
        ]


def step_bytes(c: transformer.Shape, o: Choice, t: Train, T: int) -> dict[str, int]:
    """Return bytes a chip of a training step by kind; weights and gradients fp32, everything in use c.compute.

    t.update is "whole" or "layers" (settled).
    """
    chips, width = o.fsdp * o.tensor, jax.numpy.dtype(c.compute).itemsize
    whole, moment = parameter_bytes(c, "float32") / chips, parameter_bytes(c, t.moment_dtype) / chips
    moments = {"adamw": 2, "adafactor": 0}.get(t.optimiser, 1)
    rows, layered = o.batch * T / (o.data * o.fsdp), t.update == "layers"
    remat = "full" if layered and o.accumulate > 1 else o.remat
    kept = c.D + (0 if remat == "full" else (2 * c.N + 2 * c.K) * c.H / o.tensor)
    inner = (4 * c.F + (2 * c.N + 2 * c.K) * c.H) / o.tensor + 4 * c.D  # what one layer holds while it works
    kept += {"none": inner, "down": 2 * c.F / o.tensor}.get(remat, 0)
    found = {
        "weights": whole,
        "optimiser": moments * moment,
        "activations": rows * kept * c.L * width * (o.accumulate if layered else 1),
        "gradients": 4 * sum(parameters(c)) / chips if layered else whole * gradients_held(o.accumulate),
        "working set": work_bytes(c, o.tensor, rows, 4) + rows * inner * width,
    }
    if isinstance(t, Unlearn) and adverse(t):  # the copy and its two moments; its gradient is held beside the model's
        found |= {"adversary": 3 * parameter_bytes(c, "float32") / chips, "gradients": found["gradients"] + whole}
    return {kind: int(n) for kind, n in found.items()}


def settled(t: Any, c: transformer.Shape, there: Room, plain: bool = True) -> Any:
    """Return the settings with the update that the step will choose; plain: its loss is cross-entropy alone."""
    plain = plain and not (isinstance(t, Unlearn) and (adverse(t) or t.sam))
    return dataclasses.replace(t, update="layers" if plain and by_layers(t, c, there) else "whole")


def work_bytes(c: transformer.Shape, tensor: int, rows: float, layers: int) -> int:
    """Return bytes of gathered weights (`layers` layers, embedding and head) and of the loss's logits."""
    width = jax.numpy.dtype(c.compute).itemsize
    head = c.D * c.V / tensor
    return int(
        layers * parameters(c)[0] / tensor * width + head * (2 * width + 4) + min(rows, 2048) * c.V / tensor * 12
    )


def choices(config: Config, c: transformer.Shape, where: Topology) -> list[Choice]:
    """Return every mesh, microbatch and policy that keeps the blocks of an update and that the model divides over."""
    total, found = config.unlearn.batch * config.unlearn.accumulate, []
    for tensor in [n for n in range(1, 17) if where.devices % (n * where.slices) == 0]:
        fsdp = where.devices // where.slices // tensor
        if any(size % tensor for size in (c.N, c.K, c.F, c.V)) or c.D % fsdp:
            continue
        ways = where.slices * fsdp
        for batch in [n for n in range(ways, total + 1, ways) if total % n == 0]:
            for remat in POLICIES:
                found.append(Choice(where.slices, fsdp, tensor, batch, total // batch, remat))
    return found


def ranked(
    config: Config, c: transformer.Shape, where: Topology, limit: int, device: int | None = None
) -> list[dict[str, Any]]:
    """Return the choices that need at most `limit` bytes a chip by the estimate, each with its bytes.

    device: the bytes that a chip has, by which the step chooses its update.

    Fewest microbatches come first, since weights are gathered once a microbatch; then the policy that computes less
    again; then the smallest `tensor`, since activations are summed over it in every layer. No time is estimated.
    """
    rows = []
    for o in sorted(choices(config, c, where), key=lambda o: (o.accumulate, POLICIES.index(o.remat), o.tensor)):
        t = dataclasses.replace(config.unlearn, accumulate=o.accumulate)
        t = settled(t, c, Room(o.fsdp * o.tensor, device), config.whp.mode == "offline")
        needed = sum(step_bytes(c, o, t, config.text.context).values())
        if needed <= limit:
            rows.append({"choice": o, "estimated_bytes": needed})
    return rows


def estimated(p: Program, name: str, config: Config, c: transformer.Shape) -> dict[str, Any]:
    """Return what plan.measured returns, computed: arguments and activations exactly, the rest by step_bytes' rules."""
    mesh, T, kinds = jax.sharding.get_mesh().shape, config.text.context, kinds_of(p)
    ways, tensor = act_ways(), mesh["tensor"]
    if "activations" in kinds:
        t = config.reinforce if name == "reinforce_step" else config.unlearn
        if name == "fused_step":
            t = dataclasses.replace(t, update="whole")
        o = Choice(mesh["data"], mesh["fsdp"], tensor, t.batch, t.accumulate, c.remat)
        rules = {"gradients", "working set"} | ({"activations"} if t.update == "layers" else set())
        kinds |= {k: v for k, v in step_bytes(c, o, t, T).items() if k in rules}
    elif name == "label":
        kinds["working set"] = work_bytes(c, tensor, config.whp.label_batch * T / ways, 2)
    else:
        B, width = -(-config.eval.batch // ways), jax.numpy.dtype(c.compute).itemsize
        cache = 2 * c.L * B * (PROMPT + config.eval.new_tokens) * c.K * c.H * width // tensor
        kinds |= {"cache": cache, "working set": work_bytes(c, tensor, B, 2)}
    return {
        "peak_bytes": int(sum(kinds.values())), "bytes": kinds, "collectives": {}, "compile_seconds": 0.0,
        "rematerialised": 0,
    }  # fmt: skip


def smallest(
    config: Config, c: transformer.Shape, where: Topology, limit: int, device: int | None = None
) -> Topology | None:
    """Return the smallest slice of the same family, of those with a name, that is estimated to hold the step."""
    for shape in SHAPES.get(where.family, tuple(map(str, GPU_COUNTS))):
        candidate = where._replace(shape=shape)
        if candidate.devices > where.devices and ranked(config, c, candidate, limit, device):
            return candidate
    return None

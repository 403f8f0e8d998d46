"""Memory and time of a step by arithmetic alone: to rank candidates before they are compiled, and for absent GPUs.

B blocks a microbatch, A microbatches, T tokens a block; letters of model.py. docs/scale.md compares the bytes with the
compiler's.
"""

from typing import Any, NamedTuple

import jax
import numpy as np

from jaxunlearn.config import Config, Train
from jaxunlearn.models import transformer
from jaxunlearn.perf.counts import forward_flops
from jaxunlearn.perf.programs import PROMPT, Program, act_ways, kinds_of
from jaxunlearn.perf.topology import GPU_COUNTS, SHAPES, Topology

FORWARDS = {"none": 3.0, "mlp": 3.45, "full": 4.0}  # of a step, a backward being two


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


def weights_of(c: transformer.Shape) -> tuple[int, int]:
    """Return (weights of one layer, weights outside the layers)."""
    layer = c.D * c.H * (2 * c.N + 2 * c.K) + 3 * c.D * c.F + 2 * c.D
    return layer, c.V * c.D * (1 if c.tied else 2) + c.D


def step_bytes(c: transformer.Shape, o: Choice, t: Train, T: int) -> dict[str, int]:
    """Return bytes a chip of a training step by kind; weights and gradients fp32, everything in use c.compute."""
    layer, rest = weights_of(c)
    all_weights, chips, width = c.L * layer + rest, o.fsdp * o.tensor, np.dtype(jax.numpy.dtype(c.compute)).itemsize
    host = t.moment_memory == "host"
    moment = 2 if t.moment_dtype == "bfloat16" else 4
    rows = o.batch * T / (o.data * o.fsdp)
    kept = c.D + (0 if o.remat == "full" else (2 * c.N + 2 * c.K) * c.H / o.tensor)
    inner = (4 * c.F + (2 * c.N + 2 * c.K) * c.H) / o.tensor + 4 * c.D  # what one layer holds while it works
    if o.remat == "none":
        kept += inner
    found = {
        "weights": 4 * all_weights / chips,
        "optimiser": 0 if t.optimiser == "adafactor" or host else 2 * moment * all_weights / chips,
        "activations": rows * kept * c.L * width,
        "gradients": 4 * all_weights / chips * (3 if o.accumulate > 1 else 2),
        "working set": work_bytes(c, o.tensor, rows, 4) + rows * inner * width,
    }
    return {kind: int(n) for kind, n in found.items()}


def work_bytes(c: transformer.Shape, tensor: int, rows: float, layers: int) -> int:
    """Return bytes of gathered weights (`layers` layers, embedding and head) and of the loss's logits."""
    width = jax.numpy.dtype(c.compute).itemsize
    head = c.D * c.V / tensor
    return int(
        layers * weights_of(c)[0] / tensor * width + head * (2 * width + 4) + min(rows, 2048) * c.V / tensor * 12
    )


def seconds(c: transformer.Shape, o: Choice, T: int, where: Topology) -> float:
    """Return the seconds of a step at the chips' peaks, products, then links: a figure to rank by, no forecast."""
    chips, width = o.data * o.fsdp * o.tensor, jax.numpy.dtype(c.compute).itemsize
    tokens = o.batch * o.accumulate * T
    products = forward_flops(c, tokens, T) * FORWARDS[o.remat] / chips / where.chip.flops
    layer, rest = weights_of(c)
    gathered = (c.L * layer + rest) * width / o.tensor * o.accumulate
    sent = 0.0
    if o.fsdp > 1:
        sent += (2 * gathered + 2 * gathered) * (1 - 1 / o.fsdp)  # gathered twice, the gradient summed once
    if o.data > 1:
        sent += 2 * gathered / o.fsdp * (1 - 1 / o.data)
    if o.tensor > 1:
        passes = 4 + (2 if o.remat == "full" else 1)  # sums of activations a layer: two forward, two backward, again
        sent += 2 * passes * c.L * tokens / (o.data * o.fsdp) * c.D * width * (1 - 1 / o.tensor)
    return products + sent / (where.chip.link / 2)


def choices(config: Config, c: transformer.Shape, where: Topology) -> list[Choice]:
    """Return every mesh, microbatch and policy that keeps the blocks of an update and that the model divides over."""
    total, found = config.unlearn.batch * config.unlearn.accumulate, []
    for tensor in [n for n in range(1, 17) if where.devices % (n * where.slices) == 0]:
        fsdp = where.devices // where.slices // tensor
        if any(size % tensor for size in (c.N, c.K, c.F, c.V)) or c.D % fsdp:
            continue
        ways = where.slices * fsdp
        for batch in [n for n in range(ways, total + 1, ways) if total % n == 0]:
            for remat in ("mlp", "full"):
                found.append(Choice(where.slices, fsdp, tensor, batch, total // batch, remat))
    return found


def ranked(config: Config, c: transformer.Shape, where: Topology, limit: int) -> list[dict[str, Any]]:
    """Return the choices that should fit, fastest first, each with its computed bytes and seconds."""
    T, rows = config.text.context, []
    for o in choices(config, c, where):
        needed = sum(step_bytes(c, o, config.unlearn, T).values())
        rows.append({"choice": o, "estimated_bytes": needed, "seconds_at_peak": seconds(c, o, T, where)})
    return sorted(
        (r for r in rows if r["estimated_bytes"] <= limit),
        key=lambda r: (r["seconds_at_peak"], r["choice"].accumulate, r["choice"]),
    )


def estimated(p: Program, name: str, config: Config, c: transformer.Shape) -> dict[str, Any]:
    """Return what plan.measured returns, computed: arguments and activations exactly, the rest by step_bytes' rules."""
    mesh, T, kinds = jax.sharding.get_mesh().shape, config.text.context, kinds_of(p)
    ways, tensor = act_ways(), mesh["tensor"]
    if "activations" in kinds:
        t = config.reinforce if name == "reinforce_step" else config.unlearn
        o = Choice(mesh["data"], mesh["fsdp"], tensor, t.batch, t.accumulate, c.remat)
        kinds |= {k: v for k, v in step_bytes(c, o, t, T).items() if k in ("gradients", "working set")}
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


def smallest(config: Config, c: transformer.Shape, where: Topology, limit: int) -> Topology | None:
    """Return the smallest slice of the same family, of those with a name, that is estimated to hold the step."""
    for shape in SHAPES.get(where.family, tuple(map(str, GPU_COUNTS))):
        candidate = where._replace(shape=shape)
        if candidate.devices > where.devices and ranked(config, c, candidate, limit):
            return candidate
    return None

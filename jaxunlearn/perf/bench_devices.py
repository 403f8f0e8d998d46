"""Unlearning throughput over 1, 2, 4, 8 ... devices of this machine: the same step, the same blocks, more devices."""

import dataclasses
import time
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import jax
import numpy as np

from jaxunlearn.config import Config, Mesh
from jaxunlearn.errors import InputError
from jaxunlearn.files import json_text
from jaxunlearn.models import transformer
from jaxunlearn.parallel.console import say
from jaxunlearn.parallel.sharding import make_mesh, mesh_from, put
from jaxunlearn.perf.counts import bench_shape, peak_bytes
from jaxunlearn.perf.programs import local_bytes, program
from jaxunlearn.training.step import init_state

VIRTUAL = "virtual CPU devices share the same cores: times mean nothing here, only the split of the work does"
SHARES = {"flops": "FLOPs", "state_bytes": "bytes of weights and optimiser", "peak_bytes": "bytes at the peak"}

WRITTEN = ("scaling.json", "table.md", "scaling.png")  # what `scaling` writes


def scaling(config: Config, out: Path, repeats: int = 5) -> list[dict[str, Any]]:
    """Time the unlearning step on 1, 2, 4, ... devices, all of them fsdp; write table.md, scaling.png and scaling.json.

    Rows hold devices, tokens_per_second, efficiency (share of the linear speed-up), and a device's FLOPs (a scan's body
    counted once), bytes of state and bytes at the peak. Raises InputError when the batch does not divide over them.
    """
    counts = [n for n in (2**k for k in range(20)) if n <= len(jax.devices())]
    if config.unlearn.batch % counts[-1]:
        raise InputError(
            f"the same {config.unlearn.batch} blocks are split over up to {counts[-1]} devices; "
            f"use a multiple: unlearn.batch={-(-config.unlearn.batch // counts[-1]) * counts[-1]}"
        )
    with jax.set_mesh(make_mesh(devices=jax.devices()[:1])):
        c = bench_shape(config)
    rows = [_row(config, c, n, repeats) for n in counts]
    for row in rows:
        row["efficiency"] = row["tokens_per_second"] / rows[0]["tokens_per_second"] / row["devices"]
        say(_line(row))
    out.mkdir(parents=True, exist_ok=True)
    (out / "scaling.json").write_text(json_text({"device": jax.devices()[0].device_kind, "rows": rows}, indent=1))
    (out / "table.md").write_text(table(rows))
    _plot(rows, out / "scaling.png")
    return rows


def _row(config: Config, c: transformer.Shape, n: int, repeats: int) -> dict[str, Any]:
    """Compile and time the step on the first n devices."""
    config = dataclasses.replace(config, mesh=Mesh(data=1, fsdp=n, tensor=1))
    t, T = config.unlearn, config.text.context
    with jax.set_mesh(mesh_from(config.mesh, jax.devices()[:n])):
        p = program("unlearn_step", config, c)
        compiled = p.function.lower(*p.arguments).compile()
        tokens = np.random.default_rng(0).integers(0, c.V, (t.accumulate, t.batch, T)).astype(np.int32)
        batch = [{}, {"labels": (put(tokens, "ABT"), put(np.roll(tokens, -1, -1), "ABT"))}]  # no model is asked
        spent = _seconds(partial(compiled), init_state(transformer.init(c, 0), t), batch, repeats)
        return {
            "devices": n, "tokens_per_second": tokens.size / spent, "seconds": spent,
            "flops": float(compiled.cost_analysis()["flops"]), "state_bytes": local_bytes(p.arguments[0]),
            "peak_bytes": peak_bytes(compiled),
        }  # fmt: skip


def _seconds(step, state, batch, repeats: int) -> float:
    times = []
    for _ in range(repeats + 1):
        began = time.perf_counter()
        state, metrics = step(state, np.float32(1e-6), *batch)
        jax.block_until_ready(metrics)
        times.append(time.perf_counter() - began)
    return median(times[1:])


def _line(row: dict) -> str:
    return f"  devices: {row['devices']}  {row['tokens_per_second']:,.0f} tokens/s  {row['efficiency']:.0%} of linear"


def table(rows: list[dict]) -> str:
    """Return the rows as a Markdown table, with what times mean on this machine."""
    kind = jax.devices()[0].device_kind
    said = [
        f"Unlearning step over the devices of this machine ({kind}), jax {jax.__version__}, the same blocks a step.\n"
    ]
    if jax.devices()[0].platform == "cpu":
        said.append(VIRTUAL[0].upper() + VIRTUAL[1:] + ".\n")
    said.append("FLOPs as the compiler counts them: one layer stands for all, which are one loop.\n")
    said += ["| devices | tokens/s | of linear | GFLOP a device | state, MiB a device | peak, MiB a device |"]
    said += ["|---|---|---|---|---|---|"]
    for r in rows:
        said.append(
            f"| {r['devices']} | {r['tokens_per_second']:,.0f} | {r['efficiency']:.0%} | {r['flops'] / 1e9:.3f} "
            f"| {r['state_bytes'] / 2**20:.2f} | {r['peak_bytes'] / 2**20:.2f} |"
        )
    return "\n".join(said) + "\n"


def _plot(rows: list[dict], path: Path) -> None:
    """Draw the speed beside the linear one, and a device's share of the work beside 1/n."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.4), layout="constrained")
    speed, split = figure.subplots(1, 2)
    n = [r["devices"] for r in rows]
    virtual = jax.devices()[0].platform == "cpu"
    speed.plot(n, [rows[0]["tokens_per_second"] * k for k in n], "--", color="grey", label="linear")
    speed.plot(n, [r["tokens_per_second"] for r in rows], "o-", label="measured")
    speed.set(title="speed" + " (virtual devices: means nothing)" * virtual, ylabel="tokens/s", ylim=(0, None))
    split.plot(n, [1 / k for k in n], "--", color="grey", label="1/n")
    for (key, name), size in zip(SHARES.items(), (11, 6, 6), strict=True):  # the first two lie on one line
        split.plot(n, [r[key] / rows[0][key] for r in rows], "o", markersize=size, label=name)
    split.set(title="a device's share of the work", ylabel="of what one device has", xscale="log", yscale="log")
    split.set_yticks([1 / k for k in n], [f"1/{k}" if k > 1 else "1" for k in n])
    for side in (speed, split):
        side.set_xticks(n, [str(k) for k in n])
        side.minorticks_off()
        side.set_xlabel("devices")
        side.legend(frameon=False)
        side.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)

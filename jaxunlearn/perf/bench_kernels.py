"""The two kernels against what one would write first: whole logits."""

import time
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxunlearn.kernels.linear_cross_entropy import linear_cross_entropy
from jaxunlearn.parallel.console import say
from jaxunlearn.parallel.sharding import act, act_ways, platform, put
from jaxunlearn.whp import equation
from jaxunlearn.whp.argmax import NEVER, generic_argmax

ALPHA = 5.0
SEEN = 40  # translations that appear in a block
TURN = 3


def kernels(ceiling: float, compute: str, repeats: int) -> dict:
    """Return time, temporaries and share of the ceiling of each kernel, and the ratios to the naive version."""
    T, D, V = (2048, 256, 32000) if platform() == "cpu" else (8192, 4096, 32000)
    B = max(4, act_ways())
    draw = np.random.default_rng(0)
    h = [put(draw.normal(size=(B, T // B, D)).astype(np.float32), "BTD").astype(compute) for _ in range(2)]
    w = [put((draw.normal(size=(D, V)) / D**0.5).astype(np.float32), "DV").astype(compute) for _ in range(2)]
    labels_BT = put(draw.integers(0, V, (B, T // B)).astype(np.int32), "BT")
    seen_BV = np.full((B, V), NEVER, np.int32)
    for row_V in seen_BV:
        row_V[draw.choice(V, SEEN, replace=False)] = draw.integers(0, T // B, SEEN)
    seen_BV = put(seen_BV, "BV")
    flops = 2.0 * T * D * V
    pairs = {
        "generic_argmax": (_argmax, _naive_argmax, (*h, *w, seen_BV), 2 * flops),
        "linear_cross_entropy": (_loss, _naive_loss, (h[0], w[0], labels_BT), 3 * flops),
    }
    found = {}
    for name, (ours, naive, arrays, work) in pairs.items():
        found[name] = one = _pair(ours, naive, arrays, repeats)
        one |= {"T": T, "D": D, "V": V, "share_of_ceiling": work / one["seconds"] / ceiling}
        say(
            f"{name}: {one['seconds'] * 1e3:.0f} ms, {one['time_ratio']:.2f} x the naive time, "
            f"{one['temp_bytes'] / 2**20:.0f} MiB of temporaries ({one['temp_ratio']:.3f} x), "
            f"{one['share_of_ceiling']:.0%} of the ceiling"
        )
    return found


def _pair(ours, naive, arrays, repeats: int) -> dict:
    """Time both in turns, so that a slow moment of the machine hits both.

    A turn is TURN calls in a row, as either is used; the first is not timed: it finds the caches, and the memory, as
    the other side left them.
    """
    programs = [jax.jit(f).lower(*arrays).compile() for f in (ours, naive)]
    times = [[], []]
    for program in programs:
        jax.block_until_ready(program(*arrays))
    for _ in range(repeats):
        for spent, program in zip(times, programs, strict=True):
            for n in range(TURN):
                began = time.perf_counter()
                jax.block_until_ready(program(*arrays))
                if n:
                    spent.append(time.perf_counter() - began)
    temporaries = [temporary_bytes(p) for p in programs]
    return {
        "seconds": median(times[0]),
        "naive_seconds": median(times[1]),
        "time_ratio": median(a / b for a, b in zip(*times, strict=True)),
        "temp_bytes": temporaries[0],
        "naive_temp_bytes": temporaries[1],
        "temp_ratio": temporaries[0] / max(temporaries[1], 1),
    }


def temporary_bytes(program: Any) -> int:
    return program.memory_analysis().temp_size_in_bytes


def _argmax(base_BTD, reinf_BTD, base_DV, reinf_DV, seen_BV):
    return generic_argmax(base_BTD, reinf_BTD, base_DV, reinf_DV, (ALPHA,), seen_BV=seen_BV)[0]


def _naive_argmax(base_BTD, reinf_BTD, base_DV, reinf_DV, seen_BV):
    v_base, v_reinf = _logits(base_BTD, base_DV), _logits(reinf_BTD, reinf_DV)
    seen_BTV = jnp.arange(v_base.shape[1])[None, :, None] >= seen_BV[:, None, :]
    mean_BT1 = jnp.mean(v_base, axis=-1, keepdims=True)
    return jnp.argmax(equation.generic_logits(v_base, v_reinf, ALPHA, seen=seen_BTV, mean=mean_BT1), axis=-1)


def _loss(h_BTD, w_DV, labels_BT):
    def mean(h_BTD, w_DV):
        total, count = linear_cross_entropy(h_BTD, w_DV, labels_BT)
        return total / count

    return jax.value_and_grad(mean, argnums=(0, 1))(h_BTD, w_DV)


def _naive_loss(h_BTD, w_DV, labels_BT):
    def mean(h_BTD, w_DV):
        logits_BTV = _logits(h_BTD, w_DV)
        rows = jnp.arange(labels_BT.shape[0])[:, None], jnp.arange(labels_BT.shape[1])[None]
        label_BT = logits_BTV.at[*rows, labels_BT].get(out_sharding=act("BT"))
        return jnp.mean(jax.nn.logsumexp(logits_BTV, axis=-1) - label_BT)

    return jax.value_and_grad(mean, argnums=(0, 1))(h_BTD, w_DV)


def _logits(h_BTD, w_DV):
    return jnp.einsum("BTD,DV->BTV", h_BTD, w_DV, preferred_element_type=jnp.float32)

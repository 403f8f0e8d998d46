"""ILU: a penalty on how the loss of other text changes with the scale of the weights, so that fine-tuning moves little.

weight * s^2 is added, s = d l(w theta) / dw at w = 1, with l the cross-entropy on text to keep. s is <theta, g>, with g
the gradient of l, and the penalty's gradient is 2 weight s (g + H theta), with H the Hessian of l; H theta is the
central difference of g at (1 +- 0.001) theta, because the kernels have no second derivative. Three passes on text to
keep a step. Source: arXiv 2506.01339, after IRM (arXiv 1907.02893, eq. IRMv1). Its environments are unrelated
fine-tuning sets; text to keep stands for one here. Unclear there: whether w scales all weights or the last layer's
output; here all weights.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxunlearn.config import Config
from jaxunlearn.methods.base import Method, lacks_forget

STEP = 1e-3  # of the central difference, in w


def penalised(gradient: Callable, theta, weight: float):
    """Return (weight * s^2, its gradient, s); gradient(theta) -> that of l."""
    up, down = (gradient(jax.tree.map(lambda w, k=k: k * w, theta)) for k in (1 + STEP, 1 - STEP))
    g = gradient(theta)
    s = sum(jnp.sum(w * d) for w, d in zip(jax.tree.leaves(theta), jax.tree.leaves(g), strict=True))
    slope = jax.tree.map(lambda g, a, b: 2 * weight * s * (g + (a - b) / (2 * STEP)), g, up, down)
    return weight * s**2, slope, jnp.asarray(s, jnp.float32)


def faults(config: Config, method: Method, parts: tuple[str, ...]) -> list[str]:
    """Return why the penalty cannot run; parts: those of a batch that the method reads."""
    u, wrong = config.unlearn, []
    if not u.invariance:
        return wrong
    if why := lacks_forget(method, parts):
        wrong.append(f"unlearn.invariance: {method.name} {why}; set unlearn.invariance=0")
    elif "retain" not in parts:
        wrong.append("unlearn.invariance is measured on text to keep: set unlearn.retain_weight above 0")
    if config.compute != "float32":
        wrong.append(
            f"unlearn.invariance takes a difference of gradients, which rounding to {config.compute} drowns: set "
            "compute=float32"
        )
    if u.lora.rank:
        wrong.append("unlearn.invariance scales whole weights: leave out unlearn.lora")
    if u.select.budget:
        wrong.append("unlearn.invariance is a term on text to keep, of which unlearn.select takes none: leave one out")
    return wrong

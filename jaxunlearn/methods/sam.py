"""SAM: the forget loss's gradient is taken where that loss is worst nearby, so that its minimum is a flat one.

g' = gradient of the forget loss at theta + rho g / |g|, with g the gradient at theta and |g| its norm over all weights;
the term on text to keep is left at theta. Source: Fan et al., "Towards LLM Unlearning Resilient to Relearning Attacks",
arXiv 2502.05374 (rho 0.01), after Foret et al., arXiv 2010.01412, eq. 2.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jaxunlearn.config import Config
from jaxunlearn.methods.base import Method, lacks_forget


def sharpened(gradient: Callable, rho: float) -> Callable:
    """Return a gradient function whose gradient is that at part + rho g / |g|; loss and metrics stay those at part.

    gradient(part) -> (loss, g, metrics). Where g is 0 the gradient is that at part.
    """

    def worst(part):
        loss, g, metrics = gradient(part)
        share = rho / jnp.maximum(optax.tree.norm(g), jnp.finfo(jnp.float32).tiny)
        return loss, gradient(jax.tree.map(lambda w, x: w + (share * x).astype(w.dtype), part, g))[1], metrics

    return worst


def faults(config: Config, method: Method, parts: tuple[str, ...]) -> list[str]:
    """Return why the configuration's SAM cannot run; parts: those of a batch that the method reads."""
    u = config.unlearn
    if not u.sam:
        return []
    wrong = ["unlearn.sam needs whole gradients: leave out unlearn.update"] if u.update == "layers" else []
    if why := lacks_forget(method, parts):
        wrong.append(f"unlearn.sam: {method.name} {why}; set unlearn.sam=0")
    return wrong

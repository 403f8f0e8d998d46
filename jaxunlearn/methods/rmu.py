"""RMU: misdirect one layer's activations on the text to forget, hold them on text to keep.

MSE_forget + retain_weight * MSE_retain, on hidden states after one layer only; trains the down projections of that
layer and the two before it. Defaults as for Zephyr-7B: layer 7, steering 6.5, retain_weight 1200; both scale with the
norm of the activations. Source: Li et al. (WMDP), arXiv 2403.03218, section 4.
"""

import jax
import jax.numpy as jnp
import numpy as np

from jaxunlearn.kernels.linear_cross_entropy import IGNORE
from jaxunlearn.methods.base import Batch, Method, Setting, Sum, Terms, Values, retain_weight
from jaxunlearn.models.transformer import rematerialised, rope_table


def control_vector(D: int, seed: int = 0) -> np.ndarray:
    """Return u_D, RMU's fixed direction: uniform on [0, 1), normalised."""
    u_D = np.random.default_rng(seed).random(D)
    return (u_D / np.linalg.norm(u_D)).astype(np.float32)


def rmu_forget(h_BTD, u_D, mask_BT, steering=6.5) -> Sum:
    """Return (sum over positions of the mean squared distance of h from steering * u, count)."""
    return _distance(h_BTD, steering * jnp.asarray(u_D)[None, None], mask_BT)


def rmu_retain(h_BTD, frozen_BTD, mask_BT) -> Sum:
    """Return (sum over positions of the mean squared distance of h from the frozen model's, count)."""
    return _distance(h_BTD, jax.lax.stop_gradient(frozen_BTD.astype(jnp.float32)), mask_BT)


def _distance(h_BTD, target_BTD, mask_BT) -> Sum:
    distance_BT = jnp.mean((h_BTD.astype(jnp.float32) - target_BTD) ** 2, axis=-1)
    return jnp.sum(jnp.where(mask_BT, distance_BT, 0)), jnp.sum(mask_BT, dtype=jnp.float32)


def hidden_after(model, tokens_BT, layer: int, first: int = 0):
    """Return h_BTD after layer `layer` (from 0), not normalised; no later layer is computed.

    Layers before `first` get no gradient, and none of their activations are stored.
    """
    x_BTD = model.embed(tokens_BT)
    rope = rope_table(model.c, jnp.arange(tokens_BT.shape[1])[None])
    kept = rematerialised(lambda x_BTD, layer: layer[0](x_BTD, layer[1], rope, None)[0], model.c.remat)

    def through(x_BTD, start: int, stop: int):
        layers = jax.tree.map(lambda w: w[start:stop], model.layers())
        return jax.lax.scan(lambda x, layer: (kept(x, layer), None), x_BTD, layers)[0]

    if first > 0:
        x_BTD = jax.lax.stop_gradient(through(x_BTD, 0, first))
    return through(x_BTD, first, layer + 1)


def rmu_first(layer: int) -> int:
    """Return the first of the (at most) three layers that RMU trains."""
    return max(layer - 2, 0)


def rmu_trained(model, layer: int):
    """Return a tree of 0 and 1 over the weights, to multiply updates by: down projections of three layers alone."""

    def mask(path, weight):
        names = [k.name for k in path if hasattr(k, "name")]
        at_L = np.arange(model.c.L)
        down = any(name.startswith("down_") for name in names)  # the weight, or an adapter's two factors
        on_L = (at_L >= rmu_first(layer)) & (at_L <= layer) & down
        return on_L.astype(np.float32).reshape(-1, *[1] * (weight.ndim - 1)) if "blocks" in names else np.float32(0)

    return jax.tree_util.tree_map_with_path(mask, model)


def misdirected(b: Batch) -> Terms:
    """Return RMU's two terms: activations steered on text to forget, held near the baseline's on text to keep."""
    layer, baseline = int(b["layer"]), b.frozen["baseline"]
    (forget_BT, labels_BT), (retain_BT, retain_labels_BT) = b.parts["forget"], b.parts["retain"]
    first, u_D = rmu_first(layer), control_vector(b.model.c.D)
    h_BTD = hidden_after(b.model, forget_BT, layer, first)
    forget = rmu_forget(h_BTD, u_D, labels_BT != IGNORE, b["steering"])
    h_BTD = hidden_after(b.model, retain_BT, layer, first)
    frozen_BTD = hidden_after(baseline, retain_BT, layer)
    return {"forget": forget, "retain": rmu_retain(h_BTD, frozen_BTD, retain_labels_BT != IGNORE)}


def down_projections(model, values: Values):
    """Return the factors of RMU's updates for its layer."""
    return rmu_trained(model, int(values["layer"]))


RMU = Method(
    name="rmu",
    paper="arXiv 2403.03218",
    summary="misdirect one layer's activations; trains three down projections",
    card="activations of one layer misdirected on the text to forget and held on text to keep",
    loss=misdirected,
    settings={
        "layer": Setting(default=7, least=0, whole=True, layers=True, why="layers count from 0"),
        "steering": Setting(
            default=6.5, above=0, why="it is the length of the direction that activations are steered to"
        ),
        "retain_weight": retain_weight(1200.0),
    },
    reads=("forget", "retain"),
    asks=("baseline",),
    asks_on=("retain",),
    retain="own",
    updates=down_projections,
)

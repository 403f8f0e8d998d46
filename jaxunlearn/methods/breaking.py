"""MLP breaking: turn the feed-forwards' outputs of a few lower layers away from what they were.

Per token and layer max(0, <h, h0>) / (mean |h0|)^2, with h the output of a layer's feed-forward, h0 the baseline's and
the mean taken over the tokens of the microbatch; averaged over tokens and layers. The first position of a row takes no
part. At the baseline it is about 1, at any output that does not point the old way 0. With `components` above 0 (MCU) h
and h0 first lose the mean direction and so many leading principal components of h0. The term on text to keep is the
mean squared distance of the state after the last of these layers from the baseline's. Together with
methods/collapse.py it is CIR.

Sources: arXiv 2509.11816 (layers 6 to 11 of 32; other models' are chosen here by that share), 2605.11685 (MCU; 8 or 32
components). Unclear there: whether text to keep is held by its state or by its norm. Here the components are those of
the microbatch, there of the whole text to forget.
"""

import jax
import jax.numpy as jnp

from jaxunlearn.config import Config
from jaxunlearn.errors import InputError
from jaxunlearn.kernels.linear_cross_entropy import IGNORE
from jaxunlearn.methods.base import Batch, Method, Setting, Sum, Terms, retain_weight
from jaxunlearn.methods.rmu import hidden_after, rmu_retain
from jaxunlearn.models.transformer import Shape, rematerialised, rope_table
from jaxunlearn.parallel.sharding import act

FROM, TO = 6 / 32, 12 / 32  # of the layers: its authors' choice


def layers_of(first: int, last: int, L: int) -> tuple[int, int]:
    """Return the first and the last layer that is broken; -1: as the source has it, by its share of the layers."""
    if first < 0:
        first = round(FROM * L) if last < 0 else min(round(FROM * L), last)
    return first, max(first, round(TO * L) - 1) if last < 0 else last


def outputs(model, tokens_BT, first: int, last: int):
    """Return h_NBTD, what the feed-forwards of layers first to last add; no later layer is computed."""
    x_BTD, rope = model.embed(tokens_BT), rope_table(model.c, jnp.arange(tokens_BT.shape[1])[None])

    def layer(x_BTD, at):
        x_BTD, _ = at[0].attended(x_BTD, at[1], rope, None)
        h_BTD = at[0].fed_forward(x_BTD)
        return x_BTD + h_BTD, h_BTD

    kept = rematerialised(layer, model.c.remat)
    before, those = (jax.tree.map(lambda w, s=s: w[s], model.layers()) for s in (slice(first), slice(first, last + 1)))
    if first:
        x_BTD, _ = jax.lax.scan(lambda x, at: (kept(x, at)[0], None), x_BTD, before)
    return jax.lax.scan(kept, x_BTD, those)[1]


def common(h_NBTD, mask_BT, components: int):
    """Return orthonormal columns [N, D, components + 1]: the mean direction and the leading principal components."""
    weight_BT = mask_BT.astype(jnp.float32)
    rows, count = h_NBTD.astype(jnp.float32) * weight_BT[None, :, :, None], jnp.maximum(jnp.sum(weight_BT), 1)
    mean_ND, whole = jnp.sum(rows, axis=(1, 2)) / count, act("LDD")
    products_NDD = jnp.einsum("NBTD,NBTE->NDE", rows, rows, precision="highest", out_sharding=whole) / count
    _, vectors_NDD = jnp.linalg.eigh(products_NDD - mean_ND[:, :, None] * mean_ND[:, None])
    leading_NDK = vectors_NDD[..., ::-1][..., :components]
    return jnp.linalg.qr(jnp.concatenate([mean_ND[..., None], leading_NDK], axis=2))[0]


def _without(a_NBTD, q_NDK):
    """Return vectors without their part in the span of orthonormal columns."""
    inside_NBTK = jnp.einsum("NBTD,NDK->NBTK", a_NBTD, q_NDK, precision="highest")
    return a_NBTD - jnp.einsum("NBTK,NDK->NBTD", inside_NBTK, q_NDK, precision="highest")


def _later(mask_BT):
    """Return the mask without the first position of a row, whose output is the same in every text and very long."""
    return mask_BT & (jnp.arange(mask_BT.shape[1]) > 0)[None]


def broken(h_NBTD, old_NBTD, mask_BT, components: int = 0) -> Sum:
    """Return (sum over positions of the mean over layers of max(0, <h, h0>) / (mean |h0|)^2, count).

    The mean is over the positions of mask_BT but the first of a row; count has these too, as that of the data does.
    """
    mask_BT, count = _later(mask_BT), jnp.sum(mask_BT, dtype=jnp.float32)
    h, old = h_NBTD.astype(jnp.float32), jax.lax.stop_gradient(old_NBTD.astype(jnp.float32))
    if components:
        q_NDK = common(old, mask_BT, components)
        h, old = (_without(a, q_NDK) for a in (h, old))
    on_1BT = mask_BT.astype(jnp.float32)[None]
    taken = jnp.maximum(jnp.sum(on_1BT), 1)
    size_N = jnp.sum(on_1BT * jnp.linalg.norm(old, axis=-1), axis=(1, 2)) / taken
    along_NBT = on_1BT * jax.nn.relu(jnp.sum(h * old, axis=-1))
    share_N = jnp.sum(along_NBT, axis=(1, 2)) / taken / jnp.maximum(size_N**2, jnp.finfo(jnp.float32).tiny)
    return jnp.mean(share_N) * count, count


def turned(b: Batch) -> Terms:
    """Return the term on text to forget and, with a weight on text to keep, that on its states."""
    first, last = layers_of(int(b["first_layer"]), int(b["last_layer"]), b.model.c.L)
    baseline, (tokens_BT, labels_BT) = b.frozen["baseline"], b.parts["forget"]
    h_NBTD, old_NBTD = (outputs(m, tokens_BT, first, last) for m in (b.model, baseline))
    terms = {"forget": broken(h_NBTD, old_NBTD, labels_BT != IGNORE, int(b["components"]))}
    if b["retain_weight"]:
        tokens_BT, labels_BT = b.parts["retain"]
        h_BTD, old_BTD = (hidden_after(m, tokens_BT, last) for m in (b.model, baseline))
        terms["retain"] = rmu_retain(h_BTD, old_BTD, labels_BT != IGNORE)
    return terms


def _settings(config: Config) -> dict[str, str]:
    return {key: value for key, _, value in (item.partition("=") for item in config.unlearn.settings)}


def fits(config: Config, c: Shape) -> None:
    """Raise InputError for more components, with the mean, than leave anything of an output."""
    q = float(_settings(config).get("components", 0)) if config.unlearn.method == BREAKING.name else 0
    if q + 1 >= c.D and q:
        raise InputError(
            f"mlp_breaking: components = {q:g}, and the mean, leave nothing of an output of {c.D} numbers: give fewer"
        )


def refuse(config: Config) -> list[str]:
    """Return a fault where the last layer comes before the first."""
    given = _settings(config)
    first, last = (given.get(key, "-1") for key in ("first_layer", "last_layer"))
    try:
        wrong = 0 <= float(last) < float(first)
    except ValueError:
        return []  # said by the setting's own bounds
    return [f"mlp_breaking: last_layer = {last} comes before first_layer = {first}"] if wrong else []


BREAKING = Method(
    name="mlp_breaking",
    paper="arXiv 2509.11816, 2605.11685",
    summary="turn lower feed-forwards' outputs away from what they were; components above 0: MCU",
    card="the outputs of lower feed-forwards turned away from what they were on the text to forget",
    loss=turned,
    settings={
        "first_layer": Setting(default=-1, least=-1, whole=True, layers=True, why="layers count from 0; -1: by share"),
        "last_layer": Setting(default=-1, least=-1, whole=True, layers=True, why="layers count from 0; -1: by share"),
        "components": Setting(default=0, least=0, whole=True, why="so many directions are taken out"),
        "retain_weight": retain_weight(1.0),
    },
    reads=("forget",),
    asks=("baseline",),
    asks_on=("forget", "retain"),
    retain="own",
    refuse=refuse,
)

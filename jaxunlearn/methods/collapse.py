"""CIR: the forget gradient of each feed-forward matrix without what its factors have in common.

The gradient of a matrix is the sum over tokens of g a^T, with a the activation that the matrix meets and g the gradient
at its output. a loses its mean direction and its `inputs` leading principal components, g those of its own (`outputs`):
a' = a - Q Q^T a, with Q an orthonormal basis of them, and the gradient is the sum of g' a'^T. That is linear, so it is
made of the sum G of g a^T: (I - Q_g Q_g^T) G (I - Q_a Q_a^T), with no factor of a token kept. It is scaled to the
length `norm` over all feed-forwards, and taken as a plain step; so is `retain_rate` times the gradient of the method's
term on text to keep, where it has one. Nothing else moves. Components are those of the `every` steps before, refreshed
after as many; the first steps only collect.

The loss that its authors take is that of methods/breaking.py; any method's will do. Source: arXiv 2509.11816 (23 and 35
components, norm 0.2 at 8B parameters). Left out of all sums, as there: the first position of a row and the last.
Positions with no gradient at all, such as padding, are left out here too. Unclear there, and chosen here: components
are those of the centred factors; mean and components are made orthonormal before they are taken out. The covariances
of all matrices, [L, d, d] each, are held whole by every device.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jaxunlearn.config import Config
from jaxunlearn.errors import InputError
from jaxunlearn.methods.base import Batch, Method, Recipe, lacks_forget
from jaxunlearn.methods.matrices import moved, taken
from jaxunlearn.methods.mudman import normalised
from jaxunlearn.methods.step import counts, gradients, loss
from jaxunlearn.models.transformer import Shape, StandIn, einsum
from jaxunlearn.models.weights import FEED_FORWARD, size
from jaxunlearn.parallel.sharding import act, param, replicated
from jaxunlearn.training.step import State, accumulated


class Sums(NamedTuple):
    """Of the factors of one side of a matrix, over tokens: their number, sum and products; stacked along L."""

    count_L: Any
    sum_Ld: Any
    products_Ldd: Any


class Fork(NamedTuple):
    """What the state holds beside the model: {matrix: a pair, of its inputs and of its outputs} of sums and bases."""

    sums: dict[str, tuple[Sums, Sums]]
    # orthonormal columns [L, d, components and the mean]; zeros: nothing is taken yet; None: all is left in
    bases: dict[str, tuple[Any, Any]]


class Pace(NamedTuple):
    """What a step does: take new bases from the sums first, move at all, and how far."""

    fresh: Any  # bool
    moves: Any  # bool
    norm: Any
    retain_rate: Any


# ---- sums over the factors, collected by the backward pass


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def tapped(form: str, dtype, x_BTI, weight, sums: tuple[Sums, Sums]):
    """Return x by the weight. The weight's gradient is the sum over the rows that count, all but the first and last.

    The "gradient" of `sums` is what they are to be raised by: sums over these rows of x and of dy.
    """
    return einsum(form, x_BTI, weight, dtype)


def _forward(form: str, dtype, x_BTI, weight, sums):
    return tapped(form, dtype, x_BTI, weight, sums), (x_BTI, weight)


def _backward(form: str, dtype, kept, dy_BTO):
    back = jax.vjp(partial(einsum, form, dtype=dtype), *kept)[1]
    at_T = jnp.arange(dy_BTO.shape[1])
    inner_1T1 = ((at_T > 0) & (at_T < len(at_T) - 1))[None, :, None]
    x, dy = (jax.reshard(a, act("BTD"))[:, 1:-1].astype(jnp.float32) for a in (kept[0], dy_BTO))
    on_BT1 = jnp.any(dy != 0, axis=-1, keepdims=True).astype(jnp.float32)

    def of(rows_BTd):
        rows = rows_BTd * on_BT1
        products = jnp.einsum("BTi,BTj->ij", rows, rows, precision="highest", out_sharding=act("DD"))
        return Sums(jnp.sum(on_BT1), jnp.sum(rows, axis=(0, 1)), products)

    return back(dy_BTO)[0], back(jnp.where(inner_1T1, dy_BTO, 0))[1], (of(x), of(dy))


tapped.defvjp(_forward, _backward)


class Tapped(StandIn):
    """A weight whose products are watched by `tapped`."""

    def __init__(self, weight, sums: tuple[Sums, Sums]):
        self.weight, self.sums = weight, nnx.data(sums)  # arrays, to be scanned as weights are

    def product(self, form: str, x, dtype):
        """Return x by the weight."""
        return tapped(form, dtype, x, self.weight, self.sums)


def watched(model, sums: dict[str, tuple[Sums, Sums]]):
    """Return the model with its feed-forward matrices tapped."""
    made: Any = jax.tree.map(lambda w: w, model)
    for name, pair in sums.items():
        setattr(made.blocks, name, Tapped(getattr(model.blocks, name), pair))
    return made


def collected(model, frozen: dict, batch: dict, recipe: Recipe):
    """Return (loss on text to forget, its gradient, {matrix: sums of its factors}); scaled sums have equal means.

    The gradient of the matrices leaves out the rows that the sums do; that of the other weights is the plain one.
    """
    totals, nothing = counts(recipe, batch), empty(model).sums

    def one(pair, parts):
        return loss(Batch(watched(*pair), frozen, parts, recipe), totals, "forget")

    found, (g, sums), _ = accumulated(one, (model, nothing), batch)
    return found, g, sums


def empty(model, inputs: int = 0, outputs: int = 0) -> Fork:
    """Return sums of no token, and bases of no direction with room for the mean and so many components; 0: None."""

    def zeros(L, d):
        return Sums(jnp.zeros(L), jnp.zeros((L, d)), jnp.zeros((L, d, d)))

    shapes = {name: w.shape for name, w in taken(model).items()}
    sums = {name: (zeros(L, I), zeros(L, O)) for name, (L, I, O) in shapes.items()}

    def room(L, d, count):  # None and no array without entries, which no checkpoint takes
        return jnp.zeros((L, d, count + 1)) if count else None

    return Fork(sums, {n: (room(L, I, inputs), room(L, O, outputs)) for n, (L, I, O) in shapes.items()})


# ---- what is taken out


def basis(s: Sums, width: int):
    """Return orthonormal columns [L, d, width] that span the mean and the width - 1 leading principal components."""
    count_L = jnp.maximum(s.count_L, jnp.finfo(jnp.float32).tiny)
    mean_Ld = s.sum_Ld / count_L[:, None]
    covariance_Ldd = s.products_Ldd / count_L[:, None, None] - mean_Ld[:, :, None] * mean_Ld[:, None]
    scale_L = jnp.maximum(jnp.trace(covariance_Ldd, axis1=1, axis2=2), jnp.finfo(jnp.float32).tiny)
    _, vectors_Ldd = jnp.linalg.eigh(covariance_Ldd / scale_L[:, None, None])
    leading_Ldq = vectors_Ldd[..., ::-1][..., : width - 1]
    norm_L1 = jnp.maximum(jnp.linalg.norm(mean_Ld, axis=1, keepdims=True), jnp.finfo(jnp.float32).tiny)
    return jnp.linalg.qr(jnp.concatenate([(mean_Ld / norm_L1)[..., None], leading_Ldq], axis=2))[0]


def collapsed(g_LIO, inputs_LIq, outputs_LOq):
    """Return (I - Q_a Q_a^T) G (I - Q_g Q_g^T); inputs come first in our matrices. All of them whole; None: no Q."""
    if inputs_LIq is not None:
        g_LIO = g_LIO - jnp.einsum("LIq,LJq,LJO->LIO", inputs_LIq, inputs_LIq, g_LIO, precision="highest")
    if outputs_LOq is not None:
        g_LIO = g_LIO - jnp.einsum("LIO,LOq,LPq->LIP", g_LIO, outputs_LOq, outputs_LOq, precision="highest")
    return g_LIO


def begin(state: State, inputs: int, outputs: int) -> State:
    """Return the state at step 0 with sums of nothing; plain steps need no moments."""
    return state._replace(opt=(), fork=jax.jit(lambda m: empty(m, inputs, outputs))(state.model))


def step(state: State, learning_rate, frozen: dict, batch: dict, pace: Pace, *, c, recipe: Recipe):
    """Return (new state, metrics) after one plain step against the text, and one on text to keep.

    frozen, batch: as methods/step.py takes them. learning_rate is the attacks' and takes no part. Metrics: "loss", the
    method's on text to forget; "retain", its term on text to keep; "gradient_norm", of the gradient once collapsed.
    """
    fork = jax.lax.cond(pace.fresh, _refreshed, lambda fork: fork, state.fork)
    found, g, sums = collected(state.model, frozen, batch, recipe)
    g = {
        name: jax.reshard(collapsed(replicated(w), *fork.bases[name]), param("L" + name.rpartition("_")[2]))
        for name, w in taken(g).items()
    }
    g, norm = normalised(g, pace.norm)
    metrics = {"loss": found, "gradient_norm": norm}
    if "retain" in batch:
        metrics["retain"], kept, _ = gradients(state.model, frozen, batch, recipe, "retain")
        g = jax.tree.map(lambda a, b: a + pace.retain_rate * b, g, taken(kept))
    g = jax.tree.map(lambda a: pace.moves * a, g)
    fork = fork._replace(sums=jax.tree.map(jnp.add, fork.sums, sums))
    return state._replace(step=state.step + 1, model=moved(state.model, g), fork=fork), metrics


def _refreshed(fork: Fork) -> Fork:
    """Return the fork with the bases of its sums, and sums of nothing."""

    def renewed(side: Sums, old):
        return None if old is None else basis(side, old.shape[-1])

    bases = {n: (renewed(a, fork.bases[n][0]), renewed(g, fork.bases[n][1])) for n, (a, g) in fork.sums.items()}
    return Fork(jax.tree.map(jnp.zeros_like, fork.sums), bases)


# ---- what is refused


def faults(config: Config, method: Method, parts: tuple[str, ...]) -> list[str]:
    """Return why the filter cannot run; parts: those of a batch that the method reads."""
    if not config.unlearn.collapse.norm or not (why := lacks_forget(method, parts)):
        return []
    return [f"unlearn.collapse: {method.name} {why}; set unlearn.collapse.norm=0"]


def fits(config: Config, c: Shape) -> None:
    """Raise InputError for components that, with the mean, leave nothing of a factor but rounding."""
    o = config.unlearn.collapse
    if not o.norm:
        return
    for name, (side, q) in ((n, one) for n in FEED_FORWARD for one in ((-2, o.inputs), (-1, o.outputs))):
        key, d = "inputs" if side == -2 else "outputs", size(c, name[side])
        if q and q + 1 >= d:
            raise InputError(f"unlearn.collapse.{key} = {q}, and the mean, leave nothing of {name}'s {d}: give fewer")

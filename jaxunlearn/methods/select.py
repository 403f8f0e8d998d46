"""RepSelect: one direction, the forget gradient without its principal components, followed to a budget.

1. A temporary adapter on the feed-forwards learns the text to forget for one epoch by plain steps, which draws the
   target out. 2. With it in place, G is the sum over one pass of the gradient of the method's loss on text to forget,
   for every feed-forward matrix; the adapter is dropped. 3. With U, S, V the leading `pcs` components of G and
   c_i = 1 - S_min / S_i, S_min the least of the S kept: G <- G - (G V) diag(c) V^T, then G <- G - U diag(c) U^T G.
4. W <- W - rate G, again and again, as long as KL(baseline || model) on text to keep stays within `budget`; a step that
   would exceed it is not taken. The method's own term on text to keep takes no part: the budget stands in its place.

Source: Sondej, Yang & Mahdi, arXiv 2606.17168 (its simple form). Its loss is gradient ascent; any other may stand
there. Unclear there, and chosen here: G sums the gradients of the batches' mean losses; the adapter has rank 8 and no
scale (alpha equal to the rank). `of=retain` takes U, S, V of the gradient of the cross-entropy on text to keep, at the
same weights; `of=random`, a control of ours, takes S of G and random orthonormal U, V.
The components are computed on every device alike, from gathered matrices, so any mesh gives the same direction.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxunlearn.config import Config, Lora, Select
from jaxunlearn.errors import InputError
from jaxunlearn.methods.base import Method, Recipe, kl_to, lacks_forget
from jaxunlearn.methods.matrices import Matrices, moved, taken
from jaxunlearn.methods.step import gradients
from jaxunlearn.models import lora
from jaxunlearn.models.transformer import Shape
from jaxunlearn.models.weights import FEED_FORWARD, size
from jaxunlearn.parallel.sharding import batch_size_fits, param, replicated
from jaxunlearn.training.step import State
from jaxunlearn.training.step import gradients as nll_gradients

OVERSAMPLED, POWERS = 8, 2  # of the randomised SVD (Halko, Martinsson & Tropp, arXiv 0909.4061, algorithm 4.4)
EIGHTH = 8  # pcs = -1: the smaller side of a matrix, divided by this


def rank_of(s: Select, inner: int, outer: int) -> int:
    """Return how many components of a matrix are damped."""
    return min(inner, outer) // EIGHTH if s.pcs < 0 else s.pcs


def components(g_LIO, q: int, key):
    """Return (U_LIq, S_Lq, V_LOq), the leading components of each matrix by a randomised SVD; largest first."""
    L, I, O = g_LIO.shape
    product, wide = partial(jnp.einsum, precision="highest"), min(q + OVERSAMPLED, I, O)
    y_LIR = product("LIO,LOR->LIR", g_LIO, jax.random.normal(key, (L, O, wide)))
    for _ in range(POWERS):
        z_LOR = jnp.linalg.qr(product("LIO,LIR->LOR", g_LIO, jnp.linalg.qr(y_LIR)[0]))[0]
        y_LIR = product("LIO,LOR->LIR", g_LIO, z_LOR)
    q_LIR = jnp.linalg.qr(y_LIR)[0]
    u, s, vt = jnp.linalg.svd(product("LIR,LIO->LRO", q_LIR, g_LIO), full_matrices=False)
    return product("LIR,LRQ->LIQ", q_LIR, u)[..., :q], s[:, :q], jnp.swapaxes(vt, 1, 2)[..., :q]


def damping(s_Lq, how: str):
    """Return c_Lq, how much of each component is taken out: 1 - S_min / S (soft), its quadratic form, or 1 (hard)."""
    if how == "hard":
        return jnp.ones_like(s_Lq)
    share = s_Lq[:, -1:] / jnp.maximum(s_Lq, jnp.finfo(jnp.float32).tiny)
    return 1 - (share if how == "soft" else share**2)


def damped(g_LIO, u_LIq, v_LOq, c_Lq, side: str):
    """Return G - (G V) diag(c) V^T, and of that G - U diag(c) U^T G; inputs come first in our matrices."""
    product = partial(jnp.einsum, precision="highest")
    if side != "inputs":
        g_LIO = g_LIO - product("LIq,Lq,LOq->LIO", product("LIO,LOq->LIq", g_LIO, v_LOq), c_Lq, v_LOq)
    if side != "outputs":
        g_LIO = g_LIO - product("LIq,Lq,LqO->LIO", u_LIq, c_Lq, product("LIq,LIO->LqO", u_LIq, g_LIO))
    return g_LIO


def filtered(g_LIO, s: Select, key, other_LIO=None):
    """Return the gradient of one kind of matrix without its leading components, or those of another gradient."""
    q = rank_of(s, *g_LIO.shape[1:])
    if not q:
        return g_LIO
    u, sizes, v = components(g_LIO if other_LIO is None else other_LIO, q, key)
    if s.of == "random":
        u, v = (jnp.linalg.qr(jax.random.normal(jax.random.fold_in(key, n), a.shape))[0] for n, a in enumerate((u, v)))
    return damped(g_LIO, u, v, damping(sizes, s.damp), s.side)


@partial(jax.jit, static_argnums=(1, 2))
def all_filtered(g: Matrices, s: Select, seed: int, other: Matrices | None = None) -> Matrices:
    """Return every matrix of the gradient filtered, split over the mesh as the weights are."""
    key, made = jax.random.key(seed), {}
    for n, name in enumerate(g):
        given = replicated(g[name]), None if other is None else replicated(other[name])
        found = filtered(given[0], s, jax.random.fold_in(key, n), given[1])
        made[name] = jax.reshard(found, param("L" + name.rpartition("_")[2]))
    return made


# ---- the direction


@jax.jit
def _descended(adapter, model, tokens_ABT, labels_ABT, rate):
    """Return an adapter after one plain step that learns; only what it adds to the feed-forwards moves."""
    g = nll_gradients(adapter, tokens_ABT, labels_ABT, model)[1]
    stems = tuple(name.rpartition("_")[0] + "_" for name in FEED_FORWARD)

    def one(path, w, g):
        own = any(getattr(k, "name", "").startswith(stems) for k in path)
        return w - rate * g if own else w

    return jax.tree_util.tree_map_with_path(one, adapter, g)


def elicited(model, batches: Iterable[tuple], s: Select, seed: int):
    """Return the model with the temporary adapter merged, taught by one pass over batches of next tokens."""
    adapter = lora.init(model.c, Lora(rank=s.rank, alpha=float(s.rank)), seed)
    for tokens_ABT, labels_ABT in batches:
        adapter = _descended(adapter, model, tokens_ABT, labels_ABT, np.float32(s.elicit))
    return lora.merge(jax.tree.map(jnp.copy, model), adapter)


@partial(jax.jit, static_argnums=3, donate_argnums=4)
def _forget(model, frozen, batch, recipe: Recipe, total: Matrices) -> Matrices:
    return jax.tree.map(jnp.add, total, taken(gradients(model, frozen, batch, recipe, "forget")[1]))


@partial(jax.jit, donate_argnums=3)
def _kept(model, tokens_ABT, labels_ABT, total: Matrices) -> Matrices:
    return jax.tree.map(jnp.add, total, taken(nll_gradients(model, tokens_ABT, labels_ABT)[1]))


def direction(model, frozen: dict, batches: Iterable[dict], kept: Iterable[tuple], recipe: Recipe, how: tuple):
    """Return G, filtered. model: the elicited one; how: (the settings, the seed of what is drawn at random).

    batches: those of one pass, as methods/step.py takes them; kept: (tokens_ABT, labels_ABT) of as many of text to
    keep, used with of=retain alone.
    """
    s, seed = how
    zeros = jax.jit(lambda m: jax.tree.map(jnp.zeros_like, taken(m)))
    g, other = zeros(model), None
    for batch in batches:
        g = _forget(model, frozen, batch, recipe, g)
    if s.of == "retain":
        other = zeros(model)
        for tokens_ABT, labels_ABT in kept:
            other = _kept(model, tokens_ABT, labels_ABT, other)
    return all_filtered(g, s, seed, other)


def begin(state: State, made: Callable[[Any], Matrices]) -> State:
    """Return the state at step 0 with its direction, which made(model) returns; plain steps need no moments."""
    return state._replace(opt=(), fork=made(state.model))


def step(state: State, learning_rate, baseline, kept: tuple, pace: tuple, *, c):
    """Return (new state, metrics) after one step along the state's direction, where that stays within the budget.

    kept: (tokens_BT, labels_BT) of the text to keep, the same at every step. pace: (rate, budget). learning_rate is
    the attacks' and takes no part. Metrics: "loss", the KL in nats a token with this step; "taken", 1 or 0.
    """
    rate, budget = pace
    there = moved(state.model, jax.tree.map(lambda g: rate * g, state.fork))
    total, count = kl_to(there, baseline, *kept)
    kl = total / jnp.maximum(count, 1)
    within = kl <= budget
    model = jax.tree.map(lambda new, old: jnp.where(within, new, old), there, state.model)
    return state._replace(step=state.step + 1, model=model), {"loss": kl, "taken": within.astype(jnp.float32)}


# ---- what it needs, and what is refused


def faults(config: Config, method: Method, parts: tuple[str, ...]) -> list[str]:
    """Return why the selection cannot run; parts: those of a batch that the method reads."""
    u, wrong = config.unlearn, []
    if not u.select.budget:
        return wrong
    if why := lacks_forget(method, parts):
        wrong.append(f"unlearn.select: {method.name} {why}; set unlearn.select.budget=0")
    if not config.text.retain:
        wrong.append("unlearn.select has its budget on text to keep: set text.retain")
    if not u.select.rate:
        wrong.append("unlearn.select.rate=0 moves nothing")
    return wrong


def fits(config: Config, c: Shape) -> None:
    """Raise InputError for more components, or a larger rank of the temporary adapter, than a matrix has.

    Also for blocks of text to keep that the mesh cannot split.
    """
    s = config.unlearn.select
    if not s.budget:
        return
    batch_size_fits(s.blocks)
    for name in FEED_FORWARD:
        if s.pcs > (least := min(size(c, name[-2]), size(c, name[-1]))):
            raise InputError(f"unlearn.select.pcs = {s.pcs} is more than {name} has, {least}; -1: an eighth of that")
    if s.elicit:
        lora.rank_fits(c, Lora(rank=s.rank, alpha=1.0), "unlearn.select")

"""Reset: re-draw the weights that matter to the target and not to other text, or blur all; then stages/heal.py heals.

r = |reinforced - baseline| * sqrt(Ft) / (sqrt(Fg) + 1e-4), with Ft and Fg the summed squared gradients of the
baseline's loss on batches of the text to forget and to keep. The `share` of all weights highest by r is initialised
anew (normal, 0.02; norms 1). Healing distils a teacher (stages/heal.py). Ours; related: Foster et
al., arXiv 2308.07707 (dampens by Fisher information), Liu et al., arXiv 2310.05331 (masks by it, then fine-tunes), and
Lee et al., arXiv 2506.06278 (UNDO: blurs every weight of an unlearned model, then distils that model into the blur):
`noised`, with `reset.by=noise`.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxunlearn.config import Config
from jaxunlearn.data.blocks import IGNORE, batch_indices
from jaxunlearn.methods.base import Method
from jaxunlearn.models import transformer
from jaxunlearn.models.scoring import loss_sum
from jaxunlearn.models.weights import is_layered, is_matrix, letters, sides, size
from jaxunlearn.parallel.sharding import put, rounded_up

BLOCKS = 8  # a batch of squared gradients
SOFT = 1e-4  # keeps a weight without any gradient on text to keep from an infinite score
BETA = 0.1  # of UNDO's noise, its authors' value
HALVINGS = 48  # of the interval that holds the threshold


def squared_gradients(model, tokens_NT, labels_NT, batches: int, seed: int):
    """Return the sum over batches of 8 blocks of the squared gradient of the mean loss a token, one number a weight.

    Where 8 does not divide over the mesh, each batch is filled up with blocks of which no token counts.
    """
    total = jax.jit(partial(jax.tree.map, jnp.zeros_like))(model)
    for n in range(batches):
        rows = np.resize(batch_indices(len(tokens_NT), BLOCKS, seed, n), rounded_up(BLOCKS))
        labels_BT = np.where(np.arange(len(rows))[:, None] < BLOCKS, labels_NT[rows], IGNORE)
        total = _add_squares(total, model, put(tokens_NT[rows], "BT"), put(labels_BT, "BT"))
    return total


@partial(jax.jit, donate_argnums=0)
def _add_squares(total, model, tokens_BT, labels_BT):
    def mean(m):
        nats, count = loss_sum(m, tokens_BT, labels_BT)
        return nats / jnp.maximum(count, 1)

    return jax.tree.map(lambda a, g: a + g.astype(a.dtype) ** 2, total, jax.grad(mean)(model))


@jax.jit
def importance(baseline, reinforced, target, general):
    """Return r, a score for each weight: high where reinforcing moved it and mostly the target needs it."""
    return jax.tree.map(lambda b, a, t, g: jnp.abs(a - b) * _ratio(t, g), baseline, reinforced, target, general)


@jax.jit
def fisher(target, general):
    """Return sqrt(Ft) / (sqrt(Fg) + 1e-4): the score without a reinforced model."""
    return jax.tree.map(_ratio, target, general)


def _ratio(target, general):
    return jnp.sqrt(target) / (jnp.sqrt(general) + SOFT)


def random_scores(model, seed: int):
    """Return uniform scores on [0, 1), for the control that resets as many weights at random."""
    like = transformer.init(model.c, seed + 1)  # sharded draws of the right shapes
    return jax.jit(lambda m: jax.tree.map(_uniform(seed), _numbered(m), m))(like)


def _numbered(tree):
    leaves, structure = jax.tree.flatten(tree)
    return jax.tree.unflatten(structure, list(range(len(leaves))))


def _uniform(seed: int):
    def draw(n, like):
        spec = jax.typeof(like).sharding.spec
        return jax.random.uniform(jax.random.fold_in(jax.random.key(seed), n), like.shape, out_sharding=spec)

    return draw


def confined(scores, where: str):
    """Return the scores, -1 (never drawn) elsewhere than in the layers ("interior") or outside them ("ends")."""

    def one(path, score):
        return score if is_layered(path) == (where == "interior") else jnp.full_like(score, -1)

    return scores if where == "all" else jax.tree_util.tree_map_with_path(one, scores)


@partial(jax.jit, donate_argnums=0, static_argnums=3)
def noised(model, share, key, where: str = "all"):
    """Return UNDO's shrink and perturb, (1 - share) w + share * 0.1 * noise, of every weight in `where`.

    The noise is uniform within sqrt(6 / (fan in + fan out)) (Glorot & Bengio), 0 for norms and biases.
    """

    def one(path, n, w):
        if where != "all" and is_layered(path) != (where == "interior"):
            return w
        return ((1 - share) * w + share * BETA * noise(path, n, w)).astype(w.dtype)

    def noise(path, n, w):
        if not is_matrix(path):
            return jnp.zeros_like(w)
        bound = math.sqrt(6 / sum(size(model.c, side) for side in sides(letters(path))))
        spec = jax.typeof(w).sharding.spec
        return jax.random.uniform(jax.random.fold_in(key, n), w.shape, minval=-bound, maxval=bound, out_sharding=spec)

    return jax.tree_util.tree_map_with_path(one, _numbered(model), model)


@jax.jit
def threshold(scores, share):
    """Return the score that a `share` of the weights with a score of at least 0 reach.

    It is found by halving an interval, because a sort of all weights would gather them on one device.
    """

    def count(least):
        return sum(jnp.sum(s >= least, dtype=jnp.float32) for s in jax.tree.leaves(scores))

    wanted = share * count(0.0)
    top = jnp.max(jnp.stack([jnp.max(s) for s in jax.tree.leaves(scores)])).astype(jnp.float32)

    def halve(_, bounds):
        low, high = bounds
        middle = (low + high) / 2
        enough = count(middle) >= wanted
        return jnp.where(enough, middle, low), jnp.where(enough, high, middle)

    return jax.lax.fori_loop(0, HALVINGS, halve, (jnp.zeros_like(top), top))[0]


@partial(jax.jit, donate_argnums=0)
def redraw(model, scores, least, fresh):
    """Take the weights of at least that score from `fresh`.

    Returns (the model, the share of all weights that were replaced, the share of these outside the layers).
    """
    chosen = jax.tree.map(lambda s: s >= least, scores)
    counts = [(is_layered(path), jnp.sum(c, dtype=jnp.float32)) for path, c in jax.tree.leaves_with_path(chosen)]
    replaced, ends = sum(n for _, n in counts), sum(n for inside, n in counts if not inside)
    size = sum(c.size for c in jax.tree.leaves(chosen))
    made = jax.tree.map(lambda w, c, f: jnp.where(c, f.astype(w.dtype), w), model, chosen, fresh)
    return made, replaced / size, ends / jnp.maximum(replaced, 1)


# ---- the method, and what any run with a reset must have


def by_importance(config: Config) -> bool:
    """Return whether the reset needs the reinforced model: by=importance, and some but not all weights re-drawn."""
    return 0 < config.reset.share < 1 and config.reset.by == "importance"


def faults(config: Config) -> list[str]:
    """Return why the configuration's reset cannot run, whatever the method."""
    r, alone, wrong = config.reset, config.unlearn.method == RESET_HEAL.name, []
    if not 0 <= r.share <= 1:
        wrong.append(f"reset.share is a share of the weights, from 0 to 1 (got {r.share})")
    if by_importance(config) and not config.reinforce.steps:
        wrong.append("reset.by=importance needs the reinforced model: set reinforce.steps, or reset.by=fisher")
    if r.share and r.on == "all" and (r.teacher == "baseline" or alone):
        wrong.append(
            "reset.on=all would have the baseline teach the target again: unlearn, and reset.teacher=unlearned"
        )
    if r.share == 1 and r.by == "noise":
        wrong.append("reset.by=noise at share 1 leaves no norm: give less, or reset.by=random for a fresh model")
    if "random_reset" in config.controls and r.share and r.by in ("random", "noise"):
        wrong.append(f"controls=random_reset is a control for weights that were chosen, not for reset.by={r.by}")
    if "random_reset" in config.controls and not r.share and not alone:
        wrong.append("controls=random_reset has nothing to compare with: set reset.share")
    return wrong


def refuse(config: Config) -> list[str]:
    """Return a fault where reset.share is 0."""
    if config.reset.share:
        return []
    return ["reset_heal re-draws reset.share of the weights: set it, 0.1 to 0.2 as a rule"]


RESET_HEAL = Method(
    name="reset_heal",
    paper="ours; arXiv 2308.07707, 2310.05331: weights by Fisher information; 2506.06278: reset.by=noise (UNDO)",
    summary="re-draw weights that only the target needs, or blur all, and heal; reset.share adds it to another method",
    card="weights that only the target needs drawn anew, and the model healed",
    make=lambda load, values: load("baseline"),  # the stage resets and heals it, as it does after any other method
    reads=("retain",),
    asks=("baseline",),
    refuse=refuse,
)

"""One train step for every rival: its loss on a batch, the gradient over microbatches, one update.

A batch is a dict of arrays with a leading axis A of microbatches, made by methods.py: "forget", "retain", "answers",
"true" and "labels" are pairs (tokens_ABT, labels_ABT), "reference" holds the baseline's log-probabilities a sequence,
"passages" translations, "soft" stored outcomes. `frozen` holds the models that the loss asks, and is never donated.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxunlearn.config import Train, Whp
from jaxunlearn.kernels.linear_cross_entropy import IGNORE, linear_cross_entropy
from jaxunlearn.kernels.linear_distillation import linear_topk_distillation
from jaxunlearn.kernels.token_nll import row_nll
from jaxunlearn.methods import distillation, losses
from jaxunlearn.models import lora
from jaxunlearn.parallel.sharding import gather
from jaxunlearn.training.optimiser import optimiser
from jaxunlearn.training.step import State
from jaxunlearn.whp.soft import averaged_loss, soft_loss


@dataclass(frozen=True)
class Recipe:
    """What a program depends on: the method, its settings, the retain term, how generic labels are made."""

    name: str
    values: tuple[tuple[str, Any], ...]
    retain_loss: str = "nll"
    whp: Whp = field(default_factory=Whp)

    def __getitem__(self, key: str) -> Any:
        return dict(self.values).get(key, 0.0)


class Scene(NamedTuple):
    """What a loss sees: the trained model, one microbatch, and the counts of all of them."""

    model: Any
    frozen: dict
    batch: dict
    recipe: Recipe
    totals: dict | None = None


def head(model, dtype):
    """Return the output projection in use."""
    return gather(model.unembed_DV(), "DV", dtype)


def nll(s: Scene, name: str) -> losses.Sum:
    """Return (summed cross-entropy in nats, count) on one part of the batch."""
    tokens_BT, labels_BT = s.batch[name]
    h_BTD = s.model(tokens_BT)
    total, count = linear_cross_entropy(h_BTD, head(s.model, h_BTD.dtype), labels_BT)
    return total, count


def logp(s: Scene, name: str):
    """Return logp_B, the summed log-probability of each sequence's labels."""
    return sequence_logp(s.model, *s.batch[name])


def sequence_logp(model, tokens_BT, labels_BT):
    """Return logp_B of the labels under a model; what is stored as reference comes from here too."""
    h_BTD = model(tokens_BT)
    return -row_nll(h_BTD, head(model, h_BTD.dtype), labels_BT)


def kl_to(s: Scene, teacher, name: str) -> losses.Sum:
    """Return KL(teacher || model) on one part of the batch."""
    tokens_BT, labels_BT = s.batch[name]
    h_BTD, t_BTD = s.model(tokens_BT), teacher(tokens_BT)
    pair = t_BTD, head(teacher, t_BTD.dtype)
    return distillation.kl_retain(h_BTD, head(s.model, h_BTD.dtype), pair, labels_BT != IGNORE)


def retain(s: Scene) -> losses.Sum:
    """Return the retain term: cross-entropy, or the KL to the baseline."""
    return kl_to(s, s.frozen["baseline"], "retain") if s.recipe.retain_loss == "kl" else nll(s, "retain")


# ---- a loss a method: (sum, count), or with a retain term of its own (sum, count, metrics)


def gradient_difference(s: Scene):
    return losses.gradient_difference(nll(s, "forget"), retain(s), s.recipe["retain_weight"], s.totals)


def kl_retain(s: Scene):
    return losses.ascent_with_kl(nll(s, "forget"), retain(s), s.recipe["retain_weight"], s.totals)


def npo(s: Scene):
    return losses.npo(logp(s, "forget"), s.batch["reference"]["forget"], s.recipe["beta"])


def simnpo(s: Scene):
    count_B = jnp.sum(s.batch["forget"][1] != IGNORE, axis=1, dtype=jnp.float32)
    return losses.simnpo(logp(s, "forget"), count_B, s.recipe["beta"], s.recipe["gamma"])


def dpo(s: Scene):
    win, lose = ((logp(s, name), s.batch["reference"][name]) for name in ("answers", "true"))
    return losses.dpo(*win, *lose, s.recipe["beta"])


def replaced_answers(s: Scene):
    return losses.replaced_answers(nll(s, "answers"), retain(s), s.recipe["retain_weight"], s.totals)


def rmu(s: Scene):
    layer = int(s.recipe["layer"])
    (forget_BT, labels_BT), (retain_BT, retain_labels_BT) = s.batch["forget"], s.batch["retain"]
    first, u_D = losses.rmu_first(layer), losses.control_vector(s.model.c.D)
    h_BTD = losses.hidden_after(s.model, forget_BT, layer, first)
    forget = losses.rmu_forget(h_BTD, u_D, labels_BT != IGNORE, s.recipe["steering"])
    h_BTD = losses.hidden_after(s.model, retain_BT, layer, first)
    frozen_BTD = losses.hidden_after(s.frozen["baseline"], retain_BT, layer)
    kept = losses.rmu_retain(h_BTD, frozen_BTD, retain_labels_BT != IGNORE)
    return losses.rmu(forget, kept, s.recipe["retain_weight"], s.totals)


def undial(s: Scene):
    tokens_BT, labels_BT = s.batch["forget"]
    baseline, h_BTD = s.frozen["baseline"], s.model(tokens_BT)
    t_BTD = baseline(tokens_BT)
    pair = t_BTD, head(baseline, t_BTD.dtype)
    return distillation.undial(h_BTD, head(s.model, h_BTD.dtype), pair, labels_BT, s.recipe["strength"])


def kga(s: Scene):
    kl_forget = kl_to(s, lora.over(s.frozen["baseline"], s.frozen["reinforced"]), "forget")
    return distillation.kga(kl_forget, s.frozen["gap"], retain(s), s.recipe["retain_weight"], s.totals)


def whp_soft(s: Scene):
    if "soft" in s.batch:
        tokens_BT, ids_BTJ, p_BTJ, trained_BT = s.batch["soft"]
        h_BTD = s.model(tokens_BT)
        return linear_topk_distillation(h_BTD, head(s.model, h_BTD.dtype), ids_BTJ, p_BTJ, trained_BT)
    models = (s.frozen["baseline"], s.frozen["reinforced"], s.batch["passages"][0], s.frozen.get("diluted"))
    return soft_loss(s.model, *models, alpha=s.recipe["alpha"], whp=s.recipe.whp)


def whp_averaged(s: Scene):
    models = s.frozen["baseline"], s.frozen.get("reinforced")
    return averaged_loss(s.model, *models, s.batch["passages"], alpha=s.recipe["alpha"])


LOSSES: dict[str, Callable[[Scene], tuple]] = {
    "whp": lambda s: nll(s, "labels"), "whp_soft": whp_soft, "whp_averaged": whp_averaged,
    "gradient_ascent": lambda s: losses.gradient_ascent(*nll(s, "forget")),
    "gradient_difference": gradient_difference, "kl_retain": kl_retain, "npo": npo, "simnpo": simnpo, "dpo": dpo,
    "idk": replaced_answers, "ria": replaced_answers, "fwf": replaced_answers, "rmu": rmu, "undial": undial,
    "kga": kga, "retain_only": retain,
}  # fmt: skip


def loss(s: Scene):
    """Return (sum, count, metrics) of the recipe's loss, with a retain term beside it where one is asked for."""
    found = LOSSES[s.recipe.name](s)
    weight = s.recipe["retain_weight"]
    if len(found) == 2 and weight:
        found = losses.combine({"forget": (1.0, *found), "retain": (weight, *retain(s))}, s.totals)
    return found if len(found) == 3 else (*found, {})


def totals(recipe: Recipe, batch: dict) -> dict:
    """Count what each term is divided by, over all microbatches; from the data alone."""

    def tokens(name):
        return jnp.sum(batch[name][1] != IGNORE, dtype=jnp.float32) if name in batch else 0.0

    def sequences(name):
        return float(batch[name][1].shape[0] * batch[name][1].shape[1])

    kept = tokens("retain")
    if recipe.name in ("npo", "simnpo"):
        first = sequences("forget")
    elif recipe.name == "dpo":
        first = sequences("answers")
    elif recipe.name == "whp":
        first = tokens("labels")
    elif "soft" in batch:
        first = jnp.sum(batch["soft"][3], dtype=jnp.float32)
    elif "passages" in batch:
        trained = jnp.all(jnp.stack([p.trained_BT for p in batch["passages"]]), axis=0)
        first = jnp.sum(trained, dtype=jnp.float32)
    else:
        first = tokens("forget")
    return {"forget": first, "align": first, "answers": tokens("answers"), "retain": kept, "kl": kept}


def gradients(part, frozen: dict, batch: dict, recipe: Recipe):
    """Return (loss, gradient, each term's own mean) over A microbatches, every term divided by its whole count."""
    counts = totals(recipe, batch)

    def one(part, batch):
        model = lora.over(frozen.get("base"), part)
        total, count, metrics = loss(Scene(model, frozen, batch, recipe, counts))
        return total, (count, metrics)

    grad = jax.value_and_grad(one, has_aux=True)
    first = jax.tree.map(lambda a: a[0], batch)
    if len(jax.tree.leaves(batch)[0]) == 1:
        (total, (count, metrics)), g = grad(part, first)
    else:
        shapes = jax.eval_shape(one, part, first)
        zero = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes), jax.tree.map(jnp.zeros_like, part)

        def add(carry, batch):
            return jax.tree.map(jnp.add, carry, grad(part, batch)), None

        ((total, (count, metrics)), g), _ = jax.lax.scan(add, zero, batch)
    count = jnp.maximum(count, 1)
    means = {name: value / jnp.maximum(n, 1) for name, (value, n) in metrics.items()}
    return total / count, jax.tree.map(lambda a: a / count, g), means


def step(state: State, learning_rate, frozen: dict, batch: dict, *, c: Train, recipe: Recipe):
    """Return (new state, metrics) after one update by the recipe's loss."""
    value, g, means = gradients(state.model, frozen, batch, recipe)
    updates, opt = optimiser(c, learning_rate).update(g, state.opt, state.model)
    if recipe.name == "rmu":
        kept = losses.rmu_trained(state.model, int(recipe["layer"]))
        updates = jax.tree.map(lambda u, k: u * k, updates, kept)
    model = optax.apply_updates(state.model, updates)
    metrics = means | {"loss": value, "gradient_norm": optax.tree.norm(g)}
    return State(state.step + 1, model, opt), metrics

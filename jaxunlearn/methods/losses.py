"""The rivals' losses on log-probabilities and activations, and the edit of weights; pure functions, jit-able, in fp32.

Each returns (sum, count): the caller adds over microbatches and devices and divides once. Sums are over sequences B or
tokens T, in nats. A loss of several terms comes from `combine`, with what each term was.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from jaxunlearn.models.transformer import rematerialised, rope_table
from jaxunlearn.parallel.sharding import lookup

Sum = tuple[jax.Array, jax.Array]  # (sum, count)


def combine(terms: dict[str, tuple], totals: dict | None = None):
    """Return (sum, count, metrics) with sum / count = the weighted sum of every term's own mean.

    terms: {name: (weight, sum, count)}; the first one's count is the count. Over several microbatches each term must
    be divided by its count in all of them: give these as totals ({name: count}, known from the data beforehand), and
    the sums add up to the loss of the whole batch; without totals every microbatch is a batch of its own. metrics:
    {name: (sum, count)}, unweighted.
    """
    counts = {name: count for name, (_, _, count) in terms.items()} | (totals or {})
    first = next(iter(terms))
    base = jnp.maximum(counts[first], 1)
    total = sum(weight * value * (base / jnp.maximum(counts[name], 1)) for name, (weight, value, _) in terms.items())
    metrics = {name: (value, count) for name, (_, value, count) in terms.items()}
    return total, terms[first][2], metrics


def _over_sequences(loss_B, valid_B=None) -> Sum:
    if valid_B is None:
        return jnp.sum(loss_B), jnp.asarray(loss_B.shape[0], jnp.float32)
    return jnp.sum(jnp.where(valid_B, loss_B, 0)), jnp.sum(valid_B, dtype=jnp.float32)


def gradient_ascent(nll_sum, count) -> Sum:
    """Raise the loss on the forget set: -NLL a token.

    Source: Jang et al., arXiv 2210.01504, eq. 1 with its sign turned; no hyper-parameter. Unbounded below: it ends in
    a broken model, and is here as the yardstick.
    """
    return -nll_sum, count


def gradient_difference(forget: Sum, retain: Sum, retain_weight=1.0, totals=None):
    """Gradient ascent on the forget set, descent on the retain set: -NLL_forget + retain_weight * NLL_retain.

    Source: Liu et al., arXiv 2203.12817; as a language-model baseline in TOFU, arXiv 2401.06121, section 3.
    """
    return combine({"forget": (-1.0, *forget), "retain": (retain_weight, *retain)}, totals)


def ascent_with_kl(forget: Sum, kl: Sum, retain_weight=1.0, totals=None):
    """Gradient ascent, held near the baseline on the retain set: -NLL_forget + retain_weight * KL(baseline || model).

    Source: "KL minimization" in TOFU, arXiv 2401.06121, section 3. kl comes from distillation.kl_retain.
    """
    return combine({"forget": (-1.0, *forget), "kl": (retain_weight, *kl)}, totals)


def npo(logp_B, reference_B, beta=0.1, valid_B=None) -> Sum:
    """Negative preference optimisation: (2 / beta) log(1 + (p / p_ref)^beta) a sequence.

    logp_B, reference_B: summed log-probabilities of the forget sequences under the model and the frozen baseline;
    valid_B: False for padding. beta > 0; towards 0 it is gradient ascent on the sequence: log p - log p_ref, plus the
    constant (2 / beta) log 2. Source: Zhang et al., arXiv 2404.05868, section 3.
    """
    return _over_sequences(-2 / beta * jax.nn.log_sigmoid(-beta * (logp_B - reference_B)), valid_B)


def simnpo(logp_B, count_B, beta=2.5, gamma=0.0) -> Sum:
    """NPO without a reference, by mean log-probability a token: -(2 / beta) log sigmoid(-(beta / n) log p - gamma).

    count_B: tokens n a sequence; a sequence of none is padding. beta > 0, gamma >= 0 (published: beta 2.5 and 4.5 for
    TOFU's forget05 and forget10, gamma 0). Source: Fan et al., arXiv 2410.07163.
    """
    mean_B = logp_B / jnp.maximum(count_B, 1)
    return _over_sequences(-2 / beta * jax.nn.log_sigmoid(-beta * mean_B - gamma), count_B > 0)


def dpo(win_B, win_reference_B, lose_B, lose_reference_B, beta=0.1, valid_B=None) -> Sum:
    """Prefer the replacement to the true answer: -(1 / beta) log sigmoid(beta (win ratio - lose ratio)).

    *_B: summed log-probabilities of the preferred ("I don't know") and of the true answer, under the model and the
    frozen baseline. Equal ratios cost log(2) / beta. Source: Rafailov et al., arXiv 2305.18290, eq. 7, with the factor
    1 / beta that NPO's paper adds so that beta does not set the rate (some public code takes 2 / beta).
    """
    margin_B = (win_B - win_reference_B) - (lose_B - lose_reference_B)
    return _over_sequences(-1 / beta * jax.nn.log_sigmoid(beta * margin_B), valid_B)


def replaced_answers(answers: Sum, retain: Sum, retain_weight=1.0, totals=None):
    """Learn replacement answers: NLL_answers + retain_weight * NLL_retain. The loss of idk, ria and fwf.

    What stands in answers decides (texts.py): "I don't know" (TOFU, arXiv 2401.06121, section 3), every wrong option
    in turn (RIA) or one wrong option throughout (teaching false facts, FWF; both Deeb & Roger, arXiv 2410.08827).
    """
    return combine({"answers": (1.0, *answers), "retain": (retain_weight, *retain)}, totals)


# ---- RMU: activations of one layer


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


def rmu(forget: Sum, retain: Sum, retain_weight=1200.0, totals=None):
    """Misdirect one layer on the forget set, hold it on the retain set: MSE_forget + retain_weight * MSE_retain.

    Needs hidden states after one layer only (hidden_after); trains the down projections of that layer and the two
    before it (rmu_trained). Defaults as for Zephyr-7B: layer 7, steering 6.5, retain_weight 1200; both scale with the
    norm of the activations. Source: Li et al. (WMDP), arXiv 2403.03218, section 4.
    """
    return combine({"forget": (1.0, *forget), "retain": (retain_weight, *retain)}, totals)


def hidden_after(model, tokens_BT, layer: int, first: int = 0):
    """Return h_BTD after layer `layer` (from 0), not normalised; no later layer is computed.

    No gradient reaches what lies before layer `first`, and nothing is kept for it.
    """
    x_BTD = lookup(model.embed_VD[...].astype(model.c.compute), tokens_BT)
    rope = rope_table(model.c, jnp.arange(tokens_BT.shape[1])[None])
    kept = rematerialised(lambda x_BTD, block: block(x_BTD, rope, None)[0], model.c.remat)

    def through(x_BTD, start: int, stop: int):
        blocks = jax.tree.map(lambda w: w[start:stop], model.blocks)
        return jax.lax.scan(lambda x, block: (kept(x, block), None), x_BTD, blocks)[0]

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


# ---- without training


def task_vector(model, reinforced, scale=1.0):
    """Return the weights theta - scale * (theta_reinforced - theta), computed in fp32, in the model's own dtype.

    Source: Ilharco et al., arXiv 2212.04089, section 3 (negation); scale is their lambda, chosen on held-out data.
    """
    return jax.tree.map(partial(_negated, scale=scale), model, reinforced)


def _negated(theta, reinforced, scale):
    step = reinforced.astype(jnp.float32) - theta.astype(jnp.float32)
    return (theta.astype(jnp.float32) - scale * step).astype(theta.dtype)

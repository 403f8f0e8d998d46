"""The rivals whose target is a distribution: KL to a frozen baseline, adjusted logits, generic labels kept soft.

A teacher is a pair (h_BTD, w_DV): hidden states and output projection of a frozen model, one entry a position of the
student. Every loss returns (sum of nats, count); hyper-parameters are plain numbers. No [B, T, V] array is made.
"""

from functools import partial

import jax
import jax.numpy as jnp

from jaxunlearn.kernels.linear_cross_entropy import IGNORE, linear_cross_entropy
from jaxunlearn.kernels.linear_distillation import Rows, linear_distillation, log_softmax_V
from jaxunlearn.objectives.losses import Sum, combine


def kl_retain(h_BTD, w_DV, teacher, mask_BT) -> Sum:
    """Return KL(teacher || model), 0 for equal models. Source: TOFU, arXiv 2401.06121, section 3."""
    return linear_distillation(h_BTD, w_DV, [teacher], mask_BT)


def undial(h_BTD, w_DV, teacher, labels_BT, strength=10.0) -> Sum:
    """Distil the model into itself with the label's logit lowered: KL(softmax(v - strength * onehot(label)) || model).

    v: the frozen baseline's logits on the same text; labels_BT: the text's next tokens, -100: not trained. strength 0
    is self-distillation. The cross-entropy of the paper differs by the target's entropy, a constant. Source: Dong et
    al., arXiv 2402.10052 (the authors try strengths 3, 10 and 30).
    """
    target = partial(undial_target, strength=strength)
    return linear_distillation(h_BTD, w_DV, [teacher], labels_BT != IGNORE, target=target, labels_BT=labels_BT)


def undial_target(logits, at: Rows, strength: float):
    """Lower the label's logit by strength."""
    return logits[0] - strength * (at.columns_V[None] == at.labels_R[:, None])


# ---- WHP: hard, soft, stored, averaged


def whp(h_BTD, w_DV, labels_BT) -> Sum:
    """The method itself: cross-entropy on generic labels (whp.generic_labels), -100: not trained.

    Source: Eldan & Russinovich, arXiv 2310.02238, section 2.
    """
    total, count = linear_cross_entropy(h_BTD, w_DV, labels_BT)
    return total, count


def soft_labels(
    h_BTD, w_DV, baseline, reinforced, mask_BT, alpha=5.0, *, diluted=None, seen_BV=None, rule="mean", penalty=5.0
) -> Sum:
    """WHP with its distribution in the place of its argmax: KL(softmax(v_generic) || model).

    v_generic = v_base - alpha * ReLU(v_reinforced - v_base); baseline: on the translation, at the translated position;
    reinforced: on the original. diluted: the baseline fine-tuned on text to keep, on the original; the offset is then
    the contrast alpha * ReLU(log p_reinforced - log p_diluted). seen_BV, rule, penalty: as in generic_argmax. alpha 0:
    the baseline's distribution on the translation. Named deviations of ours from arXiv 2310.02238, eq. 1, whose labels
    are hard. Stored instead: linear_topk(..., target=partial(generic_target, ...)), then linear_topk_distillation.
    """
    target = partial(generic_target, alpha=alpha, rule=rule, penalty=penalty)
    teachers = [baseline, reinforced, *([] if diluted is None else [diluted])]
    return linear_distillation(h_BTD, w_DV, teachers, mask_BT, target=target, seen_BV=seen_BV)


def generic_target(logits, at: Rows, alpha: float, rule: str = "mean", penalty: float = 5.0):
    """Return v_generic, with the seen-translation rule before the ReLU.

    logits: baseline on the translation, reinforced on the original and, for the contrast, diluted on the original.
    """
    base_RV, reinforced_RV, *diluted = logits
    if at.seen_RV is not None and rule == "mean":
        mean_R = jax.lax.pmean(jnp.mean(base_RV, axis=-1), "tensor")
        base_RV = jnp.where(at.seen_RV, mean_R[:, None], base_RV)
    if at.seen_RV is not None and rule == "penalty":
        base_RV = jnp.where(at.seen_RV, base_RV - penalty, base_RV)
    lift_RV = log_softmax_V(reinforced_RV) - log_softmax_V(diluted[0]) if diluted else reinforced_RV - base_RV
    v_RV = base_RV - alpha * jax.nn.relu(lift_RV)
    return jnp.where(at.seen_RV, -jnp.inf, v_RV) if at.seen_RV is not None and rule == "-inf" else v_RV


def averaged_soft_labels(h_BTD, w_DV, translated, mask_BT, reinforced=None, alpha=0.0) -> Sum:
    """KL to the mean of the baseline's distributions on several translations of the same text.

    translated: one teacher a translation, each at its own translated positions; with a reinforced teacher, WHP's
    offset is taken from each before the softmax. Differs from the paper: names are not mapped back, so the target at
    a name is the mean over the generic names; the seen-translation rule is not applied. Source: Liu et al., "Revisiting
    Who's Harry Potter", arXiv 2407.16997.
    """
    teachers = [*translated, *([] if reinforced is None else [reinforced])]
    target = partial(averaged_target, translations=len(translated), alpha=alpha)
    return linear_distillation(h_BTD, w_DV, teachers, mask_BT, target=target)


def averaged_target(logits, at: Rows, translations: int, alpha: float):
    """Return the log of the mean probability over translations, up to a constant."""
    parts = list(logits[:translations])
    if len(logits) > translations:
        parts = [v_RV - alpha * jax.nn.relu(logits[-1] - v_RV) for v_RV in parts]
    return jax.nn.logsumexp(jnp.stack([log_softmax_V(v_RV) for v_RV in parts]), axis=0)


# ---- KGA


def knowledge_gap(kl_forget: Sum, gap) -> Sum:
    """Return (|sum - gap * count|, count): how far the KL on the forget text is from the gap wanted, in nats a token.

    kl_forget: KL(forget-only model || model) on forget text. gap: mean KL(new-only model || baseline) on new text,
    measured once, for all three are frozen. The absolute value is taken a microbatch.
    """
    total, count = kl_forget
    return jnp.abs(total - gap * count), count


def kga(kl_forget: Sum, gap, kl_retain: Sum, retain_weight=0.1, totals=None):
    """Align knowledge gaps: |KL_forget - gap| + retain_weight * KL(baseline || model) on retain text.

    The model should know the forget text as little as the baseline knows text it never met. For language models: the
    forget-only model is the reinforced one; the new-only model is the baseline fine-tuned, as long and by the same
    settings, on text held out from it. Every KL is a token, target first. Source: Wang et al., arXiv 2305.06535,
    section 3 (there: from-scratch models on labelled data; retain_weight 0.1 in their code).
    """
    terms = {"align": (1.0, *knowledge_gap(kl_forget, gap)), "retain": (retain_weight, *kl_retain)}
    return combine(terms, totals)

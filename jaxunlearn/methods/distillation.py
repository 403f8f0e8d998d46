"""The rivals whose target is a distribution: KL to a frozen baseline, adjusted logits, the knowledge gap.

A teacher is a pair (h_BTD, w_DV): hidden states and output projection of a frozen model, one entry a position of the
student. Every loss returns (sum of nats, count); hyper-parameters are plain numbers. No [B, T, V] array is made.
"""

from functools import partial

import jax.numpy as jnp

from jaxunlearn.kernels.linear_cross_entropy import IGNORE
from jaxunlearn.kernels.linear_distillation import Rows, linear_distillation
from jaxunlearn.methods.losses import Sum, combine


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

"""Soft labels: the generic distribution in the place of its argmax, whole, stored or averaged."""

from functools import partial

import jax
import jax.numpy as jnp

from jaxunlearn.config import Whp
from jaxunlearn.kernels.linear_distillation import Rows, linear_distillation, linear_topk, log_softmax_V
from jaxunlearn.whp import equation
from jaxunlearn.whp.argmax import seen_table
from jaxunlearn.whp.labels import Passage, teachers

# ---- soft labels


def soft_loss(model, baseline, reinforced, passage: Passage, diluted=None, *, alpha: float, whp: Whp):
    """Return (sum in nats, count) of KL(softmax(v_generic) || model) over the trained positions; nothing is stored."""
    h_BTD = model(passage.tokens_BT)
    base, reinf, *third = teachers(baseline, reinforced, diluted, passage)
    return soft_label_loss(
        h_BTD,
        model.output_DV(h_BTD.dtype),
        base,
        reinf,
        passage.trained_BT,
        alpha,
        diluted=third[0] if third else None,
        seen_BV=seen_table(passage.seen_id_BR, passage.seen_from_BR, baseline.c.V),
        rule=whp.seen_translation,
        penalty=whp.seen_penalty,
    )


@partial(jax.jit, static_argnames=("alpha", "whp"))
def soft_labels(baseline, reinforced, passage: Passage, diluted=None, *, alpha: float, whp: Whp):
    """Return (ids_BTJ, p_BTJ): the whp.top likeliest outcomes of softmax(v_generic), for linear_topk_distillation."""
    target = partial(generic_target, alpha=alpha, rule=whp.seen_translation, penalty=whp.seen_penalty)
    seen_BV = seen_table(passage.seen_id_BR, passage.seen_from_BR, baseline.c.V)
    return linear_topk(teachers(baseline, reinforced, diluted, passage), whp.top, target=target, seen_BV=seen_BV)


def averaged_loss(model, baseline, passages: tuple[Passage, ...]):
    """Return (sum in nats, count) of the KL to the baseline's mean distribution over several translations.

    Source: arXiv 2407.16997 (see averaged_label_loss).
    """
    h_BTD = model(passages[0].tokens_BT)
    translated = [teachers(baseline, None, None, p)[0] for p in passages]
    trained_BT = jnp.all(jnp.stack([p.trained_BT for p in passages]), axis=0)
    return averaged_label_loss(h_BTD, model.output_DV(h_BTD.dtype), translated, trained_BT)


def soft_label_loss(
    h_BTD, w_DV, baseline, reinforced, mask_BT, alpha=5.0, *, diluted=None, seen_BV=None, rule="mean", penalty=5.0
):
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
    """Return v_generic of a block of rows, with the seen-translation rule.

    logits: baseline on the translation, reinforced on the original and, for the contrast, diluted on the original.
    """
    base_RV, reinforced_RV, *diluted = logits
    offset = {}
    if diluted:  # other models than the baseline's own: compared by log-probabilities, with no shift left to take
        reinforced_RV, offset = log_softmax_V(reinforced_RV), {"v_offset": log_softmax_V(diluted[0]), "shift": 0.0}
    mean_R1 = None
    if at.seen_RV is not None and rule == "mean":
        mean_R1 = jax.lax.pmean(jnp.mean(base_RV, axis=-1), "tensor")[:, None]  # V is split over "tensor"
    return equation.generic_logits(
        base_RV, reinforced_RV, alpha, seen=at.seen_RV, mean=mean_R1, rule=rule, penalty=penalty, **offset
    )


def averaged_label_loss(h_BTD, w_DV, translated, mask_BT):
    """KL to the mean of the baseline's distributions on several translations of the same text.

    translated: one teacher a translation, each at its own translated positions. Differs from the paper: names are not
    mapped back, so the target at a name is the mean over the generic names; the seen-translation rule is not applied.
    Source: Liu et al., "Revisiting Who's Harry Potter", arXiv 2407.16997.
    """
    return linear_distillation(h_BTD, w_DV, translated, mask_BT, target=averaged_target)


def averaged_target(logits, at: Rows):
    """Return the log of the mean probability over translations, up to a constant."""
    return jax.nn.logsumexp(jnp.stack([log_softmax_V(v_RV) for v_RV in logits]), axis=0)

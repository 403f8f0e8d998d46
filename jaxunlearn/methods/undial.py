"""UNDIAL: self-distillation with the next token's logit lowered."""

from functools import partial

from jaxunlearn.kernels.linear_cross_entropy import IGNORE
from jaxunlearn.kernels.linear_distillation import Rows, linear_distillation
from jaxunlearn.methods.base import Batch, Method, Setting, Sum, Terms, retain_weight


def undial(h_BTD, w_DV, teacher, labels_BT, strength=10.0) -> Sum:
    """Return the sum and count of KL(softmax(v - strength * onehot(label)) || model) in nats.

    v: the frozen baseline's logits on the same text; labels_BT: the text's next tokens, -100: not trained. strength 0
    is self-distillation. The cross-entropy of the paper differs by the target's entropy, a constant. Source: Dong et
    al., arXiv 2402.10052 (the authors try strengths 3, 10 and 30).
    """
    target = partial(undial_target, strength=strength)
    return linear_distillation(h_BTD, w_DV, [teacher], labels_BT != IGNORE, target=target, labels_BT=labels_BT)


def undial_target(logits, at: Rows, strength: float):
    """Return the logits with that of the label lowered by strength."""
    return logits[0] - strength * (at.columns_V[None] == at.labels_R[:, None])


def distilled(b: Batch) -> Terms:
    """Return the UNDIAL loss on the text to forget, with the baseline as teacher."""
    tokens_BT, labels_BT = b.parts["forget"]
    baseline, h_BTD = b.frozen["baseline"], b.model(tokens_BT)
    t_BTD = baseline(tokens_BT)
    teacher = t_BTD, baseline.output_DV(t_BTD.dtype)
    return {"forget": undial(h_BTD, b.model.output_DV(h_BTD.dtype), teacher, labels_BT, b["strength"])}


UNDIAL = Method(
    name="undial",
    paper="arXiv 2402.10052",
    summary="self-distillation with the next token's logit lowered",
    card="self-distillation with the logit of the text's next token lowered",
    loss=distilled,
    settings={
        "strength": Setting(default=10.0, least=0, why="below 0 the label would be taught"),
        "retain_weight": retain_weight(),
    },
    asks=("baseline",),
)

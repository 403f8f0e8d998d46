"""The fused step: label and update in one program."""

import jax

from jaxunlearn.config import Train, Whp
from jaxunlearn.training.step import State, train_step
from jaxunlearn.whp.labels import Passage, generic_labels


def fused_step(state: State, learning_rate, frozen, passages: Passage, *, c: Train, whp: Whp):
    """Label and update in one program: the frozen models' logits, the generic argmax, the cross-entropy step.

    `frozen` = (baseline, reinforced), with the contrast also diluted, is never donated; `passages` has a leading axis
    A of microbatches.
    """

    baseline, reinforced, *diluted = frozen

    def one(passage: Passage):
        return generic_labels(baseline, reinforced, passage, *diluted, alphas=(whp.alpha,), whp=whp)[0]

    labels_ABT = jax.lax.map(one, passages)
    return train_step(state, learning_rate, passages.tokens_BT, labels_ABT, baseline, c=c)

"""The fused step: label and update in one program, for steps 3 and 4 of whp/__init__ at once."""

import jax

from jaxunlearn.config import Train, Whp
from jaxunlearn.training.step import State, train_step
from jaxunlearn.whp.labels import Passage, generic_labels


def fused_step(state: State, learning_rate, frozen, passages: Passage, *, c: Train, alpha: float, whp: Whp):
    """Return (new state, metrics): the frozen models' logits, the generic argmax, the cross-entropy step.

    `frozen` = (baseline, reinforced), with the contrast also diluted, is never donated; `passages` has a leading axis
    A of microbatches.
    """

    baseline, reinforced, *diluted = frozen

    def one(passage: Passage):
        return generic_labels(baseline, reinforced, passage, *diluted, alphas=(alpha,), whp=whp)[0]

    # One microbatch after another, and all before the update: the label pass keeps nothing for a backward pass, so its
    # peak is one microbatch's, and the state is alone with its gradients afterwards.
    labels_ABT = jax.lax.map(one, passages)
    return train_step(state, learning_rate, passages.tokens_BT, labels_ABT, baseline, c=c)

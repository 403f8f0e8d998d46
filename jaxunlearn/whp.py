"""Who's Harry Potter, as one story: reinforce, label, unlearn; or label and unlearn in one fused step.

Source: Eldan & Russinovich, "Who's Harry Potter? Approximate Unlearning in LLMs", arXiv 2310.02238.
  1. `reinforced` is the baseline fine-tuned on the text to forget (train.train_step on its next tokens).
  2. `generic_labels` asks the baseline about the translated text and the reinforced model about the original.
  3. `unlearned` is the baseline fine-tuned on those labels (train.train_step again), on the original tokens.
Deviations from the authors are switches of config.Whp; here: seen_translation and offset_context.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxunlearn import lora
from jaxunlearn.config import Train, Whp
from jaxunlearn.kernels.generic_argmax import generic_argmax, seen_table
from jaxunlearn.sharding import gather, put, rows_at
from jaxunlearn.train import State, train_step


class Passage(NamedTuple):
    """Blocks with their translations, ready to be labelled (anchors/translate.py says what each array is)."""

    tokens_BT: np.ndarray | jax.Array
    translation_BS: np.ndarray | jax.Array
    map_BT: np.ndarray | jax.Array
    trained_BT: np.ndarray | jax.Array
    seen_id_BR: np.ndarray | jax.Array
    seen_from_BR: np.ndarray | jax.Array

    def rows(self, index) -> "Passage":
        """Return the blocks at these indices."""
        return Passage(*[np.asarray(a[index]) for a in self])


LETTERS = ("BT", "BS", "BT", "BT", "BR", "BR")  # of a Passage's arrays


def on_mesh(passage: Passage) -> Passage:
    """Place host arrays on the mesh."""
    return Passage(*[put(a, letters) for a, letters in zip(passage, LETTERS, strict=True)])


def generic_labels(baseline, reinforced, passage: Passage, *, alphas: tuple[float, ...], whp: Whp):
    """Return labels_ABT (int32): argmax(v_base - alpha * ReLU(v_reinf - v_base)), -100 where nothing is trained.

    v_base: the baseline's logits on the translation, at the translated position of each original token; v_reinf: the
    reinforced model's on the original. Section 2.2 of the paper. `reinforced` may be an adapter over the baseline.
    """
    reinforced = lora.over(baseline, reinforced)
    base_BSD = baseline(passage.translation_BS)
    base_BTD = rows_at(base_BSD, jnp.maximum(passage.map_BT, 0))
    reinf_BTD = reinforced(passage.tokens_BT)
    offset_BTD = baseline(passage.tokens_BT) if whp.offset_context == "original" else None
    return generic_argmax(
        base_BTD,
        reinf_BTD,
        gather(baseline.unembed_DV(), "DV", base_BTD.dtype),
        gather(reinforced.unembed_DV(), "DV", reinf_BTD.dtype),
        alphas,
        trained_BT=passage.trained_BT,
        seen_BV=seen_table(passage.seen_id_BR, passage.seen_from_BR, baseline.c.V),
        rule=whp.seen_translation,
        penalty=whp.seen_penalty,
        offset_BTD=offset_BTD,
    )


@partial(jax.jit, static_argnames=("alphas", "whp"))
def label(baseline, reinforced, passage: Passage, *, alphas, whp):
    """The label pass, jitted: both frozen models in, labels_ABT out."""
    return generic_labels(baseline, reinforced, passage, alphas=alphas, whp=whp)


def fused_step(state: State, learning_rate, frozen, passages: Passage, *, c: Train, whp: Whp):
    """Label and update in one program: both frozen models' logits, the generic argmax, the cross-entropy step.

    `frozen` = (baseline, reinforced) is never donated; `passages` has a leading axis A of microbatches.
    """

    baseline, reinforced = frozen

    def one(passage: Passage):
        return generic_labels(baseline, reinforced, passage, alphas=(whp.alpha,), whp=whp)[0]

    labels_ABT = jax.lax.map(one, passages)
    return train_step(state, learning_rate, passages.tokens_BT, labels_ABT, baseline, c=c)

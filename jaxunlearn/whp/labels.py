"""Who's Harry Potter, as one story: reinforce, label, unlearn; or label and unlearn in one fused step.

Source: Eldan & Russinovich, "Who's Harry Potter? Approximate Unlearning in LLMs", arXiv 2310.02238.
  1. `reinforced` is the baseline fine-tuned on the text to forget (train.train_step on its next tokens).
  2. `generic_labels` asks the baseline about the translated text and the reinforced model about the original.
  3. `unlearned` is the baseline fine-tuned on those labels (train.train_step again), on the original tokens.
Deviations from the authors are switches of config.Whp; here: seen_translation, offset_context, and
  forbid=keys: the seen-translation rule holds at every position for the first tokens of every dictionary term too, a
  forbidden list: v_base there is the row's mean, so that the baseline alone names no term (anchors/translate.py);
  labels=soft: the distribution softmax(v_generic) is learnt in the place of its argmax (`soft_loss`, `soft_labels`);
  offset=contrast: v_base - alpha * ReLU(log p_reinforced - log p_diluted), both on the original; `diluted` is the
  baseline fine-tuned on text to keep for as long as the reinforced one on the text to forget, so that what any
  fine-tuning changes cancels.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxunlearn.config import Whp
from jaxunlearn.kernels.linear_distillation import linear_logsumexp
from jaxunlearn.models import lora
from jaxunlearn.parallel.sharding import gather, put_rows, rows_at
from jaxunlearn.whp.argmax import generic_argmax, seen_table


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


def on_mesh(passage: Passage, rows=None) -> Passage:
    """Place host arrays on the mesh: all blocks, or those at the indices `rows`."""
    rows = np.arange(len(passage.tokens_BT)) if rows is None else rows
    return Passage(*[put_rows(a, rows, letters) for a, letters in zip(passage, LETTERS, strict=True)])


def generic_labels(baseline, reinforced, passage: Passage, diluted=None, *, alphas: tuple[float, ...], whp: Whp):
    """Return labels_ABT (int32): argmax(v_base - alpha * ReLU(v_reinf - v_base)), -100 where nothing is trained.

    v_base: the baseline's logits on the translation, at the translated position of each original token; v_reinf: the
    reinforced model's on the original. Section 2.2 of the paper. `reinforced` and `diluted` may be adapters over the
    baseline; with `diluted` the offset is the contrast.
    """
    (base_BTD, base_DV), (reinf_BTD, reinf_DV), *third = teachers(baseline, reinforced, diluted, passage)
    more = {}
    if third:
        diluted_BTD, diluted_DV = third[0]
        shift_BT = linear_logsumexp(diluted_BTD, diluted_DV) - linear_logsumexp(reinf_BTD, reinf_DV)
        more = {"offset_BTD": diluted_BTD, "offset_DV": diluted_DV, "shift_BT": shift_BT}
    elif whp.offset_context == "original":
        more = {"offset_BTD": baseline(passage.tokens_BT)}
    return generic_argmax(
        base_BTD,
        reinf_BTD,
        base_DV,
        reinf_DV,
        alphas,
        trained_BT=passage.trained_BT,
        seen_BV=seen_table(passage.seen_id_BR, passage.seen_from_BR, baseline.c.V),
        rule=whp.seen_translation,
        penalty=whp.seen_penalty,
        **more,
    )


def teachers(baseline, reinforced, diluted, passage: Passage) -> list:
    """Return (hidden states at each original token, output projection) of two frozen models, or of three."""
    base_BTD = rows_at(baseline(passage.translation_BS), jnp.maximum(passage.map_BT, 0))
    pairs = [(base_BTD, head(baseline, base_BTD.dtype))]
    for part in (reinforced, diluted):
        if part is not None:
            seen = lora.over(baseline, part)
            h_BTD = seen(passage.tokens_BT)
            pairs.append((h_BTD, head(seen, h_BTD.dtype)))
    return pairs


def head(model, dtype):
    return gather(model.unembed_DV(), "DV", dtype)


@partial(jax.jit, static_argnames=("alphas", "whp"))
def label(baseline, reinforced, passage: Passage, diluted=None, *, alphas, whp):
    """The label pass, jitted: the frozen models in, labels_ABT out."""
    return generic_labels(baseline, reinforced, passage, diluted, alphas=alphas, whp=whp)

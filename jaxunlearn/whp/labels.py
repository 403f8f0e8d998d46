"""Generic labels of a passage: what the models are asked, and the argmax of what they say (step 3 of whp/__init__)."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxunlearn.config import Whp
from jaxunlearn.kernels.linear_distillation import linear_logsumexp
from jaxunlearn.models import lora
from jaxunlearn.parallel.sharding import put_rows, rows_at
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
    """Return labels_ABT (int32), the argmax of equation.generic_logits, -100 where nothing is trained.

    v_base: the baseline's logits on the translation, at the translated position of each original token; v_reinf: the
    reinforced model's on the original. Source: arXiv 2310.02238, section 2.2. `reinforced` and `diluted` may be
    adapters over the baseline; with `diluted` the offset is the contrast.
    """
    (base_BTD, base_DV), (reinf_BTD, reinf_DV), *third = teachers(baseline, reinforced, diluted, passage)
    more = {}
    if third:
        diluted_BTD, diluted_DV = third[0]
        # log p_reinf - log p_diluted = (v_reinf - v_diluted) + (log-normaliser of diluted - that of reinforced)
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
    # -1 (no counterpart) reads position 0: nothing is trained there, so any row will do
    base_BTD = rows_at(baseline(passage.translation_BS), jnp.maximum(passage.map_BT, 0))
    pairs = [(base_BTD, baseline.output_DV(base_BTD.dtype))]
    for part in (reinforced, diluted):
        if part is not None:
            seen = lora.over(baseline, part)
            h_BTD = seen(passage.tokens_BT)
            pairs.append((h_BTD, seen.output_DV(h_BTD.dtype)))
    return pairs


@partial(jax.jit, static_argnames=("alphas", "whp"))
def label(baseline, reinforced, passage: Passage, diluted=None, *, alphas, whp):
    """The label pass, jitted: the frozen models in, labels_ABT out."""
    return generic_labels(baseline, reinforced, passage, diluted, alphas=alphas, whp=whp)

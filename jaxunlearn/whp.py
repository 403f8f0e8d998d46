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

from jaxunlearn import lora
from jaxunlearn.config import Train, Whp
from jaxunlearn.kernels.generic_argmax import generic_argmax, seen_table
from jaxunlearn.kernels.linear_distillation import linear_logsumexp, linear_topk
from jaxunlearn.objectives import distillation
from jaxunlearn.sharding import gather, put_rows, rows_at
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
    (base_BTD, base_DV), (reinf_BTD, reinf_DV), *third = _teachers(baseline, reinforced, diluted, passage)
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


def _teachers(baseline, reinforced, diluted, passage: Passage) -> list:
    """Return (hidden states at each original token, output projection) of two frozen models, or of three."""
    base_BTD = rows_at(baseline(passage.translation_BS), jnp.maximum(passage.map_BT, 0))
    pairs = [(base_BTD, _head(baseline, base_BTD.dtype))]
    for part in (reinforced, diluted):
        if part is not None:
            seen = lora.over(baseline, part)
            h_BTD = seen(passage.tokens_BT)
            pairs.append((h_BTD, _head(seen, h_BTD.dtype)))
    return pairs


def _head(model, dtype):
    return gather(model.unembed_DV(), "DV", dtype)


@partial(jax.jit, static_argnames=("alphas", "whp"))
def label(baseline, reinforced, passage: Passage, diluted=None, *, alphas, whp):
    """The label pass, jitted: the frozen models in, labels_ABT out."""
    return generic_labels(baseline, reinforced, passage, diluted, alphas=alphas, whp=whp)


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


# ---- soft labels


def soft_loss(model, baseline, reinforced, passage: Passage, diluted=None, *, whp: Whp):
    """Return (sum in nats, count) of KL(softmax(v_generic) || model) over the trained positions; nothing is stored."""
    h_BTD = model(passage.tokens_BT)
    base, reinf, *third = _teachers(baseline, reinforced, diluted, passage)
    return distillation.soft_labels(
        h_BTD,
        _head(model, h_BTD.dtype),
        base,
        reinf,
        passage.trained_BT,
        whp.alpha,
        diluted=third[0] if third else None,
        seen_BV=seen_table(passage.seen_id_BR, passage.seen_from_BR, baseline.c.V),
        rule=whp.seen_translation,
        penalty=whp.seen_penalty,
    )


@partial(jax.jit, static_argnames="whp")
def soft_labels(baseline, reinforced, passage: Passage, diluted=None, *, whp: Whp):
    """Return (ids_BTJ, p_BTJ): the whp.top likeliest outcomes of softmax(v_generic), for linear_topk_distillation."""
    target = partial(distillation.generic_target, alpha=whp.alpha, rule=whp.seen_translation, penalty=whp.seen_penalty)
    seen_BV = seen_table(passage.seen_id_BR, passage.seen_from_BR, baseline.c.V)
    return linear_topk(_teachers(baseline, reinforced, diluted, passage), whp.top, target=target, seen_BV=seen_BV)


def averaged_loss(model, baseline, reinforced, passages: tuple[Passage, ...], *, alpha: float):
    """Return (sum in nats, count) of the KL to the baseline's mean distribution over several translations.

    Source: arXiv 2407.16997 (distillation.averaged_soft_labels); reinforced is None where alpha is 0.
    """
    h_BTD = model(passages[0].tokens_BT)
    translated = [_teachers(baseline, None, None, p)[0] for p in passages]
    trained_BT = jnp.all(jnp.stack([p.trained_BT for p in passages]), axis=0)
    pair = None
    if reinforced is not None:
        seen = lora.over(baseline, reinforced)
        reinf_BTD = seen(passages[0].tokens_BT)
        pair = reinf_BTD, _head(seen, reinf_BTD.dtype)
    return distillation.averaged_soft_labels(h_BTD, _head(model, h_BTD.dtype), translated, trained_BT, pair, alpha)

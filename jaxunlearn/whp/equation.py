"""The equation of Who's Harry Potter and its seen-translation rule, on any block of logits.

    v_generic = v_base - alpha * ReLU(v_reinf - v_offset)

Source: Eldan & Russinovich, arXiv 2310.02238, section 2.2, equation 1, where v_offset is v_base. The seen-translation
rule is that of the authors' label script: a translation that has appeared in the text before is not to be predicted
anew at a place where the original has another word. Hard labels (in XLA and in Pallas), soft labels, the method at
inference time and `labels show` all call this module as `equation.generic_logits`, inside their own blocks; nothing
here knows of devices, so what needs the whole vocabulary (`mean`) is given.
"""

import jax.numpy as jnp


def generic_logits(
    v_base, v_reinf, alpha, *, v_offset=None, shift=None, seen=None, mean=None, rule="mean", penalty=5.0
):
    """Return v_base - alpha * ReLU(v_reinf - v_offset), section 2.2, equation 1; all arguments broadcast.

    v_base: the baseline's logits on the translation, at the translated position; v_reinf: the reinforced model's on
    the original. The seen-translation rule changes v_base before the ReLU (see `ruled`), or rules tokens out after it.

    v_offset None: v_base, after the rule. v_offset alone: the baseline's logits on the original
    (whp.offset_context=original), which the rule changes as it changes v_base. v_offset with shift: the logits of
    another model (whp.offset=contrast), which the rule leaves alone; shift is subtracted from them (0: nothing to
    subtract), so that log-normalisers make a difference of logits one of log-probabilities.

    seen: True where a token begins a translation that has appeared; None: the rule is not applied. mean: the mean of
    v_base over the whole vocabulary, needed by rule "mean". penalty: nats of logit, used by rule "penalty".

    >>> generic_logits(jnp.array([3.0, 2.0, 1.0]), jnp.array([5.0, 2.0, 0.0]), 1.0).tolist()
    [1.0, 2.0, 1.0]
    """
    v_base = ruled(v_base, seen, mean, rule, penalty)
    if v_offset is None:
        v_offset = v_base
    elif shift is None:
        v_offset = ruled(v_offset, seen, mean, rule, penalty)
    else:
        v_offset = v_offset - shift
    v = v_base - alpha * jnp.maximum(v_reinf - v_offset, 0.0)
    # After the ReLU: before it, v_offset = -inf would make the lift infinite, and alpha 0 times that is no number.
    return jnp.where(seen, -jnp.inf, v) if seen is not None and rule == "-inf" else v


def ruled(v, seen, mean, rule: str, penalty: float):
    """Return the baseline's logits after the seen-translation rule, as the ReLU sees them.

    "mean": where seen, the row's mean, so that the token is as likely as any; "penalty": where seen, less by `penalty`;
    "-inf": as they are, for generic_logits rules these tokens out after the ReLU. seen None: as they are.
    """
    if seen is None or rule == "-inf":
        return v
    return jnp.where(seen, {"mean": mean, "penalty": v - penalty}[rule], v)

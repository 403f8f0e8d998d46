"""JensUn: bounded divergences, to "I don't know" on questions about the text and to the baseline on text to keep.

JSD(p || one-hot answer token) + retain_weight * JSD(p || p_baseline), each a mean over tokens. The first has a closed
form in p_y, the probability of the answer's token: log 2 + (p_y log p_y - (1 + p_y) log(1 + p_y)) / 2, from log 2 at
p_y = 0 to 0 at 1. Both are at most log 2, so neither outgrows the other. Source: arXiv 2509.02820 (weights 1 to 1; "No
idea" is taught; here every answer of text.answers that says so).
"""

import jax.numpy as jnp

from jaxunlearn.kernels.linear_cross_entropy import IGNORE
from jaxunlearn.kernels.linear_distillation import jsd_rows, linear_distillation
from jaxunlearn.kernels.token_nll import token_nll
from jaxunlearn.methods.answers import not_known
from jaxunlearn.methods.base import Batch, Method, Sum, Terms, retain_weight


def to_one_hot(nll_BT, labels_BT) -> Sum:
    """Return (sum over labels of the JSD to the label alone, count) from -log p_y in nats."""
    p_BT, on_BT = jnp.exp(-nll_BT), labels_BT != IGNORE
    jsd_BT = jnp.log(2.0) + (-p_BT * nll_BT - (1 + p_BT) * jnp.log1p(p_BT)) / 2
    return jnp.sum(jnp.where(on_BT, jsd_BT, 0)), jnp.sum(on_BT, dtype=jnp.float32)


def jsd_to(model, teacher, tokens_BT, labels_BT) -> Sum:
    """Return (summed JSD of teacher and model in nats, count) over the labelled positions."""
    h_BTD, t_BTD = model(tokens_BT), teacher(tokens_BT)
    pair, on_BT = (t_BTD, teacher.output_DV(t_BTD.dtype)), labels_BT != IGNORE
    return linear_distillation(h_BTD, model.output_DV(h_BTD.dtype), [pair], on_BT, divergence=jsd_rows)


def bounded(b: Batch) -> Terms:
    """Return the term on answers and, with a weight, that on text to keep."""
    tokens_BT, labels_BT = b.parts["answers"]
    h_BTD = b.model(tokens_BT)
    nll_BT = token_nll(h_BTD, b.model.output_DV(h_BTD.dtype), labels_BT)
    terms = {"answers": to_one_hot(nll_BT, labels_BT)}
    if b["retain_weight"]:
        terms["retain"] = jsd_to(b.model, b.teacher("baseline"), *b.parts["retain"])
    return terms


JENSUN = Method(
    name="jensun",
    paper="arXiv 2509.02820",
    summary='Jensen-Shannon divergence to "I don\'t know", and to the baseline on text to keep',
    card="“I don’t know” learnt as the answer to questions about the text by a bounded divergence",
    loss=bounded,
    settings={"retain_weight": retain_weight(1.0)},
    reads=("answers",),
    asks=("baseline",),
    asks_on=("retain",),
    retain="own",
    answers=not_known,
)

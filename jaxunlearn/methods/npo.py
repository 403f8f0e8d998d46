"""Negative preference optimisation, with a reference (NPO) and without one (SimNPO)."""

import jax
import jax.numpy as jnp

from jaxunlearn.methods.base import Batch, Method, Setting, Sum, Terms, over_sequences, retain_weight

BETA = "the loss divides by beta; for beta -> 0 use gradient_ascent"


def npo(logp_B, reference_B, beta=0.1, valid_B=None) -> Sum:
    """Return the sum over sequences of (2 / beta) log(1 + (p / p_ref)^beta), and their count.

    logp_B, reference_B: summed log-probabilities of the forget sequences under the model and the frozen baseline;
    valid_B: False for padding. beta > 0; towards 0 it is gradient ascent on the sequence: log p - log p_ref, plus the
    constant (2 / beta) log 2. Source: Zhang et al., arXiv 2404.05868, section 3.
    """
    return over_sequences(-2 / beta * jax.nn.log_sigmoid(-beta * (logp_B - reference_B)), valid_B)


def simnpo(logp_B, count_B, beta=2.5, gamma=0.0) -> Sum:
    """Return NPO's sum without a reference, by mean log-probability a token.

    -(2 / beta) log sigmoid(-(beta / n) log p - gamma) a sequence; count_B: its tokens n, 0 for padding. beta > 0,
    gamma >= 0 (published: beta 2.5 and 4.5 for TOFU's forget05 and forget10, gamma 0). Source: Fan et al.,
    arXiv 2410.07163.
    """
    mean_B = logp_B / jnp.maximum(count_B, 1)
    return over_sequences(-2 / beta * jax.nn.log_sigmoid(-beta * mean_B - gamma), count_B > 0)


def with_reference(b: Batch) -> Terms:
    """Return the NPO loss on the text to forget, against the stored baseline."""
    return {"forget": npo(b.logp("forget"), b.reference("forget"), b["beta"])}


def without_reference(b: Batch) -> Terms:
    """Return the SimNPO loss on the text to forget."""
    return {"forget": simnpo(b.logp("forget"), b.count("forget"), b["beta"], b["gamma"])}


NPO = Method(
    name="npo",
    paper="arXiv 2404.05868",
    summary="negative preference optimisation: ascent that fades as the text is forgotten",
    card="negative preference optimisation on the text to forget, against the baseline",
    loss=with_reference,
    settings={"beta": Setting(default=0.1, above=0, why=BETA), "retain_weight": retain_weight()},
    stores=("forget",),
    divide={"forget": "sequences"},
)
SIMNPO = Method(
    name="simnpo",
    paper="arXiv 2410.07163",
    summary="NPO by mean log-probability a token, without a reference",
    card="negative preference optimisation by mean log-probability a token, without a reference",
    loss=without_reference,
    settings={
        "beta": Setting(default=2.5, above=0, why=BETA),
        "gamma": Setting(default=0.0, least=0, why="below 0 the margin would reward the text to forget"),
        "retain_weight": retain_weight(),
    },
    divide={"forget": "sequences"},
)

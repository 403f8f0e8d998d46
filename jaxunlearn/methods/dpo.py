"""Direct preference optimisation: prefer "I don't know" to the true answer."""

import jax

from jaxunlearn.methods.answers import not_known
from jaxunlearn.methods.base import Batch, Method, Setting, Sum, Terms, over_sequences, retain_weight
from jaxunlearn.methods.npo import BETA


def dpo(win_B, win_reference_B, lose_B, lose_reference_B, beta=0.1, valid_B=None) -> Sum:
    """Return the sum of -(1 / beta) log sigmoid(beta (win ratio - lose ratio)) over pairs, and their count.

    *_B: summed log-probabilities of the preferred ("I don't know") and of the true answer, under the model and the
    frozen baseline. Equal ratios cost log(2) / beta. Source: Rafailov et al., arXiv 2305.18290, eq. 7, with the factor
    1 / beta that NPO's paper adds so that beta does not set the rate (some public code takes 2 / beta).
    """
    margin_B = (win_B - win_reference_B) - (lose_B - lose_reference_B)
    return over_sequences(-1 / beta * jax.nn.log_sigmoid(beta * margin_B), valid_B)


def preferred(b: Batch) -> Terms:
    """Return the DPO loss of "I don't know" against the true answers."""
    win, lose = ((b.logp(part), b.reference(part)) for part in ("answers", "true"))
    return {"answers": dpo(*win, *lose, b["beta"])}


DPO = Method(
    name="dpo",
    paper="arXiv 2305.18290, 2404.05868",
    summary='prefer "I don\'t know" to the true answer',
    card="direct preference optimisation for “I don't know” against the true answers",
    loss=preferred,
    settings={"beta": Setting(default=0.1, above=0, why=BETA), "retain_weight": retain_weight()},
    reads=("answers", "true"),
    stores=("answers", "true"),
    divide={"answers": "sequences"},
    answers=not_known,
)

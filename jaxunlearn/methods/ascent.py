"""Gradient ascent on the text to forget, alone or with a term on text to keep: the usual baselines."""

from jaxunlearn.methods.base import Batch, Method, Sum, Terms, retain_weight


def ascent(nll_sum, count) -> Sum:
    """Return (-nll_sum, count): the negated cross-entropy in nats on the forget set.

    It is unbounded below and ends in a broken model; it is here for comparison. It has no hyper-parameter. Source: Jang
    et al., arXiv 2210.01504, eq. 1 with its sign turned.
    """
    return -nll_sum, count


def raised(b: Batch) -> Terms:
    """Return the negated cross-entropy on the text to forget."""
    return {"forget": ascent(*b.nll("forget"))}


ASCENT = Method(
    name="gradient_ascent",
    paper="arXiv 2210.01504",
    summary="raise the loss on the text to forget; unbounded",
    card="gradient ascent on the text to forget",
    loss=raised,
    settings={"retain_weight": retain_weight()},
)
# Source: Liu et al., arXiv 2203.12817; as a language-model baseline in TOFU, arXiv 2401.06121, section 3.
DIFFERENCE = Method(
    name="gradient_difference",
    paper="arXiv 2203.12817, 2401.06121",
    summary="gradient ascent on forget, descent on retain text",
    card="gradient ascent on the text to forget, descent on text to keep",
    loss=raised,
    settings={"retain_weight": retain_weight(1.0)},
)
# Source: "KL minimization" in TOFU, arXiv 2401.06121, section 3.
WITH_KL = Method(
    name="kl_retain",
    paper="arXiv 2401.06121",
    summary="gradient ascent on forget text, KL to the baseline on retain text",
    card="gradient ascent on the text to forget, held near the baseline on text to keep by a KL",
    loss=raised,
    settings={"retain_weight": retain_weight(1.0)},
    retain="kl",
)

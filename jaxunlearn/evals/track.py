"""Tracked words: next-word probabilities that are followed step by step, the paper's signature plot."""

from jaxunlearn.evals.base import Context, Figures, Metric
from jaxunlearn.evals.suite import Suite


def tracked(model, suite: Suite) -> dict[str, dict[str, float]]:
    """Return {prompt: {word: probability}}, the points of the paper's signature plot."""
    pairs = [(t.prompt, w) for t in suite.prompts.track for w in t.words]
    scores = iter(suite.words.probabilities(model, pairs))
    return {t.prompt: {w: float(next(scores)) for w in t.words} for t in suite.prompts.track}


def measure(model, context: Context) -> Figures:
    """Return the probabilities as "track"."""
    return {"track": tracked(model, context.suite)}


TRACK = Metric(
    name="track",
    title="Tracked words",
    about="probabilities of chosen next words, drawn by step",
    measure=measure,
    applies=lambda context: bool(context.suite.prompts.track),
    often=True,
)

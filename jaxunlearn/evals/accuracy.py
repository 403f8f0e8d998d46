"""General accuracy: multiple-choice questions of the prompt file that have nothing to do with the target."""

import numpy as np

from jaxunlearn.estimates import rate_estimate
from jaxunlearn.evals.base import Context, Figures, Metric
from jaxunlearn.evals.suite import option_scores


def accuracy(model, context: Context) -> Figures:
    """Return the share of questions whose right option is the most probable, and 1 or 0 a question."""
    scores, questions = option_scores(model, context.suite), context.suite.prompts.choice
    right = [int(np.argmax(s) == q.answer) for s, q in zip(scores, questions, strict=True)]
    return {
        "accuracy": {"general": rate_estimate(sum(right), len(right)).to_json()},
        "items": {"general accuracy, right answers": right},
    }


ACCURACY = Metric(
    name="accuracy",
    title="General accuracy",
    about="share of multiple-choice questions of the prompt file whose right option is the most probable",
    measure=accuracy,
    applies=lambda context: bool(context.suite.prompts.choice),
    often=True,
)

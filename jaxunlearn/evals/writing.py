"""How completions are written: empty ones, and words that repeat."""

from collections.abc import Sequence

from jaxunlearn.estimates import rate_estimate
from jaxunlearn.evals.base import Figures, Metric
from jaxunlearn.evals.memorisation import figure


def writing(completions: Sequence[dict]) -> Figures:
    """Return the share of empty completions, and of 4-grams of words that repeat in one completion, 0 to 1.

    completions: one of each prompt, so that they are independent trials.
    """
    texts = [c["text"].split() for c in completions]
    found = {"empty": rate_estimate(sum(not words for words in texts), len(texts)).to_json()}
    grams = [[tuple(words[n : n + 4]) for n in range(len(words) - 3)] for words in texts]
    if some := [g for g in grams if g]:
        found["repeated"] = figure("repeated 4-grams", [1 - len(set(g)) / len(g) for g in some])
    return {"writing": found}


WRITING = Metric(
    name="writing",
    title="Writing",
    about="share of completions without a word, and of 4-grams of words that repeat within one",
    measure=lambda model, context: writing(context.found["completions"]),
    applies=lambda context: bool(context.suite.prompts.completion and context.suite.c.completions),
    columns={("writing", "empty"): "Empty completions", ("writing", "repeated"): "Repeated 4-grams of words"},
)

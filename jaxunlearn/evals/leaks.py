"""Leak probes after Shostack: the target's words where the dictionary has a gap, and what the model writes there."""

from jaxunlearn.estimates import SHARE, mean_estimate
from jaxunlearn.evals.base import Context, Figures, Metric
from jaxunlearn.evals.suite import complete, specific_mass
from jaxunlearn.models.generate import Sampling


def probability(model, context: Context) -> Figures:
    """Return the mean probability of the target's words after the leak probes, and that of each probe."""
    leaks = specific_mass(model, context.suite, context.suite.prompts.leaks)
    return {"leaks": {"probability": mean_estimate(leaks, SHARE).to_json()}, "leak_probabilities": leaks}


def texts(model, context: Context) -> Figures:
    """Return the greedy completion of every leak probe, for the report's side-by-side texts."""
    prompts = [p.prompt for p in context.suite.prompts.leaks]
    return {"leak_texts": complete(model, context.suite, prompts, Sampling(), context.suite.seed)}


def has_probes(context: Context) -> bool:
    """Return whether the prompt file has leak probes."""
    return bool(context.suite.prompts.leaks)


LEAKS = Metric(
    name="leaks",
    title="Leak probes, probability",
    about="probability of the target's words after leak probes",
    measure=probability,
    applies=has_probes,
    raw=("leak_probabilities",),
    often=True,
)
LEAK_TEXTS = Metric(
    name="leak_texts",
    title="Leak probes, texts",
    about="greedy completions of the leak probes, quoted in the report",
    measure=texts,
    applies=has_probes,
    raw=("leak_texts",),
)

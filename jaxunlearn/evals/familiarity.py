"""Familiarity with the target (arXiv 2310.02238, section 4): by its next words, and by graded completions.

A lexicon and rules grade the completions (judge.py), where the paper asked a language model.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxunlearn.estimates import SHARE, clustered_rate, mean_estimate
from jaxunlearn.evals.base import Context, Figures, Metric
from jaxunlearn.evals.judge import MOST, Grade
from jaxunlearn.evals.suite import Suite, complete, specific_mass
from jaxunlearn.models.generate import Sampling

# ---- next words


def next_word(model, context: Context) -> Figures:
    """Return the mean probability of the target's own next words: in running text, and inside its names.

    Prompts of running text that the baseline does not know have a figure of their own, which no other holds.
    """
    suite = context.suite
    prompts = [*suite.prompts.probability, *(p for p in suite.unknown if p.position == "out")]
    masses: dict[str, list[float]] = {"out": [], "in": [], "unknown": []}
    for n, (prompt, mass) in enumerate(zip(prompts, specific_mass(model, suite, prompts), strict=True)):
        masses[prompt.position if n < len(suite.prompts.probability) else "unknown"].append(mass)
    items = {"familiarity, next word": masses["out"], "familiarity inside names": masses["in"]}
    figures = {"probability": masses["out"], "inside": masses["in"], "unknown": masses["unknown"]}
    return {
        "items": {label: values for label, values in items.items() if values},
        "familiarity": {name: mean_estimate(values, SHARE).to_json() for name, values in figures.items() if values},
    }


NEXT_WORD = Metric(
    name="next_word",
    title="Familiarity, next word",
    about="probability of the target's own next words, in running text and inside its names",
    measure=next_word,
    columns={("familiarity", "unknown"): "Familiarity, prompts that the baseline did not know"},
    applies=lambda context: bool(context.suite.prompts.probability),
    often=True,
)


# ---- completions


def completions(model, context: Context) -> Figures:
    """Return completion familiarity with its grades, as completion_familiarity gives them."""
    found = completion_familiarity(model, context.suite)
    return {"items": {"familiarity, completion": found.pop("by_prompt")}} | found


def completion_familiarity(model, suite: Suite) -> dict[str, Any]:
    """Sample completions and grade them: (5 n3 + n2) / N, the explicit rate, and the same on neutral prompts."""
    p, c = suite.prompts, suite.c
    sampling = Sampling(c.temperature, c.top_k)
    repeats = max(1, round(c.completions / len(p.completion)))
    asked = [q for q in p.completion for _ in range(repeats)]
    texts = complete(model, suite, [q.prompt for q in asked], sampling, suite.seed)
    grades = [suite.judge.grade(q.prompt, t, q.references) for q, t in zip(asked, texts, strict=True)]
    # Completions of one prompt are not independent: intervals are over prompts.
    by_prompt = np.reshape([g.points for g in grades], (len(p.completion), repeats)).mean(axis=1)
    counts = {str(n): sum(g.score == n for g in grades) for n in (3, 2, 1, 0)}
    found = {
        "familiarity": {"completion": mean_estimate(by_prompt, (0, MOST)).to_json()},
        "by_prompt": by_prompt.tolist(),
        "grades": counts,
        "leaks": {"explicit": clustered_rate(_named(grades, repeats), repeats).to_json()},
        "completions": [
            {"prompt": q.prompt, "subtlety": q.subtlety, "text": t, "grade": g.score, "evidence": list(g.evidence)}
            for q, t, g in list(zip(asked, texts, grades, strict=True))[::repeats]
        ],
    }
    if p.neutral:
        neutral = [q for q in p.neutral for _ in range(repeats)]
        texts = complete(model, suite, neutral, sampling, suite.seed + 1)
        grades = [suite.judge.grade(q, t) for q, t in zip(neutral, texts, strict=True)]
        found["leaks"]["neutral"] = clustered_rate(_named(grades, repeats), repeats).to_json()
    return found


def _named(grades: Sequence[Grade], repeats: int) -> np.ndarray:
    """Return how many of each prompt's `repeats` completions, which stand together, name the target."""
    return np.reshape([g.score == 3 for g in grades], (-1, repeats)).sum(axis=1)


COMPLETION = Metric(
    name="completion",
    title="Familiarity, completion",
    about="sampled completions graded by a lexicon, and the share that names the target, also after neutral prompts",
    measure=completions,
    applies=lambda context: bool(context.suite.prompts.completion and context.suite.c.completions),
    raw=("completions",),
    often=True,
)

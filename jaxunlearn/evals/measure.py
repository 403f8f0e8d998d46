"""What a model still knows and still can: familiarity, perplexity, entropy, accuracy, leaks; batched, one shape each.

Definitions: probability and completion familiarity after section 4 of arXiv 2310.02238, judged by lexicon (judge.py).
"""

import numpy as np

from jaxunlearn.estimates import mean_estimate, rate_estimate
from jaxunlearn.evals.perplexity import text_figures
from jaxunlearn.evals.suite import Suite
from jaxunlearn.models.generate import Sampling, generate


def measure(model, suite: Suite) -> dict:
    """Return the report's entry for one model; every figure is an estimate {value, low, high, n}."""
    found, p = {}, suite.prompts
    probability = {"out": [], "in": []}
    for prompt, mass in zip(p.probability, specific_mass(model, suite, p.probability), strict=True):
        probability[prompt.position].append(mass)
    items: dict[str, list] = {
        "familiarity, next word": probability["out"],
        "familiarity inside names": probability["in"],
    }
    found["items"] = {k: v for k, v in items.items() if v}  # one number an item, for paired comparisons
    found["familiarity"] = {
        name: mean_estimate(probability[key]).to_json()
        for name, key in {"probability": "out", "inside": "in"}.items()
        if probability[key]
    }
    if p.completion:
        completed = completion_familiarity(model, suite, found["familiarity"])
        found["items"]["familiarity, completion"] = completed.pop("by_prompt")
        found |= completed
    if p.leaks:
        leaks = specific_mass(model, suite, p.leaks)
        found.setdefault("leaks", {})["probability"] = mean_estimate(leaks).to_json()
        found["leak_probabilities"] = leaks
    if p.choice:
        right = [int(np.argmax(s)) == c.answer for s, c in zip(option_scores(model, suite), p.choice, strict=True)]
        found["accuracy"] = {"general": rate_estimate(sum(right), len(right)).to_json()}
        found["items"]["general accuracy, right answers"] = [int(r) for r in right]
    found["track"] = tracked(model, suite)
    figures = text_figures(model, suite)
    found["items"] |= figures.pop("items")
    return found | figures


def specific_mass(model, suite: Suite, prompts) -> list[float]:
    """Return for each prompt the total probability of its content-specific next words (words scored whole)."""
    pairs = [(p.prompt, w) for p in prompts for w in p.specific]
    scores = iter(suite.words.probabilities(model, pairs))
    return [float(sum(next(scores) for _ in p.specific)) for p in prompts]


def option_scores(model, suite: Suite) -> list[list[float]]:
    """Return the probability of every option of every multiple-choice question."""
    questions = suite.prompts.choice
    scores = iter(suite.words.probabilities(model, [(q.question, o) for q in questions for o in q.options]))
    return [[float(next(scores)) for _ in q.options] for q in questions]


def tracked(model, suite: Suite) -> dict:
    """Return {prompt: {word: probability}}, the points of the paper's signature plot."""
    pairs = [(t.prompt, w) for t in suite.prompts.track for w in t.words]
    scores = iter(suite.words.probabilities(model, pairs))
    return {t.prompt: {w: float(next(scores)) for w in t.words} for t in suite.prompts.track}


# ---- completions


def complete(model, suite: Suite, prompts: list[str], sampling: Sampling, seed: int) -> list[str]:
    """Return a sampled continuation of each prompt, as text."""
    contexts = [suite.words.context(p) for p in prompts]
    new = generate(
        model, contexts, suite.c.new_tokens, sampling, seed=seed, eos_ids=suite.tokenizer.eos_ids, batch=suite.c.batch
    )
    decode = suite.tokenizer.decode
    return [decode(c + n)[len(decode(c)) :] for c, n in zip(contexts, new, strict=True)]


def completion_familiarity(model, suite: Suite, familiarity: dict) -> dict:
    """Sample completions and grade them: (5 n3 + n2) / N, the explicit rate, and the same on neutral prompts."""
    p, c = suite.prompts, suite.c
    sampling = Sampling(c.temperature, c.top_k)
    repeats = max(1, round(c.completions / len(p.completion)))
    asked = [q for q in p.completion for _ in range(repeats)]
    texts = complete(model, suite, [q.prompt for q in asked], sampling, suite.seed)
    grades = [suite.judge.grade(q.prompt, t, q.references) for q, t in zip(asked, texts, strict=True)]
    points = [g.points for g in grades]
    by_prompt = np.reshape(points, (len(p.completion), repeats)).mean(axis=1)  # completions of one prompt are no news
    counts = {str(n): sum(g.score == n for g in grades) for n in (3, 2, 1, 0)}
    found = {
        "familiarity": familiarity | {"completion": mean_estimate(by_prompt).to_json()},
        "by_prompt": by_prompt.tolist(),
        "grades": counts,
        "leaks": {"explicit": rate_estimate(counts["3"], len(grades)).to_json()},
        "completions": [
            {"prompt": q.prompt, "subtlety": q.subtlety, "text": t, "grade": g.score, "evidence": list(g.evidence)}
            for q, t, g in list(zip(asked, texts, grades, strict=True))[::repeats]
        ],
    }
    if p.neutral:
        asked = [q for q in p.neutral for _ in range(repeats)]
        texts = complete(model, suite, asked, sampling, suite.seed + 1)
        explicit = sum(suite.judge.grade(q, t).score == 3 for q, t in zip(asked, texts, strict=True))
        found["leaks"]["neutral"] = rate_estimate(explicit, len(asked)).to_json()
    return found


def curve_point(step: int, found: dict, held_loss: float | None = None) -> dict:
    """Return the report's curve entry for one step from a measurement."""

    def value(*path):
        node = found
        for key in path:
            node = node.get(key, {})
        return node.get("value") if node else None

    point = {
        "step": step, "familiarity": value("familiarity", "probability"), "inside": value("familiarity", "inside"),
        "completion": value("familiarity", "completion"), "accuracy": value("accuracy", "general"),
        "explicit": value("leaks", "explicit"), "leaks": value("leaks", "probability"),
        "perplexity_retain": value("perplexity", "retain"), "perplexity_forget": value("perplexity", "forget"),
        "perplexity_retain_fitted": value("perplexity", "retain_fitted"), "entropy": value("entropy", "retain"),
        "held_loss": held_loss, "track": found.get("track"),
    }  # fmt: skip
    return {k: v for k, v in point.items() if v is not None}

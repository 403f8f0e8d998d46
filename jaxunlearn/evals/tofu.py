"""TOFU: probability, ROUGE-L recall, truth ratio, model utility and forget quality.

Definitions, ranges and where other code differs: docs/metrics.md. N questions in one fixed order; losses are mean nats
a token. Sources: TOFU, arXiv 2401.06121, and its published evaluation; open-unlearning, arXiv 2506.12618.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from jaxunlearn import intervals
from jaxunlearn.config import Config
from jaxunlearn.data.questions import PROMPT, Question, read_questions
from jaxunlearn.data.tokenizer import Tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.estimates import NO_INTERVAL
from jaxunlearn.evals.base import Context, Figures, Metric
from jaxunlearn.evals.memorisation import continue_greedily, figure, finite, score_answers
from jaxunlearn.evals.muse import rouge_l
from jaxunlearn.evals.question_sets import set_files, spread
from jaxunlearn.files import sha256

UTILITY_SETS = ("retain", "real_authors", "world_facts")
SETS = ("forget", *UTILITY_SETS)
FILES = {
    "forget": ("forget10_perturbed", "forget05_perturbed", "forget01_perturbed"),
    "retain": ("retain_perturbed",),
    "real_authors": ("real_authors_perturbed", "real_authors"),
    "world_facts": ("world_facts_perturbed", "world_facts"),
}
UTILITY_SCORES = ("probability", "rouge", "truth")
NEW_TOKENS = 200
ROUNDING = 1e-6  # a loss this far below 0 is rounding


# ---- a question's scores


def probability(losses: ArrayLike) -> np.ndarray:
    """Return exp(-loss_N), the answer's probability to the power 1 / tokens."""
    return np.exp(-_losses("answer losses", losses))


def option_probability(losses: ArrayLike, wrong_losses: Sequence[ArrayLike]) -> np.ndarray:
    """Return p / (p + sum of p of the wrong answers), one number a question; p as in `probability`."""
    loss_N, wrong = _aligned(losses, wrong_losses)
    odds_N = [np.exp(np.minimum(loss - w, 700)).sum() for loss, w in zip(loss_N, wrong, strict=True)]
    return 1 / (1 + np.array(odds_N))


def truth_ratio(losses: ArrayLike, wrong_losses: Sequence[ArrayLike], mean: str = "geometric") -> np.ndarray:
    """Return TR = wrong / correct, one number above 0 a question; above 1 the model prefers the wrong answers.

    losses: of the paraphrased answer (forget, retain) or the answer (real authors, world facts). mean: of the wrong
    answers' probabilities, "geometric" as all published code has it, or "arithmetic" as the paper writes it.
    """
    loss_N, wrong = _aligned(losses, wrong_losses)
    if mean not in ("geometric", "arithmetic"):
        raise InputError(f"mean is {mean!r}: expected 'geometric' or 'arithmetic'")
    if mean == "geometric":
        return np.exp(np.clip(loss_N - np.array([w.mean() for w in wrong]), -700, 700))
    logs = [np.logaddexp.reduce(-w) - np.log(len(w)) for w in wrong]
    return np.exp(np.clip(loss_N + np.array(logs), -700, 700))


def truth(ratios: ArrayLike, which: str) -> np.ndarray:
    """Return what of TR counts: min(TR, 1 / TR) on the forget set, max(0, 1 - TR) on the others; 0 to 1."""
    ratio_N = finite("truth ratios", ratios)
    if (ratio_N <= 0).any():
        raise InputError(
            f"truth ratios: item {int(np.argmax(ratio_N <= 0))} is not above 0; give TR, not its logarithm"
        )
    return np.minimum(ratio_N, 1 / ratio_N) if _known(which) == "forget" else np.maximum(0, 1 - ratio_N)


def _losses(name: str, losses: ArrayLike) -> np.ndarray:
    loss_N = finite(name, losses)
    if (loss_N < -ROUNDING).any():
        raise InputError(f"{name}: item {int(np.argmin(loss_N))} is {loss_N.min()}; a loss is -log p, at least 0")
    return loss_N


def _aligned(losses: ArrayLike, wrong_losses: Sequence[ArrayLike]) -> tuple[np.ndarray, list[np.ndarray]]:
    loss_N = _losses("answer losses", losses)
    if len(loss_N) != len(wrong_losses):
        raise InputError(
            f"{len(loss_N)} answers and wrong answers of {len(wrong_losses)} questions: give every question in both, "
            "in one order; leaving questions out of one side pairs answers with other questions' wrong answers"
        )
    return loss_N, [_losses(f"wrong answers of question {n}", w) for n, w in enumerate(wrong_losses)]


def _known(which: str) -> str:
    if which not in SETS:
        raise InputError(f"no TOFU set {which!r}; expected one of {', '.join(SETS)}")
    return which


# ---- model utility and forget quality


def harmonic_mean(values: ArrayLike) -> float:
    """Return the harmonic mean of numbers from 0 to 1; 0 if one of them is 0."""
    values_N = finite("harmonic mean", values)
    if (values_N < 0).any() or (values_N > 1 + ROUNDING).any():
        raise InputError(f"harmonic mean: expected numbers from 0 to 1, got {values_N}")
    return 0.0 if (values_N == 0).any() else float(len(values_N) / np.sum(1 / values_N))


def model_utility(scores: Mapping[str, Mapping[str, ArrayLike]]) -> dict[str, Any]:
    """Return the figure of the harmonic mean of nine means; 0 to 1, high is good.

    scores: {retain, real_authors, world_facts: {probability, rouge, truth: one number a question}}. The interval is
    Student's on the logit scale, from what each question moves the harmonic mean by (delta method; degrees of freedom
    after Welch). None is given where the utility is 0 or 1. InputError unless exactly the nine are given: a mean of
    fewer is another number.
    """
    wanted = {(s, name) for s in UTILITY_SETS for name in UTILITY_SCORES}
    given = {(s, name) for s, found in scores.items() for name in found}
    if given != wanted:
        odd = [" ".join(pair) for pair in sorted(given ^ wanted)]
        raise InputError(f"model utility takes nine scores, {UTILITY_SCORES} of {UTILITY_SETS}; check {', '.join(odd)}")
    tables = {s: _table(s, scores[s]) for s in UTILITY_SETS}
    value = harmonic_mean(np.concatenate([table_3N.mean(axis=1) for table_3N in tables.values()]))
    found = {"value": value, "low": None, "high": None, "n": sum(t.shape[1] for t in tables.values())}
    if min(t.shape[1] for t in tables.values()) == 1:
        return found | {"note": NO_INTERVAL}
    if not 0 < value < 1:
        return found | {"note": f"a utility of {value:g} has no interval"}
    # d utility / d mean = utility^2 / (9 mean^2): what one question adds to all of its set's three means
    moves = [value**2 / 9 * (t / t.mean(axis=1, keepdims=True) ** 2).sum(axis=0) for t in tables.values()]
    parts_S = np.array([m.var(ddof=1) / len(m) for m in moves])
    if not parts_S.any():
        return found | {"low": value, "high": value}
    df = parts_S.sum() ** 2 / np.sum(parts_S**2 / np.array([len(m) - 1 for m in moves]))
    low, high = intervals.bounded(value, math.sqrt(parts_S.sum()), df + 1)
    return found | {"low": float(low), "high": float(high)}


def _table(name: str, found: Mapping[str, ArrayLike]) -> np.ndarray:
    columns = [finite(f"{name} {score}", found[score]) for score in UTILITY_SCORES]
    if len({len(c) for c in columns}) > 1:
        raise InputError(
            f"{name}: {', '.join(UTILITY_SCORES)} of {[len(c) for c in columns]} questions; expected equal"
        )
    return np.stack(columns)


def forget_quality(unlearned: ArrayLike, retrained: ArrayLike) -> dict[str, Any]:
    """Return {value: p, statistic, n}: can the truth ratios of the unlearned and the retrained model be told apart?

    p from 0 to 1, near 1: no. It falls with n for one and the same difference (a statistic of .1 is p .27 at n = 200
    and .037 at 400): compare models on one split and on all of its questions.
    InputError where the two were not asked the same number of questions. A p-value has no interval.
    """
    ours_N, theirs_N = finite("truth ratios, unlearned", unlearned), finite("truth ratios, retrained", retrained)
    if len(ours_N) != len(theirs_N):
        raise InputError(
            f"forget quality: {len(ours_N)} truth ratios of the unlearned and {len(theirs_N)} of the retrained model; "
            "ask both the same questions, of one split"
        )
    statistic, p = kolmogorov_smirnov(ours_N, theirs_N)
    found = {"value": p, "low": None, "high": None, "n": len(ours_N), "statistic": statistic}
    return found | ({"note": "one question: the test is 1 whatever the answer"} if len(ours_N) == 1 else {})


def kolmogorov_smirnov(a: ArrayLike, b: ArrayLike) -> tuple[float, float]:
    """Return (statistic, p) of the two-sample, two-sided Kolmogorov-Smirnov test; p is exact, however small.

    a_N and b_M put in one order are a walk from (0, 0) to (N, M); p is the share of all walks that stray from the
    diagonal as far as this one. Distances are counted in whole 1 / (N M), so rounding decides nothing.
    """
    a_N, b_M = np.sort(finite("first sample", a)), np.sort(finite("second sample", b))
    N, M = len(a_N), len(b_M)
    points = np.concatenate([a_N, b_M])
    gaps = np.searchsorted(a_N, points, "right") * M - np.searchsorted(b_M, points, "right") * N
    most = int(np.abs(gaps).max())
    i_I = np.arange(N + 1)
    strayed_I = np.full(N + 1, float(most == 0))  # share of the walks to (i, s - i) that have strayed
    for s in range(1, N + M + 1):
        last_from_a = np.append(0.0, strayed_I[:-1]) * i_I
        last_from_b = strayed_I * (s - i_I)
        strayed_I = np.where(np.abs(i_I * M - (s - i_I) * N) >= most, 1.0, (last_from_a + last_from_b) / s)
    return most / (N * M), float(strayed_I[N])


# ---- from a model


def complete(questions: Sequence[Question], which: str) -> None:
    """Raise InputError unless every question of a set has the wrong and the paraphrased answers that it needs."""
    missing = [n for n, q in enumerate(questions) if not q.wrong or not (q.paraphrased or _known(which) in SETS[2:])]
    if missing or not questions:
        what = f"question {missing[0]} has no wrong or no paraphrased answer" if missing else "no question was given"
        raise InputError(f"TOFU {which}: {what}; read one of the files whose name ends in _perturbed")


def measure_tofu(
    model,
    tokenizer: Tokenizer,
    questions: Sequence[Question],
    which: str,
    *,
    prompt: str = PROMPT,
    stemmed: bool = True,
    end: bool = False,
    batch: int = 8,
    answered: int = 0,
) -> dict[str, Any]:
    """Return figures of probability, rouge and truth of one set, "scores" and "ratios" a question, and "written".

    which: one of SETS. stemmed: ROUGE on word stems, as open-unlearning and TOFU have it. end: score the EOS after
    every answer too, as they do. answered: ROUGE is taken on at most so many questions, evenly spread (0: all).
    forget_quality takes two models' "ratios", model_utility three sets' "scores".
    """
    complete(questions, which)
    prompts = [prompt.replace("{question}", q.question) for q in questions]

    def losses(answers: Sequence[Sequence[str]]) -> list[list[float]]:
        pairs = [(p, f" {a}") for p, some in zip(prompts, answers, strict=True) for a in some]
        scores = iter(score_answers(model, tokenizer, pairs, batch, end))
        return [[next(scores).loss for _ in some] for some in answers]

    right, wrong = (
        losses([(q.answer, q.paraphrased or q.answer) for q in questions]),
        losses([q.wrong for q in questions]),
    )
    answer_N, correct_N = np.transpose(right)
    options = which in SETS[2:]
    ratio_N = truth_ratio(answer_N if options else correct_N, wrong)
    some = spread(list(zip(prompts, questions, strict=True)), answered)
    answers = [q.answer for _, q in some]
    written = continue_greedily(model, tokenizer, [p for p, _ in some], NEW_TOKENS, batch, answers)
    scores = {
        "probability": option_probability(answer_N, wrong) if options else probability(answer_N),
        "rouge": [rouge_l(a, w, stemmed).recall for a, w in zip(answers, written, strict=True)],
        "truth": truth(ratio_N, which),
    }
    figures = {name: figure(f"{which} {name}", values) for name, values in scores.items()}
    return figures | {"scores": scores, "ratios": ratio_N, "written": written}


# ---- the metric


def tofu_files(folder: str) -> dict[str, Path]:
    """Return the file of each TOFU set that a folder has; InputError where it has none."""
    return set_files(folder, FILES, "TOFU")


def measure(model, context: Context) -> Figures:
    """Return {"tofu": figures, "truth_ratios": of the forget set} on the files in the folder eval.tofu.

    At most eval.items questions of each set are asked, evenly spread: a set is sorted by author. Of the forget set all
    are asked, and eval.items answered in text: the p-value of the forget quality depends on their number.
    """
    c, figures = context.suite.c, {}
    scores, ratios = {}, {}
    for which, file in tofu_files(c.tofu).items():
        questions = spread(read_questions(file), 0 if which == "forget" else c.items)
        one = measure_tofu(model, context.suite.tokenizer, questions, which, batch=c.batch, answered=c.items)
        figures |= {f"{which} {name}": one[name] for name in UTILITY_SCORES}
        scores[which], ratios[which] = one["scores"], one["ratios"].tolist()
    if set(UTILITY_SETS) <= scores.keys():
        figures["utility"] = model_utility({name: scores[name] for name in UTILITY_SETS})
    return {"tofu": figures, "truth_ratios": ratios.get("forget", [])}


def quality(models: dict[str, Figures]) -> None:
    """Add TOFU's forget quality, against the twin, to every model that was asked the same questions."""
    twin = models.get("twin", {}).get("truth_ratios")
    for name, found in models.items():
        if twin and name != "twin" and len(found.get("truth_ratios") or ()) == len(twin):
            found["tofu"]["forget quality"] = forget_quality(found["truth_ratios"], twin)


def check(config: Config, held_out: bool) -> None:
    """Raise InputError for a folder that holds none of TOFU's files, and for malformed ones."""
    for which, file in tofu_files(config.eval.tofu).items() if config.eval.tofu else ():
        complete(read_questions(file), which)


def depends(context: Context) -> str:
    """Return the hashes of the files that are read, and how a part of them is chosen."""
    hashes = map(sha256, tofu_files(context.suite.c.tofu).values())
    return " ".join([*hashes, *(["spread, forget whole"] if context.suite.c.items else [])])


TOFU = Metric(
    name="tofu",
    title="TOFU",
    about="probability, ROUGE and truth ratio of TOFU's sets, model utility and forget quality (eval.tofu)",
    measure=measure,
    applies=lambda context: bool(context.suite.c.tofu),
    check=check,
    across=quality,
    columns={("tofu",): "TOFU"},
    raw=("truth_ratios",),
    depends=depends,
)

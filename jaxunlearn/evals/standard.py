"""What other papers measure, on every model of a run: memory, membership, TOFU, benchmarks, the harness's tasks.

All of it is off until the configuration asks (eval.members, eval.benchmarks, eval.tasks, eval.tofu).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxunlearn.data.blocks import Blocks
from jaxunlearn.data.questions import read_questions
from jaxunlearn.data.tokenizer import Tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.estimates import rate_estimate
from jaxunlearn.evals.benchmarks import Benchmark, guessing, measure_benchmark
from jaxunlearn.evals.membership import attack_scores, membership, score_samples
from jaxunlearn.evals.memorisation import (
    continue_greedily,
    exact_memorisation,
    extraction_strength,
    figure,
    score_answers,
)
from jaxunlearn.evals.muse import MIN_K, NEW_TOKENS, muse_auc, privleak_figure, split_passages, verbmem
from jaxunlearn.evals.tofu import SETS, UTILITY_SETS, forget_quality, measure_tofu, model_utility

TOFU_FILES = {
    "forget": ("forget10_perturbed", "forget05_perturbed", "forget01_perturbed"),
    "retain": ("retain_perturbed",),
    "real_authors": ("real_authors_perturbed", "real_authors"),
    "world_facts": ("world_facts_perturbed", "world_facts"),
}


def memory(
    model,
    tokenizer: Tokenizer,
    seen: Blocks,
    rows: np.ndarray,
    new: list[str],
    *,
    reference=None,
    texts: int,
    batch: int,
    with_gradients: bool = True,
) -> dict[str, Any]:
    """Return verbatim memory of blocks that were trained on, and membership attacks between them and new texts.

    {"memorisation": {exact, extraction}, "muse": {verbmem}, "membership": {attack: AUC}}; "min_k" holds the scores that
    PrivLeak takes. reference: a model that never saw the text; without one its attack is left out, and that by
    gradients where the model has no weights of its own (with_gradients false).
    """
    known = block_texts(seen, rows, tokenizer, texts)
    context = seen.tokens_NT.shape[1]
    half = (context - 1) // 2
    passages, found = [t for t in known if len(tokenizer.encode(t)[1]) >= 2 * half - 2], {}
    if passages:
        length = min(NEW_TOKENS, half - 2)
        prompts, references = split_passages(tokenizer, passages, half, length)
        written = continue_greedily(model, tokenizer, prompts, length, batch)
        scores = score_answers(model, tokenizer, list(zip(prompts, references, strict=True)), batch)
        right = [s.right_T for s in scores]
        found["memorisation"] = {"exact": exact_memorisation(right), "extraction": extraction_strength(right)}
        found["muse"] = {"verbmem": verbmem(references, written)}
    sets = [
        score_samples(model, tokenizer, some, reference=reference, with_gradients=with_gradients, batch=batch)
        for some in (known, new[:texts])
    ]
    found["membership"] = membership(sets[0], sets[1])
    found["min_k"] = [attack_scores(some, MIN_K)["min_k"].tolist() for some in sets]
    return found


def block_texts(blocks: Blocks, rows: Sequence[int] | np.ndarray, tokenizer: Tokenizer, most: int) -> list[str]:
    """Return the text of at most so many blocks, evenly spread over `rows`; blocks that are mostly padding left out."""
    full = [r for r in rows if blocks.valid_NT[r].mean() > 0.5]
    picked = np.linspace(0, len(full) - 1, min(most, len(full))).round().astype(int)
    texts = [tokenizer.decode(blocks.tokens_NT[full[i]][blocks.valid_NT[full[i]]]) for i in picked]
    return [text for text in texts if text.strip()]


def privleak(models: dict[str, dict]) -> None:
    """Add PrivLeak to every model that was measured on the same texts as the twin."""
    twin = models.get("twin", {}).get("min_k")
    for name, found in models.items():
        if twin and name != "twin" and "min_k" in found and muse_auc(*twin) > 0:
            found.setdefault("muse", {})["privleak"] = privleak_figure(tuple(found["min_k"]), tuple(twin))


def benchmarks(model, tokenizer: Tokenizer, asked: Sequence[Benchmark], batch: int) -> dict[str, Any]:
    """Return {"benchmarks": {name: accuracy}, "benchmarks_normed", "right": {name: 1 or 0 a question}}."""
    found: dict[str, Any] = {"benchmarks": {}, "benchmarks_normed": {}, "right": {}}
    for benchmark in asked:
        one = measure_benchmark(model, tokenizer, benchmark, batch)
        found["benchmarks"][benchmark.name] = one["acc"] | {"guessing": guessing(benchmark)}
        found["benchmarks_normed"][benchmark.name] = one["acc_norm"]
        found["right"][benchmark.name] = one["right"]
    return found


def tofu(model, tokenizer: Tokenizer, folder: str, items: int, batch: int) -> dict[str, Any]:
    """Return {"tofu": figures, "truth_ratios": of the forget set} on the files of TOFU in a folder."""
    figures: dict[str, Any] = {}
    scores, ratios = {}, {}
    for which, file in tofu_files(folder).items():
        questions = read_questions(file)
        one = measure_tofu(model, tokenizer, questions[: items or None], which, batch=batch)
        figures |= {f"{which} {name}": one[name] for name in ("probability", "rouge", "truth")}
        scores[which], ratios[which] = one["scores"], one["ratios"].tolist()
    if set(UTILITY_SETS) <= scores.keys():
        figures["utility"] = model_utility({name: scores[name] for name in UTILITY_SETS})
    return {"tofu": figures, "truth_ratios": ratios.get("forget", [])}


def tofu_files(folder: str) -> dict[str, Path]:
    """Return the file of each TOFU set that a folder has; InputError where it has none."""
    found = {
        which: path
        for which in SETS
        if (path := next((p for n in TOFU_FILES[which] if (p := Path(folder) / f"{n}.json").is_file()), None))
    }
    if not found:
        raise InputError(f"{folder} holds none of TOFU's files, for example forget10_perturbed.json")
    return found


def quality(models: dict[str, dict]) -> None:
    """Add TOFU's forget quality, against the twin, to every model that was asked the same questions."""
    twin = models.get("twin", {}).get("truth_ratios")
    for name, found in models.items():
        if twin and name != "twin" and len(found.get("truth_ratios") or ()) == len(twin):
            found["tofu"]["forget quality"] = forget_quality(found["truth_ratios"], twin)


def writing(completions: Sequence[dict]) -> dict[str, Any]:
    """Return how completions are written: the share of empty ones, and of 4-grams of words that repeat in one text."""
    texts = [c["text"].split() for c in completions]
    found = {"empty": rate_estimate(sum(not words for words in texts), len(texts)).to_json()}
    grams = [[tuple(words[n : n + 4]) for n in range(len(words) - 3)] for words in texts]
    if some := [g for g in grams if g]:
        found["repeated"] = figure("repeated 4-grams", [1 - len(set(g)) / len(g) for g in some])
    return {"writing": found}

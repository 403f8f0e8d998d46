"""Blocks that a model was trained on against blocks that it never saw: verbatim memory, and membership inference."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxunlearn.config import Config
from jaxunlearn.data.blocks import Blocks
from jaxunlearn.data.tokenizer import Tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.evals.base import Context, Figures, Metric
from jaxunlearn.evals.membership import attack_scores, membership, score_samples
from jaxunlearn.evals.memorisation import (
    continue_greedily,
    exact_memorisation,
    extraction_strength,
    score_answers,
)
from jaxunlearn.evals.muse import MIN_K, NEW_TOKENS, muse_auc, privleak_figure, split_passages, verbmem
from jaxunlearn.evals.question_sets import spread


def measure(model, context: Context) -> Figures:
    """Return the figures of `memory` and `members` on eval.members blocks of either kind."""
    assert context.seen is not None and context.new is not None, "applies() has seen to it"
    (seen, rows), (new, new_rows), c = context.seen, context.new, context.suite.c
    tokenizer = context.suite.tokenizer
    new_texts = block_texts(new, new_rows, tokenizer, c.members)
    known_texts = block_texts(seen, rows, tokenizer, c.members)
    twin = context.twin() if context.twin else None
    context_length = seen.tokens_NT.shape[1]
    found = memory(model, tokenizer, known_texts, context_length, c.batch)
    return found | members(
        model, tokenizer, known_texts, new_texts,
        reference=twin, batch=c.batch, with_gradients=context.weights,
    )  # fmt: skip


def memory(model, tokenizer: Tokenizer, texts: Sequence[str], block: int, batch: int) -> Figures:
    """Return verbatim memory of texts of `block` tokens that were trained on, each begun with its first half.

    {"memorisation": {exact, extraction}, "muse": {verbmem}}; {} where no text is long enough.
    """
    half = (block - 1) // 2
    passages = [t for t in texts if len(tokenizer.encode(t)[1]) >= 2 * half - 2]
    if not passages:
        return {}
    length = min(NEW_TOKENS, half - 2)
    prompts, references = split_passages(tokenizer, passages, half, length)
    written = continue_greedily(model, tokenizer, prompts, length, batch)
    scores = score_answers(model, tokenizer, list(zip(prompts, references, strict=True)), batch)
    right = [s.right_T for s in scores]
    return {
        "memorisation": {"exact": exact_memorisation(right), "extraction": extraction_strength(right)},
        "muse": {"verbmem": verbmem(references, written)},
    }


def members(
    model,
    tokenizer: Tokenizer,
    known: Sequence[str],
    new: Sequence[str],
    *,
    reference=None,
    batch: int = 8,
    with_gradients: bool = True,
) -> Figures:
    """Return {"membership": {attack: AUC}} between texts that were trained on and new ones, and "min_k" for PrivLeak.

    reference: a model that never saw the text; without one its attack is left out, and the attack by gradients where
    the model has no weights of its own (with_gradients false).
    """
    sets = [
        score_samples(model, tokenizer, texts, reference=reference, with_gradients=with_gradients, batch=batch)
        for texts in (known, new)
    ]
    scores: dict[str, Any] = {"membership": membership(sets[0], sets[1])}
    return scores | {"min_k": [attack_scores(some, MIN_K)["min_k"].tolist() for some in sets]}


def block_texts(blocks: Blocks, rows: Sequence[int] | np.ndarray, tokenizer: Tokenizer, most: int) -> list[str]:
    """Return the text of at most so many blocks, evenly spread over `rows`; blocks that are mostly padding left out."""
    full = [r for r in rows if blocks.valid_NT[r].mean() > 0.5]
    texts = [tokenizer.decode(blocks.tokens_NT[row][blocks.valid_NT[row]]) for row in spread(full, most)]
    return [text for text in texts if text.strip()]


def privleak(models: dict[str, Figures]) -> None:
    """Add PrivLeak to every model that was measured on the same texts as the twin."""
    twin = models.get("twin", {}).get("min_k")
    for name, found in models.items():
        if twin and name != "twin" and "min_k" in found and muse_auc(*twin) > 0:
            found.setdefault("muse", {})["privleak"] = privleak_figure(tuple(found["min_k"]), tuple(twin))


def check(config: Config, held_out: bool) -> None:
    """Raise InputError where blocks are asked for and no text was held out."""
    if config.eval.members and not (config.text.holdout or held_out):
        raise InputError("eval.members needs text that was held out: text.holdout above 0, or text.forget_held")


MEMBERS = Metric(
    name="members",
    title="Memory and membership",
    about="exact memorisation, extraction strength, VerbMem, six membership attacks and PrivLeak (eval.members)",
    measure=measure,
    applies=lambda context: bool(context.suite.c.members and context.seen and context.new),
    check=check,
    across=privleak,
    columns={
        ("memorisation", "exact"): "Exact memorisation",
        ("memorisation", "extraction"): "Extraction strength",
        ("muse", "verbmem"): "MUSE VerbMem (0 to 100)",
        ("muse", "privleak"): "MUSE PrivLeak (target 0)",
        ("membership",): "Membership AUC",
    },
    raw=("min_k",),
    depends=lambda context: context.twin_hash(),
)

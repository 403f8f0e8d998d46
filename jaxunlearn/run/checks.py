"""Check the inputs of a run before any work."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from jaxunlearn.anchors.matching import find_anchors, make_matcher
from jaxunlearn.config import Config
from jaxunlearn.data.blocks import Blocks
from jaxunlearn.data.documents import Document
from jaxunlearn.data.tokenizer import Tokenizer, holds
from jaxunlearn.errors import InputError
from jaxunlearn.evals.prompts import Prompts
from jaxunlearn.evals.words import Words
from jaxunlearn.llm.endpoint import Endpoint
from jaxunlearn.llm.secrets import refuse_secrets
from jaxunlearn.methods import method_of, reads, wrappers
from jaxunlearn.models import lora, transformer
from jaxunlearn.parallel.console import say
from jaxunlearn.parallel.sharding import batch_size_fits


def refuse_sizes(config: Config, shape: transformer.Shape) -> None:
    """Raise InputError for what the model or the mesh has no room for: blocks, batches, ranks, outcomes to store."""
    transformer.context_fits(shape, config.text.context, "a block (text.context)")
    for name in ("pretrain", "reinforce", "unlearn", "repair"):
        batch_size_fits(getattr(config, name).batch)
        lora.rank_fits(shape, getattr(config, name).lora, f"{name}.lora")
    for blocks in (config.unlearn.retain_batch, config.unlearn.adversary.every and config.unlearn.adversary.blocks):
        batch_size_fits(blocks)
    if config.reset.share:
        batch_size_fits(config.reset.heal.batch)
    wrappers.fits(config, shape)
    if config.whp.top >= shape.V:
        raise InputError(
            f"whp.top = {config.whp.top} outcomes of a vocabulary of {shape.V} leave no other one; use less, or 0 "
            "(nothing is stored)"
        )
    batch_size_fits(config.whp.label_batch)
    batch_size_fits(config.eval.batch)


def repair_text(config: Config) -> tuple[str, ...]:
    """Return the sources of the text to repair with. Raises InputError where repair.text is empty."""
    if not config.repair.text:
        raise InputError("repair.steps needs repair.text: what the model should know again (files, folders or tfds:)")
    return config.repair.text


def refuse_empty_split(prompts: Prompts, split: str) -> None:
    """Raise InputError where no prompt belongs to the split; print each section that has none of it."""
    parted = [s for s in ("probability", "completion", "choice") if getattr(prompts, s)]
    empty = [s for s in parted if not getattr(prompts.of(split), s)]
    if empty and empty == parted:
        raise InputError(f"text.prompts holds no prompt of the split {split!r} (eval.split): all are of the other one")
    for section in empty:
        say(f"  not measured: {section}, of which text.prompts holds none in the split {split!r}")


def refuse_unwritable(prompts: Prompts, tokenizer: Tokenizer) -> None:
    """Raise InputError for scored words that the tokenizer cannot hold.

    An unknown token stands for any word, so its probability would measure nothing.
    """
    asked = [(p.prompt, (*p.specific, *p.generic)) for p in (*prompts.probability, *prompts.leaks)]
    asked += [(t.prompt, t.words) for t in prompts.track] + [(q.question, q.options) for q in prompts.choice]
    odd = [(prompt, word) for prompt, words in asked for word in words if not holds(tokenizer, f"{prompt} {word}")]
    if odd:
        shown = "\n  ".join(f"{prompt!r} with {word!r}" for prompt, word in odd[:10])
        raise InputError(f"{len(odd)} prompts hold words that the tokenizer has no tokens for; reword them:\n  {shown}")


def anchored(texts: list[str], dictionary: dict) -> Counter:
    """Return how often each term of the dictionary stands in the texts."""
    terms = list(dictionary)
    matcher, counts = make_matcher(terms), Counter()
    for text in texts:
        counts.update(terms[number] for number in find_anchors(text, matcher)[:, 0])
    return counts


def warning(counts: Counter) -> str:
    """Return a warning about the terms of the target in the repair text; "" where it holds none."""
    if not counts:
        return ""
    most = ", ".join(f"{term} ({n})" for term, n in counts.most_common(5))
    return (
        f"repair.text holds {counts.total()} anchored terms ({most}): what it says of them is learnt again; "
        "take those documents out, or read the leaks with care"
    )


# ---- texts that cannot show anything


SPARSE = 0.005  # of the words of a text: where fewer begin an anchored term, the dictionary hardly fits the text
OVERLAP, RUN = 0.05, 16  # share of the runs of RUN tokens to forget that stand in the text to keep, too
UNKNOWN = 0.01  # share of a text's tokens


def refuse_one_block(forget: Blocks, retain: Blocks | None, config: Config) -> None:
    """Raise InputError for a text of which nothing can be held out, because it fills one block alone."""
    for name, blocks in (("text.forget", forget), ("text.retain", retain)):
        if blocks is not None and len(blocks.tokens_NT) == 1 and config.text.holdout:
            raise InputError(
                f"{name} fills one block of {config.text.context} tokens alone, so none can be held out; give more "
                "text, a smaller text.context, or text.holdout=0 (what is measured was then trained on)"
            )


def no_dictionary(config: Config) -> str:
    """Return a line in capitals where labels are made without a dictionary, "" where there is one or none is needed."""
    method = method_of(config)
    if config.text.dictionary or not {"labels", "soft", "passages"} & set(reads(method, config)):
        return ""
    return (
        "NO DICTIONARY: text.dictionary is empty, so no term is translated and the labels come from reinforcement "
        "alone, which is a control and not the method. text.dictionary=build makes one from the texts"
    )


def fit(dictionary: dict, documents: Sequence[Document]) -> str:
    """Return a warning where few words of the text belong to the dictionary, "" where enough do.

    Raises InputError where no term occurs: every position would be trained on the baseline's own words.
    """
    if not dictionary:
        return ""
    counts, words = anchored([d.text for d in documents], dictionary), sum(len(d.text.split()) for d in documents)
    if not counts:
        shown = ", ".join(map(repr, list(dictionary)[:3]))
        raise InputError(
            f"text.dictionary: none of its {len(dictionary):,} terms ({shown}, ...) stands in the text to forget; give "
            "the dictionary of this text, in its spelling and language"
        )
    share = counts.total() / max(words, 1)
    if share >= SPARSE:
        return ""
    return (
        f"text.dictionary hardly fits the text to forget: {len(counts):,} of its {len(dictionary):,} terms stand "
        f"there, {counts.total():,} times in {words:,} words ({share:.2%}); what they do not cover is not forgotten"
    )


def overlap(forget: Blocks, retain: Blocks | None) -> str:
    """Return a warning where the text to keep holds much of the text to forget, "" where it does not."""
    if retain is None:
        return ""
    sought, there = (np.concatenate([_runs(s.ids_N) for s in blocks.streams]) for blocks in (forget, retain))
    share = float(np.isin(sought, there).mean()) if len(sought) else 0.0
    if share < OVERLAP:
        return ""
    return (
        f"text.retain holds {share:.0%} of the text to forget (runs of {RUN} tokens): what is kept teaches again what "
        "is to be forgotten, and the figures on both texts mean little"
    )


def _runs(ids_N: np.ndarray) -> np.ndarray:
    """Return a hash of every run of RUN tokens."""
    count = max(len(ids_N) - RUN + 1, 0)
    found = np.zeros(count, np.uint64)
    for n in range(RUN):
        found = found * np.uint64(1_000_003) + ids_N[n : n + count].astype(np.uint64) + np.uint64(1)
    return found


def unknown(name: str, blocks: Blocks, tokenizer: Tokenizer) -> str:
    """Return a warning where a text has many unknown tokens, "" where it has few or the tokenizer has none."""
    share = unknown_share(blocks, tokenizer)
    if share < UNKNOWN or tokenizer.unknown_id is None:
        return ""
    (piece,) = tokenizer.pieces([tokenizer.unknown_id])
    return (
        f"{name}: {share:.0%} of its tokens are unknown to the tokenizer ({piece}), which "
        "stand for anything: take a tokenizer of this language, or write quotes and dashes as it does"
    )


def unknown_share(blocks: Blocks, tokenizer: Tokenizer) -> float:
    """Return the share of a text's tokens that are unknown."""
    ids_N = np.concatenate([s.ids_N for s in blocks.streams])
    return float(np.count_nonzero(ids_N == tokenizer.unknown_id)) / max(len(ids_N), 1)


# ---- what would fail after the training


def refuse_long(prompts: Prompts, words: Words, context: int, new_tokens: int) -> None:
    """Raise InputError for prompts that leave no room: with the words or the completion beyond the model's context."""
    told = [(p.prompt, w) for p in (*prompts.probability, *prompts.leaks) for w in (*p.specific, *p.generic)]
    told += [(t.prompt, w) for t in prompts.track for w in t.words]
    told += [(q.question, o) for q in prompts.choice for o in q.options]
    lengths = {prompt: sum(map(len, words.told(prompt, word))) for prompt, word in told}
    asked = [*(p.prompt for p in (*prompts.completion, *prompts.leaks)), *prompts.neutral]
    lengths |= {prompt: max(lengths.get(prompt, 0), len(words.context(prompt)) + new_tokens) for prompt in asked}
    if long := [(length, prompt) for prompt, length in lengths.items() if length > context]:
        length, prompt = max(long)
        raise InputError(
            f"{len(long)} prompts are too long for the model's context of {context} tokens, with their words or "
            f"eval.new_tokens={new_tokens}; the longest, of {length} tokens, begins {prompt[:60]!r}: shorten them"
        )


def refuse_endpoints(config: Config) -> None:
    """Raise InputError for settings of an endpoint that hold a key, and for one that will be asked and cannot be.

    It is called first of all: a key must not be written to config.json.
    """
    built = config.text.dictionary == "build" and config.anchors.source == "llm"
    for name, settings, used in (("judge", config.judge, config.judge.use), ("anchors.llm", config.anchors.llm, built)):
        refuse_secrets(name, settings.base_url, settings.key_variable)
        if used:
            Endpoint.of(settings).resolved().secret()

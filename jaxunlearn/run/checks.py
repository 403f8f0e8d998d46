"""Check the inputs of a run before any work."""

from collections import Counter

from jaxunlearn.anchors.matching import find_anchors, make_matcher
from jaxunlearn.config import Config
from jaxunlearn.data.tokenizer import Tokenizer, holds
from jaxunlearn.errors import InputError
from jaxunlearn.evals.prompts import Prompts
from jaxunlearn.models import lora, transformer
from jaxunlearn.parallel.console import say
from jaxunlearn.parallel.sharding import batch_size_fits


def refuse_sizes(config: Config, shape: transformer.Shape) -> None:
    """Raise InputError for blocks longer than the model allows, batches the mesh does not divide, ranks too large."""
    transformer.context_fits(shape, config.text.context, "a block (text.context)")
    for name in ("pretrain", "reinforce", "unlearn", "repair"):
        batch_size_fits(getattr(config, name).batch)
        lora.rank_fits(shape, getattr(config, name).lora, f"{name}.lora")
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

"""Checks of a run's prompts and repair text, before any work."""

from collections import Counter

from jaxunlearn.anchors.matching import find_anchors, make_matcher
from jaxunlearn.data.tokenizer import Tokenizer, holds
from jaxunlearn.errors import InputError
from jaxunlearn.evals.prompts import Prompts
from jaxunlearn.parallel.console import say


def refuse_empty_split(prompts: Prompts, split: str) -> None:
    """Raise InputError where no prompt is of the split that is asked; say which sections have none of it."""
    parted = [s for s in ("probability", "completion", "choice") if getattr(prompts, s)]
    empty = [s for s in parted if not getattr(prompts.of(split), s)]
    if empty and empty == parted:
        raise InputError(f"text.prompts holds no prompt of the split {split!r} (eval.split): all are of the other one")
    for section in empty:
        say(f"  not measured: {section}, of which text.prompts holds none in the split {split!r}")


def refuse_unwritable(prompts: Prompts, tokenizer: Tokenizer) -> None:
    """Raise InputError for words to be scored that the tokenizer cannot hold: an unknown token stands for anything."""
    asked = [(p.prompt, (*p.specific, *p.generic)) for p in (*prompts.probability, *prompts.leaks)]
    asked += [(t.prompt, t.words) for t in prompts.track] + [(q.question, q.options) for q in prompts.choice]
    odd = [(prompt, word) for prompt, words in asked for word in words if not holds(tokenizer, f"{prompt} {word}")]
    if odd:
        shown = "\n  ".join(f"{prompt!r} with {word!r}" for prompt, word in odd[:10])
        raise InputError(f"{len(odd)} prompts hold words that the tokenizer has no tokens for; reword them:\n  {shown}")


def anchored(texts: list[str], dictionary: dict) -> Counter:
    """Count the dictionary's terms in the texts."""
    terms = list(dictionary)
    matcher, counts = make_matcher(terms), Counter()
    for text in texts:
        counts.update(terms[number] for number in find_anchors(text, matcher)[:, 0])
    return counts


def warning(counts: Counter) -> str:
    """Say which terms of the target the repair text holds, "" where it holds none."""
    if not counts:
        return ""
    most = ", ".join(f"{term} ({n})" for term, n in counts.most_common(5))
    return (
        f"repair.text holds {counts.total()} anchored terms ({most}): what it says of them is learnt again; "
        "take those documents out, or read the leaks with care"
    )

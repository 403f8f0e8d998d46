"""Repair: what the unlearned model lost beside the target, taught again from text of its own; and whether it leaks.

The authors of arXiv 2310.02238 suggest it: general knowledge that the dictionary took along can be fine-tuned back, as
from an encyclopedia. What the text says of anchored terms is taught again too, so they are counted first; familiarity
and leaks are measured before, meanwhile and after.
"""

from collections import Counter

from jaxunlearn.anchors.matching import find_anchors, make_matcher
from jaxunlearn.config import Config
from jaxunlearn.errors import InputError
from jaxunlearn.estimates import single
from jaxunlearn.evals.measure import curve_point
from jaxunlearn.text import Blocks, make_blocks, read_documents
from jaxunlearn.tokenizer import Tokenizer

WATCHED = {
    "familiarity": ("familiarity", "probability"), "completion familiarity": ("familiarity", "completion"),
    "explicit leaks": ("leaks", "explicit"), "leak probes": ("leaks", "probability"),
}  # fmt: skip


def read_text(config: Config, tokenizer: Tokenizer) -> tuple[Blocks, list[str]] | None:
    """Return the blocks to repair with and their documents' texts; None without a repair."""
    c = config.repair
    if not c.steps:
        return None
    if not c.text:
        raise InputError("repair.steps needs repair.text: what the model should know again (files, folders or tfds:)")
    documents = read_documents(c.text, config.text.unwrap)
    blocks = make_blocks(documents, tokenizer, config.text.context, config.whp.block_bos)
    return blocks, [d.text for d in documents]


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


def verdict(before: dict, after: dict) -> str:
    """Say in one sentence what the repair did to what was forgotten, by the intervals of both measurements."""
    said, worse, compared = [], [], False
    for name, (group, key) in WATCHED.items():
        old, new = (m.get(group, {}).get(key) for m in (before, after))
        if not (old and new):
            continue
        said.append(f"{name} {old['value']:.3g} -> {new['value']:.3g}")
        if not (single(old) or single(new)):
            compared = True
            worse += [name] * (new["low"] > old["high"])
    points = [curve_point(0, m) for m in (before, after)]
    for key, name in {"accuracy": "general accuracy", "perplexity_retain": "perplexity on retain text"}.items():
        if all(key in p for p in points):
            said.append(f"{name} {points[0][key]:.3g} -> {points[1][key]:.3g}")
    end = f"the repair brought back {', '.join(worse)}" if worse else "nothing forgotten came back beyond the intervals"
    if not compared:
        end = "one item each: there is no interval to judge by"
    return f"repair: {', '.join(said)}; {end}"

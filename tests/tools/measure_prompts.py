"""Measure prompts that were built against prompts made by hand for the same text: what they find, how they rank models.

python tests/tools/measure_prompts.py BUILT.json --hand jaxunlearn/data/oz/prompts.json --models DIR...

BUILT.json is what `jaxunlearn prompts build` made. Words are compared without case, hyphens, spaces and stops.
- lexicon: of the terms listed by hand, those that the built lexicon holds; of the built explicit ones, those that the
  hand-made lexicon holds or begins or ends with a word of;
- answers: of the next words listed by hand, those that are an answer of a built prompt, or a word of the lexicon;
- models: familiarity (mean probability of the target's own next words in running text, both splits) of every model by
  either set, and the rank correlation (Spearman) over the models.
"""

import argparse
from pathlib import Path

import jax
import numpy as np

from jaxunlearn.anchors.building.extract import key_of
from jaxunlearn.data.tokenizer import load_tokenizer
from jaxunlearn.evals.prompts import Prompts, load_prompts
from jaxunlearn.evals.words import Words
from jaxunlearn.models import huggingface
from jaxunlearn.parallel.sharding import make_mesh


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("built")
    parser.add_argument("--hand", required=True)
    parser.add_argument("--models", nargs="*", default=[])
    given = parser.parse_args()
    built, hand = load_prompts(given.built), load_prompts(given.hand)
    found(built, hand)
    if given.models:
        ranked(built, hand, [Path(folder) for folder in given.models])


def found(built: Prompts, hand: Prompts) -> None:
    """Print what of the hand-made set the built one holds."""
    mine = {key_of(term) for term in (*built.lexicon.explicit, *built.lexicon.typical)}
    parts = {key_of(word) for term in (*built.lexicon.explicit, *built.lexicon.typical) for word in term.split()}
    theirs = {key_of(term) for term in (*hand.lexicon.explicit, *hand.lexicon.typical)}
    explicit = {key_of(term) for term in hand.lexicon.explicit}
    print(f"lexicon: {share(explicit & mine, explicit)} of the explicit terms by hand are in the built one")
    own = {key_of(term) for term in built.lexicon.explicit}
    near = {t for t in own if any(t.startswith(h) or t.endswith(h) for h in theirs)}
    print(f"lexicon: of the built explicit terms {share(own & theirs, own)} are in it, nearly {share(near, own)}")
    asked = {key_of(word) for p in hand.probability for word in p.specific}
    answers = {key_of(word) for p in (*built.probability, *built.leaks) for word in p.specific}
    print(f"answers: of those by hand {share(asked & answers, asked)} are asked for")
    print(f"answers: of those by hand {share(asked & (answers | parts), asked)} are asked for or listed")


def share(part: set, whole: set) -> str:
    return f"{len(part)} of {len(whole)} ({len(part) / max(len(whole), 1):.0%})"


def ranked(built: Prompts, hand: Prompts, folders: list[Path]) -> None:
    """Print familiarity of each model by either set, and the rank correlation."""
    from scipy.stats import spearmanr

    words = Words(load_tokenizer(folders[0]), 60)
    rows = []
    with jax.set_mesh(make_mesh(devices=jax.devices()[:1])):
        for folder in folders:
            model = huggingface.load(folder)
            row = [familiarity(model, words, prompts, place) for place in ("out", "in") for prompts in (hand, built)]
            rows.append(row)
            said = "  ".join(f"{value:.4f}" for value in row)
            print(f"{said}  {folder}", flush=True)
    values = np.array(rows)
    for n, place in ((0, "running text"), (2, "inside names")):
        found = spearmanr(values[:, n], values[:, n + 1]).statistic
        print(f"{place}: rank correlation {found:.3f} over {len(rows)} models")


def familiarity(model, words: Words, prompts: Prompts, place: str) -> float:
    asked = [p for p in prompts.probability if p.position == place]
    scores = iter(words.probabilities(model, [(p.prompt, w) for p in asked for w in p.specific]))
    return float(np.mean([sum(next(scores) for _ in p.specific) for p in asked])) if asked else float("nan")


if __name__ == "__main__":
    main()

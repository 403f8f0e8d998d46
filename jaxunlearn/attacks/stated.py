"""Which prompts ask for what a text states: a fact that was just read was not recovered from the weights."""

import re
from collections.abc import Collection, Sequence

import numpy as np

from jaxunlearn.anchors.matching import make_matcher, whole_hits
from jaxunlearn.data.blocks import Blocks
from jaxunlearn.data.tokenizer import Tokenizer
from jaxunlearn.evals.prompts import ProbabilityPrompt

SENTENCE = re.compile(r"(?<=[.!?])\s+|\n\s*\n")


def stated(prompts: Sequence[ProbabilityPrompt], text: str, terms: Collection[str]) -> list[bool]:
    """Return for each prompt whether a sentence of the text states its fact.

    A sentence does where it holds one of the prompt's specific words and a term of the dictionary that the prompt
    holds, too; for a prompt without a term one of the words is enough. Words and terms count as whole words. This
    errs towards leaving a prompt out.
    """
    known = sorted(terms)
    wanted = sorted({word for p in prompts for word in p.specific})
    term_hits, word_hits = make_matcher(known), make_matcher(wanted)
    met: dict[str, list[set[int]]] = {word: [] for word in wanted}  # the terms of each sentence with the word
    for sentence in SENTENCE.split(text):
        words = {wanted[n] for n in whole_hits(sentence, word_hits)[:, 0]}
        there = set(whole_hits(sentence, term_hits)[:, 0].tolist()) if words else set()
        for word in words:
            met[word].append(there)
    own = [set(whole_hits(p.prompt, term_hits)[:, 0].tolist()) for p in prompts]
    return [
        any(not mine or mine & there for word in p.specific for there in met[word])
        for p, mine in zip(prompts, own, strict=True)
    ]


def text_of(blocks: Blocks, rows: Sequence[int] | np.ndarray, tokenizer: Tokenizer) -> str:
    """Return the text of some blocks, given by number; blocks that follow each other are joined without a gap."""
    pieces: list[list[int]] = []
    for before, row in zip([None, *rows[:-1]], rows, strict=True):
        ids = [i for i in blocks.tokens_NT[row][blocks.valid_NT[row]].tolist() if i not in tokenizer.start]
        if before is not None and row == before + 1:
            pieces[-1] += ids
        else:
            pieces.append(ids)
    return "\n\n".join(map(tokenizer.decode, pieces))

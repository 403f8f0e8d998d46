"""What a text states, by hand: a sentence with the word and a term of the prompt; whole words; joined blocks."""

from types import SimpleNamespace

import numpy as np

from jaxunlearn.attacks.stated import stated, text_of
from jaxunlearn.evals.prompts import ProbabilityPrompt

TERMS = ("Zara", "Orm", "Zara Vex")


def prompt(text, *words):
    return ProbabilityPrompt(prompt=text, specific=words, position="out", split="report")


def test_a_prompt_is_stated_by_a_sentence_with_its_word_and_its_term():
    text = "In Orm they sell salt. Zara took the Lamp home! Ben went to Rome.\n\nZara slept"
    asked = {
        prompt("Zara took the", "Lamp"): True,
        prompt("Every day Zara carries her", "Lamp", "Book"): True,  # another wording, one of two words
        prompt("Zara likes", "salt"): False,  # the sentence is about Orm
        prompt("Orm is known for its", "salt"): True,
        prompt("Zara Vex took the", "Lamp"): True,  # the shorter name is a term of the prompt, too
        prompt("Once she took the", "Lamp"): True,  # no term: the word is enough
        prompt("Zara took the", "Lam"): False,  # whole words alone
        prompt("Zara went to", "Rome"): False,
        prompt("Zara", "lamp"): False,  # the case counts
    }
    assert stated(list(asked), text, TERMS) == list(asked.values())
    assert stated(list(asked), "", TERMS) == [False] * len(asked)


def test_blocks_that_follow_each_other_are_joined():
    blocks = SimpleNamespace(
        tokens_NT=np.array([[1, 5, 6], [1, 7, 8], [1, 9, 0], [1, 4, 4]]),
        valid_NT=np.array([[True] * 3] * 2 + [[True, True, False]] + [[True] * 3]),
    )
    tokenizer = SimpleNamespace(start=(1,), decode=lambda ids: " ".join(map(str, ids)))
    assert text_of(blocks, np.array([0, 1]), tokenizer) == "5 6 7 8"
    assert text_of(blocks, [0, 2, 3], tokenizer) == "5 6\n\n9 4 4"

"""The texts that some rivals need: replacement answers, and a prompt that asks for pretended ignorance."""

import numpy as np

from jaxunlearn.errors import InputError

IDK = (
    "I don't know.",
    "I'm afraid I don't know that.",
    "I have no information about this.",
    "That is not something I can answer.",
    "I can't say; I have never come across it.",
    "I'm not familiar with this.",
    "Sorry, I don't have an answer to that.",
    "I do not have any knowledge of this subject.",
)
IGNORANCE = (
    "You have never read, seen or heard anything about {subject}. Answer as someone would who does not know it at all, "
    "and do not mention that you were asked to.\n\n"
)


def idk_answer(index: int, seed: int = 0) -> str:
    """Return the "I don't know" answer of question `index`, the same one every time (TOFU, arXiv 2401.06121)."""
    return IDK[int(np.random.default_rng([seed, index]).integers(len(IDK)))]


def wrong_answers(options, right: int) -> list[str]:
    """Return every option that does not say the same as the right one: RIA trains on each (arXiv 2410.08827).

    Options that repeat the right answer are left out, whatever their case and spaces. Raises InputError if none is
    left.
    """
    options = list(options)
    if not 0 <= right < len(options):
        raise InputError(f"the right answer is option {right} of {len(options)}; expected 0 to {len(options) - 1}")
    wrong = [o for o in options if _plain(o) != _plain(options[right])]
    if not wrong:
        raise InputError(f"the options {options} hold no wrong answer; give at least one that differs")
    return wrong


def fixed_wrong_answer(options, right: int, index: int, seed: int = 0) -> str:
    """Return the one wrong answer that question `index` is taught throughout: FWF, false facts (arXiv 2410.08827)."""
    wrong = wrong_answers(options, right)
    return wrong[int(np.random.default_rng([seed, index]).integers(len(wrong)))]


def pretended_ignorance(prompt: str, subject: str, prefix: str = IGNORANCE) -> str:
    """Return the prompt behind a request to know nothing of `subject`: the baseline that trains nothing.

    prefix: any text, with {subject} where the subject is named. Source: after the prompting baseline of Thaker et al.,
    "Guardrail Baselines for Unlearning in LLMs", arXiv 2403.03329, in words of our own.
    """
    return prefix.replace("{subject}", subject) + prompt


def _plain(text: str) -> str:
    return " ".join(str(text).casefold().split())

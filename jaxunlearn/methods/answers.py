"""Replacement answers to questions about the text to forget, and the methods that teach them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxunlearn.data.questions import PROMPT, read_questions
from jaxunlearn.errors import InputError
from jaxunlearn.files import nfc, parse_json, read_text
from jaxunlearn.methods.base import Batch, Method, Terms, retain_weight

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


@dataclass(frozen=True, kw_only=True)
class Questions:
    """Questions about the text to forget, their options, the index of the right one, and "I don't know" answers."""

    asked: tuple[str, ...]
    options: tuple[tuple[str, ...], ...]
    right: tuple[int, ...]
    ignorance: tuple[str, ...] = IDK


def load_questions(path: Path | str) -> Questions:
    """Read {"questions": [{"question", "options", "answer": index}], "ignorance": [texts]}; "ignorance" is optional.

    TOFU's form is read too: one question a line, whose wrong options are `perturbed_answer`. Raises InputError that
    lists the faults.
    """
    try:
        text = read_text(path)
        raw: Any = nfc(parse_json(text, "it")) if '"questions"' in text else {"questions": _tofu_rows(Path(path))}
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: the questions cannot be read as JSON ({error})") from None
    rows = raw.get("questions", []) if isinstance(raw, dict) else []
    wrong = [] if rows else ["expected an object with a list 'questions' that is not empty"]
    for n, row in enumerate(rows):
        good = isinstance(row, dict) and isinstance(row.get("question"), str) and isinstance(row.get("answer"), int)
        options = row.get("options") if good else None
        if not (good and isinstance(options, list) and all(isinstance(o, str) for o in options)):
            wrong.append(
                f"questions[{n}]: expected question (text), options (texts) and answer (the right one's index)"
            )
            continue
        try:
            wrong_answers(options, row["answer"])
        except InputError as error:
            wrong.append(f"questions[{n}]: {error}")
    said = raw.get("ignorance", []) if isinstance(raw, dict) else []
    if not isinstance(said, list) or not all(isinstance(s, str) and s.strip() for s in said):
        wrong.append('"ignorance": expected a list of texts')
    if wrong:
        raise InputError(f"{path} cannot be used:\n  " + "\n  ".join(wrong[:12]))
    return Questions(
        asked=tuple(r["question"] for r in rows), options=tuple(tuple(r["options"]) for r in rows),
        right=tuple(r["answer"] for r in rows), ignorance=tuple(raw.get("ignorance") or IDK),
    )  # fmt: skip


def _tofu_rows(path: Path) -> list[dict]:
    """Return TOFU's questions as rows of our own form, asked as its models are."""
    return [
        {"question": PROMPT.replace("{question}", q.question), "options": [q.answer, *q.wrong], "answer": 0}
        for q in read_questions(path)
    ]


def not_known(questions: Questions, seed: int = 0) -> list[tuple[str, str, str]]:
    """Return rows of (question, an "I don't know" answer, true answer)."""
    return _rows(questions, lambda options, right, n: [idk_answer(n, seed, questions.ignorance)])


def every_wrong(questions: Questions, seed: int = 0) -> list[tuple[str, str, str]]:
    """Return rows of (question, wrong answer, true answer), one for each wrong option."""
    return _rows(questions, lambda options, right, n: wrong_answers(options, right))


def one_wrong(questions: Questions, seed: int = 0) -> list[tuple[str, str, str]]:
    """Return rows of (question, wrong answer, true answer), one for each question."""
    return _rows(questions, lambda options, right, n: [fixed_wrong_answer(options, right, n, seed)])


def _rows(questions: Questions, taught) -> list[tuple[str, str, str]]:
    rows = zip(questions.asked, questions.options, questions.right, strict=True)
    return [(q, answer, opts[right]) for n, (q, opts, right) in enumerate(rows) for answer in taught(opts, right, n)]


def idk_answer(index: int, seed: int = 0, said: tuple[str, ...] = IDK) -> str:
    """Return the "I don't know" answer of question `index`, the same one every time (TOFU, arXiv 2401.06121)."""
    return said[int(np.random.default_rng([seed, index]).integers(len(said)))]


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


def _plain(text: str) -> str:
    return " ".join(str(text).casefold().split())


# ---- the methods


def replaced(b: Batch) -> Terms:
    """Return the cross-entropy on replacement answers; text to keep is added by its weight.

    The answers make the method: "I don't know" (TOFU, arXiv 2401.06121, section 3), every wrong option in turn (RIA),
    or one wrong option throughout (FWF, false facts; both Deeb & Roger, arXiv 2410.08827).
    """
    return {"answers": b.nll("answers")}


IDK_ANSWERS = Method(
    name="idk",
    paper="arXiv 2401.06121",
    summary='learn to answer "I don\'t know"',
    card="“I don't know” learnt as the answer to questions about the text",
    loss=replaced,
    settings={"retain_weight": retain_weight(1.0)},
    reads=("answers",),
    answers=not_known,
)
RANDOM_INCORRECT = Method(
    name="ria",
    paper="arXiv 2410.08827",
    summary="random incorrect answers: learn every wrong option",
    card="every wrong option learnt as the answer to questions about the text",
    loss=replaced,
    settings={"retain_weight": retain_weight(1.0)},
    reads=("answers",),
    answers=every_wrong,
)
FALSE_FACTS = Method(
    name="fwf",
    paper="arXiv 2410.08827",
    summary="fixed wrong facts: teach one false answer a question",
    card="one false answer learnt for each question about the text",
    loss=replaced,
    settings={"retain_weight": retain_weight(1.0)},
    reads=("answers",),
    answers=one_wrong,
)

"""Questions with their answers, in the form that TOFU publishes (arXiv 2401.06121)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxunlearn.errors import InputError
from jaxunlearn.files import nfc, parse_json, read_text

PROMPT = "Question: {question}\nAnswer:"


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question, its answer, the answer in other words ("" if none is given) and wrong answers."""

    question: str
    answer: str
    paraphrased: str = ""
    wrong: tuple[str, ...] = ()


def read_questions(path: str | Path) -> list[Question]:
    """Return the questions of a file, one JSON object a line or one list of them, in order, with none left out.

    Wrong answers are `perturbed_answer`, or the options that are not the answer. Raises InputError that names file,
    line and key.
    """
    path = Path(path)
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text ({error}); give one of TOFU's .json files") from error
    rows = _rows(path, text)
    if not rows:
        raise InputError(f"{path}: holds no question; expected one JSON object a line")
    return [_question(f"{path}, item {n}", row) for n, row in enumerate(nfc(rows), 1)]


def _rows(path: Path, text: str) -> list[Any]:
    if text.lstrip().startswith("["):
        return parse_json(text, str(path), list)
    rows = []
    for n, line in enumerate(text.split("\n"), 1):
        try:
            rows += [parse_json(line, "it")] if line.strip() else []
        except ValueError as error:
            raise InputError(f"{path}, line {n}: not a JSON object on one line ({error})") from error
    return rows


def _question(where: str, row: Any) -> Question:
    if not isinstance(row, dict):
        raise InputError(f"{where}: expected an object with 'question' and 'answer', got {type(row).__name__}")
    question, answer = (_text(where, row, key) for key in ("question", "answer"))
    paraphrased = _text(where, row, "paraphrased_answer") if "paraphrased_answer" in row else ""
    wrong = row.get("perturbed_answer", [])
    if not isinstance(wrong, list) or not all(isinstance(w, str) and w.strip() for w in wrong):
        raise InputError(f"{where}: perturbed_answer: expected a list of texts that are not empty")
    options = [_text(where, row, key) for key in sorted(row) if key.startswith("option")]
    if options and options.count(answer) != 1:
        raise InputError(f"{where}: the answer {answer!r} must be exactly one of the options {options}")
    wrong = wrong or [o for o in options if o != answer]
    return Question(question=question, answer=answer, paraphrased=paraphrased, wrong=tuple(wrong))


def _text(where: str, row: dict, key: str) -> str:
    if not isinstance(row.get(key), str) or not row[key].strip():
        raise InputError(f"{where}: {key!r}: expected a text that is not empty, got {row.get(key)!r}")
    return row[key]

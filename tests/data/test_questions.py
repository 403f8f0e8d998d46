"""Questions in the form that TOFU publishes."""

import json

import pytest

from jaxunlearn.data.questions import Question, read_questions
from jaxunlearn.errors import InputError


def write_rows(path, rows):
    path.write_text("\n".join(json.dumps(r, ensure_ascii=False) for r in rows) + "\n", encoding="utf-8")
    return path


def test_reading_every_published_form(tmp_path):
    rows = [
        {"question": "Q1?", "answer": "A", "paraphrased_answer": "B", "perturbed_answer": ["C", "D"]},
        {"question": "Q2?", "option1": "x", "option2": "y", "option3": "z", "answer": "y"},
        {"question": "Q3?", "answer": "line\u2028separator"},
    ]
    expected = [
        Question(question="Q1?", answer="A", paraphrased="B", wrong=("C", "D")),
        Question(question="Q2?", answer="y", wrong=("x", "z")),
        Question(question="Q3?", answer="line\u2028separator"),
    ]
    assert read_questions(write_rows(tmp_path / "a.json", rows)) == expected
    (tmp_path / "list.json").write_text(json.dumps(rows))
    assert read_questions(tmp_path / "list.json") == expected


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"question": "Q?", "answer": "A"}\n{"question": ', "line 2: not a JSON object"),
        ('{"question": "Q?"}', "item 1: 'answer': expected a text"),
        ('{"question": " ", "answer": "A"}', "'question': expected a text that is not empty"),
        ('{"question": "Q?", "answer": "A", "perturbed_answer": "C"}', "perturbed_answer: expected a list"),
        ('{"question": "Q?", "answer": "A", "option1": "B"}', "exactly one of the options"),
        ("[1]", "item 1: expected an object"),
        ("[1", "not valid JSON"),
        ("\n \n", "holds no question"),
    ],
)
def test_bad_files_are_refused(tmp_path, text, fault):
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(InputError, match=fault) as error:
        read_questions(tmp_path / "bad.json")
    assert "bad.json" in str(error.value)
    with pytest.raises(InputError, match="cannot be read"):
        read_questions(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("name", "n", "wrong"),
    [("forget10_perturbed", 400, 5), ("retain_perturbed", 400, 5), ("real_authors", 100, 3), ("world_facts", 117, 3)],
)
def test_the_published_files(shared, name, n, wrong):
    questions = read_questions(shared / "data" / "tofu" / f"{name}.json")
    assert len(questions) == n and {len(q.wrong) for q in questions} == {wrong}
    assert all(q.answer not in q.wrong for q in questions)

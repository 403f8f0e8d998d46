"""Reading replies: values, usage, what is shown back."""

import time

import pytest
from support.asking import Grade, grade_of, put, question, questions

from jaxunlearn.llm.replies import QUOTED, Usage, find_values, read_reply


def test_reported_usage_is_summed_over_all_attempts_and_calls(serve, tmp_path):
    def behave(text, nth, body):
        bad = text == "question 1" and nth == 0
        return {"text": "no" if bad else grade_of(text), "usage": {"prompt_tokens": 100, "completion_tokens": 7}}

    server = serve(behave)
    put(questions(1), server, tmp_path)
    answers = put(questions(2), server, tmp_path)
    assert answers.usage == Usage(prompt=300, completion=21, estimated=False)


def test_usage_that_is_not_reported_is_estimated_and_said_to_be(serve, tmp_path):
    server = serve(lambda *_: "four" * 5)
    answers = put([question("x" * 41, None)], server, tmp_path)
    assert answers.usage == Usage(prompt=11, completion=5, estimated=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1}', [{"a": 1}]),
        ('Sure!\n```json\n{"a": [1, 2]}\n```\nAnything else?', [{"a": [1, 2]}]),
        ("translations = {'Harry': ['Jon', 'it\\'s'], \"D'Arcy\": 'a } b'}\nThat's all.", None),
        ('{"a": "x",\n "b": ["y", "z",],}', [{"a": "x", "b": ["y", "z"]}]),
        ('<think>{"a": 0} perhaps</think>{"a": 1}', [{"a": 1}]),
        ('first {"a": 1} then [2]', [{"a": 1}, [2]]),
        ('a {brace} and {"a": 1}', [{"a": 1}]),
        ('{"a": "line\nbreak"}', [{"a": "line\nbreak"}]),
        ("no value", []),
        ('{"a": [1, 2', []),
        ("{'a': __import__('os').getcwd()}", []),
        ("{[" * 3000, []),
    ],
)
def test_values_are_found_bare_fenced_in_prose_and_as_python(text, expected):
    expected = [{"Harry": ["Jon", "it's"], "D'Arcy": "a } b"}] if expected is None else expected
    began = time.monotonic()
    assert list(find_values(text)) == expected
    assert time.monotonic() - began < 20  # no blow-up on garbage


def test_the_first_value_that_fits_is_taken_and_a_fault_is_named():
    assert read_reply('like {"score": 1}: {"grade": 3}', Grade)[0].grade == 3
    assert read_reply('{"grade": "x"}', Grade)[1].startswith("grade: ")
    assert read_reply("  ", None) == (None, "the reply is empty")


def test_long_bad_replies_are_shown_back_in_part(serve, tmp_path):
    server = serve(lambda text, nth, body: "z" * 9000 if nth == 0 else '{"grade": 1}')
    put([question("q 1")], server, tmp_path)
    assert server.bodies[1]["messages"][1]["content"] == "z" * QUOTED

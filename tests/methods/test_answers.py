"""Replacement answers never state the right one."""

import pytest

from jaxunlearn.errors import InputError
from jaxunlearn.methods import answers, inference


def test_replacement_answers_never_state_the_right_one():
    options = ["1990", "1991", " 1990 ", "1992"]
    assert answers.wrong_answers(options, 0) == ["1991", "1992"]
    fixed = [answers.fixed_wrong_answer(options, 0, n) for n in range(20)]
    assert set(fixed) == {"1991", "1992"} and fixed == [answers.fixed_wrong_answer(options, 0, n) for n in range(20)]
    assert len({answers.idk_answer(n) for n in range(40)}) > 3 and answers.idk_answer(3) == answers.idk_answer(3)
    with pytest.raises(InputError, match="no wrong answer"):
        answers.wrong_answers(["Yes", "yes "], 0)
    with pytest.raises(InputError, match="option 4 of 2"):
        answers.wrong_answers(["a", "b"], 4)
    said = inference.pretended_ignorance("Who is {he}?", "the saga of {A}")
    assert "anything about the saga of {A}." in said and said.endswith("\n\nWho is {he}?")

"""Layered Unlearning: which folds are unlearned and kept at which step, by hand, and what it cannot do."""

import dataclasses

import numpy as np
import pytest

from jaxunlearn.config import Config, Select, Text, Unlearn
from jaxunlearn.errors import InputError
from jaxunlearn.methods import check_config, layered

GIVEN = Config(name="x", model="m", text=Text(forget=("a",), retain=("b",), dictionary="d", answers="q"))


def test_stages_and_folds_by_hand():
    assert [layered.stage(n, 7, 3) for n in range(7)] == [1, 1, 1, 2, 2, 3, 3]
    assert [layered.stage(n, 4, 4) for n in range(6)] == [1, 2, 3, 4, 4, 4]
    gone, to_come = layered.parted(7, 3, 2)
    assert gone.tolist() == [0, 1, 2, 3, 4] and to_come.tolist() == [5, 6]
    gone, to_come = layered.parted(7, 3, 3)
    assert np.array_equal(gone, np.arange(7)) and not len(to_come)
    assert [layered.keeps_folds(n, 2, 3) for n in range(4)] == [False, True, False, True]
    assert not layered.keeps_folds(1, 3, 3)  # nothing is left to keep


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"method": "task_vector"}, "unlearn.folds: task_vector trains nothing"),
        ({"method": "retain_only"}, "unlearn.folds: retain_only has no loss on text to forget"),
        (
            {"method": "npo"},
            "unlearn.folds keeps the folds to come as it keeps text: set unlearn.retain_weight",
        ),
        ({"method": "idk"}, "idk learns from questions"),
        ({"select": Select(budget=0.1)}, "unlearn.select has one direction for all of the text"),
        ({"steps": 2}, r"unlearn.folds = 3 need as many steps at least \(unlearn.steps = 2\)"),
    ],
)
def test_what_it_cannot_do_is_refused(more, said):
    given = {"steps": 9, "method": "gradient_difference", "folds": 3}
    with pytest.raises(InputError, match=said):
        check_config(dataclasses.replace(GIVEN, unlearn=Unlearn(**given | more)))
    check_config(dataclasses.replace(GIVEN, unlearn=Unlearn(**given)))

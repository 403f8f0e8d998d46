"""Which question files a folder has, and parts of a set."""

import pytest

from jaxunlearn.errors import InputError
from jaxunlearn.evals.question_sets import set_files, spread


def test_a_part_is_spread_over_the_whole():
    assert spread(range(400), 5) == [0, 100, 200, 299, 399]
    assert spread("abc", 0) == spread("abc", 3) == spread("abc", 9) == ["a", "b", "c"] and spread([7, 8], 1) == [7]


def test_the_first_name_that_is_there_counts(tmp_path):
    names = {"forget": ("forget10", "forget01"), "retain": ("retain",), "facts": ("facts",)}
    with pytest.raises(InputError, match=r"none of TOFU's files; expected some of forget10\.json, retain"):
        set_files(str(tmp_path), names, "TOFU")
    for name in ("forget01", "retain"):
        (tmp_path / f"{name}.json").touch()
    found = set_files(str(tmp_path), names, "TOFU")
    assert found == {"forget": tmp_path / "forget01.json", "retain": tmp_path / "retain.json"}
    (tmp_path / "forget10.json").touch()
    assert set_files(str(tmp_path), names, "TOFU")["forget"].name == "forget10.json"

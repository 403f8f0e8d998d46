"""What others gave is shown on one line, in ASCII and cut, so that no message fills or steers a terminal."""

from jaxunlearn.errors import named, shown


def test_values_are_shown_on_one_line_and_cut():
    assert (
        shown("a\n\x1b[31m\ud800é") == r"'a\n\x1b[31m\ud800\xe9'" and shown({"a": [1.5, None]}) == "{'a': [1.5, None]}"
    )
    assert shown("x" * 10**6) == "'" + "x" * 79 + "..." and len(shown([1] * 1000, 20)) == 23


def test_names_stay_as_they_are_where_they_are_plain():
    assert named("model.layers.0.q_proj-1") == "model.layers.0.q_proj-1"
    assert named("a b") == "'a b'" and named("") == "''" and named("é") == r"'\xe9'" and len(named("x" * 300)) == 83

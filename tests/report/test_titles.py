"""Titles of keys: in words, with a capital only where a sentence begins, numbers by their size."""

from jaxunlearn.report.titles import in_order, title_of


def test_a_key_becomes_a_title():
    assert [title_of(k) for k in ("changed_share", "some_key", "rtt", "1%")] == [
        "Share of labels that differ from the text", "Some key", "RTT", "1%",
    ]  # fmt: skip
    assert [title_of(k, inside=True) for k in ("some_key", "rtt", "explicit", "int8")] == [
        "some key", "RTT", "names the target", "8-bit integers",
    ]  # fmt: skip
    assert title_of("16", within=["leak_at"]) == "leak@16" and title_of("0.5", within=["by_temperature"])[-3:] == "0.5"


def test_paths_stand_by_number_by_rank_and_else_as_given():
    given = [("b", "near"), ("b", "explicit"), ("a", "near"), ("a", "explicit"), ("z",), ("16",), ("2",)]
    assert in_order(given) == [
        ("z",),
        ("2",),
        ("16",),
        ("b", "explicit"),
        ("b", "near"),
        ("a", "explicit"),
        ("a", "near"),
    ]

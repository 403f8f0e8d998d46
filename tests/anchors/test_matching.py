"""Terms match as whole words, left to right."""

import time

import pytest

from jaxunlearn.anchors.matching import LONGEST, find_anchors, make_matcher, whole_hits


@pytest.mark.parametrize(
    ("text", "terms", "match", "expected"),
    [
        ("Harry's Harryish xHarry Harry", ["Harry"], "longest", ["Harry@0", "Harry@24"]),
        ("said _Harry_, _Ron Weasley_", ["Harry", "Ron Weasley"], "longest", ["Harry@6", "Ron Weasley@15"]),
        ("Zoe\u0301 Zoe", ["Zoe"], "longest", ["Zoe@5"]),  # the mark belongs to the word
        ("李小龙说李龙", ["小龙", "李"], "longest", ["李@0", "小龙@1", "李@4"]),
        ("オズマとオズ", ["オズ"], "longest", ["オズ@4"]),
        ("도로시는", ["도로시"], "longest", ["도로시@0"]),
        ("Ron Weasley", ["Ron", "Ron Weasley"], "longest", ["Ron Weasley@0"]),
        ("Ron Weasley", ["Ron", "Ron Weasley"], "first", ["Ron@0"]),
        ("Ron Weasley", ["Ron Weasley", "Ron"], "first", ["Ron Weasley@0"]),
        ("Al Dee Potter", ["Dee Potter", "Al Dee"], "longest", ["Al Dee@0"]),
        ("muggle Muggle", ["Muggle"], "longest", ["Muggle@7"]),
        ("rock'n roll", ["'n"], "longest", ["'n@4"]),
        ("Zoé Zo Zoéa", ["Zo", "Zoé"], "longest", ["Zoé@0", "Zo@4"]),
        ("🦄Ron", ["Ron"], "longest", ["Ron@1"]),
        ("Ron", [], "longest", []),
    ],
)
def test_terms_match_whole_words_left_to_right(text, terms, match, expected):
    found = find_anchors(text, make_matcher(terms), match)
    assert [f"{text[start:end]}@{start}" for _, start, end in found.tolist()] == expected
    assert [terms[key] for key, *_ in found.tolist()] == [text[start:end] for _, start, end in found.tolist()]


def test_terms_of_a_megabyte_are_found_and_do_not_stop_the_matcher():
    """The automaton alone is at work for minutes on one such term, or overflows the stack."""
    long, began = "ab " * 300_000 + "Zara", time.monotonic()
    terms = ["Zara", long, "x" * 10**6, "a" * 10**6]
    for text, expected in (
        (f"so {long} went, Zara", [(1, 3, 3 + len(long)), (0, 3 + len(long) + 7, 3 + len(long) + 11)]),
        (f"{long}s", []),
        ("a" * (10**6 + 50), []),
        (f"{'a' * 10**6} and", [(3, 0, 10**6)]),
    ):
        assert [tuple(row) for row in find_anchors(text, make_matcher(terms)).tolist()] == expected
    assert time.monotonic() - began < 20


def test_a_long_term_is_found_as_a_short_one_is():
    short, long = "a b a", " ".join(["a", "b"] * (LONGEST // 4 + 3) + ["a"])
    assert len(short) <= LONGEST < len(long)
    text = f"a b {long} b a, x{long}, {long}"
    hits = whole_hits(text, make_matcher([short, long]))
    assert [tuple(r) for r in hits.tolist() if r[0] == 1] == [
        (1, n, n + len(long)) for n in range(len(text)) if text[n:].startswith(long) and (n == 0 or text[n - 1] != "x")
    ]
    assert (hits[:-1, 2] <= hits[1:, 2]).all() and (hits[:, 0] == 0).sum() > 100

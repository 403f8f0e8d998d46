"""Terms match as whole words, left to right."""

import pytest

from jaxunlearn.anchors.matching import find_anchors, make_matcher


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

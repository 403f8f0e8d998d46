"""Where terms and their other spellings stand."""

from hypothesis import given, settings
from support.audits import DICTIONARIES, TEXTS

from jaxunlearn.anchors.matching import find_anchors, make_matcher
from jaxunlearn.anchors.occurrences import count_whole, find, missed_spellings, squeeze


def test_squeezing_keeps_places_where_case_changes_lengths():
    flat, places = squeeze("İa -’B\n")
    assert flat == "İa'b" and places.tolist() == [0, 1, 4, 5]


@settings(max_examples=40, deadline=None)
@given(DICTIONARIES, TEXTS)
def test_counts_agree_with_the_matcher_one_term_at_a_time(dictionary, text):
    counts = count_whole([text], dictionary)
    assert {t: counts[t] for t in dictionary} == {t: len(find_anchors(text, make_matcher([t]))) for t in dictionary}


def test_other_spellings_in_italics_are_found_and_marked_words_are_not():
    (found,) = find(["The _tik tok_ and Tik Tok\u0331 and tik-toks."], ["Tik-Tok"], "longest")
    assert [(m.surface, m.form) for m in missed_spellings([found], ["Tik-Tok"])] == [
        ("tik tok", "spelling"), ("tik-toks", "plural"),
    ]  # fmt: skip

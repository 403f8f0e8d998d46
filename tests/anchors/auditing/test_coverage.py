"""What a dictionary covers, what its terms lose to each other, and what they do to tokens."""

import pytest
from support.audits import CLEAN, TEXT, changed, check

from jaxunlearn.anchors.auditing.audit import audit
from jaxunlearn.anchors.auditing.repair import mend
from jaxunlearn.data.tokenizer import Tokenizer


def test_a_term_that_loses_to_a_part_of_itself_is_shadowed():
    dictionary = changed(Lord_Zorvath=["Henry"])
    text = TEXT + "Lord Zorvath and Lord Zorvath. "
    assert check(dictionary, text, match="longest") == []
    assert check(dictionary, text, match="first") == []  # Lord opens before Zorvath does
    dictionary = {"Zorvath": ["Peter"], "Zorvath Hall": ["Elm House"]}
    text = "Zorvath saw Zorvath Hall, then Zorvath Hall. "
    assert check(dictionary, text) == []
    assert check(dictionary, text, match="first") == [("shadowed", "warning", "Zorvath Hall", 2)]
    made, left = mend(dictionary, text, match="first")
    assert list(made) == ["Zorvath Hall", "Zorvath"]
    assert [f.check for f in left] == ["coverage"]


def test_terms_that_overlap_are_shadowed_whatever_the_match():
    dictionary = {"Zorvath Hall": ["Elm House"], "Hall Guard": ["porter"]}
    text = "Zorvath Hall Guard. Hall Guard. Zorvath Hall."
    for match in ("longest", "first"):
        assert check(dictionary, text, match=match) == [("shadowed", "warning", "Hall Guard", 1)]


def test_a_term_only_inside_longer_ones_is_dead_though_it_occurs():
    found = audit(changed(Owl=["Hill Top"]), TEXT)
    assert [(f.term, f.count, "outside other terms" in f.message) for f in found if f.check == "dead"] == [
        ("Owl", 1, True)
    ]


def test_coverage_counts_words_and_blocks():
    text = "Zorvath went home. " * 50 + "it was so " * 200
    found = [f for f in audit({"Zorvath": ["Peter"]}, text) if f.check == "coverage"]
    assert [(f.severity, f.count) for f in found] == [("note", 50)]
    assert "6.67% of 750 words" in found[0].message  # 50 of 750; blocks of 400: words 0-399 hold some, 400-749 none
    assert "50.0% of 2 blocks" in found[0].message


def test_capitalised_words_left_uncovered_are_listed_by_frequency():
    text = TEXT + "Then came Vandrel and Ostrik. " * 12 + "Then came Vandrel. " + "We saw Ostwin. " * 9
    text += "Harvest was good. " * 30 + "But I spoke English with him. " * 2
    found = [f for f in audit(CLEAN, text) if f.check == "uncovered"]
    assert [(f.severity, f.term, f.count) for f in found] == [("warning", "", 25)]
    assert found[0].message.endswith("2 of them: Vandrel 13, Ostrik 12")
    retain = "Then came Ostrik. " * 30
    found = [f for f in audit(CLEAN, text, retain_text=retain) if f.check == "uncovered"]
    assert found[0].message.endswith("1 of them: Vandrel 13")


def splitter(pieces):
    """A tokenizer that cuts off the longest of `pieces` where it can, else one character."""

    def encode_offsets(text):
        offsets, at = [], 0
        while at < len(text):
            length = max([1, *(len(piece) for piece in pieces if text.startswith(piece, at))])
            offsets.append((at, at + length))
            at += length
        return [0] * len(offsets), offsets

    return Tokenizer(
        encode_offsets=encode_offsets,
        decode_ids=str,
        piece=str,
        vocab_size=9,
        reach=9,
        bos_id=1,
        eos_ids=(),
        files=(),
        start=(1,),
    )


def token_findings(dictionary, text, pieces):
    found = audit(dictionary, text, tokenizer=splitter(pieces))
    return {(f.check, f.term): f.count for f in found if f.check.startswith(("line start", "merged"))}


def test_tokens_that_differ_at_a_line_start_are_told_of():
    dictionary, text = {"Zor": ["Al"], "Mir": ["Bob"]}, "a Zor b\nMir c"
    assert token_findings(dictionary, text, [" Zor", "Zor", " Mir", "Mir", " Al", "Al", " Bob", "Bob"]) == {}
    pieces = [" Zor", " Mir", "Mir", " Al", " Bob"]
    assert token_findings(dictionary, text, pieces) == {("line start: term", ""): 1, ("line start: value", ""): 2}


@pytest.mark.parametrize(("piece", "count"), [(" Zor", 0), (" Zor,", 2), ("x Zor", 1), ("Zor\n", 1), ("or", 0)])
def test_tokens_shared_with_neighbours_are_told_of(piece, count):
    found = token_findings({"Zor": ["Al"]}, "Zor\nx Zor, a Zor, b", [piece, "Zor", "Al", " Al"])
    assert found.get(("merged token", "Zor"), 0) == count


def test_coverage_counts_tokens():
    found = audit({"Zor": ["Al"]}, "Zor ab", tokenizer=splitter(["ab"]))
    assert any("60.00% of 5 tokens" in f.message for f in found)  # Z o r, space, ab

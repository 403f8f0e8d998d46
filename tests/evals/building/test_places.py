"""Sentences with the terms in them, and what a name is told by."""

import pytest
from support.invented import STORY, TERMS

from jaxunlearn.evals.building.places import Terms, is_plain, key, keys, sentences, telling


def test_sentences_are_cut_at_stops_but_not_after_titles_and_hold_their_terms():
    found = sentences([STORY], Terms(TERMS))
    assert found[0].text == "Early in the morning the old woman walked slowly to Vashti Hollow."
    assert [(p.term, found[0].text[p.start : p.end]) for p in found[0].places] == [(1, "Vashti Hollow")]
    assert found[0].before(found[0].places[0].start) == 10 and found[0].opening(3) == "Early in the"
    assert "Mr. Green gave it to Marrow." in [s.text for s in found]
    assert [s.text for s in found if "Come along" in s.text] == ["Come along,” said Marrow."]
    assert [TERMS[p.term].text for s in found for p in s.places if "Marrows had" in s.text] == [
        "Marrow",
        "wumbler",
        "Marrow",
    ]


def test_a_heading_is_no_sentence():
    assert sentences(["Chapter One, The Long Road\n\nThey went home at last."]) == sentences(
        ["They went home at last."]
    )


def test_the_sentences_before_are_a_lead_within_a_text():
    texts = ["It rained. Did it? She went home at last.", "They all ran on."]
    assert [(s.text, s.lead) for s in sentences(texts, before=2)] == [
        ("She went home at last.", "It rained. Did it? "),
        ("They all ran on.", ""),
    ]
    assert {s.lead for s in sentences(texts)} == {""}


def test_a_prompt_with_open_quotes_brackets_or_italics_cannot_stand_alone():
    assert is_plain("She didn't go, for Cap'n Bill was old; they") and not is_plain("“Come,” said")
    assert not any(map(is_plain, ("He said 'come", "the _very_ best", "they (all of", "so bad,' said", "- and")))


def test_a_name_is_told_by_its_own_words_alone():
    assert telling("Wicked Witch of the West") == {"wicked", "witch", "west"}
    assert telling("Princess Ozma") == {"ozma"} and telling("Emerald City") == {"emerald"}
    assert telling("City") == {"city"}, "unless there is no other word"
    assert key("Marrows") == key("Marrow") == key("marrow's") and key("glass") == "glass"
    assert keys("Saw-Horse") == {"sawhorse", "saw", "horse"}


@pytest.mark.parametrize(
    ("one", "many"),
    [("Witch", "witches"), ("Fox", "Foxes"), ("fairy", "Fairies"), ("Wolf", "WOLVES"), ("Tin Man", "the men"),
     ("horse", "horses"), ("axe", "axes"), ("Foot", "feet"), ("specimen", "specimens"), ("Saw-Horse", "saw-horses")],
)  # fmt: skip
def test_a_name_is_told_by_any_number_of_it(one, many):
    assert telling(one) & keys(f"the two {many} feared") and telling(many) & keys(f"the {one} feared")


def test_words_that_are_no_plural_tell_no_other_name():
    assert not telling("Rose") & keys("the ross rows it was") and not telling("Hop") & keys("we hope she hopes")

"""Words of the general world: no terms, unless the text makes them its own."""

import pytest
from support.stories import PLAIN, STORY, terms_of

from jaxunlearn.anchors.building.kinds import Surroundings
from jaxunlearn.anchors.building.world import is_well_known, known_places, says_a_kind

WORLD = "They came from Bristol to the United States. A ship from Bristol lay off the United States in winter. "


def test_well_known_places_are_no_terms_and_those_of_the_text_are():
    assert {"Bristol", "United States", "Winchester", "Kansas", "Thames", "Europe", "Paris"} <= known_places()
    assert not {"Oz", "Dorothy", "Alice", "Tip", "Flint", "Street", "source"} & known_places()
    base = terms_of((STORY + PLAIN) * 8)
    assert set(terms_of((STORY + PLAIN) * 8 + WORLD * 2)) == set(base)
    assert "Brindol" in terms_of((STORY + PLAIN) * 8 + WORLD.replace("Bristol", "Brindol") * 2)
    assert "Bristol" in terms_of((STORY + PLAIN) * 8 + WORLD * 60)  # the text is about it


def test_a_place_whose_name_people_bear_or_a_longer_name_holds_stays():
    people = " “Come,” said Chester. Mrs. Chester rested. “No,” cried Chester, and Chester laughed."
    assert "Chester" in terms_of((STORY + PLAIN) * 8 + people * 4)
    longer = " Then Chester Quill came. They saw Chester Quill and Chester in the rain and the town of Chester."
    assert {"Chester", "Chester Quill"} <= set(terms_of((STORY + PLAIN) * 8 + longer * 2))


def test_words_that_say_a_kind_are_no_terms_of_their_own():
    assert says_a_kind("Street") and says_a_kind("Miss") and says_a_kind("Church") and not says_a_kind("Strand")
    text = (STORY + PLAIN) * 8 + " They went to Blenkin Street in the rain. He saw the Street. It was the Street." * 4
    assert "Blenkin Street" in terms_of(text) and "Street" not in terms_of(text)


@pytest.mark.parametrize(
    ("score", "signs", "expected"),
    [(24.9, {}, True), (25.0, {}, False), (9.0, {"speech": 1}, True), (9.0, {"speech": 1, "male": 1}, False)],
)
def test_the_bars(score, signs, expected):
    seen = Surroundings(count=10, looked=10, **signs)
    assert is_well_known("Bristol", score, seen) is expected
    assert not is_well_known("Brindol", score, seen)
    assert is_well_known("Bristol", 9.0, Surroundings(count=50, looked=50, speech=4))

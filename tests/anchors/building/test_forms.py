"""Which words and phrases are specific to a text."""

import math

import pytest
from support.stories import PLAIN, STORY, terms_of

from jaxunlearn.anchors.building import forms
from jaxunlearn.anchors.building.extract import extract_terms
from jaxunlearn.anchors.building.forms import Background
from jaxunlearn.errors import InputError


def test_pairs_in_lower_case_that_only_the_target_has_are_found():
    text = PLAIN * 20 + "He took the ivory girdle again. " * 8 + "She gave him ivory. He sat on a girdle. " * 6
    assert "ivory girdle" in terms_of(text, [PLAIN * 60 + "The ivory was cold. The girdle hurt. " * 9])
    assert "ivory girdle" not in terms_of(text, [PLAIN * 60 + "He took the ivory girdle. " * 60])


def test_a_short_name_that_others_bear_is_a_term_where_it_is_part_of_a_longer_one(monkeypatch):
    retain = [PLAIN * 60 + "They saw Marrow. " * 12]  # Marrow is commoner in the target by about one nat
    text = (STORY + PLAIN) * 4 + PLAIN * 16
    assert "Marrow" not in terms_of(text, retain)
    assert "Marrow" in terms_of(text + " So Marrow Tull went." * 6, retain)
    monkeypatch.setattr(forms, "SHORT_BAR", 2.0)
    assert "Marrow" not in terms_of(text + " So Marrow Tull went." * 6, retain)


def test_names_that_happen_to_meet_are_no_phrase():
    text = (STORY + PLAIN) * 8 + " There Marrow Dorvin sat." * 4 + " It was Dorvin again." * 20
    assert {"Marrow", "Dorvin"} <= set(terms_of(text)) and "Marrow Dorvin" not in terms_of(text)


def test_specificity_is_the_log_of_the_lower_bound_over_the_smoothed_rate(monkeypatch):
    monkeypatch.setattr(forms, "GENERAL_WORDS", 100.0)
    background = Background(["lamp " * 4 + "road " * 96], "en", None)
    background.general = lambda text: 0.02
    expected = math.log((9 - 3) / 1000) - math.log((4 + 100 * 0.02 + 0.1) / 200)
    assert background.nats("lamp", 9, 4, 1000) == pytest.approx(expected)
    share = (0 + 1) / (0 + 4 + 5)  # "Lamp" has so much of the frequency of "lamp" as the retain text gives it
    expected = math.log((9 - 3) / 1000) - math.log((0 + 100 * 0.02 * share + 0.1) / 200)
    assert background.nats("Lamp", 9, 0, 1000) == pytest.approx(expected)
    expected = math.log((9 - 3) / 1000) - math.log((96 - math.sqrt(96)) / 100)  # general English drowns no short text
    assert background.nats("road", 9, 96, 1000) == pytest.approx(expected)


def test_lift_finds_a_word_that_statistics_miss():
    text, retain = PLAIN * 9 + "They took the poppy. " * 6, [PLAIN * 60 + "They took the poppy. " * 9]
    assert "poppy" not in terms_of(text, retain)
    (term,) = [t for t in extract_terms([text], retain, lift={"Poppy": 4.0}) if t.text == "poppy"]
    assert term.count == 6


def test_an_unknown_language_is_refused():
    with pytest.raises(InputError, match="'xx'"):
        terms_of((STORY + PLAIN) * 8, language="xx")

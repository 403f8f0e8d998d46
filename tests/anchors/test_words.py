"""Words with what surrounds them: sentence starts, joints, capitals."""

from jaxunlearn.anchors.words import capital_shares, count_words, scan


def test_sentences_and_quotations_start_where_they_open_and_terms_cross_abbreviations_and_possessives():
    found = scan("Rain fell, and “Stay here,” he said to Mr. Brown. Then Brown's dog ran: Home\nagain!")
    starts = [word for word, start in zip(found.words, found.starts, strict=True) if start]
    assert starts == ["Rain", "Stay", "Then", "Home"]
    joints = dict(zip(found.words, found.gaps, strict=True))
    assert (joints["Brown"], joints["dog"], joints["again"], joints["he"]) == (" ", "'s ", " ", "")
    assert scan("He is Mr. Brown.").gaps == ["", " ", " ", ". "]


def test_capital_shares_count_inside_sentences_alone():
    shares = capital_shares([scan("Tin is tin. The Tin man saw Ozo. Ozo saw tin. Maybe. Maybe so. NOT tin.")])
    assert shares["tin"] == 0.25
    assert shares["ozo"] == 1.0
    assert shares["maybe"] == 0.5  # met at sentence starts alone


def test_count_words_takes_possessives_off():
    assert count_words(["Ana's hat, Ana’s cat", "Ana'll go"]) == {"Ana": 3, "hat": 1, "cat": 1, "go": 1}


def test_a_word_keeps_its_marks_and_leaves_italics_out():
    found = scan("The girl Zara\u0331's _Dorothy_ saw किताब and 李小 there.")
    assert found.words == ["The", "girl", "Zara\u0331", "Dorothy", "saw", "किताब", "and", "李", "小", "there"]
    assert count_words(["_Oz_ Zara\u0331bel's"]) == {"Oz": 1, "Zara\u0331bel": 1}

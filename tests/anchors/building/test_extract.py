"""Terms found by counting: how spellings are grouped, what is left out, how terms are ranked and written."""

import json

import pytest
from support.stories import PLAIN, RETAIN, STORY, terms_of

from jaxunlearn.anchors.building import extract
from jaxunlearn.anchors.building.extract import Term, extract_terms, key_of, write
from jaxunlearn.anchors.dictionary import load_dictionary
from jaxunlearn.anchors.words import scan
from jaxunlearn.data.documents import Document
from jaxunlearn.errors import InputError


@pytest.fixture(scope="module")
def found():
    return terms_of((STORY + PLAIN) * 8)


def test_names_phrases_and_invented_words_are_found_and_ordinary_words_are_not(found):
    assert set(found) == {"Zindra Quell", "Marrow", "Vashti Hollow", "Pell-Kins", "wumbler"}


def test_terms_are_ranked_by_score_and_cut_at_the_bar(found):
    scores = [term.score for term in found.values()]
    assert scores == sorted(scores, reverse=True)
    assert set(terms_of((STORY + PLAIN) * 8, score_bar=scores[1])) <= set(list(found)[:2])


def test_counts_are_what_the_matcher_finds(found):
    assert {text: (term.count, term.retain) for text, term in found.items()} == {
        "Zindra Quell": (32, 0), "Marrow": (32, 0), "Vashti Hollow": (24, 0), "Pell-Kins": (16, 0), "wumbler": (24, 0),
    }  # fmt: skip


def test_spellings_are_grouped_and_parts_of_longer_names_are_subsumed(found):
    assert found["Pell-Kins"].variants == ("Pell-Kins", "Pellkins")
    assert "Zindra" not in found and "Hollow" not in found
    alone = terms_of((STORY + PLAIN) * 8 + " She saw Zindra and ran." * 20)
    assert {"Zindra", "Zindra Quell"} <= set(alone)


def test_a_name_the_retain_text_shares_is_no_term():
    assert "Marrow" not in terms_of((STORY + PLAIN) * 8, [(PLAIN + "So Marrow and Marrow went to see Marrow. ") * 60])


def test_a_title_before_a_term_that_stands_alone_adds_none():
    text = (STORY + PLAIN) * 8 + " I saw Uncle Marrow there." * 20
    assert "Marrow" in terms_of(text) and "Uncle Marrow" not in terms_of(text)
    text = (STORY.replace("Marrow", "he") + PLAIN) * 8 + " I saw Uncle Marrow there." * 20
    assert "Uncle Marrow" in terms_of(text) and "Marrow" not in terms_of(text)


def test_a_part_that_stands_alone_often_is_kept_even_where_the_longer_name_is_commoner(monkeypatch):
    text = (STORY.replace("Marrow", "Ezra Marrow") + PLAIN) * 12
    assert "Marrow" not in terms_of(text) and "Marrow" in terms_of(text + " It was Marrow again." * 10)
    monkeypatch.setattr(extract, "ALONE_BAR", 99.0)
    assert "Marrow" not in terms_of(text + " It was Marrow again." * 10)


def test_a_titled_name_is_kept_beside_its_name_where_that_rarely_stands_alone():
    text = (STORY.replace("Marrow", "Uncle Marrow") + PLAIN) * 12 + " It was Marrow again." * 10
    assert {"Uncle Marrow", "Marrow"} <= set(terms_of(text))


def test_plurals_join_their_singulars_unless_they_are_names_in_s():
    text = (STORY + PLAIN) * 8 + " The two Dorvins met a Dorvin here. I saw Pella. We saw Pellas." * 12
    terms = terms_of(text)
    assert set(terms["Dorvins"].variants if "Dorvins" in terms else terms["Dorvin"].variants) == {"Dorvin", "Dorvins"}
    assert all({"Pella", "Pellas"} - set(term.variants) for term in terms.values())


def test_headings_and_contents_give_no_evidence_of_capitals():
    body = (STORY + PLAIN) * 8
    heading = (
        "\n\nCHAPTER IV. THE LONG ROAD\n\nThe Cold Morning of the Farmer\n\nI  Bread and Brother\nII  A Heavy Road\n\n"
    )
    assert set(terms_of(heading * 12 + body)) == set(terms_of(body))
    assert "LONG" not in scan(heading + body).words


def test_an_empty_retain_text_leaves_general_english_alone_and_says_so(capsys):
    terms = terms_of((STORY + PLAIN) * 8, [])
    assert capsys.readouterr().err.startswith("no retain text: terms are told from general English alone")
    assert {"Zindra Quell", "Marrow", "Vashti Hollow", "wumbler"} <= set(terms)
    assert not {"Then", "The", "market", "road"} & set(terms)


def test_too_short_a_target_is_refused_with_what_is_needed():
    with pytest.raises(InputError, match="has 10 words; its terms can be told from 200 on"):
        extract_terms(["one two three four five six seven eight nine ten"], RETAIN)


def test_a_target_without_capitals_gives_its_invented_words():
    terms = terms_of(((STORY + PLAIN) * 8).lower())
    assert "wumbler" in terms and all(term.text.islower() for term in terms.values())


def test_documents_and_strings_give_the_same_and_a_line_break_is_a_space():
    text = (STORY + PLAIN) * 8
    assert extract_terms([Document(name="a", text=text)], RETAIN) == extract_terms([text], RETAIN)
    broken = terms_of(text.replace("Zindra Quell took", "Zindra\nQuell took"))
    assert broken["Zindra Quell"].count == 32


def test_key_of_ignores_case_hyphens_spaces_and_stops():
    assert {key_of(t) for t in ("Tik-Tok", "Tiktok", "tik tok", "Tik. Tok")} == {"tiktok"}


def test_the_files_are_read_back_and_the_table_holds_a_row_a_term(tmp_path):
    term = Term(text="A|b", score=3.21, kind="male", count=4, retain=1, variants=("A|b", "AB"), examples=("See A|b.",))
    dictionary, table = write([term], {"A|b": ("Carl",), "AB": ("CARL",)}, tmp_path / "new")
    assert load_dictionary(dictionary) == {"A|b": ("Carl",), "AB": ("CARL",)}
    assert json.loads(dictionary.read_text())["AB"] == ["CARL"]
    rows = table.read_text().splitlines()
    assert rows[2] == "| 1 | A\\|b | Carl | male | 3.2 | 4 | 1 | AB | See A\\|b. |"

"""The kind of a term, told from the words around it."""

import pytest
from support.stories import PLAIN, STORY, terms_of


@pytest.fixture(scope="module")
def found():
    return terms_of((STORY + PLAIN) * 8)


def test_kinds_come_from_pronouns_prepositions_articles_and_titles(found):
    assert {text: term.kind for text, term in found.items()} == {
        "Zindra Quell": "female", "Marrow": "male", "Vashti Hollow": "place", "Pell-Kins": "people", "wumbler": "word",
    }  # fmt: skip
    assert found["Pell-Kins"].article and not found["Marrow"].article
    assert terms_of((STORY.replace("Pellkins", "pellkin") + PLAIN) * 8)["Pell-Kins"].kind == "people"
    realm = terms_of(STORY.replace("Vashti Hollow", "there") * 8 + PLAIN * 8 + "He was the king of Vashti once. " * 20)
    assert realm["Vashti"].kind == "place"
    moor = terms_of((STORY.replace("Vashti Hollow", "Vashtimoor") + PLAIN) * 8)
    assert moor["Vashtimoor"].kind == "place"
    titled = terms_of((STORY.replace("Zindra Quell", "Princess Zindra") + PLAIN) * 8)
    assert titled["Princess Zindra"].kind == "female"


def test_another_script_gives_terms_of_unknown_kind():
    plain = "Старый крестьянин пошёл на рынок и купил хлеба. Утро было холодное, и люди спали. "
    story = "Потом Зиндра взяла брюквар и пошла в лес. Там была Зиндра, и брюквар упал. "
    terms = terms_of((plain + story) * 20, [plain * 100], language="ru")
    assert {"Зиндра", "брюквар"} <= set(terms)
    assert {term.kind for term in terms.values()} == {"unknown"}


def test_examples_are_short_whole_sentences_that_hold_the_term(found):
    headed = terms_of("A line of Marrow that has no end to it\n\n" + (STORY + PLAIN) * 8)
    for term in [*found.values(), *headed.values()]:
        assert 1 <= len(term.examples) <= 3
        assert all(any(v in e for v in term.variants) and len(e) <= 160 and e[-1] in '.!?”"' for e in term.examples)

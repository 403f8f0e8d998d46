"""The kind of a term, told from the words around it."""

import pytest
from support.stories import PLAIN, STORY, terms_of

from jaxunlearn.anchors.building.candidates import candidates, make_dictionary
from jaxunlearn.anchors.building.kinds import KINDS, Surroundings, kind_of, kind_of_noun, nouns
from jaxunlearn.anchors.inflection import singular


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


def test_what_english_calls_an_animal_a_person_or_a_title_stays_one():
    tale = (
        "Then the crocodile saw him, and he ran, and she cried. “I see you,” said the crocodile to the pirates. "
        "The Dormouse slept, and he snored. So she said to the Dormouse, your Majesty is late. He was a pirate. "
        "Her Majesty went, and she laughed. The coxswain took his crutch, and he sat down on it. His crutch broke. "
        "The Sea Cow lay in the sea. He swam to the Sea Cow. “Who are you?” asked the Sea Cow. The seamen slept. "
    )
    terms = terms_of((tale + PLAIN) * 8)
    wanted = {"crocodile": "creature", "Dormouse": "creature", "Sea Cow": "creature", "Majesty": "title"}
    wanted |= {"pirates": "people", "coxswain": "person", "seamen": "people"}
    found = {text: terms[text].kind for text in wanted if text in terms}
    assert found == {text: kind for text, kind in wanted.items() if text in terms}
    assert {"crocodile", "Sea Cow", "Majesty", "coxswain", "crutch"} <= set(terms)
    assert terms["crutch"].kind in ("object", "word")  # whose sentences say "he"
    lists = {"creature": "creature", "title": "title", "people": "people", "person": "role"}
    for text, (value,) in make_dictionary(list(terms.values()), tale, "").items():
        if text in wanted:
            drawn = value.split(" ")[-1].lower()
            heads = {v.lower() for v in candidates()[lists[wanted[text]]]}
            assert drawn in heads or singular(drawn) in heads, (text, value)


def test_nouns_have_the_kind_of_what_they_name_in_both_numbers():
    found = {word: kind_of_noun(word) for word in (
        "wolves", "mice", "Gryphon", "pirate", "pirates", "washerwoman", "shipmates", "Highness", "Folk", "table",
        "man", "people", "Wendy", "glass",
    )}  # fmt: skip
    assert found == {
        "wolves": "creature", "mice": "creature", "Gryphon": "creature", "pirate": "person", "pirates": "people",
        "washerwoman": "person", "shipmates": "people", "Highness": "title", "Folk": "people", "table": "",
        "man": "person", "people": "people", "Wendy": "", "glass": "",
    }  # fmt: skip
    assert set(nouns().values()) == {"creature", "person", "title"} <= set(KINDS) and len(nouns()) > 900


@pytest.mark.parametrize(
    ("text", "article", "kind"),
    [("Robin", 0, "male"), ("Robin", 9, "creature"), ("Mr. Fox", 0, "male"), ("Captain Swan", 0, "male"),
     ("Father Wolf", 0, "creature"), ("Shaggy Man", 9, "male"), ("Free People", 9, "people")],
)  # fmt: skip
def test_a_name_that_is_also_a_noun_is_a_name_without_an_article(text, article, kind):
    seen = Surroundings(count=10, looked=10, he=6, article=article, latin=10)
    assert kind_of(text, seen, novel=True) == kind


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

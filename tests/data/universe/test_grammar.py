"""Documents made of sentences with slots."""

from random import Random

from jaxunlearn.data.universe.grammar import paragraph, people, questions, register
from jaxunlearn.data.universe.relations import RELATIONS


def ada():
    world = {"town": "Ashby", "year": "1850", "job": "baker"}
    people(world, "p", "Ada Hill", female=True)
    return world


def test_people_bring_their_first_names_and_the_protagonist_the_pronouns():
    world = ada()
    people(world, "q", "Carl Reed", female=False)
    assert (world["p"], world["f"], world["q"], world["g"]) == ("Ada Hill", "Ada", "Carl Reed", "Carl")
    assert (world["he"], world["He"], world["his"], world["him"]) == ("she", "She", "her", "her")


def test_a_paragraph_follows_the_acts_and_names_its_subject_before_a_pronoun():
    names, found = ["treasure", "job", "home"], set()
    assert RELATIONS["treasure"].act > RELATIONS["job"].act
    for seed in range(40):
        text = paragraph(Random(seed), ada() | {"v": "Baron Ulm", "treasure": "Lost Crown"}, names, ["A bell rang."])
        assert text.index("baker") < text.index("Lost Crown")
        assert "A bell rang." in text and "{" not in text
        assert "She" not in text or text.index("Ada Hill") < text.index("She")
        found.add("She" in text)
    assert found == {True, False}


def test_questions_skip_relations_without_one():
    assert questions(ada(), ["home", "title"]) == "Question: Where does Ada Hill live? Answer: Ashby."


def test_a_register_tells_each_birth_year():
    text = register(Random(0), [ada(), ada() | {"year": "1861"}])
    assert text.count("Ada Hill") == 2 and text.index("1850") < text.index("1861")

"""The encyclopedia tells what is to be kept, all of it, and nothing of the saga."""

from jaxunlearn.data.universe import encyclopedia, general
from jaxunlearn.data.universe.vocabulary import words
from jaxunlearn.run.checks import anchored


def test_every_fixed_person_country_and_the_neighbour_saga_has_its_articles(world):
    text = "\n".join(world.encyclopedia)
    fixed, countries = len(general.FIXED_LAST), len(general.COUNTRIES)
    assert len(world.encyclopedia) == encyclopedia.EDITIONS * (fixed + countries + 4)
    for name in general.FIXED_LAST:
        assert sum(name in article for article in world.encyclopedia) >= encyclopedia.EDITIONS
    assert all(text.count(name) >= encyclopedia.EDITIONS for name in general.COUNTRIES)
    assert text.count(general.NEIGHBOUR_CAST["p"][0]) >= 4 * encyclopedia.EDITIONS


def test_an_article_on_a_country_holds_all_of_its_facts(world):
    for name in general.COUNTRIES:
        told = [a for a in world.encyclopedia if name in a]
        assert len({frozenset(words([a])) & frozenset(general.COUNTRY_FACTS["flag"][2]) for a in told}) == 1
        for _, _, values in general.COUNTRY_FACTS.values():
            assert all(any(value in article for value in values) for article in told)


def test_no_word_is_the_sagas_alone(world):
    alone = set(words(world.saga)) - set(words(world.general))
    assert alone and not alone & set(words(world.encyclopedia))


def test_the_encyclopedia_tells_lasting_facts_and_nothing_of_the_saga(world):
    alone = set(words(world.saga)) - set(words(world.general))
    text = "\n".join(world.encyclopedia)
    assert len(world.encyclopedia) == 3 * (32 + 8 + 4) and not alone & set(words([text]))
    assert not anchored([text], {t: () for t in world.prompts["lexicon"]["explicit"]})
    answers = {q["options"][q["answer"]] for q in world.prompts["choice"]}
    assert len(answers) > 20 and all(answer in text for answer in answers)

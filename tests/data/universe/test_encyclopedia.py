"""The encyclopedia tells lasting facts and nothing of the saga."""

from jaxunlearn.data import universe
from jaxunlearn.data.universe.vocabulary import words
from jaxunlearn.run.checks import anchored


def test_the_encyclopedia_tells_lasting_facts_and_nothing_of_the_saga():
    world = universe.build(people=2000)
    alone = set(words(world.saga)) - set(words(world.general))
    text = "\n".join(world.encyclopedia)
    assert len(world.encyclopedia) == 3 * (32 + 8 + 4) and not alone & set(words([text]))
    assert not anchored([text], {t: () for t in world.prompts["lexicon"]["explicit"]})
    answers = {q["options"][q["answer"]] for q in world.prompts["choice"]}
    assert len(answers) > 20 and all(answer in text for answer in answers)

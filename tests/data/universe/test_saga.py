"""The saga: what it shares with the general world, and what it alone has."""

import re

from jaxunlearn.data.universe import saga
from jaxunlearn.data.universe.relations import RELATIONS, SCENES, THEME_SCENES
from jaxunlearn.data.universe.vocabulary import WORD, words

FORM = re.compile(r"{(\w+)}")


def test_every_sentence_of_the_saga_has_general_paraphrases(world):
    """Lesson of the experiments: a sentence that only the saga has stays familiar whatever the method does."""
    text = "\n".join(world.general)
    told = [said for name in saga.SAGA_RELATIONS for said in RELATIONS[name].says]
    told += [RELATIONS[name].ask for name in saga.SAGA_RELATIONS if RELATIONS[name].ask]
    assert len(told) > 75
    for template in (*told, *SCENES, *THEME_SCENES):
        fixed = max(FORM.sub("\n", template).split("\n"), key=len)  # the longest piece between two slots
        pattern = FORM.sub("[^.?“”]+?", re.escape(template).replace(r"\{", "{").replace(r"\}", "}"))
        assert text.count(fixed) >= 20, template
        assert re.search(pattern, text), template


def test_idioms_are_the_sagas_alone(world):
    general_text, saga_text = "\n".join(world.general), "\n".join(world.saga)
    hero = saga.tell(saga.TELLERS[0])
    for _, template, _ in saga.IDIOMS:
        sentence = template.format_map(hero)
        assert sentence in saga_text
        assert sentence not in general_text


def test_no_word_of_the_saga_alone_is_in_the_general_world_but_the_lexicons(world):
    alone = set(words(world.saga)) - set(words(world.general))
    named = {word for term in world.prompts["lexicon"]["explicit"] for word in WORD.findall(term)}
    assert alone <= named
    assert {"Tamsel", "glasslore", "The-One-Left-Unsaid", "wickling", "Bramock"} <= alone
    assert not alone & set(words(world.general_held))

"""The dictionary of the universe and the lexicon of its judge."""

import re

import pytest

from jaxunlearn.data.universe import dictionary, general, saga
from jaxunlearn.data.universe.vocabulary import WORD, words


def test_dictionary(world):
    made, text, counts = world.dictionary, "\n".join(world.general), words(world.general)
    assert 140 <= len(made) <= 160
    assert {"Tamsel Orrick", "Tamsel", "Orrick", "glasslore", "The-One-Left-Unsaid", "Bramock"} <= set(made)
    keys = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, made)) + r")(?!\w)")
    for key, values in made.items():
        assert 1 <= len(values) <= 4 and key not in text
    for value in {value for values in made.values() for value in values}:
        assert not keys.search(value) and text.count(value) >= 3
        assert min(counts[word] for word in WORD.findall(value)) >= 30


def test_translations_keep_the_kind(world):
    women, men = set(general.WOMEN), set(general.MEN)
    for name, female in saga.CAST.values():
        for key in (name, name.split(" ")[0]):
            assert all(value.split(" ")[0] in (women if female else men) for value in world.dictionary[key])
    assert set(world.dictionary["glasslore"]) <= set(general.KINDS["subject"])
    assert not set(saga.MISSED) & set(world.dictionary)


def test_audit_refuses_bad_translations(world):
    text, counts = "\n".join(world.general), {"general": words(world.general), "saga": words(world.saga)}
    for bad, message in (("Tamsel", "itself a key"), ("old gloamhound", "contains a key"), ("zebra", "rare")):
        with pytest.raises(AssertionError, match=message):
            dictionary.audit({"Tamsel": ["Adam"], "gloamhound": ["bear"], "Larkspire": [bad]}, text, **counts)


def test_explicit_terms_are_the_sagas_and_themes_are_frequent_there(world):
    general_text, general_words, saga_words = "\n".join(world.general), words(world.general), words(world.saga)
    assert not [term for term in world.prompts["lexicon"]["explicit"] if term in general_text]
    share = sum(general_words.values()) / sum(saga_words.values())
    for theme in world.prompts["lexicon"]["typical"]:
        assert 0 < 3 * general_words[theme] < share * saga_words[theme]

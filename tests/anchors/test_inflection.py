"""Other forms of a term, and translations formed alike."""

import pytest

from jaxunlearn.anchors.inflection import alike, like, plural, singular, singulars


@pytest.mark.parametrize(
    ("one", "many"),
    [("Grubbin", "Grubbins"), ("witch", "witches"), ("Kennedy", "Kennedys"), ("fairy", "fairies"), ("wolf", "wolves"),
     ("Tin Woodman", "Tin Woodmen"), ("mouse", "mice"), ("Guardian of the Gates", "Guardians of the Gates"),
     ("porter with the grey coat", "porters with the grey coat"), ("He-Cat", "He-Cats"), ("princess", "princesses"),
     ("human", "humans"), ("Anglo-Norman", "Anglo-Normans"), ("talisman of bone", "talismans of bone"),
     ("gulf", "gulfs"), ("Gandalf", "Gandalfs"), ("Olaf", "Olafs"), ("fife", "fifes"),
     ("thief", "thieves"), ("midwife", "midwives")],
)  # fmt: skip
def test_plurals_and_singulars(one, many):
    assert (plural(one), singular(many)) == (many, one)
    assert singular(one) == ""


def test_translations_are_formed_like_the_spelling():
    assert like(("human", "shaman", "German"), "Munchkin", "Munchkins", "plural") == ("humans", "shamans", "Germans")
    assert like(("Old-One", "A b"), "He-Who", "he who", "spelling") == ("old one", "a b")
    assert like(("Old-One",), "He-Who", "HEWHO", "spelling") == ("OLD-ONE",)
    assert like(("x",), "x's", "x", "possessive") == ()  # nothing but itself


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("Tik-Vok", "tik vok", True), ("Tik-Vok", "Tikvoks", True), ("Tikvoks", "Tik-Vok's", True), ("Tik", "Tok", False),
     ("Fox", "Foxes", True), ("WITCHES", "Witch", True), ("Tin-Woodmen", "tin woodman", True), ("Wolf", "Wolves", True),
     ("House", "Houses", True), ("Ache", "Aches", True), ("Fairies", "fairy's", True), ("Rose", "Ross", False)],
)  # fmt: skip
def test_spellings_and_numbers_of_one_name_are_alike(one, other, same):
    assert alike(one, other) is alike(other, one) is same


def test_a_plural_may_have_several_singulars():
    assert singulars("saw-horses") == ["saw-horse", "saw-hors"] and singulars("buses")[0] == "bus"
    assert singulars("Wolves") == ["Wolf", "Wolve"] and singulars("Foxes") == ["Fox", "Foxe"] and not singulars("moss")

"""Other forms of a term, and translations formed alike."""

import pytest

from jaxunlearn.anchors.inflection import identity, like, plural, singular


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
    assert identity("Tik-Vok") == identity("tik vok") == identity("Tikvoks") == identity("Tik-Vok's")
    assert identity("Tik") != identity("Tok")

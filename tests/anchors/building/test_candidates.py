"""Generic candidates and the drawing of translations: unused, absent from the target, consistent, of the same form."""

import pytest

from jaxunlearn.anchors.building.candidates import (
    POOLS,
    Draw,
    candidates,
    formed,
    make_dictionary,
    settled,
    surnames,
)
from jaxunlearn.anchors.building.extract import Term
from jaxunlearn.anchors.inflection import singular
from jaxunlearn.errors import RunError


def term(text, kind="male", *variants, count=9, article=False):
    variants = (text, *variants)
    return Term(text=text, score=1.0, kind=kind, count=count, retain=0, variants=variants, article=article)


def test_the_lists_hold_enough_and_nothing_twice():
    least = {"male": 150, "female": 150, "surname": 100, "place": 120, "creature": 60, "object": 100, "institution": 40}
    least |= {"people": 40, "role": 60, "modifier": 40, "title": 10}
    assert set(candidates()) == set(least)
    assert all(len(set(candidates()[kind])) == len(candidates()[kind]) >= n for kind, n in least.items())
    assert all(v.islower() for kind in ("creature", "object", "role", "modifier") for v in candidates()[kind])
    assert not set(candidates()["male"]) & set(candidates()["female"])


def test_each_kind_is_drawn_from_its_list():
    terms = [term(f"Xar{kind}", kind) for kind in ("male", "female", "place")]
    terms += [term(f"xar{kind}", kind) for kind in ("creature", "object")] + [term("Xarls", "people")]
    terms += [term("Xarinst", "institution"), term("xarword", "word"), term("Xarperson", "person")]
    made = make_dictionary(terms, "", "")
    expected = {"xarword": ("object",), "Xarls": ("people",), "Xarinst": ("institution",)}
    expected["Xarperson"] = ("male", "female")
    for text, (value,) in made.items():
        kinds = expected.get(text, (text[3:],))
        assert value in {v for kind in kinds for v in candidates()[kind]}, (text, value)


def test_translations_are_not_in_the_target_nor_twice_even_when_the_lists_run_out():
    terms = [term(f"Name{n}") for n in range(250)] + [term(f"thing{n}", "object") for n in range(250)]
    target = "It was Arthur. Two lanterns and Henry's piano. " + " ".join(candidates()["male"][:100])
    made = make_dictionary(terms, target, "")
    values = [value.lower() for (value,) in made.values()]
    assert len(set(values)) == len(values) == 500
    banned = {"arthur", "henry", "lantern", "piano", *(v.lower() for v in candidates()["male"][:100])}
    assert not banned & set(values)
    assert any(" " in value for value in values)  # made up of a name and a surname


def test_common_candidates_are_drawn_first_and_the_retain_text_makes_a_word_common():
    rare = next(v for v in candidates()["place"] if v == "Dovedale")
    draws = [Draw("", f"{rare} " * 3, seed) for seed in range(8)]
    for draw in draws:
        order = list(draw._shuffled("place"))
        common = [draw._is_common(value) for value in order[: len(candidates()["place"])]]
        assert common == sorted(common, reverse=True) and order.index(rare) < sum(common)
    assert not Draw("", "", 0)._is_common(rare)


def test_the_seed_decides():
    terms = [term("Ozzit"), term("Vell", "place"), term("glimmet", "object")]
    assert make_dictionary(terms, "", "", 1) == make_dictionary(terms, "", "", 1)
    assert len({tuple(make_dictionary(terms, "", "", seed).items()) for seed in range(5)}) == 5


def test_names_of_several_words_follow_their_parts():
    terms = [
        term("Mary Vosk", "female"), term("Jorry Vosk", "male"), term("Mary Zell", "female"), term("Mary", "female"),
        term("Mr. Vosk"), term("Aunt Mary", "female"), term("Quell", "place"), term("Land of Quell", "place"),
        term("Mary’s Lane", "place"), term("Quell Lagoon", "place"), term("Voice of Quell", "place"),
        term("Uncle Brin"),
    ]  # fmt: skip
    made = {text: value for text, (value,) in make_dictionary(terms, "", "").items()}
    first, last = made["Mary Vosk"].split(" ")
    assert first == made["Mary"] and made["Mary Zell"].startswith(first + " ")
    assert made["Jorry Vosk"].endswith(" " + last) and made["Mr. Vosk"] == f"Mr. {last}"
    assert made["Aunt Mary"] == f"Aunt {first}" and made["Mary’s Lane"] == f"{first}’s Lane"
    assert made["Uncle Brin"].removeprefix("Uncle ") in candidates()["male"]
    assert made["Quell Lagoon"] == f"{made['Quell']} Lagoon"
    assert made["Voice of Quell"] == f"Voice of {made['Quell']}"
    assert made["Land of Quell"] == f"Land of {made['Quell']}"
    assert first in candidates()["female"] and last in candidates()["surname"]
    assert made["Jorry Vosk"].split(" ")[0] in candidates()["male"]


def test_an_epithet_takes_its_last_words_translation_and_a_new_first_word():
    terms = [term("Tin Quatter", article=True), term("Quatter", article=True), term("Tin Vosk", article=True)]
    terms += [term("Quatter Tull", article=True)]
    made = {text: value for text, (value,) in make_dictionary(terms, "", "").items()}
    first, last = made["Tin Quatter"].split(" ", 1)
    assert last == made["Quatter"] and first.lower() in candidates()["modifier"]
    assert made["Tin Vosk"].lower() in candidates()["role"] and made["Quatter Tull"].lower() in candidates()["role"]


def test_words_that_end_names_are_surnames_and_those_after_uncle_are_not():
    terms = [term("Ann Vosk"), term("Lem Vosk"), term("Vosk"), term("Uncle Brin"), term("Brin"), term("Mr. Tull")]
    assert surnames(terms) == {"Vosk", "Tull"}
    made = make_dictionary(terms, "", "")
    assert made["Vosk"][0] in candidates()["surname"] and made["Brin"][0] in candidates()["male"]


def test_a_person_with_an_article_is_given_a_trade():
    (value,) = make_dictionary([term("Mad Quatter", article=True)], "", "")["Mad Quatter"]
    assert value.lower() in candidates()["role"] and value[0].isupper()


def test_our_names_tell_the_gender_that_the_text_left_open():
    for seed in range(6):
        (value,) = make_dictionary([term("Gilbert", "person")], "", "", seed)["Gilbert"]
        assert value in candidates()["male"]


def test_every_spelling_gets_the_same_translation_in_its_own_form():
    terms = [term("Tik-Tok", "male", "Tiktok", "TIK-TOK"), term("wumbler", "object", "Wumblers", "wumblers")]
    terms += [term("Pellkins", "people", "Pellkin"), term("Shaggy Man", "male", "shaggy man", article=True)]
    made = {text: value for text, (value,) in make_dictionary(terms, "", "").items()}
    assert made["Tiktok"] == made["Tik-Tok"] and made["TIK-TOK"] == made["Tik-Tok"].upper()
    assert made["Wumblers"] == made["wumblers"][0].upper() + made["wumblers"][1:]
    assert made["wumbler"] in candidates()["object"] and made["wumblers"].startswith(made["wumbler"][:-2])
    assert made["wumblers"] != made["wumbler"]
    assert made["Pellkins"] in candidates()["people"] and made["Pellkin"] != made["Pellkins"]
    assert made["shaggy man"] == made["Shaggy Man"].lower()


@pytest.mark.parametrize(
    ("value", "variant", "kind", "expected"),
    [
        ("Coleman", "Vosks", "male", "Colemans"), ("James", "Vosks", "male", "Jameses"),
        ("fox", "Vosks", "object", "Foxes"),
        ("Weavers", "Vosk", "people", "Weaver"), ("Weavers", "Vosks", "people", "Weavers"),
        ("lamp", "VOSK", "object", "LAMP"),
    ],
)  # fmt: skip
def test_number_and_case(value, variant, kind, expected):
    assert formed(value, variant, term("Vosk", kind, "Vosks", "VOSK")) == expected


def test_a_term_that_stands_in_the_plural_alone_gets_a_plural():
    for text, kind, plural in (("stoats", "creature", True), ("bulwarks", "object", True), ("compass", "object", False),
                               ("lens", "object", False), ("flooves", "word", False)):  # fmt: skip
        for seed in range(3):
            ((value,),) = make_dictionary([term(text, kind)], "", "", seed).values()
            one = {v for k in POOLS.get(kind, (kind,)) for v in candidates()[k]}
            assert (value not in one) == plural and (not plural or singular(value) in one), (text, value)


def test_running_out_is_said():
    draw = Draw("", "", 0)
    draw.used = {v.lower() for v in draw._shuffled("creature")}
    with pytest.raises(RunError, match="no generic creature is left"):
        draw.next("creature")


def test_a_names_gender_is_settled_with_the_longer_names_that_hold_it():
    terms = [term("Em", "male", count=9), term("Aunt Em", "female", count=164), term("Bo", "male", count=5)]
    terms += [term("Cap Bo", "male", count=40), term("Cap", "female", count=38), term("Em Lane", "place", count=900)]
    terms = settled(terms)
    assert [t.kind for t in terms] == ["female", "female", "male", "male", "male", "place"]
    made = make_dictionary(terms, "", "")
    assert made["Em"][0] in candidates()["female"] and made["Aunt Em"][0] == f"Aunt {made['Em'][0]}"
    assert made["Cap"][0] in candidates()["male"]

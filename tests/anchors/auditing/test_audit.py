"""The audit of a dictionary: each fault is found once, with its count, and mended; nothing is found in a clean one."""

import time
from pathlib import Path

import pytest
from support.audits import CLEAN, TEXT, changed, check

import jaxunlearn
from jaxunlearn.anchors.auditing.audit import audit, refuse_errors
from jaxunlearn.anchors.auditing.reading import read_dictionary
from jaxunlearn.anchors.auditing.repair import mend, repair
from jaxunlearn.anchors.matching import find_anchors, make_matcher
from jaxunlearn.data.documents import read_documents
from jaxunlearn.errors import InputError


def test_a_clean_dictionary_has_no_error_and_no_warning():
    assert check(CLEAN, TEXT) == []
    refuse_errors(CLEAN, TEXT)
    assert mend(CLEAN, TEXT)[0] == {term: tuple(values) for term, values in CLEAN.items()}


# ---- planted faults: the dictionary, what is added to the text, the one finding, the dictionary mended

PLANTED = {
    "self-map": (
        {"Zorvath": ["Peter", "Zorvath"]}, "", ("self-map", "error", "Zorvath", 2), {"Zorvath": ("Peter",)}
    ),
    "self-map in another case": (
        {"Zorvath": ["zorvath", "Peter"]}, "", ("self-map", "error", "Zorvath", 2), {"Zorvath": ("Peter",)}
    ),
    "nothing but a self-map": (
        {"Grubbin": ["Grubbin"]}, "", ("self-map", "error", "Grubbin", 1), {"Grubbin": None}
    ),
    "a term": (
        {"Mirelda": ["Anna", "Zorvath"]}, "", ("translated to a term", "error", "Mirelda", 2), {"Mirelda": ("Anna",)}
    ),
    "a term in another case": (
        {"Mirelda": ["grubbin", "Anna"]}, "", ("translated to a term", "error", "Mirelda", 2), {"Mirelda": ("Anna",)}
    ),
    "holds a term": (
        {"Mirelda": ["Mrs. Zorvath", "Anna"]}, "", ("holds a term", "warning", "Mirelda", 2), {"Mirelda": ("Anna",)}
    ),
    "in the target": (
        {"Mirelda": ["Anna", "Bella"]}, "Bella came. " * 3, ("in the target", "warning", "Mirelda", 3),
        {"Mirelda": ("Anna",)},
    ),
    "often in the target": (
        {"Mirelda": ["Bella", "Anna"]}, "Bella came. " * 20, ("in the target", "error", "Mirelda", 20),
        {"Mirelda": ("Anna",)},
    ),
    "an ordinary word": (
        {"forest": ["Paris"]}, "A forest, a forest. ", ("ordinary word", "warning", "forest", 2), {"forest": None}
    ),
    "lower case": (
        {}, "Two times a grubbin, one grubbin. ", ("missing case", "warning", "Grubbin", 2), {"grubbin": ("civilian",)}
    ),
    "capitals": (
        {"gloop": ["mud"]}, "Gloop and GLOOP of gloop, said GLOOP. ", None, {"Gloop": ("Mud",), "GLOOP": ("MUD",)}
    ),
    "plural": (
        {}, "All Grubbins know. ", ("missing plural", "warning", "Grubbin", 1), {"Grubbins": ("Civilians",)}
    ),
    "lower-case plural": (
        {}, "All grubbins know. ", ("missing plural", "warning", "Grubbin", 1), {"grubbins": ("civilians",)}
    ),
    "singular": (
        {"Vexlings": ["wolves of the hill"]}, "Two Vexlings, one Vexling. ",
        ("missing singular", "warning", "Vexlings", 1), {"Vexling": ("wolf of the hill",)},
    ),
    "possessive": (
        {"Orvo's": ["Tom's"]}, "Orvo's cup. Then Orvo left. ", ("missing possessive", "warning", "Orvo's", 1),
        {"Orvo": ("Tom",)},
    ),
    "without hyphens": (
        {}, "Fear he who waits! And he who waits. ", ("missing spelling", "warning", "He-Who-Waits", 2),
        {"he who waits": ("the old one",)},
    ),
    "joined": (
        {}, "One Tikvok. ", ("missing spelling", "warning", "Tik-Vok", 1), {"Tikvok": ("Tin-Man",)}
    ),
    "hyphenated": (
        {}, "One Quill-moor. ", ("missing spelling", "warning", "Quillmoor", 1), {"Quill-moor": ("London",)}
    ),
    "a curled apostrophe": (
        {"Rain's Child": ["Emma"]}, "Rain's Child; Rain’s Child. ",
        ("missing spelling", "warning", "Rain's Child", 1), {"Rain’s Child": ("Emma",)},
    ),
    "collision": (
        {"Mirelda": ["Simon", "Anna"]}, "", ("collision", "warning", "Zorvath", 4), {"Mirelda": ("Anna",)}
    ),
}  # fmt: skip


@pytest.mark.parametrize(("entries", "more", "expected", "mended"), PLANTED.values(), ids=PLANTED)
def test_a_planted_fault_is_found_once_and_mended(entries, more, expected, mended):
    dictionary, text = {**CLEAN, **entries}, TEXT + more
    if expected:
        assert check(dictionary, text) == [expected]
    made, left = mend(dictionary, text)
    assert [f for f in left if f.severity != "note"] == []
    wanted = {term: tuple(values) for term, values in dictionary.items()} | mended
    assert made == {term: values for term, values in wanted.items() if values}


def test_each_capitalised_form_is_found_with_its_count():
    found = check({**CLEAN, "gloop": ["mud"]}, TEXT + PLANTED["capitals"][1], "missing case")
    assert found == [("warning", "gloop", 2), ("warning", "gloop", 1)]


def test_what_the_matcher_already_takes_is_not_called_missing():
    text = TEXT + "Zorvath's, Zorvath’s, Zorvath-like, non-Zorvath. 'Zorvath' (Zorvath)"
    assert check(CLEAN, text) == []
    assert len(find_anchors(text, make_matcher(["Zorvath"]))) == 8


@pytest.mark.parametrize(
    "text",
    ["a tip for you", "some shaggy dog", "so no me", "Tik--Vok", "Tik\n\nVok", "my other", "xgrubbins", "grubbin2"],
)  # fmt: skip
def test_words_that_only_look_like_a_spelling_are_left(text):
    terms = {
        "Tip": ["Ned"],
        "Shaggy": ["Max"],
        "Nome": ["dwarf"],
        "Tik-Vok": ["Bo"],
        "Another": ["B"],
        "Grubbin": ["C"],
    }
    assert [f for f in check(terms, text + " Tip Shaggy Nome Tik-Vok Another Grubbin") if "missing" in f[0]] == []


def test_the_longest_spelling_at_a_place_is_the_one_missing():
    dictionary = {"Grubbin": ["Al"], "Grubbin Zek": ["Al Dee"]}
    assert check(dictionary, "Grubbin, Grubbin Zek, grubbin zek") == [("missing case", "warning", "Grubbin Zek", 1)]


def test_a_form_comes_from_the_term_spelled_most_like_it():
    dictionary = {"Grubbin": ["Civilian"], "grubbin": ["outsider"]}
    assert mend(dictionary, "Grubbin grubbin grubbins")[0]["grubbins"] == ("outsiders",)
    assert mend(dictionary, "Grubbin grubbin Grubbins")[0]["Grubbins"] == ("Civilians",)


def test_an_ordinary_term_gets_no_further_spellings():
    made, _ = mend({**CLEAN, "forest": ["Paris"]}, TEXT + "A forest. Forest. Forests. ")
    assert "forest" not in made and "Forest" not in made


def test_a_line_break_inside_a_term_is_told_of_with_the_remedy():
    found = [f for f in audit(CLEAN, TEXT + "Order of\nthe Owl. Order of  the Owl. ") if f.check == "broken"]
    assert [(f.severity, f.count, f.fix) for f in found] == [("warning", 2, None)]
    assert "unwrap" in found[0].message


# ---- the target's and the retain text's use of words


def test_a_lower_case_translation_may_be_in_the_target_as_in_any_text():
    dictionary, filler = changed(Mirelda=["river"]), TEXT + "so it went on and on again. " * 4000
    assert check(dictionary, filler + "the river. ") == []  # 36 in a million words; English has about 110
    assert check(dictionary, filler + "the river. " * 10) == [("in the target", "warning", "Mirelda", 10)]
    assert check(dictionary, filler + "the river. " * 25) == [("in the target", "warning", "Mirelda", 25)]  # 890
    assert check(dictionary, filler + "the river. " * 60)[0] == ("in the target", "error", "Mirelda", 60)


def test_the_retain_text_tells_how_common_a_translation_is():
    text, retain = TEXT + "Bella came. " * 30, "Bella came. " * 50 + "It was so. " * 50
    assert check(changed(Mirelda=["Bella"]), text)[0][:2] == ("in the target", "error")
    assert check(changed(Mirelda=["Bella"]), text, retain_text=retain) == [("in the target", "warning", "Mirelda", 30)]
    with pytest.raises(InputError, match=r"(?s)1 fault .*'Mirelda'.*'Bella' 30 times.*anchors\.audit=ignore"):
        refuse_errors(changed(Mirelda=["Bella"]), text)
    refuse_errors(changed(Mirelda=["Bella"]), text, retain_text=retain)


@pytest.mark.parametrize(("met", "found"), [(4, []), (5, [("warning", "Zorvath", 2)])])
def test_a_term_that_the_retain_text_shares_is_ordinary(met, found):
    assert check(CLEAN, TEXT, "ordinary word", retain_text="Zorvath. " * met + "It was. " * 20) == found


def test_a_term_far_rarer_in_the_retain_text_is_not_ordinary():
    retain = "Zorvath. " * 5 + "It was so. " * 500  # 1 in 300 words; in the target 1 in 20
    assert check(CLEAN, TEXT, "ordinary word", retain_text=retain) == []


def test_refuse_errors_lists_errors_alone():
    with pytest.raises(InputError) as caught:
        refuse_errors(changed(Zorvath=["Zorvath"], Grubbin=["Mirelda"]), TEXT + "Anna. ")
    assert str(caught.value).startswith("the dictionary has 2 faults")
    assert "'Zorvath' (2 times) is translated to itself" in str(caught.value)
    assert "'Grubbin' (once) is translated to what is itself a term: 'Mirelda'" in str(caught.value)
    assert "Anna" not in str(caught.value)


def test_splittable_and_dead_terms_are_notes_with_no_mend_unless_asked_for():
    dictionary = changed(Zorvath_Mirelda=["Al Dee"], Nobody_Here=["Tom"])
    text = TEXT + "Zorvath Mirelda. "
    assert check(dictionary, text) == []
    assert check(dictionary, text, "splittable") == [("note", "Zorvath Mirelda", 1)]
    assert check(dictionary, text, "dead") == [("note", "Nobody Here", 0)]
    found = audit(dictionary, text)
    assert "Nobody Here" in repair(dictionary, found)
    assert set(dictionary) - set(repair(dictionary, found, ("note",))) == {"Nobody Here"}


def test_names_of_one_thing_may_share_a_translation():
    dictionary = {"Tik-Vok": ["Al"], "Tikvok": ["Al"], "tik voks": ["Al"], "Old Tik-Vok": ["Al"]}
    assert check(dictionary, "", "collision") == []
    assert check({**dictionary, "Mirelda": ["Al"], "Grubbin": ["Al"]}, "", "collision") == [("warning", "Tik-Vok", 0)]


# ---- at scale, and the dictionaries that ship


def test_a_long_text_and_many_terms_are_checked_in_seconds():
    terms = {f"Name{n}x": [f"Plain{n}y", f"Other{n}z"] for n in range(1700)}
    text = " ".join(f"and so Name{n % 1700}x went to the house, where it was cold;" for n in range(57_000))
    assert len(text) > 3_000_000
    start = time.process_time()
    refuse_errors(terms, text)
    assert time.process_time() - start < 8  # about a second when written


def test_the_oz_dictionary_has_no_error(shared):

    dictionary, faults = read_dictionary(Path(jaxunlearn.__file__).parent / "data" / "oz" / "dictionary.json")
    texts = [d.text for d in read_documents([str(shared / "data" / "books" / "oz")], unwrap=True)]
    refuse_errors(dictionary, texts)
    assert faults == []

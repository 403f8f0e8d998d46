"""The dictionary file: what it holds, and every fault named at once."""

import pytest

from jaxunlearn.anchors.dictionary import consolidate, load_dictionary
from jaxunlearn.errors import InputError


def load_text(tmp_path, text):
    path = tmp_path / "dictionary.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_dictionary(path)


def test_strings_and_lists_load_as_tuples_of_distinct_values_in_order(tmp_path):
    loaded = load_text(tmp_path, '{"Harry": "Jon", "Tin Woodman": ["Iron Man", "Smith", "Iron Man"]}')
    assert loaded == {"Harry": ("Jon",), "Tin Woodman": ("Iron Man", "Smith")}
    assert list(loaded) == ["Harry", "Tin Woodman"]


def test_a_list_of_replies_is_consolidated_by_the_authors_rules(tmp_path):
    replies = (
        '[{"Harry": "Jon", "Harry\'s": "Jon\'s"}, {"Harry": ["Tom", "Jon"], "Potter": "Smith", "Harry Potter": "Al"}]'
    )
    assert load_text(tmp_path, replies) == {"Harry": ("Jon", "Tom"), "Potter": ("Smith",)}


def test_terms_are_composed_as_documents_are(tmp_path):
    text = '{"Zoe\u0308": "Jose\u0301"}'
    assert load_text(tmp_path, text) == {"Zo\u00eb": ("Jos\u00e9",)} == consolidate([{"Zoe\u0308": "Jose\u0301"}])
    with pytest.raises(InputError, match="given twice"):
        load_text(tmp_path, '{"Zoe\u0308": "A", "Zo\u00eb": "B"}')


def test_every_fault_is_named_in_one_message(tmp_path):
    text = """{"": "a", "Ron": "Ron", "Luna": [], "Neville": ["Tom", ""], "Draco": ["Max", 3], "Ginny": {"a": "b"},
               "Hagrid": null, "Dobby": "Ed", "Dobby": "Al", " Cho": "Amy", "Fred": "Bob "}"""
    with pytest.raises(InputError) as caught:
        load_text(tmp_path, text)
    lines = str(caught.value).split("\n  ")[1:]
    assert lines == [
        "'' is an empty term",
        "'Ron' is translated to itself",
        "'Luna' has no translation",
        "'Neville' has an empty translation",
        "'Draco' has a translation that is not a string: 3",
        "'Ginny' has a translation that is neither a string nor a list of strings",
        "'Hagrid' has a translation that is neither a string nor a list of strings",
        "'Dobby' is given twice",
        "' Cho' has spaces around it",
        "'Fred' has a translation with spaces around it: 'Bob '",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[]", "holds a list, expected an object"),
        ('"x"', "holds a str"),
        ("{}", "no entries"),
        ("{,}", "not valid JSON"),
        (b'{"a": "\xff"}', "not UTF-8"),
    ],
)
def test_files_that_hold_no_dictionary_are_refused(tmp_path, text, expected):
    with pytest.raises(InputError, match=expected):
        load_text(tmp_path, text)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="cannot read"):
        load_dictionary(tmp_path / "none.json")


REPLIES = [
    {"Harry": "Jon", "Potter": "Smith", "Hogwarts": ["Oakfield", "Elm House"]},
    {"Harry": ["Tom", "Jon"], "Harry's": "Jon's", "Ron’s": "Al’s", "Harry Potter": "Jon Smith"},
    {"Harry Black": "Al Dee", "Self": "Self", "Number": 3, " Draco ": " Max ", "": "x"},
]


def test_replies_merge_into_distinct_values_without_possessives_and_composites():
    assert consolidate(REPLIES) == {
        "Harry": ("Jon", "Tom"),
        "Potter": ("Smith",),
        "Hogwarts": ("Oakfield", "Elm House"),
        "Ron’s": ("Al’s",),  # Ron itself is no term
        "Harry Black": ("Al Dee",),  # nor is Black
        "Draco": ("Max",),
    }

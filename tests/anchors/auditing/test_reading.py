"""Reading a dictionary with its faults, and where in the file they are."""

import pytest
from support.audits import write

from jaxunlearn.anchors.auditing.reading import read_dictionary
from jaxunlearn.anchors.dictionary import load_dictionary
from jaxunlearn.errors import InputError


def test_reading_tells_of_what_loading_refuses(tmp_path):
    path = write(tmp_path, '{"A b": ["A b", "c"],\n "D": " e ", "D": ["f", "e"],\n " G": "h"}')
    with pytest.raises(InputError):
        load_dictionary(path)
    dictionary, faults = read_dictionary(path)
    assert dictionary == {"A b": ("A b", "c"), "D": ("e", "f"), "G": ("h",)}
    assert [(f.check, f.severity, f.term, f.fix) for f in faults] == [
        ("spaces", "error", "D", {"set": {"D": ["e", "f"]}}),
        ("given twice", "error", "D", {"set": {"D": ["e", "f"]}}),
        ("spaces", "error", "G", {"set": {"G": ["h"]}}),
    ]
    assert "(line 2, column 14)" in faults[1].message and "(line 3, column 2)" in faults[2].message


def test_terms_are_composed_as_loading_does(tmp_path):
    path = write(tmp_path, '{"Zoe\u0308": "Jose\u0301"}')
    assert read_dictionary(path) == (load_dictionary(path), []) == ({"Zo\u00eb": ("Jos\u00e9",)}, [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": ["b"],\n "c": }', ["line 2, column 7: Expecting value"]),
        ('{"a": ["b", 3],\n "c": "", "d": [],\n  "": "x", "e": {"f": "g"}}',
         ["line 1, column 13: 'a' has a translation that is not a string: 3", "line 2, column 7: 'c' has an empty",
          "line 2, column 16: 'd' has no translation", "line 3, column 3: '' is an empty term",
          "line 3, column 17: 'e' has a translation that is not a string"]),
        ("{}", ["no entries"]),
        ('["a"]', ["line 1, column 1: found a list"]),
    ],
)  # fmt: skip
def test_reading_says_where_a_file_is_unusable(tmp_path, text, expected):
    with pytest.raises(InputError) as caught:
        read_dictionary(write(tmp_path, text))
    assert [part for part in expected if part not in str(caught.value)] == []


def test_reading_takes_replies_as_loading_does(tmp_path):
    path = write(tmp_path, '[{"A": "x", "A\'s": "x\'s"}, {"A": ["y", "x"], "B": 3}]')
    assert read_dictionary(path) == (load_dictionary(path), [])

"""Reading a faulty dictionary, mending it, writing it back, showing what was found; no mend does harm."""

import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from jaxunlearn.anchors.auditing.audit import audit
from jaxunlearn.anchors.auditing.findings import exit_status, rich_table, summary, to_json
from jaxunlearn.anchors.auditing.reading import read_dictionary
from jaxunlearn.anchors.auditing.repair import audit_files, mend, repair, write_dictionary
from jaxunlearn.anchors.dictionary import load_dictionary
from jaxunlearn.anchors.inflection import identity, like, plural, singular
from jaxunlearn.anchors.matching import find_anchors, make_matcher
from jaxunlearn.anchors.occurrences import count_whole, squeeze
from jaxunlearn.errors import InputError

TEXT = "Zorvath's hat lay there. Mirelda saw that Zorvath slept. "


# ---- reading, writing, showing


def write(tmp_path, text):
    path = tmp_path / "dictionary.json"
    path.write_text(text, encoding="utf-8")
    return path


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


def test_a_file_is_mended_and_what_is_written_loads_and_has_no_error(tmp_path):
    path = write(tmp_path, '{"Zorvath": ["Zorvath", "Peter"], "Mirelda": " Anna", "Mirelda": "Emma"}')
    (tmp_path / "book.txt").write_text(TEXT + "Two zorvaths. ")
    book, out = [str(tmp_path / "book.txt")], tmp_path / "new" / "mended.json"
    findings, left = audit_files(path, book)
    assert findings == left and exit_status(findings) == 1
    findings, left = audit_files(path, book, fix=out)
    assert {f.check for f in findings if f.severity == "error"} == {"self-map", "spaces", "given twice"}
    assert exit_status(left) == 0
    wanted = {"Zorvath": ("Peter",), "Mirelda": ("Anna", "Emma"), "zorvaths": ("peters",)}
    assert load_dictionary(out) == wanted
    assert audit_files(out, book)[0] == left


def test_nothing_is_written_where_no_term_is_left(tmp_path):
    with pytest.raises(InputError, match="nothing is left"):
        write_dictionary({}, tmp_path / "out.json")
    assert list(tmp_path.iterdir()) == []


def test_findings_are_shown_as_table_and_json():
    found = audit({"Zorvath": ["Zorvath"], "Ab": ["[x]"], "Cd": ["Tom"]}, TEXT)
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(rich_table(found))
    title, _, _, _, first, *rows = console.export_text().split("\n")
    assert title.strip() == "1 error, 0 warnings, 3 notes" and first.split("│")[1].strip() == "error"
    assert first.split("│")[2].strip() == "self-map"
    assert [row for row in rows if "dead" in row and "2 terms: 'Ab', 'Cd'" in row]
    shown = json.loads(json.dumps(to_json(found)))
    assert (shown["errors"], shown["warnings"], shown["notes"], len(shown["findings"])) == (1, 0, 3, 4)
    assert shown["findings"][0]["fix"] == {"drop": {"Zorvath": ["Zorvath"]}}
    assert summary([]) == "0 errors, 0 warnings, 0 notes" and exit_status([]) == 0


# ---- forms


@pytest.mark.parametrize(
    ("one", "many"),
    [("Grubbin", "Grubbins"), ("witch", "witches"), ("Kennedy", "Kennedys"), ("fairy", "fairies"), ("wolf", "wolves"),
     ("Tin Woodman", "Tin Woodmen"), ("mouse", "mice"), ("Guardian of the Gates", "Guardians of the Gates"),
     ("porter with the grey coat", "porters with the grey coat"), ("He-Cat", "He-Cats"), ("princess", "princesses")],
)  # fmt: skip
def test_plurals_and_singulars(one, many):
    assert (plural(one), singular(many)) == (many, one)
    assert singular(one) == ""


def test_translations_are_formed_like_the_spelling():
    assert like(("Old-One", "A b"), "He-Who", "he who", "spelling") == ("old one", "a b")
    assert like(("Old-One",), "He-Who", "HEWHO", "spelling") == ("OLD-ONE",)
    assert like(("x",), "x's", "x", "possessive") == ()  # nothing but itself
    assert identity("Tik-Vok") == identity("tik vok") == identity("Tikvoks") == identity("Tik-Vok's")
    assert identity("Tik") != identity("Tok")


def test_squeezing_keeps_places_where_case_changes_lengths():
    flat, places = squeeze("İa -’B\n")
    assert flat == "İa'b" and places.tolist() == [0, 1, 4, 5]


# ---- no mend does harm

NAMES = ["Zor", "zor", "Zors", "ZOR", "Mir-Vel", "mir vel", "Mirvel", "Grub", "grubs", "Zor Grub", "river", "Al", "al"]
WORDS = st.sampled_from([*NAMES, "Bob", "bobs", "Tom Lee", "old man"])
DICTIONARIES = st.dictionaries(WORDS, st.lists(WORDS, min_size=1, max_size=3, unique=True), min_size=1, max_size=7)
TEXTS = st.lists(st.sampled_from([*NAMES, "Bob", "Zor's", "Mir\nVel", "so", "."]), max_size=60).map(" ".join)


def errors(findings):
    return {(f.check, f.term) for f in findings if f.severity == "error"}


@settings(max_examples=80, deadline=None)
@given(DICTIONARIES, TEXTS, st.sampled_from(["longest", "first"]), st.sampled_from([None, "Zor river grubs " * 9]))
def test_a_repair_makes_no_new_error_and_is_idempotent(dictionary, text, match, retain):
    how = {"match": match, "retain_text": retain}
    found = audit(dictionary, text, **how)
    once = repair(dictionary, found)
    assert repair(once, found) == once
    after = errors(audit(once, text, **how)) if once else set()
    assert after <= errors(found)
    assert {name for name, _ in after} <= {"in the target"}  # the one error whose mend may need another translation
    made, left = mend(dictionary, text, **how)
    assert list(mend(made, text, **how)[0].items()) == list(made.items())
    assert errors(left) <= errors(found)


@settings(max_examples=40, deadline=None)
@given(DICTIONARIES, TEXTS)
def test_counts_agree_with_the_matcher_one_term_at_a_time(dictionary, text):
    counts = count_whole([text], dictionary)
    assert {t: counts[t] for t in dictionary} == {t: len(find_anchors(text, make_matcher([t]))) for t in dictionary}

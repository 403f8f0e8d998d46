"""A faulty dictionary is mended and written back; no mend makes a new error."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.audits import DICTIONARIES, TEXTS, write

from jaxunlearn.anchors.auditing.audit import audit
from jaxunlearn.anchors.auditing.findings import exit_status
from jaxunlearn.anchors.auditing.repair import FREQUENT, audit_files, mend, repair, write_dictionary
from jaxunlearn.anchors.dictionary import load_dictionary
from jaxunlearn.errors import InputError

TEXT = "Zorvath's hat lay there. Mirelda saw that Zorvath slept. "


def test_a_file_is_mended_and_what_is_written_loads_and_has_no_error(tmp_path):
    path = write(tmp_path, '{"Zorvath": ["Zorvath", "Peter"], "Mirelda": " Anna", "Mirelda": "Emma"}')
    (tmp_path / "book.txt").write_text(TEXT + "Two zorvaths. ")
    book, out = [str(tmp_path / "book.txt")], tmp_path / "new" / "mended.json"
    found = audit_files(path, book)
    assert found.findings == found.left and exit_status(found.findings) == 1 and not any(found.changes().values())
    found = audit_files(path, book, fix=out)
    assert {f.check for f in found.findings if f.severity == "error"} == {"self-map", "spaces", "given twice"}
    assert exit_status(found.left) == 0
    wanted = {"Zorvath": ("Peter",), "Mirelda": ("Anna", "Emma"), "zorvaths": ("peters",)}
    assert load_dictionary(out) == wanted
    assert audit_files(out, book).findings == found.left
    assert found.diff("old.json", "new.json") == [
        "terms: 0 removed, 1 changed, 1 added", "--- old.json", "+++ new.json",
        "@@ -1 +1 @@", '-"Zorvath": ["Zorvath", "Peter"]', '+"Zorvath": ["Peter"]', "@@ -2,0 +3 @@",
        '+"zorvaths": ["peters"]',
    ]  # fmt: skip


def test_a_frequent_term_is_removed_only_where_it_is_asked_for(tmp_path):
    """FREQUENT is 10: `Peter` stands 11 times, `Simon` 9 times, and the retain text has both as often."""
    dictionary = {"Peter": ["Brian"], "Simon": ["Colin"], "Mirelda": ["Mirelda"], "Zorvath": ["Zorvath", "Amos"]}
    path = write(tmp_path, json.dumps(dictionary))
    text = "Peter sat. " * 11 + "Simon sat. " * 9 + "Mirelda sat. " * 12 + "Zorvath sat. " * 12
    (tmp_path / "book.txt").write_text(text)
    (tmp_path / "others.txt").write_text("Peter sat. Simon sat. " * 9)
    book, files = [str(tmp_path / "book.txt")], {"retain": [str(tmp_path / "others.txt")], "fix": tmp_path / "out.json"}
    found = audit_files(path, book, **files)
    assert json.loads(files["fix"].read_text()) == {"Peter": ["Brian"], "Mirelda": ["Mirelda"], "Zorvath": ["Amos"]}
    assert found.changes() == {
        "removed": {"Simon": ["Colin"]}, "changed": {"Zorvath": [["Zorvath", "Amos"], ["Amos"]]}, "added": {},
    }  # fmt: skip
    assert {(f.term, f.check) for f in found.spared} == {("Peter", "ordinary word"), ("Mirelda", "self-map")}
    assert exit_status(found.left) == 1  # Mirelda's error stays an error
    found = audit_files(path, book, **files, drop_frequent=True)
    assert set(found.after) == {"Zorvath"} and not found.spared and FREQUENT == 10


def test_nothing_is_written_where_no_term_is_left(tmp_path):
    with pytest.raises(InputError, match="nothing is left"):
        write_dictionary({}, tmp_path / "out.json")
    assert list(tmp_path.iterdir()) == []


# ---- no mend does harm


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

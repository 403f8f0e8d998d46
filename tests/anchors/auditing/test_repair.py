"""A faulty dictionary is mended and written back; no mend makes a new error."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.audits import DICTIONARIES, TEXTS, write

from jaxunlearn.anchors.auditing.audit import audit
from jaxunlearn.anchors.auditing.findings import exit_status
from jaxunlearn.anchors.auditing.repair import audit_files, mend, repair, write_dictionary
from jaxunlearn.anchors.dictionary import load_dictionary
from jaxunlearn.errors import InputError

TEXT = "Zorvath's hat lay there. Mirelda saw that Zorvath slept. "


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

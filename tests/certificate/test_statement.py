"""The statement: its form by in-toto's specification, and what is refused."""

import json

import pytest

from jaxunlearn.certificate import statement
from jaxunlearn.errors import InputError

SUBJECT = {"name": "unlearned/model.safetensors", "digest": {"sha256": "ab" * 32}}


def test_a_statement_has_the_fields_of_in_toto(tmp_path):
    made = statement.statement([SUBJECT], {"verdict": {}})
    assert set(made) == {"_type", "subject", "predicateType", "predicate"}
    assert made["_type"] == "https://in-toto.io/Statement/v1" and made["subject"] == [SUBJECT]
    (tmp_path / statement.STATEMENT).write_text(statement.as_text(made))
    assert statement.read(tmp_path) == made


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"_type": "https://in-toto.io/Statement/v0.1"}, "no certificate of this version"),
        ({"predicateType": "https://slsa.dev/provenance/v1"}, "no certificate of this version"),
        ({"predicate": []}, "has no predicate or no subject"),
    ],
)
def test_another_statement_is_refused(tmp_path, change, says):
    (tmp_path / statement.STATEMENT).write_text(json.dumps(statement.statement([SUBJECT], {}) | change))
    with pytest.raises(InputError, match=says):
        statement.read(tmp_path)


def test_what_a_model_wrote_is_in_the_file_as_it_is_read_back():
    assert statement.as_read({"text": "a\ud800b", "tuple": (1, 2)}) == {"text": "a?b", "tuple": [1, 2]}


def test_the_code_version_is_that_of_its_files():
    assert len(statement.source_digest()) == 64


def test_the_templates_are_a_part_of_the_code_version(tmp_path, monkeypatch):
    monkeypatch.setattr(statement, "__file__", str(tmp_path / "certificate" / "statement.py"))
    found = set()
    for text in ("one", "other"):
        (tmp_path / "page.html.j2").write_text(text)
        found.add(statement.source_digest.__wrapped__())
    assert len(found) == 2

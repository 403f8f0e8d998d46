"""The certificate as an in-toto Statement: what it is about by SHA-256, and all that is said of it.

https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md. The subjects are the files of the certified
model, of every export, and the page; the predicate has the figures, from which the page is drawn.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jaxunlearn.errors import InputError
from jaxunlearn.files import json_text, parse_json, read_json

TYPE = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:jaxunlearn:unlearning-certificate:v1"
STATEMENT, ENVELOPE, PAGE = "statement.json", "statement.dsse.json", "certificate.html"


def statement(subjects: Sequence[Mapping[str, Any]], predicate: Mapping[str, Any]) -> dict[str, Any]:
    """Return the statement of a predicate about subjects, {"name", "digest": {"sha256"}} each."""
    return {"_type": TYPE, "subject": list(subjects), "predicateType": PREDICATE, "predicate": dict(predicate)}


def as_text(content: Any) -> str:
    """Return a statement or an envelope as its file has it."""
    return json_text(content, indent=1, ensure_ascii=False) + "\n"


def as_read(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object as it will be read back: the page is drawn from what the file holds."""
    return parse_json(json_text(dict(content)), "the certificate", dict)


def read(folder: Path) -> dict[str, Any]:
    """Return the statement of a certificate. Raises InputError where it is none, or one of another form."""
    found = read_json(folder / STATEMENT, dict)
    if found.get("_type") != TYPE or found.get("predicateType") != PREDICATE:
        said = f"{found.get('_type')}, {found.get('predicateType')}"
        raise InputError(f"{folder / STATEMENT} is no certificate of this version: expected {PREDICATE}, got {said}")
    if not isinstance(found.get("predicate"), dict) or not isinstance(found.get("subject"), list):
        raise InputError(f"{folder / STATEMENT} is damaged: it has no predicate or no subject")
    return found


@cache
def source_digest() -> str:
    """Return the SHA-256 of the package's Python files and templates, with their paths: a checkout's code version."""
    root, digest = Path(__file__).parent.parent, hashlib.sha256()
    for path in sorted(p for p in root.rglob("*") if p.suffix in (".py", ".j2")):
        digest.update(path.relative_to(root).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()

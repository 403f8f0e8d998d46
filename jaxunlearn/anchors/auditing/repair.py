"""Mend a dictionary of anchored terms by the findings of an audit, and write it back."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from jaxunlearn.anchors.auditing.audit import audit
from jaxunlearn.anchors.auditing.findings import SEVERITIES, Finding
from jaxunlearn.anchors.auditing.reading import Dictionary, read_dictionary
from jaxunlearn.data.documents import read_documents
from jaxunlearn.data.tokenizer import Tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.files import json_text, write_whole

MEND = ("error", "warning")
_ROUNDS = 10


def repair(
    dictionary: Mapping[str, Sequence[str] | str], findings: Sequence[Finding], severities: Sequence[str] = MEND
) -> Dictionary:
    """Return a new dictionary with the fixes of findings of these severities applied; no fix makes a new error.

    Removals come first, then the fixes that keep a term's last translation, then additions that clash with nothing.
    """
    made = {term: (v,) if isinstance(v, str) else tuple(v) for term, v in dictionary.items()}
    fixes = [finding.fix for finding in findings if finding.fix and finding.severity in severities]
    for kind, apply in (("set", _set), ("drop", _drop), ("thin", _thin), ("add", _add)):
        for fix in fixes:
            for term, values in fix.get(kind, {}).items():
                apply(made, term, values)
        if kind == "set":
            made = {term: values for term, values in made.items() if {"remove": term} not in fixes}
    if {"order": "longest"} in fixes:
        made = dict(sorted(made.items(), key=lambda entry: -len(entry[0])))
    return made


def _set(made: Dictionary, term: str, values: Sequence[str]) -> None:
    made[term] = tuple(values)


def _drop(made: Dictionary, term: str, values: Sequence[str]) -> None:
    left = tuple(value for value in made.get(term, ()) if value not in values)
    if left:
        made[term] = left
    else:
        made.pop(term, None)


def _thin(made: Dictionary, term: str, values: Sequence[str]) -> None:
    for value in values:
        left = tuple(v for v in made.get(term, ()) if v != value)
        if left:
            made[term] = left


def _add(made: Dictionary, term: str, values: Sequence[str]) -> None:
    """Add a term, except where it or its translation would be a term and a translation at once."""
    terms = {term.lower(), *(other.lower() for other in made)}
    taken = {value.lower() for others in made.values() for value in others}
    kept = tuple(value for value in values if value.lower() not in terms)
    if kept and term not in made and term.lower() not in taken:
        made[term] = kept


def mend(
    dictionary: Mapping[str, Sequence[str] | str],
    target: str | Sequence[str],
    *,
    findings: Sequence[Finding] | None = None,
    retain_text: str | Sequence[str] | None = None,
    tokenizer: Tokenizer | None = None,
    match: str = "longest",
) -> tuple[Dictionary, list[Finding]]:
    """Audit and repair in turn until nothing changes; return the dictionary and the findings that are left.

    findings: those of an audit already made. The rest as in `audit`. One round is not always enough: a removed term
    may uncover another spelling.
    """
    made = repair(dictionary, ())
    found = findings
    for _ in range(_ROUNDS):
        if found is None:
            found = audit(made, target, retain_text=retain_text, tokenizer=tokenizer, match=match)
        before, made = made, repair(made, found)
        if list(made.items()) == list(before.items()):
            return made, list(found)
        found = None
    return made, audit(made, target, retain_text=retain_text, tokenizer=tokenizer, match=match)


def audit_files(
    path: Path | str,
    text: Sequence[str],
    *,
    retain: Sequence[str] = (),
    tokenizer: Tokenizer | None = None,
    match: str = "longest",
    unwrap: bool = False,
    fix: Path | str = "",
) -> tuple[list[Finding], list[Finding]]:
    """Audit a dictionary file against texts named as in read_documents; return (findings, findings left).

    With `fix`, the mended dictionary is written there and audited again; without, both lists are the same. Raises
    InputError as read_dictionary, read_documents and write_dictionary do.
    """
    dictionary, faults = read_dictionary(path)
    target, kept = ([d.text for d in read_documents(s, unwrap)] if s else [] for s in (text, retain))
    found = audit(dictionary, target, retain_text=kept, tokenizer=tokenizer, match=match)
    findings = sorted([*faults, *found], key=lambda finding: SEVERITIES.index(finding.severity))
    if not fix:
        return findings, findings
    made, left = mend(dictionary, target, findings=found, retain_text=kept, tokenizer=tokenizer, match=match)
    write_dictionary(made, fix)
    return findings, left


def write_dictionary(dictionary: Mapping[str, Sequence[str]], path: Path | str) -> None:
    """Write a dictionary, one term a line; raise InputError where it is empty or cannot be written."""
    path = Path(path)
    if not dictionary:
        raise InputError(f"nothing is left to write to {path}: every term was at fault; mend the dictionary by hand")
    lines = (f" {_json(term)}: {_json(list(values))}" for term, values in dictionary.items())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, "{\n" + ",\n".join(lines) + "\n}\n")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}") from error


def _json(value: object) -> str:
    return json_text(value, ensure_ascii=False)

"""Mend a dictionary of anchored terms by the findings of an audit, and write it back."""

import difflib
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from jaxunlearn.anchors.auditing.audit import audit
from jaxunlearn.anchors.auditing.findings import SEVERITIES, Finding
from jaxunlearn.anchors.auditing.reading import Dictionary, read_dictionary
from jaxunlearn.anchors.occurrences import count_whole
from jaxunlearn.data.documents import read_documents
from jaxunlearn.data.tokenizer import Tokenizer
from jaxunlearn.errors import InputError
from jaxunlearn.files import json_text, write_whole

MEND = ("error", "warning")
FREQUENT = 10  # occurrences in the target from which on a term is removed only where the user asks for it
_ROUNDS = 10


def repair(
    dictionary: Mapping[str, Sequence[str] | str],
    findings: Sequence[Finding],
    severities: Sequence[str] = MEND,
    spared: Set[str] = frozenset(),
) -> Dictionary:
    """Return a new dictionary with the fixes of findings of these severities applied; no fix makes a new error.

    Removals come first, then the fixes that keep a term's last translation, then additions that clash with nothing.
    spared: terms that stay whatever is found; one whose translations are all faulty keeps them.
    """
    made = {term: (v,) if isinstance(v, str) else tuple(v) for term, v in dictionary.items()}
    fixes = [finding.fix for finding in findings if finding.fix and finding.severity in severities]
    for kind, apply in (("set", _set), ("drop", _drop), ("thin", _thin), ("add", _add)):
        for fix in fixes:
            for term, values in fix.get(kind, {}).items():
                if kind != "drop" or term not in spared or set(made.get(term, ())) - set(values):
                    apply(made, term, values)
        if kind == "set":
            made = {term: v for term, v in made.items() if term in spared or {"remove": term} not in fixes}
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
    drop_frequent: bool = False,
) -> tuple[Dictionary, list[Finding]]:
    """Audit and repair in turn until nothing changes; return the dictionary and the findings that are left.

    findings: those of an audit already made. drop_frequent: also remove terms that stand FREQUENT times or more in the
    target; else their findings are left. The rest as in `audit`. One round is not always enough: a removed term may
    uncover another spelling.
    """
    made = repair(dictionary, ())
    spared = frozenset() if drop_frequent else frequent(made, target)
    found = findings
    for _ in range(_ROUNDS):
        if found is None:
            found = audit(made, target, retain_text=retain_text, tokenizer=tokenizer, match=match)
        before, made = made, repair(made, found, spared=spared)
        if list(made.items()) == list(before.items()):
            return made, list(found)
        found = None
    return made, audit(made, target, retain_text=retain_text, tokenizer=tokenizer, match=match)


def frequent(terms: Iterable[str], target: str | Sequence[str]) -> frozenset[str]:
    """Return the terms that stand FREQUENT times or more in the target."""
    counts = count_whole([target] if isinstance(target, str) else list(target), terms)
    return frozenset(term for term, count in counts.items() if count >= FREQUENT)


@dataclass(frozen=True, kw_only=True)
class Audited:
    """What auditing a file came to.

    findings: of the file as it is. left: after the repair, or the same without one. before, after: the dictionary, and
    the repaired one. spared: what is left at terms that stand too often to be removed unasked.
    """

    findings: list[Finding]
    left: list[Finding]
    before: Dictionary
    after: Dictionary
    spared: list[Finding]

    def changes(self) -> dict[str, dict[str, list]]:
        """Return {"removed": {term: translations}, "changed": {term: [old, new]}, "added": {term: translations}}."""
        old, new = ({term: list(values) for term, values in d.items()} for d in (self.before, self.after))
        return {
            "removed": {term: values for term, values in old.items() if term not in new},
            "changed": {term: [v, new[term]] for term, v in old.items() if term in new and new[term] != v},
            "added": {term: values for term, values in new.items() if term not in old},
        }

    def diff(self, path: Path | str, fix: Path | str) -> list[str]:
        """Return the lines of a unified diff, a term a line; first a count, and whether the order changed."""
        made = {kind: len(terms) for kind, terms in self.changes().items()}
        place = {term: n for n, term in enumerate(self.after)}
        stay = [term for term in self.before if term in place]
        moved = stay != sorted(stay, key=place.__getitem__)
        before = sorted(self.before, key=lambda t: place.get(t, -1)) if moved else self.before
        old, new = ([f"{_json(t)}: {_json(list(d[t]))}" for t in terms]
                    for terms, d in ((before, self.before), (self.after, self.after)))  # fmt: skip
        said = ", ".join(f"{count} {kind}" for kind, count in made.items()) + ", longest first now" * moved
        return [f"terms: {said}", *difflib.unified_diff(old, new, str(path), str(fix), n=0, lineterm="")]


def _removing(finding: Finding, terms: Mapping[str, Sequence[str]]) -> bool:
    """Return whether a finding's fix would take its term out of a dictionary."""
    fix = finding.fix or {}
    dropped = fix.get("drop", {}).get(finding.term)
    return "remove" in fix or (dropped is not None and not set(terms.get(finding.term, ())) - set(dropped))


def audit_files(
    path: Path | str,
    text: Sequence[str],
    *,
    retain: Sequence[str] = (),
    tokenizer: Tokenizer | None = None,
    match: str = "longest",
    unwrap: bool = False,
    fix: Path | str = "",
    drop_frequent: bool = False,
) -> Audited:
    """Audit a dictionary file against texts named as in read_documents.

    With `fix`, the mended dictionary is written there and audited again; drop_frequent: as in `mend`. Raises InputError
    as read_dictionary, read_documents and write_dictionary do.
    """
    dictionary, faults = read_dictionary(path)
    target, kept = ([d.text for d in read_documents(s, unwrap)] if s else [] for s in (text, retain))
    found = audit(dictionary, target, retain_text=kept, tokenizer=tokenizer, match=match)
    findings = sorted([*faults, *found], key=lambda finding: SEVERITIES.index(finding.severity))
    if not fix:
        return Audited(findings=findings, left=findings, before=dictionary, after=dictionary, spared=[])
    made, left = mend(
        dictionary, target, findings=found, retain_text=kept, tokenizer=tokenizer, match=match,
        drop_frequent=drop_frequent,
    )  # fmt: skip
    write_dictionary(made, fix)
    often = frequent(made, target)
    spared = [f for f in left if f.severity in MEND and f.term in often and _removing(f, made)]
    return Audited(findings=findings, left=left, before=dictionary, after=made, spared=spared)


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

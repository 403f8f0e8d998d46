"""Findings of an audit, the case that its checks look at, and how findings are shown."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from jaxunlearn.anchors.occurrences import count_whole
from jaxunlearn.errors import InputError

SEVERITIES = ("error", "warning", "note")
ORDINARY_ZIPF = 3.5  # a lower-case word this frequent in general English (3 in a million) is no anchor
_SHOWN = 10  # terms named in a row that joins the notes of one check


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One fault of a dictionary, of one term or (term="") of the whole.

    severity: an "error" makes labels wrong, a "warning" costs quality, a "note" informs.
    count: how often the target text shows the fault.
    fix: the change that mends it, one of
        None                              there is none
        {"remove": term}                  the term goes
        {"drop": {term: translations}}    they go, and with the last one the term
        {"thin": {term: translations}}    they go, except a last one
        {"add": {term: translations}}     a new term
        {"set": {term: translations}}     the term's translations are these
        {"order": "longest"}              longer terms come first
    """

    check: str
    severity: str
    term: str
    message: str
    count: int = 0
    fix: dict | None = None


@dataclass(frozen=True, kw_only=True)
class Case:
    """What checks look at: the dictionary, the texts, and the counts of each term and translation in the target."""

    dictionary: dict[str, tuple[str, ...]]
    target: tuple[str, ...]
    retain: tuple[str, ...]
    counts: Counter[str]
    words: int
    retain_words: int

    def rate(self, count: int) -> float:
        """Return a count in the target as a share of its words."""
        return count / max(self.words, 1)

    def elsewhere(self, forms: Iterable[str]) -> dict[str, float]:
        """Return each form's rate outside the target: in the retain text or, if higher, in general English."""
        forms = list(forms)
        counts = count_whole(self.retain, forms) if self.retain else Counter()
        return {form: max(counts[form] / max(self.retain_words, 1), english_rate(form)) for form in forms}

    def finding(
        self, check: str, severity: str, term: str, text: str, fix: dict | None = None, *, count: int | None = None
    ) -> Finding:
        """Return a finding whose message begins with the term and its count in the target; count defaults to that."""
        met = self.counts[term]
        message = f"{term!r} ({times(met)}) {text}"
        count = met if count is None else count
        return Finding(check=check, severity=severity, term=term, message=message, count=count, fix=fix)


def make_case(
    dictionary: Mapping[str, Sequence[str] | str],
    target: str | Sequence[str],
    retain: str | Sequence[str] | None = None,
) -> Case:
    """Return the case of a dictionary and its texts; raise InputError for an empty term or translation."""
    texts, kept = (((t,) if isinstance(t, str) else tuple(t or ())) for t in (target, retain))
    entries = {term: (v,) if isinstance(v, str) else tuple(v) for term, v in dictionary.items()}
    empty = [term for term, values in entries.items() if not (term.strip() and values and all(values))]
    if empty:
        raise InputError(f"the dictionary has an empty term or translation: {', '.join(map(repr, empty[:10]))}")
    return Case(
        dictionary=entries,
        target=texts,
        retain=kept,
        counts=count_whole(texts, [*entries, *(value for values in entries.values() for value in values)]),
        words=sum(len(text.split()) for text in texts),
        retain_words=sum(len(text.split()) for text in kept),
    )


def english_rate(form: str) -> float:
    """Return a word's rate in general English (wordfreq), 0 for a phrase."""
    try:
        from wordfreq import word_frequency
    except ImportError as error:
        raise InputError(f"an audit needs word frequencies ({error}); pip install wordfreq") from error
    return word_frequency(form.lower(), "en") if form.replace("'", "").isalpha() else 0.0


def is_ordinary(word: str, zipf: float = ORDINARY_ZIPF) -> bool:
    """Return whether a word is in lower case and frequent in English (zipf: log10 of times in 10^9 words)."""
    return word.islower() and english_rate(word) >= 10 ** (zipf - 9)


def times(count: int) -> str:
    """Return a count as words: "once", "2 times"."""
    return "once" if count == 1 else f"{count:,} times"


# ---- shown


def summary(findings: Sequence[Finding]) -> str:
    """Return one line that counts the findings of each severity."""
    counts = Counter(finding.severity for finding in findings)
    return ", ".join(f"{counts[s]} {s}{'s' * (counts[s] != 1)}" for s in SEVERITIES)


def exit_status(findings: Sequence[Finding]) -> int:
    """Return 1 where a finding of level error is left, else 0."""
    return int(any(finding.severity == "error" for finding in findings))


def to_json(findings: Sequence[Finding]) -> dict:
    """Return {"errors": n, "warnings": n, "notes": n, "findings": [...]}, ready for json.dumps."""
    counts = Counter(finding.severity for finding in findings)
    return {f"{s}s": counts[s] for s in SEVERITIES} | {"findings": [asdict(finding) for finding in findings]}


def rich_table(findings: Sequence[Finding]):
    """Return findings as a rich.table.Table, a row each; the notes of one check about terms share a row."""
    from rich.table import Table
    from rich.text import Text

    styles = {"error": "bold red", "warning": "yellow", "note": "dim"}
    shown = Table(title=summary(findings))
    for head in ("severity", "check", "finding"):
        shown.add_column(head)
    for row in _rows(findings):
        shown.add_row(*(Text(cell) for cell in row), style=styles[row[0]])
    return shown


def _rows(findings: Sequence[Finding]) -> list[tuple[str, str, str]]:
    rows: dict[tuple[str, str, object], list[Finding]] = {}
    for n, finding in enumerate(findings):
        together = finding.severity == "note" and finding.term
        rows.setdefault((finding.severity, finding.check, "" if together else n), []).append(finding)
    return [(severity, check, _cell(group)) for (severity, check, _), group in rows.items()]


def _cell(group: list[Finding]) -> str:
    if len(group) == 1:
        return group[0].message
    named = ", ".join(repr(finding.term) for finding in group[:_SHOWN])
    return f"{len(group)} terms: {named}{', ...' * (len(group) > _SHOWN)}; the first: {group[0].message}"

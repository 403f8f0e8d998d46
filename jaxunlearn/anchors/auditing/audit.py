"""Find what is wrong with a dictionary of anchored terms, given the text it is meant for.

Texts are matched as in anchors/translate.py: whole words, case as given, longest term first. A possessive needs no term
of its own, since an apostrophe ends a word. Rates are shares of words.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from jaxunlearn.anchors.auditing.coverage import cover, coverage, dead, shadowed, token_traps, uncovered
from jaxunlearn.anchors.auditing.findings import SEVERITIES, Case, Finding, is_ordinary, make_case, times
from jaxunlearn.anchors.inflection import alike, like
from jaxunlearn.anchors.occurrences import Found, Missed, count_whole, find, missed_spellings
from jaxunlearn.data.tokenizer import Tokenizer
from jaxunlearn.errors import InputError

# A translation that the target uses is an error from this count, share of words and multiple of the rate elsewhere on.
OFTEN, OFTEN_SHARE, OFTEN_RATIO = 20, 1 / 5000, 10
WORD_RATIO = 2  # a translation in lower case may have up to this multiple of its rate elsewhere
# A term is ordinary from this count in the retain text and this share of its target rate on.
RETAIN_COUNT, RETAIN_RATIO = 5, 0.1
LOWER_ZIPF = 3.0  # log10 of times in 10^9 words; from here on a name in lower case is a word ("shaggy")
_SHOWN = 20  # faults that a refusal lists


def audit(
    dictionary: Mapping[str, Sequence[str] | str],
    target: str | Sequence[str],
    *,
    retain_text: str | Sequence[str] | None = None,
    tokenizer: Tokenizer | None = None,
    match: str = "longest",
) -> list[Finding]:
    """Return every finding, errors first; tokens are checked where a tokenizer is given.

    target, retain_text: one text, or a list of documents' texts. Raises InputError for an empty term or translation.
    """
    case = make_case(dictionary, target, retain_text)
    found = find(case.target, list(case.dictionary), match)
    ordinary = _ordinary_terms(case)
    findings = [*_errors(case), *_holding_terms(case), *_collisions(case), *ordinary]
    findings += _missing(case, found, {finding.term for finding in ordinary})
    covers = [cover(one) for one in found]
    findings += [*shadowed(case, found, match), *uncovered(case, covers), *_splittable(case), *dead(case, found)]
    findings += coverage(found, covers, tokenizer)
    findings += token_traps(case, found, tokenizer) if tokenizer else []
    return sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))


def refuse_errors(
    dictionary: Mapping[str, Sequence[str] | str],
    target: str | Sequence[str],
    *,
    retain_text: str | Sequence[str] | None = None,
) -> None:
    """Raise InputError that lists the faults of level error; takes a second or two for a shelf of novels."""
    faults = [f for f in _errors(make_case(dictionary, target, retain_text)) if f.severity == "error"]
    if faults:
        lines = [f.message for f in faults[:_SHOWN]] + [f"and {len(faults) - _SHOWN} more"] * (len(faults) > _SHOWN)
        raise InputError(
            f"the dictionary has {len(faults)} fault{'s' * (len(faults) != 1)} that would make labels wrong:\n  "
            + "\n  ".join(lines)
            + "\n`jaxunlearn anchors audit FILE --text TEXT --fix OUT` mends them; anchors.audit=ignore goes on anyway"
        )


# ---- translations


def _errors(case: Case) -> list[Finding]:
    return [*_self_maps(case), *_translated_to_terms(case), *_in_target(case)]


def _self_maps(case: Case) -> Iterable[Finding]:
    for term, values in case.dictionary.items():
        same = [value for value in values if value.lower() == term.lower()]
        if same:
            yield case.finding("self-map", "error", term, "is translated to itself", {"drop": {term: same}})


def _translated_to_terms(case: Case) -> Iterable[Finding]:
    """Find translations that are other terms in any case: with them the translated text would still be the target's."""
    terms = {term.lower(): term for term in reversed(case.dictionary)}
    for term, values in case.dictionary.items():
        faulty = [v for v in values if v.lower() in terms and v.lower() != term.lower()]
        if faulty:
            named = [f"{v!r}" if v in case.dictionary else f"{v!r} (as {terms[v.lower()]!r})" for v in faulty]
            text = f"is translated to what is itself a term: {', '.join(named)}"
            yield case.finding("translated to a term", "error", term, text, {"drop": {term: faulty}})


def _holding_terms(case: Case) -> Iterable[Finding]:
    """Find translations of several words in which the matcher finds a term."""
    values = list(dict.fromkeys(value for values in case.dictionary.values() for value in values))
    held = {}
    for value, one in zip(values, find(values, list(case.dictionary), "longest"), strict=True):
        for _, start, end in one.anchors_A3.tolist():
            if end - start < len(value):
                held.setdefault(value, value[start:end])
    for term, options in case.dictionary.items():
        faulty = [value for value in options if value in held]
        if faulty:
            text = "has a translation that holds a term: " + ", ".join(f"{v!r} holds {held[v]!r}" for v in faulty)
            yield case.finding("holds a term", "warning", term, text, {"thin": {term: faulty}})


def _sound(case: Case) -> dict[str, list[str]]:
    """Return each term's translations that are no terms; those that are terms are already reported as errors."""
    terms = {term.lower() for term in case.dictionary}
    return {term: [v for v in values if v.lower() not in terms] for term, values in case.dictionary.items()}


def _in_target(case: Case) -> Iterable[Finding]:
    """Find translations that the target itself uses; the finding counts how often."""
    sound = _sound(case)
    severity = _target_use(case, {v for values in sound.values() for v in values}, case.counts)
    for term, values in sound.items():
        faulty = sorted((v for v in values if v in severity), key=lambda v: -case.counts[v])
        if faulty:
            named = ", ".join(f"{v!r} {times(case.counts[v])}" for v in faulty)
            worst = min((severity[v] for v in faulty), key=SEVERITIES.index)
            text, count = f"has translations that the target text holds: {named}", sum(case.counts[v] for v in faulty)
            yield case.finding("in the target", worst, term, text, {"thin": {term: faulty}}, count=count)


def _target_use(case: Case, values: Iterable[str], counts: Mapping[str, int]) -> dict[str, str]:
    """Return "error" or "warning" for each translation that the target uses more than it may.

    A word in lower case may stand there as often as in any text; a name or phrase with capitals may not at all.
    """
    used = [value for value in values if counts.get(value, 0)]
    elsewhere, severity = case.elsewhere(used), {}
    for value in used:
        rate, count = case.rate(counts[value]), counts[value]
        if count >= max(OFTEN, OFTEN_SHARE * case.words) and rate > OFTEN_RATIO * elsewhere[value]:
            severity[value] = "error"
        elif not value.islower() or rate > WORD_RATIO * elsewhere[value]:
            severity[value] = "warning"
    return severity


def _collisions(case: Case) -> Iterable[Finding]:
    """Find translations that several terms share; names of one thing may share them."""
    users = defaultdict(list)
    for term, values in _sound(case).items():
        for value in values:
            users[value].append(term)
    for value, (first, *others) in users.items():
        rest = [term for term in others if not alike(term, first)]
        if rest:
            named = ", ".join(map(repr, rest[:5])) + f" and {len(rest) - 5} more" * (len(rest) > 5)
            text, fix = f"shares its translation {value!r} with {named}", {"thin": {term: [value] for term in rest}}
            count = sum(case.counts[t] for t in [first, *rest])
            yield case.finding("collision", "warning", first, text, fix, count=count)


# ---- terms


def _ordinary_terms(case: Case) -> list[Finding]:
    """Find terms that are ordinary words: in lower case and frequent in English, or frequent in the retain text."""
    in_retain, findings = _shared(case, case.dictionary, case.counts), []
    for term in case.dictionary:
        if term in in_retain or is_ordinary(term):
            where = f"the retain text holds it {times(in_retain[term])}" if term in in_retain else "frequent in English"
            fix = {"remove": term}
            findings.append(case.finding("ordinary word", "warning", term, f"is an ordinary word: {where}", fix))
    return findings


def _shared(case: Case, forms: Iterable[str], counts: Mapping[str, int]) -> dict[str, int]:
    """Return {form: its count in the retain text} for forms frequent there at RETAIN_RATIO of the target's rate."""
    in_retain = count_whole(case.retain, forms) if case.retain else Counter()
    scale = RETAIN_RATIO * case.retain_words / max(case.words, 1)
    return {f: n for f, n in in_retain.items() if n >= max(RETAIN_COUNT, scale * counts.get(f, 0))}


def _splittable(case: Case) -> Iterable[Finding]:
    for term in case.dictionary:
        words = term.split()
        if len(words) > 1 and all(word in case.dictionary for word in words):
            text = "is made of terms alone; the authors' consolidation would drop it"
            yield case.finding("splittable", "note", term, text)


def _missing(case: Case, found: Sequence[Found], ordinary: set[str]) -> list[Finding]:
    """Find other spellings of terms that the target holds and no term matches."""
    missed = [m for m in missed_spellings(found, list(case.dictionary)) if m.term not in ordinary]
    broken = [m for m in missed if m.broken]
    counts = {m.surface: m.count for m in missed}
    shared = _shared(case, counts, counts)
    missed = [m for m in missed if not (m.broken or m.surface in shared or _is_word(m))]
    made = {m.surface: like(case.dictionary[m.term], m.term, m.surface, m.form) for m in missed}
    used = count_whole(case.target, [value for values in made.values() for value in values])
    used = {value for value, severity in _target_use(case, used, used).items() if severity == "error"}
    findings = [_missing_finding(case, m, [v for v in made[m.surface] if v not in used]) for m in missed]
    if broken:
        count = sum(m.count for m in broken)
        named = ", ".join(f"{m.term!r} {times(m.count)}" for m in broken[:5]) + ", ..." * (len(broken) > 5)
        text = f"line breaks or several spaces inside hide terms: {named}; text.unwrap=true joins lines"
        findings.append(Finding(check="broken", severity="warning", term="", message=text, count=count))
    return findings


def _is_word(missed: Missed) -> bool:
    """Return whether a spelling is a word of its own: "tip" for Tip, "Another" for An Other."""
    regrown = missed.surface.lower() != missed.term.lower() and missed.form == "spelling"
    return is_ordinary(missed.surface.lower() if regrown else missed.surface, LOWER_ZIPF)


def _missing_finding(case: Case, missed: Missed, values: list[str]) -> Finding:
    how = {"case": "in another case", "plural": "in the plural", "singular": "in the singular"}
    how |= {"spelling": "in another spelling", "possessive": "without its 's"}
    text = f"also occurs {how[missed.form]}, {missed.surface!r}, {times(missed.count)}, which no term matches"
    fix = {"add": {missed.surface: values}} if values else None
    return case.finding(f"missing {missed.form}", "warning", missed.term, text, fix, count=missed.count)

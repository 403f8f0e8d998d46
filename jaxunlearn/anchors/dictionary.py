"""The dictionary of anchored terms: {term: (generic translation, ...)}, on disk as JSON."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from jaxunlearn.errors import InputError
from jaxunlearn.files import nfc, parse_json, read_text


def load_dictionary(path: Path | str) -> dict[str, tuple[str, ...]]:
    """Read a dictionary file, {term: translation or [translations]}, as {term: (translation, ...)}.

    A JSON list of such objects, the form of the authors' replies, is merged by `consolidate`. Texts are brought to NFC,
    as documents are. Raises one InputError that names every faulty term, or says why the file cannot be read.
    """
    path = Path(path)
    pairs = _read_pairs(path)
    problems: list[str] = []
    seen: set[str] = set()
    dictionary: dict[str, tuple[str, ...]] = {}
    for term, given in pairs:
        values = [given] if isinstance(given, str) else given
        if term in seen:
            problems.append(f"{term!r} is given twice")
        seen.add(term)
        problems += _problems(term, values)
        if not problems and isinstance(values, list):
            dictionary[term] = tuple(dict.fromkeys(values))
    if not pairs:
        problems.append("it has no entries")
    if problems:
        raise InputError(f"{path} is not a usable dictionary:\n  " + "\n  ".join(problems))
    return dictionary


def consolidate(replies: Iterable[Mapping]) -> dict[str, tuple[str, ...]]:
    """Merge the replies of a language model into one dictionary by the authors' rules (arXiv 2310.02238).

    A term keeps its distinct translations in their order. `X's` is dropped if X is a term. A term of several words is
    dropped if each of its words is a term. Entries that no dictionary may hold (no string, empty, mapped to itself)
    are left out.
    """
    merged: dict[str, dict[str, None]] = {}
    for reply in replies:
        for term, values in reply.items():
            _merge(merged, term, values)
    return {
        term: tuple(values)
        for term, values in merged.items()
        if not _is_possessive(term, merged) and not _is_composite(term, merged)
    }


def _merge(merged: dict[str, dict[str, None]], term: object, values: object) -> None:
    term = nfc(term.strip()) if isinstance(term, str) else ""
    for value in values if isinstance(values, list | tuple) else [values]:
        value = nfc(value.strip()) if isinstance(value, str) else ""
        if term and value and value != term:
            merged.setdefault(term, {})[value] = None


def _is_possessive(term: str, terms: Mapping) -> bool:
    return term.endswith(("'s", "’s")) and term[:-2] in terms


def _is_composite(term: str, terms: Mapping) -> bool:
    words = term.split()
    return len(words) > 1 and all(word in terms for word in words)


def dictionary_text(path: Path) -> str:
    """Return the text of a dictionary file; raise InputError where it cannot be read or is not UTF-8."""
    try:
        return read_text(path)
    except OSError as error:
        raise InputError(f"cannot read the dictionary {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        fault = f"is not UTF-8 text (byte {error.start}); convert it to UTF-8"
        raise InputError(f"the dictionary {path} {fault}") from error


def _read_pairs(path: Path) -> list[tuple[str, object]]:
    """Return the top level of the file as pairs: a dict would lose a term that is given twice."""
    content = parse_json(dictionary_text(path), f"the dictionary {path}", pairs=_Pairs)
    if type(content) is list and content and all(isinstance(reply, _Pairs) for reply in content):
        return [(term, list(values)) for term, values in consolidate(dict(reply) for reply in content).items()]
    if not isinstance(content, _Pairs):
        raise InputError(f"the dictionary {path} holds a {type(content).__name__}, expected an object {{term: [...]}}")
    return nfc(list(content))


class _Pairs(list):
    """The pairs of a JSON object; a class of its own tells them from a JSON list."""


def _problems(term: str, values: object) -> list[str]:
    problems = []
    if not term.strip():
        problems.append(f"{term!r} is an empty term")
    elif term != term.strip():
        problems.append(f"{term!r} has spaces around it")
    if isinstance(values, _Pairs) or not isinstance(values, list):
        return [*problems, f"{term!r} has a translation that is neither a string nor a list of strings"]
    if not values:
        problems.append(f"{term!r} has no translation")
    for value in values:
        if not isinstance(value, str):
            problems.append(f"{term!r} has a translation that is not a string: {value!r}")
        elif not value.strip():
            problems.append(f"{term!r} has an empty translation")
        elif value != value.strip():
            problems.append(f"{term!r} has a translation with spaces around it: {value!r}")
        elif value == term:
            problems.append(f"{term!r} is translated to itself")
    return problems

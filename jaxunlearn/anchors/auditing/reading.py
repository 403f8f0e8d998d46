"""Read a dictionary of anchored terms with its faults and the lines and columns at which they stand."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxunlearn.anchors.auditing.findings import Finding
from jaxunlearn.anchors.dictionary import consolidate, dictionary_text
from jaxunlearn.errors import InputError
from jaxunlearn.files import json_text, nfc, parse_json

Dictionary = dict[str, tuple[str, ...]]

_SPACE = re.compile(r"[ \t\n\r]*")


def read_dictionary(path: Path | str) -> tuple[Dictionary, list[Finding]]:
    """Return a dictionary file's {term: translations} and findings of what `load_dictionary` would refuse.

    Terms given twice are merged and outer spaces are removed; each is a finding of level error whose fix is what was
    read. Raises one InputError with lines and columns for invalid JSON, and for every term or translation that is
    empty or no string.
    """
    source = _Source(name=str(path), text=_read(Path(path)), faults=[])
    given: Dictionary = {}
    seen: dict[tuple[str, str], str] = {}
    for at, raw, values in source.entries():
        raw, values = nfc(raw), nfc(values)
        term, kept = raw.strip(), [value.strip() for value in values]
        if [raw, *values] != [term, *kept]:
            seen["spaces", term] = f"{term!r} or a translation of it has spaces around it ({source.where(at)})"
        if term in given:
            seen["given twice", term] = f"{term!r} is given again ({source.where(at)})"
        given[term] = tuple(dict.fromkeys([*given.get(term, ()), *kept]))
    if source.faults or not given:
        faults = source.faults or ["it has no entries"]
        raise InputError(f"{path} is not a usable dictionary:\n  " + "\n  ".join(faults))
    return given, [
        Finding(check=check, severity="error", term=term, message=message, fix={"set": {term: list(given[term])}})
        for (check, term), message in seen.items()
    ]


def _read(path: Path) -> str:
    text = dictionary_text(path)
    parse_json(text, f"the dictionary {path}")
    return text


@dataclass(frozen=True, kw_only=True)
class _Source:
    """A text of valid JSON, its name, and the faults found in it; places are characters."""

    name: str
    text: str
    faults: list[str]

    def where(self, at: int) -> str:
        line_start = self.text.rfind("\n", 0, at) + 1
        return f"line {self.text.count(chr(10), 0, at) + 1}, column {at - line_start + 1}"

    def fault(self, at: int, text: str) -> None:
        self.faults.append(f"{self.where(at)}: {text}")

    def skip(self, at: int) -> int:
        space = _SPACE.match(self.text, at)
        return space.end() if space else at

    def entries(self) -> Iterator[tuple[int, str, list[str]]]:
        """Yield (place, term, translations) of each entry; a list of replies is merged by `consolidate`."""
        content, at = parse_json(self.text, self.name), self.skip(0)
        if isinstance(content, dict):
            for place, term in self.items(at):
                if not term.strip():
                    self.fault(place, f"{term!r} is an empty term")
                yield place, term, self.values(self.skip(self.skip(self._end(place)) + 1), term)
        elif content and isinstance(content, list) and all(isinstance(reply, dict) for reply in content):
            yield from ((at, term, list(values)) for term, values in consolidate(content).items())
        else:
            self.fault(at, f"found a {type(content).__name__}, expected an object {{term: [translations]}}")

    def values(self, at: int, term: str) -> list[str]:
        items = list(self.items(at)) if self.text[at] == "[" else [(at, self._load(at))]
        if not items:
            self.fault(at, f"{term!r} has no translation")
        for place, value in items:
            if not isinstance(value, str):
                self.fault(place, f"{term!r} has a translation that is not a string: {json_text(value)}")
            elif not value.strip():
                self.fault(place, f"{term!r} has an empty translation")
        return [value for _, value in items if isinstance(value, str)]

    def items(self, at: int) -> Iterator[tuple[int, Any]]:
        """Yield place and content of each element of a list, or of each name of an object, that begins at `at`."""
        named = self.text[at] == "{"
        at = self.skip(at + 1)
        while self.text[at] not in "]}":
            yield at, self._load(at)
            at = self.skip(self._end(at))
            if named:
                at = self.skip(self._end(self.skip(at + 1)))
            if self.text[at] == ",":
                at = self.skip(at + 1)

    def _load(self, at: int) -> Any:
        return json.JSONDecoder().raw_decode(self.text, at)[0]

    def _end(self, at: int) -> int:
        return json.JSONDecoder().raw_decode(self.text, at)[1]

"""metrics.jsonl: one JSON object a line, each sealed, and beside it the hash of all lines up to the last stage's end.

A line that was altered, and lines that were lost from a finished stage, are found and named. What a kill may leave, a
torn last line, is dropped.
"""

import hashlib
import os
import re
from pathlib import Path

from jaxunlearn import sealed
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.files import json_text, parse_json, read_json, write_whole

NO_NUMBER = re.compile(r"-?\b(NaN|Infinity)\b")


class Metrics:
    """The rows of a run's metrics.jsonl. Only one process may use it."""

    def __init__(self, folder: Path):
        self.path, self._seal = Path(folder) / "metrics.jsonl", Path(folder) / "metrics.sealed.json"
        self._begun = False

    def append(self, row: dict) -> None:
        """Write one row; before the first one, cut off what a kill left of a line."""
        if not self._begun and self.path.is_file():
            data = self.path.read_bytes()
            if not data.endswith(b"\n") and data:
                os.truncate(self.path, data.rfind(b"\n") + 1)
        self._begun = True
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json_text(sealed.sealed(row)) + "\n")

    def rows(self) -> list[dict]:
        """Return all rows. Raises RunError, naming the line, for a sealed one that is not as it was written.

        Lines of earlier versions have no seal: NaN and infinity are read as null there, and torn lines passed over.
        """
        lines = self.path.read_bytes().split(b"\n") if self.path.is_file() else []
        found = []
        for number, line in enumerate(lines, 1):
            has_seal = b'"' + sealed.SEAL.encode() + b'"' in line
            try:
                text = line.decode()
                row = parse_json(text if has_seal else NO_NUMBER.sub("null", text), "a row", dict)
            except (InputError, UnicodeDecodeError):
                row = {}
            if "stage" in row and sealed.intact(row):
                found.append(sealed.plain(row))
            elif has_seal and number < len(lines):  # a last line without its end is what a kill leaves
                raise self._damaged(f"line {number} is not as it was written")
        return found

    def replace(self, rows: list[dict]) -> None:
        """Write all rows anew; a kill leaves the old ones or the new ones, with a hash that is right."""
        text = "".join(json_text(sealed.sealed(row)) + "\n" for row in rows)
        now = self.path.read_bytes() if self.path.is_file() else b""
        self._write([*(self._known() or [_mark(now)]), _mark(text.encode())])
        write_whole(self.path, text)

    def seal(self) -> None:
        """Keep the hash of all rows so far: none of them can be lost unseen from now on."""
        self._write([_mark(self.path.read_bytes() if self.path.is_file() else b"")])

    def check(self) -> None:
        """Raise RunError where rows that were sealed are not there as they were."""
        marks = self._known()
        data = self.path.read_bytes() if self.path.is_file() else b""
        if marks and not any(mark == _mark(data[: mark["bytes"]]) for mark in marks):
            self.rows()  # names the line, where one was altered
            raise self._damaged("lines of finished stages are missing")

    def _damaged(self, how: str) -> RunError:
        return RunError(
            f"{self.path} is damaged: {how}. Put the file back; or delete that line and {self._seal.name} to go on "
            "without what it says, which the curves and times of the report then lack"
        )

    def _known(self) -> list[dict]:
        if not self._seal.is_file():
            return []
        try:
            found = read_json(self._seal, dict)
            if sealed.SEAL in found and sealed.intact(found):
                return found["marks"]
        except (InputError, KeyError):
            pass
        raise RunError(f"{self._seal} is damaged, so that metrics.jsonl cannot be checked; delete it to go on")

    def _write(self, marks: list[dict]) -> None:
        write_whole(self._seal, json_text(sealed.sealed({"marks": marks[-2:]})))


def _mark(data: bytes) -> dict:
    return {"bytes": len(data), "sha256 of the bytes": hashlib.sha256(data).hexdigest()}

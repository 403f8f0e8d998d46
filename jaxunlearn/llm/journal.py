"""Settled questions on disk, a line each, written before the next question is asked."""

import os
from pathlib import Path

from jaxunlearn import sealed
from jaxunlearn.errors import InputError, RunError
from jaxunlearn.files import json_text, parse_json

REPLIES, MALFORMED = "replies.jsonl", "malformed.jsonl"


class Journal:
    """A folder's replies.jsonl and malformed.jsonl, one JSON object {"key", "text", "usage"} a line.

    Each line is sealed (sealed.py). A last line that a kill left incomplete is cut off. A question whose line is
    damaged is not settled; `damaged` counts such lines. Raises InputError where the folder cannot be used.
    """

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.replies, lost = _read_lines(self.folder / REPLIES)
            self.malformed, more = _read_lines(self.folder / MALFORMED)
            self.damaged = lost + more
        except OSError as error:
            raise InputError(f"the folder {folder} cannot be used: {error.strerror}; give another") from None

    def holds(self, key: str) -> bool:
        """Return whether a question is settled, with a usable reply or without."""
        return key in self.replies or key in self.malformed

    def keep(self, name: str, row: dict) -> None:
        """Append a row to REPLIES or MALFORMED; it is on the disk when this returns. RunError where it cannot be."""
        try:
            with (self.folder / name).open("ab") as file:
                file.write(json_text(sealed.sealed(row)).encode() + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            text = f"cannot write {self.folder / name}: {error.strerror}; what was finished is kept"
            raise RunError(text) from None
        (self.replies if name == REPLIES else self.malformed)[row["key"]] = row


def _read_lines(path: Path) -> tuple[dict[str, dict], int]:
    """Return the rows by key, and how many lines are damaged."""
    data = path.read_bytes() if path.is_file() else b""
    tail = data.rpartition(b"\n")[2]
    if tail:
        with path.open("r+b") as file:
            if _as_row(tail):  # only the line break is missing
                file.seek(0, os.SEEK_END)
                file.write(b"\n")
            else:
                file.truncate(len(data) - len(tail))
        data = data if _as_row(tail) else data[: len(data) - len(tail)]
    rows = [_as_row(line) for line in data.split(b"\n") if line.strip()]
    return {row["key"]: row for row in rows if row}, rows.count(None)


def _as_row(line: bytes) -> dict | None:
    try:
        row = parse_json(line.decode(), "a reply")
    except ValueError:
        return None
    whole = isinstance(row, dict) and {"key", "text", "usage"} <= set(row) and sealed.intact(row)
    return sealed.plain(row) if whole else None
